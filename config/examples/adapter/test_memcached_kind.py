"""What a kind of services promises, tested with nothing but public names: copy it for your own.

pytest -o trio_mode=true test_memcached_kind.py
"""

import math
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from memcached_kind import KIND, MemcachedAdapter, MemcachedSettings

from gateway import (
    BadReply,
    ConfigError,
    Context,
    DeadlineExceeded,
    Environment,
    GatewayError,
    InvalidArguments,
    Overloaded,
    Request,
    Unreachable,
    create_app,
)
from gateway.testing import Cancellable, cancel_at_every_checkpoint

SECRET = b"t0ps3cret"
FOUND = b"VALUE k 0 8\r\n" + b'{"n": 1}' + b"\r\nEND\r\n"


class Server(socketserver.ThreadingTCPServer):
    """Says one thing to each request, on loopback; nothing at all if that is `None`.

    It runs in threads: the loop, whose tasks are counted, is the gateway's alone.

    Attributes:
        asked: What came.
        open: Connections that have not ended.
    """

    allow_reuse_address = True

    def __init__(self, says: bytes | None) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.says = says
        self.asked: list[bytes] = []
        self.open: list[Any] = []
        self.port = int(self.server_address[1])


class Connection(socketserver.BaseRequestHandler):
    """One of its connections."""

    server: Server

    def handle(self) -> None:
        self.server.open.append(self)
        try:
            while piece := self.request.recv(65536):
                self.server.asked.append(piece)
                if self.server.says is not None:
                    self.request.sendall(self.server.says)
                    return
        except OSError:
            pass  # a call that was cancelled
        finally:
            self.server.open.remove(self)


@contextmanager
def server(says: bytes | None) -> Iterator[Server]:
    with Server(says) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield made
        finally:
            made.shutdown()
            thread.join()


def written(port: int, **call: Any) -> dict[str, Any]:
    """A gateway whose tool `t` makes one call: as a file would have it."""
    service = {"kind": "memcached", "address": f"127.0.0.1:{port}", "max_value": "1KiB"}
    return {
        "services": {"cache": {**service, "max_connections": 2}},
        "tools": {
            "t": {
                "input": {"properties": {"key": {}}},
                "output": "a",
                "calls": {"a": {"service": "cache", "get": "{key}", **call}},
            }
        },
    }


async def asked(port: int, key: str = "k", timeout_s: float = 5, **call: Any) -> Any:
    app = create_app(written(port, **call), adapters={"memcached": KIND})
    async with app.running():
        request = Request("t", {"key": key}, Context(request_id="test"))
        return (await app.call(request, timeout_s=timeout_s)).value


@pytest.mark.parametrize(
    ("says", "output", "value"),
    [
        (FOUND, "json", {"n": 1}),
        (FOUND, "text", '{"n": 1}'),
        (b"VALUE k 0 0\r\n\r\nEND\r\n", "text", ""),
        (b"END\r\n", "json", None),
    ],
)
async def test_it_replies(says: bytes, output: str, value: Any) -> None:
    with server(says) as peer:
        assert await asked(peer.port, output=output) == value
        assert peer.asked == [b"get k\r\n"]


@pytest.mark.parametrize(
    ("says", "kind"),
    [
        (b"", Unreachable),
        (b"VALUE k 0 20\r\n" + SECRET, Unreachable),
        (b"VALUE k 0 2\r\n" + SECRET + b"\r\nEND\r\n", BadReply),
        (b"VALUE k 0 1\r\n\xff\r\nEND\r\n", BadReply),
        (b"VALUE k 0 2000\r\n", BadReply),
        (SECRET * 100, BadReply),
        (b"ERROR " + SECRET + b"\r\n", BadReply),
        (b"SERVER_ERROR " + SECRET + b"\r\n", Overloaded),
    ],
)
async def test_each_failure_has_its_code_and_no_secrets(
    says: bytes, kind: type[GatewayError]
) -> None:
    with server(says) as peer, pytest.raises(kind) as caught:
        await asked(peer.port)
    assert SECRET.decode() not in str(caught.value.problem())
    assert (caught.value.call, caught.value.service) == ("a", "cache")


async def test_nobody_there() -> None:
    with server(b"") as peer:
        pass
    with pytest.raises(Unreachable) as caught:
        await asked(peer.port)
    assert str(peer.port) not in str(caught.value.problem())


@pytest.mark.parametrize("key", ["", "k\r\nflush_all", "k k", "k\0", "x" * 251])
async def test_what_is_asked_with_is_a_key_and_no_command(key: str) -> None:
    with server(FOUND) as peer:
        with pytest.raises(InvalidArguments):
            await asked(peer.port, key)
        assert peer.asked == []


async def test_the_deadline_is_kept_and_nothing_is_left() -> None:
    with server(None) as peer:
        start = trio.current_time()
        with pytest.raises(DeadlineExceeded):
            await asked(peer.port, timeout_s=0.2)
        assert trio.current_time() - start < 1
        wait_until(lambda: not peer.open)


def test_cancelled_anywhere_it_leaves_nothing() -> None:
    async def emit(_item: Any) -> None:
        raise AssertionError

    with server(FOUND) as peer:
        settings = MemcachedSettings(address=f"127.0.0.1:{peer.port}", max_connections=1)

        async def scenario(cancellable: Cancellable) -> None:
            # The sockets are real: virtual time has to stand still while they are waited for.
            trio.lowlevel.current_clock().autojump_threshold = math.inf
            adapter = MemcachedAdapter(settings, Environment(service="cache", record=print))
            get = adapter.bind(KIND.call(get="{key}"))
            request = Request("a", {"get": "k"}, Context(request_id="test"))
            async with adapter.open():
                await cancellable(lambda: get(request, emit))
                # The one place it has is free again.
                assert (await get(request, emit)).value == '{"n": 1}'

        assert cancel_at_every_checkpoint(scenario) > 5
        wait_until(lambda: not peer.open)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_mistakes_of_the_file_are_told_with_their_lines(tmp_path: Any) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(
        """[services.cache]
kind = "memcached"
address = "nowhere"
max_valeu = "1KiB"
[tools.t]
calls.a = { service = "cache", output = "xml" }
"""
    )
    with pytest.raises(ConfigError) as caught:
        create_app(path, adapters={"memcached": KIND})
    assert str(caught.value).replace(f"{path}:", "line ") == (
        'line 3: services.cache.address: expected an address such as "plc.internal:7000" or '
        '"[fd00::1]:7000", got "nowhere"\n'
        'line 4: services.cache.max_valeu: unknown key; did you mean "max_value"?\n'
        'line 6: tools.t.calls.a.output: expected one of "text", "json", got "xml"'
    )
