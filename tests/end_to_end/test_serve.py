"""`gateway serve` as a process: start, signals, drain, exit statuses."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.processes import command, free_port, ready, running
from tests.end_to_end.workers import until

pytestmark = pytest.mark.end_to_end

MODULE = """\
import pathlib
import time
import trio
async def quick():
    return "quick"
async def hang():
    with pathlib.Path(__file__).with_name("begun").open("a") as begun:
        begun.write(".")
    await trio.sleep_forever()
def block(timeout):
    time.sleep(0.3)
    return timeout
"""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def file(tmp_path: Path, port: int) -> Path:
    (tmp_path / "sample.py").write_text(MODULE)
    path = tmp_path / "gateway.toml"
    path.write_text(
        f"""\
[server]
bind = ["127.0.0.1:{port}"]
admin = {{ bind = "127.0.0.1:{free_port()}" }}
deadline = "30s"
drain = "2s"
[services.sample]
kind = "python"
module = "sample"
[tools.both]
http = "GET /both"
calls.quick = {{ service = "sample", function = "quick" }}
calls.hang = {{ service = "sample", function = "hang", optional = true }}
[tools.needed]
http = "GET /needed"
calls.hang = {{ service = "sample", function = "hang" }}
"""
    )
    return path


def hanging(file: Path) -> int:
    """How many calls of `hang` have begun."""
    begun = file.with_name("begun")
    return len(begun.read_text()) if begun.exists() else 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_drain_cuts_what_hangs_with_labelled_partials(
    file: Path, port: int, number: signal.Signals
) -> None:
    url = f"http://127.0.0.1:{port}"
    answers: dict[str, httpx.Response] = {}

    def ask(path: str) -> None:
        answers[path] = client.get(url + path)

    # Made here: a client of its own for each would be a while loading certificates.
    with (
        httpx.Client(timeout=10, trust_env=False) as client,
        running(command("serve", str(file))) as process,
    ):
        ready(process, f"{url}/openapi.json")
        askers = [threading.Thread(target=ask, args=(path,)) for path in ("/both", "/needed")]
        for asker in askers:
            asker.start()
        until(lambda: hanging(file) == len(askers))
        start = time.monotonic()
        process.send_signal(number)
        assert process.wait(30) == 0
        assert time.monotonic() - start < 2 + 1 + 3  # the machine may be busy
        for asker in askers:
            asker.join(10)
    assert answers["/both"].status_code == 200
    assert answers["/both"].headers["x-gateway-partial"] == "hang=deadline_exceeded"
    assert answers["/both"].json()["quick"] == "quick"
    assert answers["/needed"].status_code == 504
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", port)) != 0


def test_a_bad_file_is_exit_status_2(file: Path, port: int) -> None:
    file.write_text(file.read_text().replace('kind = "python"', 'kind = "pyton"'))
    with running(command("serve", str(file))) as process:
        assert process.wait(60) == 2
        assert process.stdout is not None
        said = process.stdout.read()
    assert said == (
        f'{file}:7: services.sample.kind: expected one of "bedrock_kb", "command", "files", "graphql", '
        '"http", "mcp", "python", "redis", "sql", "tcp", "websocket", got "pyton"; did you mean "python"?\n'
    )


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        (
            'module = "smaple"',
            'module = "sample"',
            ":8: services.sample.module: expected an importable module, got 'smaple'",
        ),
        (
            'function = "quikc"',
            'function = "quick"',
            ":11: tools.both.calls.quick.function: sample has no function 'quikc'",
        ),
    ],
)
def test_a_function_that_is_not_there_is_exit_status_2(
    file: Path, wrong: str, right: str, said: str
) -> None:
    file.write_text(file.read_text().replace(right, wrong))
    with running(command("serve", str(file))) as process:
        assert process.wait(60) == 2
        assert process.stdout is not None
        assert process.stdout.read().startswith(f"{file}{said}")


def test_a_start_up_that_fails_is_exit_status_1_and_serves_nothing(file: Path, port: int) -> None:
    """What was fine when the file was read is not when it is opened."""
    file.with_name("sample.py").write_text(
        f"{MODULE}\n"
        "read = pathlib.Path(__file__).with_name('read')\n"
        "if read.exists():\n    raise OSError('not again')\n"
        "read.touch()\n"
    )
    with running(command("serve", str(file))) as process:
        assert process.wait(60) == 1
        assert process.stdout is not None
        said = process.stdout.read()
    assert "services.sample.module" in said
    assert "not again" in said
    assert "Traceback" not in said
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", port)) != 0


def test_a_taken_port_is_exit_status_1(file: Path, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)), running(command("serve", str(file))) as process:
        assert process.wait(60) == 1
        assert process.stdout is not None
        assert f"cannot listen on 127.0.0.1:{port}" in process.stdout.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_file_is_read_ends_it_in_order(
    file: Path, tmp_path: Path, number: signal.Signals
) -> None:
    text = file.read_text()
    pipe = tmp_path / "slow.toml"
    os.mkfifo(pipe)
    with running(command("serve", str(pipe))) as process:
        with pipe.open("w") as writer:  # it is reading
            process.send_signal(number)
            writer.write(text)
        assert process.wait(60) == 0
        assert process.stdout is not None
        (line,) = process.stdout.read().splitlines()
    assert json.loads(line)["event"] == "ended"


def test_it_says_what_it_serves_and_where(file: Path, port: int) -> None:
    proxy = '[services.s]\nkind = "http"\nurl = "http://api.test"\n[proxies.p]\npath = "/p/"\n'
    file.write_text(f'{file.read_text()}{proxy}service = "s"\n')
    with running(command("serve", str(file))) as process:
        assert process.stdout is not None
        said = next(line for line in process.stdout if line.startswith("gateway: "))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert said.startswith(f"gateway: 2 tools, 1 proxy at http://127.0.0.1:{port}, MCP at /mcp, ")


def test_sighup_serves_the_changed_file_and_refuses_a_wrong_one(file: Path, port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    text = file.read_text()
    with running(command("serve", str(file))) as process:
        ready(process, f"{url}/openapi.json")
        file.write_text(text.replace('kind = "python"', 'kind = "pyton"'))
        process.send_signal(signal.SIGHUP)
        (problem,) = json.loads(read_until(process, "not reloaded"))["problems"]
        assert problem.startswith(f"{file}:7: services.sample.kind: expected one of")
        assert '"/both"' in httpx.get(f"{url}/openapi.json", trust_env=False).text
        file.write_text(text.replace("GET /both", "GET /other"))
        process.send_signal(signal.SIGHUP)
        read_until(process, "reloaded")
        served = httpx.get(f"{url}/openapi.json", trust_env=False).text
        assert '"/other"' in served
        assert '"/both"' not in served
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def read_until(process: subprocess.Popen[str], event: str) -> str:
    """The next line of its log that holds `event`."""
    assert process.stdout is not None
    return next(line for line in process.stdout if f'"event": "{event}' in line)


def test_an_interrupted_call_is_exit_status_130(file: Path) -> None:
    with running(command("call", str(file), "needed")) as process:
        until(lambda: hanging(file))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stdout is not None
        assert "Traceback" not in process.stdout.read()
