"""Redis behind a tool: what goes out, what comes back, which connections serve again."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from gateway.adapters import ADAPTERS
from gateway.adapters.redis.resp import ReplyReader
from gateway.app import Gateway, create_app
from gateway.config.problems import ConfigError
from gateway.core.errors import (
    BadReply,
    DeadlineExceeded,
    GatewayError,
    InvalidArguments,
    Overloaded,
    Rejected,
    Unreachable,
)
from gateway.testing import Cancellable, cancel_at_every_checkpoint
from tests.apps import request
from tests.network import Network, network
from tests.redis_server import HELLO, RedisServer


def written(service: Any = None, /, command: Any = ("GET", "{x}")) -> dict[str, Any]:
    settings = {
        "kind": "redis",
        "url": "redis://cache.test",
        "allow_private": True,
        **(service or {}),
    }
    return {
        "services": {"s": settings},
        "tools": {
            "t": {
                "input": {"properties": {"x": {}}},
                "output": "a",
                "calls": {"a": {"service": "s", "command": list(command)}},
            }
        },
    }


@attrs.frozen
class Scene:
    app: Gateway
    server: RedisServer
    net: Network

    async def ask(self, x: Any = "k", /, timeout_s: float = 10) -> Any:
        return (await self.app.call(request(x=x), timeout_s=timeout_s)).value

    @property
    def asked(self) -> list[list[bytes]]:
        """The commands, without those of logging in."""
        return [c for c in self.server.commands if c[0] not in {b"HELLO", b"SELECT", b"CLIENT"}]

    @property
    def logins(self) -> int:
        return sum(words[0] == b"HELLO" for words in self.server.commands)


@asynccontextmanager
async def scene(
    answer: Any = b"+OK\r\n", service: Any = None, /, *, hello: bytes = HELLO, **keys: Any
) -> AsyncGenerator[Scene]:
    async def says(words: list[bytes]) -> bytes | None:
        given: bytes | None = await answer(words) if callable(answer) else answer
        return given

    server = RedisServer(says, hello)
    async with network() as net:
        net.name("cache.test", "10.0.0.1")
        net.serve("10.0.0.1", 6379, server)
        app = create_app(written(service, **keys))
        async with app.running():
            yield Scene(app, server, net)
        assert not net.open


async def echo(words: list[bytes]) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(words[-1]), words[-1])


# ------------------------------------------------------------------ what goes out


@pytest.mark.parametrize(
    ("x", "sent"),
    [
        ("k", b"k"),
        ("a b", b"a b"),
        ("", b""),
        ("k\r\n*1\r\n$8\r\nFLUSHALL\r\n", b"k\r\n*1\r\n$8\r\nFLUSHALL\r\n"),
        ("\0", b"\0"),
        ("ü", "ü".encode()),
        (7, b"7"),
        (1.5, b"1.5"),
        (True, b"true"),
        (["a", "FLUSHALL"], b'["a","FLUSHALL"]'),
        ({"a": None}, b'{"a":null}'),
    ],
)
async def test_a_placeholder_is_one_argument(
    autojump_clock: MockClock, x: Any, sent: bytes
) -> None:
    async with scene(echo) as s:
        assert await s.ask(x) == sent.decode()
        assert s.asked == [[b"GET", sent]]


async def test_a_placeholder_may_be_a_part_of_one(autojump_clock: MockClock) -> None:
    async with scene(command=["HSET", "user:{x}", "name", "{{x}}"]) as s:
        await s.ask("7 FLUSHALL")
        assert s.asked == [[b"HSET", b"user:7 FLUSHALL", b"name", b"{x}"]]


def test_a_reply_may_come_byte_by_byte() -> None:
    reply = b"%2\r\n$1\r\na\r\n*2\r\n:1\r\n$2\r\n\r\n\r\n+b\r\n%0\r\n"
    reader = ReplyReader(100)
    assert [reader.feed(reply[at : at + 1]) for at in range(len(reply))].index(True) == len(
        reply
    ) - 1
    assert (reader.value, reader.rest) == ({"a": [1, "\r\n"], "b": {}}, 0)


async def test_null_is_no_argument(autojump_clock: MockClock) -> None:
    async with scene() as s:
        with pytest.raises(InvalidArguments, match=r"command\[1\]: expected a value, got null"):
            await s.ask(None)
        assert not s.server.commands


async def test_it_logs_in_as_its_url_says(autojump_clock: MockClock) -> None:
    url = {"url": "redis://so%20me:p%40ss@cache.test:6379/3"}
    async with scene(b"+OK\r\n", url) as s:
        await s.ask()
        assert s.server.commands[0] == [b"HELLO", b"3", b"AUTH", b"so me", b"p@ss"]
        assert [b"SELECT", b"3"] in s.server.commands


# ------------------------------------------------------------------ what comes back


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        (b"+OK\r\n", "OK"),
        (b"$-1\r\n", None),
        (b"_\r\n", None),
        (b"*-1\r\n", None),
        (b":-5\r\n", -5),
        (b"(18446744073709551616\r\n", "18446744073709551616"),
        (b",1.5\r\n", 1.5),
        (b",inf\r\n", "inf"),
        (b"#t\r\n", True),
        (b"=6\r\ntxt:ab\r\n", "ab"),
        (b"$4\r\na\r\nb\r\n", "a\r\nb"),
        (b"$2\r\n\xff\x00\r\n", {"base64": "/wA="}),
        (b"*2\r\n*0\r\n*2\r\n:1\r\n$0\r\n\r\n", [[], [1, ""]]),
        (b"%2\r\n$1\r\na\r\n:1\r\n:7\r\n*1\r\n_\r\n", {"a": 1, "7": [None]}),
        (b"~3\r\n+c\r\n+a\r\n+b\r\n", ["c", "a", "b"]),
        (b"*2\r\n:1\r\n-ERR no\r\n", [1, {"error": "ERR no"}]),
    ],
)
async def test_a_reply_as_json(autojump_clock: MockClock, reply: bytes, value: Any) -> None:
    async with scene(reply) as s:
        assert await s.ask() == value


@pytest.mark.parametrize(
    ("reply", "kind", "status", "says"),
    [
        (b"-ERR value is not an integer", Rejected, 502, "value is not an integer"),
        (b"-ERR unknown command 'X'", Rejected, 502, "unknown command"),
        (b"-WRONGTYPE Operation against", Rejected, 409, "Operation against"),
        (b"-NOAUTH Authentication required.", Rejected, 502, "refuses the gateway"),
        (b"-NOPERM this user", Rejected, 502, "refuses the gateway"),
        (b"-READONLY You can't write", Rejected, 502, "READONLY"),
        (b"-NOSCRIPT No matching script", Rejected, 502, "No matching script"),
        (b"-MYOWN of a script", Rejected, 502, "MYOWN of a script"),
        (b"-LOADING Redis is loading", Overloaded, 503, "cannot answer now"),
        (b"-BUSY Redis is busy", Overloaded, 503, "cannot answer now"),
        (b"-OOM command not allowed", Overloaded, 503, "cannot answer now"),
        (b"-CLUSTERDOWN Hash slot", Overloaded, 503, "cannot answer now"),
        (b"-ERR max number of clients reached", Overloaded, 503, "cannot answer now"),
        (b"-MOVED 3999 10.9.9.9:6381", BadReply, 502, "other nodes"),
        (b"-CROSSSLOT Keys in request", BadReply, 502, "other nodes"),
        (b"?", BadReply, 502, "none of Redis'"),
        (b"$x", BadReply, 502, "none of Redis'"),
        (b"!7\r\nERR own", Rejected, 502, "ERR own"),
        (b":1_", BadReply, 502, "none of Redis'"),
        (b"#x", BadReply, 502, "none of Redis'"),
        (b"$-2", BadReply, 502, "none of Redis'"),
        (b"$1\r\nab", BadReply, 502, "none of Redis'"),
        (b"*1\r\n>1\r\n+a", BadReply, 502, "none of Redis'"),
        (b"(" + b"9" * 5000, BadReply, 502, "none of Redis'"),
        (b"$99999999", BadReply, 502, "over 1048576 bytes"),
    ],
)
async def test_failures_have_their_codes(
    autojump_clock: MockClock, reply: bytes, kind: type[GatewayError], status: int, says: str
) -> None:
    async with scene(reply + b"\r\n") as s:
        with pytest.raises(kind, match=says) as caught:
            await s.ask()
        assert caught.value.status == status
        assert (caught.value.retry_after_s is not None) == (kind is Overloaded)
        assert "10.9.9.9" not in caught.value.detail


@pytest.mark.parametrize(
    ("hello", "kind"),
    [
        (b"-WRONGPASS invalid username-password pair\r\n", Rejected),
        (b"-ERR unknown command 'HELLO'\r\n", Rejected),
        (b"-ERR max number of clients reached\r\n", Overloaded),
        (b"+OK\r\n", BadReply),
        (b"%0\r\n", BadReply),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", BadReply),
        (b"*" + b"9" * 2000, BadReply),
    ],
)
async def test_who_is_not_let_in_is_told(
    autojump_clock: MockClock, hello: bytes, kind: type[GatewayError]
) -> None:
    async with scene(b"+OK\r\n", {"max_reply": "1KiB"}, hello=hello) as s:
        for _ in range(12):  # more often than it has places
            with pytest.raises(kind):
                await s.ask()
        assert not s.net.open


async def test_private_addresses_need_a_yes(autojump_clock: MockClock) -> None:
    async with scene(b"+OK\r\n", {"allow_private": False}) as s:
        with pytest.raises(Unreachable, match="private"):
            await s.ask()
        assert not s.net.connected


# ------------------------------------------------------------------ connections


async def test_a_connection_serves_one_call_after_the_other(autojump_clock: MockClock) -> None:
    async with scene(echo) as s:
        assert [await s.ask(str(n)) for n in range(20)] == [str(n) for n in range(20)]
        assert s.logins == 1


async def test_an_error_leaves_its_connection_good(autojump_clock: MockClock) -> None:
    async with scene(b"-ERR no\r\n") as s:
        for _ in range(3):
            with pytest.raises(Rejected):
                await s.ask()
        assert s.logins == 1


async def test_further_calls_wait_for_a_connection(autojump_clock: MockClock) -> None:
    async def slow(words: list[bytes]) -> bytes:
        await trio.sleep(1)
        return await echo(words)

    found = []
    async with scene(slow, {"max_connections": 2}) as s:

        async def one(n: int) -> None:
            found.append(await s.ask(str(n)))

        async with trio.open_nursery() as nursery:
            for n in range(6):
                nursery.start_soon(one, n)
        assert trio.current_time() == pytest.approx(3)
        assert s.net.most == 2
    assert sorted(found) == [str(n) for n in range(6)]


async def test_a_reply_that_nobody_waited_for_is_nobodys(autojump_clock: MockClock) -> None:
    async def slow(words: list[bytes]) -> bytes:
        await trio.sleep(1)
        return await echo(words)

    async with scene(slow) as s:
        with pytest.raises(DeadlineExceeded):
            await s.ask("first", timeout_s=0.5)
        await trio.testing.wait_all_tasks_blocked()
        assert not s.net.open
        assert await s.ask("second") == "second"
        assert s.logins == 2


def test_cancelled_anywhere_a_late_reply_is_nobodys() -> None:
    """The reply comes when the next command is under way already."""

    async def slow(words: list[bytes]) -> bytes:
        await trio.sleep(0.1)
        return await echo(words)

    async def scenario(cancellable: Cancellable) -> None:
        async with scene(slow, {"max_connections": 1}) as s:
            with contextlib.suppress(AssertionError):  # the server's tasks
                await cancellable(lambda: s.ask("wrong"))
            assert [await s.ask(f"right {n}") for n in range(20)] == [
                f"right {n}" for n in range(20)
            ]
            assert s.net.most == 1

    assert cancel_at_every_checkpoint(scenario) > 10


@pytest.mark.parametrize(
    "after", [None, b"+OK\r\n+more\r\n", b"+OK\r\n+half", b"+OK\r\n>1\r\n+p\r\n"]
)
async def test_a_connection_that_is_no_good_is_not_used_again(
    autojump_clock: MockClock, after: bytes | None
) -> None:
    async def answer(words: list[bytes]) -> bytes | None:
        return after if words[1] == b"bad" else await echo(words)

    async with scene(answer) as s:
        try:
            await s.ask("bad")
        except Unreachable:
            assert after is None
        await trio.testing.wait_all_tasks_blocked()
        assert await s.ask("good") == "good"
        assert s.logins == 2


# ------------------------------------------------------------------ the file


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["SUBSCRIBE", "c"], "SUBSCRIBE cannot be called: it has no reply of its own"),
        (["monitor"], "MONITOR cannot be called"),
        (["MULTI"], "say EVAL with a script"),
        (["WATCH", "k"], "say EVAL with a script"),
        (["SELECT", "1"], "stands in the service's url"),
        (["AUTH", "x"], "stands in the service's url"),
        (["HELLO", "2"], "stands in the service's url"),
        (["QUIT"], "not answered"),
        (["client", "reply", "OFF"], "CLIENT REPLY cannot be called"),
        (["CLIENT", "{x}"], "one word"),
        (["{x}", "k"], "never filled in"),
        (["CONFIG GET", "x"], "one word"),
        (["", "x"], "one word"),
        ([], "expected a list such as"),
    ],
)
def test_what_cannot_be_a_call_is_refused(command: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        create_app(written(command=command))


@pytest.mark.parametrize("url", ["redis://h/x", "redis://h/1?x=1", "http://h", "redis://", "h:1"])
def test_a_url_is_one_of_redis(url: str) -> None:
    with pytest.raises(ConfigError, match="url"):
        create_app(written({"url": url}))


@pytest.mark.parametrize(
    ("command", "only_reads"),
    [
        (["GET", "k"], True),
        (["hgetall", "k"], True),
        (["OBJECT", "encoding", "k"], True),
        (["XINFO", "STREAM", "k"], True),
        (["SET", "k", "v"], False),
        (["BLPOP", "k", "0"], False),
        (["EVAL", "return 1", "0"], False),
        (["OBJECT"], False),
    ],
)
def test_what_only_reads_is_known(command: list[str], only_reads: bool) -> None:
    kind = ADAPTERS["redis"]
    call = kind.call(command=command)
    assert (kind.read_only(call), kind.idempotent(call)) == (only_reads, only_reads)
