"""A real Redis behind a tool: types, commands that wait, what is cancelled, what is left."""

from __future__ import annotations

import contextlib
import math
import shutil
import statistics
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.adapters.redis.commands import READS, fault_of
from gateway.app import Gateway, create_app
from gateway.core.errors import DeadlineExceeded, GatewayError, Rejected, Unreachable
from gateway.testing import Cancellable, cancel_at_every_checkpoint
from tests.apps import request
from tests.documents import ROOT, blocks_of
from tests.end_to_end.processes import free_port
from tests.support import require

pytestmark = pytest.mark.end_to_end

PASSWORD = "s3cret-of-redis"


@contextlib.contextmanager
def running(*options: str) -> Iterator[None]:
    """A server with these options, in a folder of its own; killed at the end."""
    program = shutil.which("redis-server")
    if program is None:
        require("redis-server is not here")
    with tempfile.TemporaryDirectory(prefix="gateway-redis-") as folder:
        server = subprocess.Popen(
            [program, "--bind", "127.0.0.1", "--save", "", "--dir", folder, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            server.kill()
            server.wait(20)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    port = free_port()
    with running("--port", str(port), "--requirepass", PASSWORD):
        found = f"redis://:{PASSWORD}@127.0.0.1:{port}/1"
        trio.run(_await, found)
        yield found


async def _await(url: str) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            assert await asked(app_of(url, "PING")) == "PONG"
            return
        except GatewayError:
            assert time.monotonic() < end
            await trio.sleep(0.05)


def app_of(url: str, *command: str, **service: Any) -> Gateway:
    return create_app(
        {
            "services": {"s": {"kind": "redis", "url": url, **service}},
            "tools": {
                "t": {
                    "input": {"properties": {"x": {}}},
                    "output": "a",
                    "calls": {"a": {"service": "s", "command": list(command)}},
                }
            },
        }
    )


async def asked(app: Gateway, timeout_s: float = 10, /, **arguments: Any) -> Any:
    async with app.running():
        return (await app.call(request(**arguments), timeout_s=timeout_s)).value


async def clients(url: str, doing: str = "") -> int:
    """Connections that the server has, those alone that are in the middle of `doing`."""
    said = await asked(app_of(url, "CLIENT", "LIST"))
    return sum(
        f"cmd={doing}" in line and "cmd=client|list" not in line for line in said.split("\n")
    )


async def gone(url: str, doing: str = "") -> None:
    with trio.fail_after(30):
        while await clients(url, doing):
            await trio.sleep(0.005)


async def test_values_are_json(url: str) -> None:
    await asked(app_of(url, "HSET", "user:{x}", "name", "Amber", "n", "{x}"), x=7)
    assert await asked(app_of(url, "HGETALL", "user:{x}"), x=7) == {"name": "Amber", "n": "7"}
    await asked(app_of(url, "SADD", "set", "b", "a"))
    assert sorted(await asked(app_of(url, "SMEMBERS", "set"))) == ["a", "b"]
    await asked(app_of(url, "ZADD", "zset", "1.5", "a"))
    assert await asked(app_of(url, "ZRANGE", "zset", "0", "-1", "WITHSCORES")) == [["a", 1.5]]
    assert await asked(app_of(url, "GET", "none")) is None
    script = "return {{1, 'a', {{3}}, redis.error_reply('E no')}}"
    assert await asked(app_of(url, "EVAL", script, "0")) == [1, "a", [3], {"error": "E no"}]
    await asked(app_of(url, "SET", "raw", "{x}"), x="ü")
    assert await asked(app_of(url, "GETRANGE", "raw", "0", "0")) == {"base64": "ww=="}


@pytest.mark.parametrize(
    "x", ["k\r\nFLUSHALL\r\n", "k FLUSHALL", "'; FLUSHALL", "*1\r\n$8\r\nFLUSHALL\r\n", "\0", "*"]
)
async def test_what_is_asked_with_is_data(url: str, x: str) -> None:
    await asked(app_of(url, "SET", "kept", "1"))
    assert await asked(app_of(url, "SET", "{x}", "{x}"), x=x) == "OK"
    assert await asked(app_of(url, "GET", "{x}"), x=x) == x
    assert await asked(app_of(url, "GET", "kept")) == "1"


async def test_errors_have_their_codes_and_no_secrets(url: str) -> None:
    await asked(app_of(url, "SET", "text", "x"))
    with pytest.raises(Rejected, match="wrong kind") as caught:
        await asked(app_of(url, "LPUSH", "text", "1"))
    assert caught.value.status == 409
    with pytest.raises(Rejected, match="unknown command"):
        await asked(app_of(url, "NOSUCH"))
    for wrong in (url.replace(PASSWORD, "wr0ng-secret"), url.replace(f":{PASSWORD}@", "")):
        with pytest.raises(Rejected, match="refuses the gateway") as caught:
            await asked(app_of(wrong, "PING"))
        assert "wr0ng" not in str(caught.value.problem())
    with pytest.raises(Unreachable):
        await asked(app_of(f"redis://:{PASSWORD}@127.0.0.1:{free_port()}", "PING"))


async def test_a_command_that_waits_ends_with_its_call(url: str) -> None:
    app = app_of(url, "BLPOP", "{x}", "0", max_connections=2)
    late, left = [], []
    async with app.running():
        for _ in range(20):
            start = time.monotonic()
            with pytest.raises(DeadlineExceeded):
                await app.call(request(x="nothing"), timeout_s=0.1)
            late.append(time.monotonic() - start - 0.1)
            await gone(url, "blpop")
            left.append(time.monotonic() - start - 0.1 - late[-1])
        await asked(app_of(url, "RPUSH", "something", "1"))
        assert (await app.call(request(x="something"))).value == ["something", "1"]
    print({"late_max_s": round(max(late), 4), "gone_max_s": round(max(left), 4)})
    assert statistics.median(late) < 1
    assert max(late) < 5
    await gone(url)


def test_cancelled_anywhere_no_reply_is_anothers(url: str) -> None:
    """After a cancellation at each point, many calls, several at once: each has its own answer."""
    rounds = 0

    async def scenario(cancellable: Cancellable) -> None:
        nonlocal rounds
        rounds += 1
        clock: Any = trio.lowlevel.current_clock()
        clock.autojump_threshold = math.inf  # Redis answers in real time
        app = app_of(url, "ECHO", "{x}", max_connections=2)
        wrong: list[Any] = []

        async def some(first: int) -> None:
            for number in range(first, first + 250):
                got = (await app.call(request(x=f"right {number}"))).value
                if got != f"right {number}":
                    wrong.append(got)

        async with app.running():
            with contextlib.suppress(AssertionError):  # a connection that is whole is kept
                await cancellable(lambda: app.call(request(x="wrong")))
            adapter: Any = app._built.adapters["s"]  # type: ignore[attr-defined]
            assert adapter.taken == 0
            async with trio.open_nursery() as nursery:
                for first in range(4):
                    nursery.start_soon(some, first * 250)
        assert not wrong

    points = cancel_at_every_checkpoint(scenario)
    print({"points": points, "calls": rounds * 1000})
    assert points > 5


async def test_clients_that_leave_leave_nothing(url: str) -> None:
    app = app_of(url, "ECHO", "{x}", max_connections=4)
    wrong: list[Any] = []

    async def one(number: int) -> None:
        with trio.move_on_after(number % 7 * 0.0004), contextlib.suppress(GatewayError):
            got = (await app.call(request(x=str(number)), timeout_s=2)).value
            if got != str(number):
                wrong.append(got)

    async with app.running():
        for _ in range(25):
            async with trio.open_nursery() as nursery:
                for number in range(40):
                    nursery.start_soon(one, number)
        assert not wrong
        with trio.fail_after(30):
            while await clients(url) > 4:
                await trio.sleep(0.01)
        assert (await app.call(request(x="5"))).value == "5"
    await gone(url)


async def test_a_server_that_comes_back_is_asked_again() -> None:
    port = free_port()
    app = app_of(f"redis://127.0.0.1:{port}", "ECHO", "{x}")

    async def until_there() -> None:
        with trio.fail_after(60):
            while True:
                with contextlib.suppress(GatewayError):
                    assert (await app.call(request(x="1"))).value == "1"
                    return
                await trio.sleep(0.02)

    async with app.running():
        with running("--port", str(port)):
            await until_there()
        with pytest.raises(Unreachable):
            await app.call(request(x="1"))
        with running("--port", str(port)):
            await until_there()


async def test_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    await trio.run_process(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", key, "-out", certificate, "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
        ],
        capture_stderr=True,
    )
    port = free_port()
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key))
    options = ("--port", "0", "--tls-port", str(port), *files, "--tls-auth-clients", "no")
    with running(*options):
        with trio.fail_after(60):
            while True:
                try:
                    (await trio.open_tcp_stream("127.0.0.1", port)).socket.close()
                    break
                except OSError:
                    await trio.sleep(0.05)
        with pytest.raises(Unreachable, match="TLS"):
            await asked(app_of(f"rediss://localhost:{port}", "PING"))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert await asked(app_of(f"rediss://localhost:{port}", "PING")) == "PONG"


async def test_the_how_to_works(url: str) -> None:
    (written,) = blocks_of(ROOT / "docs" / "how-to" / "ask-redis.md")
    app = create_app(tomllib.loads(written.text.replace("redis://127.0.0.1:6379/0", url)))

    async def called(tool: str, **arguments: Any) -> Any:
        return (await app.call(request(tool, **arguments))).value

    for command in (
        ("HSET", "user:8", "name", "Amber"),
        ("RPUSH", "cart:8", "lamp"),
        ("SET", "stock:lamp", "5"),
        ("RPUSH", "jobs", "sweep"),
    ):
        await asked(app_of(url, *command))
    async with app.running():
        assert await called("user", id=8) == {"profile": {"name": "Amber"}, "cart": ["lamp"]}
        assert await called("take_stock", sku="lamp", count=3) == {"left": 2}
        assert await called("take_stock", sku="lamp", count=3) == {"left": None}
        assert await called("next_job") == "sweep"


async def test_what_only_reads_is_what_redis_says(url: str) -> None:
    commands = await asked(app_of(url, "COMMAND", max_reply="8MiB"))
    known, only_read = set(), set()

    def note(command: list[Any]) -> None:
        name, flags, parts = command[0].upper().replace("|", " "), command[2], command[9]
        for part in parts:
            note(part)
        if not parts:
            known.add(name)
            if "readonly" in flags:
                only_read.add(name)

    for command in commands:
        note(command)
    assert READS & known == only_read
    # Later than the oldest that we are tried before: what it would have to know already.
    assert READS - known <= {"HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME"}
    states = {"SUBSCRIBE", "MONITOR", "MULTI", "SELECT", "AUTH", "CLIENT REPLY", "HELLO", "RESET"}
    assert states <= {name for name in known if fault_of(name.split())}
