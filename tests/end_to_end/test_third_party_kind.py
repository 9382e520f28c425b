"""A kind of services that is not ours, as `config/examples/adapter` shows: before a real memcached."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.app import create_app
from gateway.core.errors import BadReply, Unreachable
from tests.apps import request
from tests.documents import blocks_of
from tests.end_to_end.processes import ROOT, command, free_port, ready, running
from tests.support import require
from tests.third_party import FOLDER, installed, memcached_kind

pytestmark = pytest.mark.end_to_end

PAGE = ROOT / "docs" / "how-to" / "write-an-adapter.md"
MODULE = FOLDER / "memcached_kind.py"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    program = shutil.which("memcached")
    if program is None:
        require("memcached is not here")
    number = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    server = subprocess.Popen([program, "-l", "127.0.0.1", "-p", str(number), "-U", "0", *user])
    try:
        _fill(number, server)
        yield number
    finally:
        server.terminate()
        server.wait(20)


def _fill(port: int, server: subprocess.Popen[bytes]) -> None:
    values = {"session:7f": b'{"user": 7}', "text": "né".encode(), "large": b"x" * 100_000}
    end = time.monotonic() + 60
    while True:
        assert server.poll() is None, "memcached has ended"
        try:
            sock = socket.create_connection(("127.0.0.1", port), 1)
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.02)
            continue
        with sock:
            for key, value in values.items():
                sock.sendall(f"set {key} 0 0 {len(value)}\r\n".encode() + value + b"\r\n")
                assert sock.recv(100) == b"STORED\r\n"
        return


async def asked(port: int, key: str, **call: Any) -> Any:
    service = {"kind": "memcached", "address": f"127.0.0.1:{port}", "max_value": "64KiB"}
    written = {
        "services": {"s": service},
        "tools": {"t": {"output": "a", "calls": {"a": {"service": "s", "get": key, **call}}}},
    }
    app = create_app(written, adapters={"memcached": memcached_kind().KIND})
    async with app.running():
        return (await app.call(request(), timeout_s=10)).value


async def test_values_of_a_real_server(port: int) -> None:
    assert await asked(port, "session:7f", output="json") == {"user": 7}
    assert await asked(port, "text") == "né"
    assert await asked(port, "nothing") is None
    with pytest.raises(BadReply, match="over 65536 bytes"):
        await asked(port, "large")
    with pytest.raises(Unreachable, match="cannot connect"):
        await asked(free_port(), "text")


def copied(folder: Path, port: int) -> str:
    """The example's files, asking at `port`; where the gateway will be."""
    for path in FOLDER.glob("*.*"):
        text = path.read_text().replace("127.0.0.1:11211", f"127.0.0.1:{port}")
        (folder / path.name).write_text(text)
    here = f"127.0.0.1:{free_port()}"
    admin = f"127.0.0.1:{free_port()}"
    file = folder / "gateway.toml"
    server = f'[server]\nbind = ["{here}"]\nadmin = {{ bind = "{admin}" }}\n\n'
    file.write_text(server + file.read_text())
    return f"http://{here}"


def test_the_app_of_the_example_answers(port: int, tmp_path: Path) -> None:
    url = copied(tmp_path, port)
    bind = url.removeprefix("http://")
    hypercorn = ["-m", "hypercorn", "-k", "trio", "--bind", bind, "served_by_hypercorn:app"]
    with running([sys.executable, *hypercorn], cwd=tmp_path) as process:
        ready(process, f"{url}/openapi.json")
        answer = httpx.get(f"{url}/sessions/7f", trust_env=False)
        assert answer.json() == {"session": {"user": 7}}, answer.text
        assert httpx.get(f"{url}/sessions/0", trust_env=False).json() == {"session": None}
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def told(folder: Path, *arguments: str) -> tuple[int, str]:
    """What `gateway ARGUMENTS` says where `folder` is on the path of modules."""
    path = os.pathsep.join([str(ROOT), str(folder)])
    done = subprocess.run(
        command(*arguments),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout


def test_the_command_knows_the_kind_once_its_package_is_installed(
    port: int, tmp_path: Path
) -> None:
    url = copied(tmp_path, port)
    status, said = told(tmp_path, "check", "gateway.toml")
    assert status == 2
    assert re.search(r'services\.sessions\.kind: expected one of .*, got "memcached"', said), said

    (page,) = re.findall(
        r"^```toml fragment\n(\[project\]\n.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    project = tomllib.loads(page)["project"]
    installed(tmp_path, project["name"], **project["entry-points"]["gateway.adapters"])
    assert told(tmp_path, "check", "--strict", "gateway.toml") == (
        0,
        "gateway.toml: fine: 1 service, 1 tool\n",
    )
    status, said = told(tmp_path, "call", "gateway.toml", "session", "--arg", "id=7f")
    assert status == 0
    assert '"user": 7' in said
    with running(
        command("serve", "gateway.toml"),
        cwd=tmp_path,
        env={"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])},
    ) as process:
        ready(process, f"{url}/openapi.json")
        answer = httpx.get(f"{url}/sessions/7f", trust_env=False)
        assert answer.json() == {"session": {"user": 7}}, answer.text


def test_the_page_shows_what_the_example_has() -> None:
    lines = {line.partition("  #")[0].strip() for line in MODULE.read_text().splitlines()}
    blocks = [block for block in blocks_of(PAGE) if "Memcached" in block.text]
    python = [block for block in blocks if block.language == "python"]
    assert len(python) == 3
    for block in python:
        for line in block.text.splitlines():
            code = line.partition("  #")[0].strip().removesuffix(" ...")
            assert code in lines or code.startswith(("#", "from ", '"""')), line


def test_the_tests_of_the_example_pass(tmp_path: Path) -> None:
    copied(tmp_path, 1)
    options = ["-W", "error", "-p", "no:cacheprovider", "-o", "trio_mode=true"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-q", "test_memcached_kind.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
