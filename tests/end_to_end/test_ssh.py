"""Programs over SSH, before a real sshd: docs/how-to/run-programs-over-ssh.md."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from gateway.app import Gateway, create_app
from gateway.core.errors import BadReply, DeadlineExceeded, Unreachable
from tests.apps import request
from tests.documents import ROOT, blocks_of
from tests.end_to_end.processes import free_port
from tests.support import require

pytestmark = pytest.mark.end_to_end

USER = pwd.getpwuid(os.geteuid()).pw_name
_, REPORT, _, PAGE = blocks_of(ROOT / "docs" / "how-to" / "run-programs-over-ssh.md")[:4]
TRICKY = ["1; echo b", "$(echo b)", "`echo b`", "' ; echo b #", '"\n echo b', "-oProxyCommand=b"]


@attrs.frozen
class Host:
    """A machine to log in to, on loopback, and the folder of a gateway that may."""

    folder: Path
    port: int

    def allow(self, key: str, options: str) -> None:
        """Let `key`, a new one, in with `options` as `authorized_keys` has them."""
        _quietly("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / key))
        public = (self.folder / f"{key}.pub").read_text()
        with (self.folder / "authorized_keys").open("a") as file:
            file.write(f"{options} {public}")

    def program(self, key: str) -> list[str]:
        """The page's, before this host."""
        written = tomllib.loads(PAGE.text)["services"]["reports"]["program"]
        replaced = {"22": str(self.port), "ops@old-host.internal": f"{USER}@127.0.0.1"}
        return [replaced.get(word, word).replace("report_key", key) for word in written]

    def app(self, key: str, service: Any = None, /, **call: Any) -> Gateway:
        written = tomllib.loads(PAGE.text)
        written["services"]["reports"] |= {
            "program": self.program(key),
            "directory": str(self.folder),
            **(service or {}),
        }
        written["tools"]["report"]["calls"]["report"] |= call
        return create_app(written)


def _quietly(*command: str) -> None:
    made = subprocess.run(command, check=False, capture_output=True)
    assert made.returncode == 0, made.stderr


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    program = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")
    if program is None or shutil.which("ssh") is None:
        require("OpenSSH's sshd and ssh are not here")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # as its package's service does
    folder = tmp_path_factory.mktemp("ssh")
    _quietly("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host_key"))
    port = free_port()
    public = " ".join((folder / "host_key.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}\n")
    (folder / "report.py").write_text(REPORT.text)
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 100\n"
    )
    # It starts itself anew for each connection, so by its whole path.
    command = [program, "-D", "-e", "-f", folder / "sshd_config"]
    with (folder / "sshd.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    found = Host(folder, port)
    found.allow("report_key", f'restrict,command="timeout 30 {sys.executable} {folder}/report.py"')
    found.allow("any_key", "restrict")
    found.allow("slow_key", f'restrict,command="echo $$ > {folder}/slow; exec timeout 5 sleep 47"')
    try:
        _await(found, server)
        yield found
    finally:
        server.kill()
        server.wait(20)


def _await(host: Host, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    command = [*host.program("any_key"), "true"]
    while subprocess.run(command, check=False, cwd=host.folder, capture_output=True).returncode:
        log = (host.folder / "sshd.log").read_text()
        assert server.poll() is None, log
        assert time.monotonic() < end, log
        time.sleep(0.1)


async def asked(app: Gateway, month: str = "2026-01", timeout_s: float = 10) -> Any:
    async with app.running():
        return (await app.call(request("report", month=month), timeout_s=timeout_s)).value


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


@pytest.mark.parametrize("month", ["2026-01", *TRICKY])
async def test_the_page_works_and_what_is_asked_with_is_data(host: Host, month: str) -> None:
    assert await asked(host.app("report_key"), month) == {"report": {"month": month, "orders": 17}}


async def test_a_forced_command_is_what_runs(host: Host) -> None:
    app = host.app("report_key", arguments=["echo", "{month}"], dashes=True)
    assert await asked(app, "; id") == {"report": {"month": "; id", "orders": 17}}


async def test_arguments_are_code_over_there(host: Host) -> None:
    """What the page warns of is so: the day it is not, the page is to be changed."""
    app = host.app("any_key", arguments=["echo", "{month}"], output="text")
    assert await asked(app, "a; echo b") == {"report": "a\nb\n"}


async def test_a_host_with_another_key_is_not_talked_to(host: Host, tmp_path: Path) -> None:
    public = (host.folder / "any_key.pub").read_text()
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{host.port} {public}")
    (tmp_path / "report_key").write_bytes((host.folder / "report_key").read_bytes())
    (tmp_path / "report_key").chmod(0o600)
    with pytest.raises(Unreachable, match="ended with status 255"):
        await asked(host.app("report_key", {"directory": str(tmp_path)}))
    (tmp_path / "known_hosts").write_text("")
    with pytest.raises(Unreachable, match="Host key verification failed"):
        await asked(host.app("report_key", {"directory": str(tmp_path)}))
    assert not (tmp_path / "known_hosts").read_text()


async def test_a_status_is_the_programs_own(host: Host) -> None:
    with pytest.raises(BadReply, match=r"ended with status 3: oh no"):
        await asked(host.app("any_key", arguments=["echo oh no >&2; exit 3"]))


async def test_its_end_here_and_over_there(host: Host) -> None:
    app = host.app("slow_key", output="text")
    async with app.running():
        start = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await app.call(request("report", month="x"), timeout_s=2)
        late_s = time.monotonic() - start - 2
        programs: Any = app._built.adapters["reports"]._programs  # type: ignore[attr-defined]
        with trio.fail_after(30):
            while programs.running:
                await trio.sleep(0.01)
        gone_s = time.monotonic() - start - 2
        pid = int((host.folder / "slow").read_text())
        assert alive(pid)  # as the page says: nobody told it
        with trio.fail_after(30):
            while alive(pid):
                await trio.sleep(0.02)
    print({"late_s": round(late_s, 4), "gone_here_s": round(gone_s, 3)})
    assert late_s < 3


async def test_a_connection_that_is_kept_by_somebody_else(host: Host, tmp_path: Path) -> None:
    socket = tmp_path / "s"
    program = host.program("report_key")
    start = time.monotonic()
    app = host.app("report_key", {"program": [*program[:1], "-S", str(socket), *program[1:]]})
    answer = {"report": {"month": "2026-01", "orders": 17}}
    assert await asked(app) == answer  # by itself, where nobody listens
    alone_s = time.monotonic() - start
    keeper = [*program[:1], "-M", "-N", "-S", str(socket), *program[1:]]
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, keeper, cwd=host.folder, capture_stderr=True)
        nursery.start_soon(run)
        with trio.fail_after(20):
            while not socket.exists():
                await trio.sleep(0.01)
        start = time.monotonic()
        async with app.running():
            for _ in range(5):
                assert (await app.call(request("report", month="2026-01"))).value == answer
        each_s = (time.monotonic() - start) / 5
        slow = host.app("report_key", {"program": [*program[:1], "-S", str(socket), *program[1:]]})
        with pytest.raises(DeadlineExceeded):
            await asked(slow, timeout_s=0.001)
        assert await asked(app) == answer
        assert socket.exists()  # it is still kept
        nursery.cancel_scope.cancel()
    print({"alone_s": round(alone_s, 3), "over_one_that_is_kept_s": round(each_s, 3)})


async def test_control_master_auto_leaves_a_process_behind(host: Host, tmp_path: Path) -> None:
    """Why the page says not to."""
    ssh, *rest = host.program("report_key")
    socket = str(tmp_path / "s")
    auto = ("-o", "ControlMaster=auto", "-o", "ControlPersist=30", "-S", socket)
    await asked(host.app("report_key", {"program": [ssh, *auto, *rest]}))

    async def told(what: str) -> int:
        command = [ssh, "-S", socket, "-O", what, "x"]
        done = await trio.run_process(command, check=False, capture_stderr=True)
        return done.returncode

    assert await told("check") == 0
    assert await told("exit") == 0
    with trio.fail_after(30):
        while await told("check") == 0:
            await trio.sleep(0.02)
