"""The client over a network in memory: what it sends, streams, sends again and refuses."""

from __future__ import annotations

import errno
import gzip
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway.core.errors import (
    BadReply,
    DeadlineExceeded,
    GatewayError,
    Internal,
    InvalidArguments,
    Unreachable,
)
from gateway.net.client import ClientSettings, HttpReply, HttpRequest, Origin, open_client
from gateway.net.guard import AddressGuard
from gateway.net.http1 import Http1Client
from gateway.net.redirects import Redirecting
from gateway.net.request import MAX_TARGET, head_of
from gateway.testing import Cancellable, cancel_at_every_checkpoint
from tests.http_service import Received, Scripted, http, raw
from tests.network import Network, network

ADDRESS = "10.0.0.1"
API = Origin.of("http://api.test")
GET = HttpRequest("GET", API, "/x")
POST = HttpRequest("POST", API, "/x", content=b"body")


class Bench:
    """A client of one service, on a network of its own."""

    def __init__(self, client: Any, net: Network) -> None:
        self.client = client
        self.net = net

    @property
    def pool(self) -> Any:
        client = self.client
        return client.pool if isinstance(client, Http1Client) else client.client.pool


@asynccontextmanager
async def bench(service: Any, **settings: Any) -> AsyncGenerator[Bench]:
    """A client of `service` at `http://api.test`; nothing may be left of it."""
    kept = ClientSettings(
        guard=AddressGuard(allow_private=True),
        **{
            "max_connections": 2,
            "max_reply_bytes": 1000,
            "budget_header": "x-budget",
            "tls": False,
            **settings,
        },
    )
    async with network() as net:
        net.name("api.test", ADDRESS)
        net.serve(ADDRESS, 80, service)
        async with open_client(kept) as client:
            made = Bench(client, net)
            yield made
            assert (made.pool.taken, made.pool.waiting) == (0, 0)
            assert len(net.open) == made.pool.idle
        assert not net.open


# ------------------------------------------------------------------ origins


@pytest.mark.parametrize(
    ("url", "text", "port"),
    [
        ("http://api.test", "http://api.test", 80),
        ("https://API.test/v1?x", "https://api.test", 443),
        ("http://api.test:80/", "http://api.test", 80),
        ("https://api.test:80/", "https://api.test:80", 80),
        ("http://u:p@api.test:8080", "http://api.test:8080", 8080),
        ("http://[::1]:8080/", "http://[::1]:8080", 8080),
        ("https://[2001:DB8::1]", "https://[2001:db8::1]", 443),
        ("https://b\u00fccher.test", "https://xn--bcher-kva.test", 443),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, text: str, port: int) -> None:
    origin = Origin.of(url)
    assert (str(origin), origin.port) == (text, port)
    assert origin == Origin.of(text)
    assert hash(origin) == hash(Origin.of(text))


@pytest.mark.parametrize(
    "url",
    [
        *("", "api.test", "/x", "ftp://api.test", "http://", "http://:80", "http://[::1"),
        *("http://a:0", "http://a:99999", "http://\u00fc" + "a" * 70),
    ],
)
def test_what_is_no_origin_is_refused(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - urllib's own among them
        Origin.of(url)


# ------------------------------------------------------------------ heads


def test_a_head_says_what_is_asked() -> None:
    request = HttpRequest("GET", API, "/x?y=1", (("x-a", "1"), ("X-B", ""), ("x-a", "\xe9")))
    lines = head_of(request, "x-budget").split("\r\n")
    assert lines[:5] == ["GET /x?y=1 HTTP/1.1", "host: api.test", "x-a: 1", "X-B: ", "x-a: \xe9"]
    assert lines[5:7] == ["accept: */*", "accept-encoding: identity"]
    assert lines[7:] == ["user-agent: trio-gateway", ""]


def test_the_callers_headers_stand_in_for_the_clients() -> None:
    own = {"Host": "other.test", "ACCEPT": "a/b", "Accept-Encoding": "gzip", "user-agent": "me"}
    head = head_of(HttpRequest("GET", API, "/", tuple(own.items())), "x-budget")
    assert head.split("\r\n")[1:] == [*(f"{name}: {own[name]}" for name in own), ""]


@pytest.mark.parametrize(
    ("method", "content", "length", "line"),
    [
        ("GET", None, None, None),
        ("DELETE", None, None, None),
        ("POST", None, None, "content-length: 0"),
        ("PUT", None, None, "content-length: 0"),
        ("POST", b"", None, "content-length: 0"),
        ("GET", b"abc", None, "content-length: 3"),
        ("POST", "pieces", None, "transfer-encoding: chunked"),
        ("POST", "pieces", 7, "content-length: 7"),
        ("POST", "pieces", 0, "content-length: 0"),
    ],
)
def test_the_client_frames_the_body(
    method: str, content: Any, length: int | None, line: str | None
) -> None:
    request = HttpRequest(method, API, "/", (), content, length)
    framing = [
        one
        for one in head_of(request, "x-budget").split("\r\n")
        if one.startswith(("content-length", "transfer-encoding"))
    ]
    assert framing == ([] if line is None else [line])


@pytest.mark.parametrize(
    "target",
    [
        *("", "x", "http://api.test/", "*", "/a b", "/a\r\nx: y", "/a\n", "/a\0", "/\xe9"),
        *("/\u20ac", "/\x7f", "/\t", "/a#b", "/" + "a" * MAX_TARGET),
    ],
)
def test_a_target_that_is_none_is_the_callers_mistake(target: str) -> None:
    with pytest.raises(InvalidArguments, match="not called"):
        head_of(HttpRequest("GET", API, target), "x-budget")


BREAKING = [
    *(("GET", "x-a", value) for value in ("a\r\nx: y", "a\n", "a\r", "\0", "\x7f", "\u20ac")),
    *(("GET", name, "1") for name in ("", "a b", "a:", "a\r\nb", "a\0", "\xe9", ":a", " a", "a\t")),
    *((method, "x-a", "1") for method in ("", "G T", "GET\r\n", "GET /", "\xe9", "G\0T")),
    *(("GET", name, "1") for name in ("Content-Length", "transfer-encoding")),
]


@pytest.mark.parametrize(("method", "name", "value"), BREAKING)
def test_nothing_breaks_a_request_in_two(method: str, name: str, value: str) -> None:
    with pytest.raises(Internal):
        head_of(HttpRequest(method, API, "/", ((name, value),)), "x-budget")


async def test_what_is_refused_takes_no_connection() -> None:
    service = Scripted(http())
    async with bench(service) as made:
        for request in (HttpRequest("GET", API, "x"), HttpRequest("GET", API, "/", (("a\n", ""),))):
            with pytest.raises(GatewayError):
                await made.client.send(request)
            with pytest.raises(GatewayError):
                async with made.client.stream(request):
                    raise AssertionError
        assert not made.net.connected


async def test_head_and_body_leave_in_one_write(autojump_clock: MockClock) -> None:
    writes: list[bytes] = []

    async def service(stream: trio.abc.Stream) -> None:
        writes.append(bytes(await stream.receive_some()))
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async with bench(service) as made:
        await made.client.send(POST)
    assert len(writes) == 1
    assert writes[0].endswith(b"content-length: 4\r\n\r\nbody")


# ------------------------------------------------------------------ the budget


@pytest.mark.parametrize("how", ["send", "stream"])
async def test_what_is_left_is_told_in_the_clients_own_header(
    autojump_clock: MockClock, how: str
) -> None:
    service = Scripted(http())
    request = HttpRequest("GET", API, "/", (("X-Budget", "99999"), ("x-other", "1")))
    async with bench(service) as made:
        with trio.fail_after(2):
            await ask(made, request, how)
        await ask(made, request, how)
    assert [one.header("x-budget") for one in service.requests] == ["2000", None]
    assert service.requests[0].header("x-other") == "1"


@pytest.mark.parametrize("how", ["send", "stream"])
async def test_under_a_millisecond_nothing_is_sent_and_the_connection_is_kept(
    autojump_clock: MockClock, how: str
) -> None:
    service = Scripted(http())
    async with bench(service) as made:
        await ask(made, GET, how)
        with trio.move_on_after(0.0009) as scope, pytest.raises(DeadlineExceeded):
            await ask(made, GET, how)
        assert not scope.cancelled_caught
        assert made.pool.idle == 1
    assert len(service.requests) == 1


async def ask(made: Bench, request: HttpRequest, how: str) -> bytes:
    if how == "send":
        return (await made.client.send(request)).body  # type: ignore[no-any-return]
    async with made.client.stream(request) as stream:
        return await whole(stream)


async def whole(stream: Any) -> bytes:
    body = b""
    while piece := await stream.receive():
        body += piece
    return body


# ------------------------------------------------------------------ sent again


def closing_after(answers: int, then: Any = None) -> Any:
    """Answers so many requests on each connection, then breaks it while the next is under way."""

    async def service(stream: trio.abc.Stream) -> None:
        for _ in range(answers):
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await stream.receive_some()
        if then is not None:
            await stream.send_all(then)

    return service


IDEMPOTENT = [
    (HttpRequest(method, API, "/"), True) for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")
] + [(POST, False), (HttpRequest("PATCH", API, "/"), False)]


@pytest.mark.parametrize(("request_", "again"), IDEMPOTENT)
@pytest.mark.parametrize("how", ["send", "stream"])
async def test_what_breaks_before_a_reply_is_sent_again_if_it_may_be(
    autojump_clock: MockClock, request_: HttpRequest, again: bool, how: str
) -> None:
    async with bench(closing_after(1)) as made:
        await ask(made, GET, how)
        if again:
            await ask(made, request_, how)
        else:
            with pytest.raises(Unreachable):
                await ask(made, request_, how)
        assert len(made.net.connected) == 1 + again


async def test_it_is_sent_again_once(autojump_clock: MockClock) -> None:
    async with bench(closing_after(1)) as made:
        await made.client.send(GET)
        made.net.serve(ADDRESS, 80, closing_after(0))
        with pytest.raises(Unreachable):
            await made.client.send(GET)
        assert len(made.net.connected) == 2


async def test_a_new_connection_that_breaks_is_not_tried_again(autojump_clock: MockClock) -> None:
    async with bench(closing_after(0)) as made:
        with pytest.raises(Unreachable):
            await made.client.send(GET)
        assert len(made.net.connected) == 1


@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_what_a_reply_has_begun_to_is_not_sent_again(
    autojump_clock: MockClock, begun: bytes
) -> None:
    async with bench(closing_after(1, begun)) as made:
        await made.client.send(GET)
        with pytest.raises(Unreachable):
            await made.client.send(GET)
        assert len(made.net.connected) == 1


async def test_what_cannot_be_sent_again_is_unreachable(autojump_clock: MockClock) -> None:
    async with bench(closing_after(1)) as made:
        await made.client.send(GET)
        made.net.serve(ADDRESS, 80, OSError(errno.ECONNREFUSED, "Connection refused"))
        with pytest.raises(Unreachable, match="Connection refused"):
            await made.client.send(GET)


async def test_pieces_are_not_sent_again(autojump_clock: MockClock) -> None:
    async with bench(closing_after(1)) as made:
        await made.client.send(GET)
        request = HttpRequest("PUT", API, "/", (), pieces(b"a"), 1)
        with pytest.raises(Unreachable):
            await made.client.send(request)
        assert len(made.net.connected) == 1


# ------------------------------------------------------------------ streams


async def pieces(*values: bytes, then: Exception | None = None) -> AsyncIterator[bytes]:
    for value in values:
        await trio.lowlevel.checkpoint()
        yield value
    if then is not None:
        raise then


@pytest.mark.parametrize("how", ["send", "stream"])
@pytest.mark.parametrize("length", [None, 6])
async def test_pieces_go_out_as_they_come(
    autojump_clock: MockClock, how: str, length: int | None
) -> None:
    service = Scripted(http())
    request = HttpRequest("POST", API, "/", (), pieces(b"abc", b"", b"def"), length)
    async with bench(service) as made:
        await ask(made, request, how)
        assert made.pool.idle == 1
    assert service.requests[0].body == b"abcdef"
    framing = (None, "chunked") if length is None else ("6", None)
    (received,) = service.requests
    assert (received.header("content-length"), received.header("transfer-encoding")) == framing


@pytest.mark.parametrize("how", ["send", "stream"])
@pytest.mark.parametrize("length", [1, 5])
async def test_pieces_that_amount_to_something_else_are_a_bug(
    autojump_clock: MockClock, how: str, length: int
) -> None:
    async with bench(Scripted(http())) as made:
        with pytest.raises(Internal, match="announced"):
            await ask(made, HttpRequest("POST", API, "/", (), pieces(b"ab"), length), how)
        assert made.pool.idle == 0


@pytest.mark.parametrize("how", ["send", "stream"])
async def test_what_the_pieces_raise_leaves_bare(autojump_clock: MockClock, how: str) -> None:
    async with bench(Scripted(http())) as made:
        request = HttpRequest("POST", API, "/", (), pieces(b"ab", then=KeyError("mine")))
        with pytest.raises(KeyError, match="mine"):
            await ask(made, request, how)


async def test_what_is_raised_inside_leaves_bare(autojump_clock: MockClock) -> None:
    async with bench(Scripted(http(200, "abc"))) as made:
        for content in (None, pieces(b"ab")):
            with pytest.raises(KeyError):
                async with made.client.stream(HttpRequest("POST", API, "/", (), content)):
                    raise KeyError


async def echo(stream: trio.abc.Stream, *, header: bytes = b"") -> None:
    """Answers at once, with each chunk as it comes."""
    _, _, rest = bytes(await stream.receive_some()).partition(b"\r\n\r\n")
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n" + header
    await stream.send_all(head + b"\r\n" + rest)
    while data := await stream.receive_some():
        await stream.send_all(data)


async def test_a_reply_comes_while_the_request_goes(autojump_clock: MockClock) -> None:
    send, receive = trio.open_memory_channel[bytes](0)

    async def from_channel() -> AsyncIterator[bytes]:
        async for value in receive:
            yield value

    async with bench(echo) as made:
        async with made.client.stream(HttpRequest("POST", API, "/", (), from_channel())) as stream:
            for number in range(5):
                await send.send(b"%d" % number)
                assert await stream.receive() == b"%d" % number
            await send.aclose()
            assert await stream.receive() == b""
            await wait_all_tasks_blocked()
        assert made.pool.idle == 1


async def test_a_service_may_answer_before_it_has_the_whole_body(
    autojump_clock: MockClock,
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            await trio.sleep(1)
            yield b"x" * 1000

    async def refuse(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 413 X\r\ncontent-length: 2\r\n\r\nno")
        await trio.sleep_forever()

    async with bench(refuse) as made:
        before = trio.lowlevel.current_statistics().tasks_living
        async with made.client.stream(HttpRequest("POST", API, "/", (), endless())) as stream:
            assert stream.status == 413
            assert await whole(stream) == b"no"
        assert trio.lowlevel.current_statistics().tasks_living == before + 1  # the service's
        assert made.pool.idle == 0


@pytest.mark.parametrize("size", [10, 1_000_000])
async def test_a_service_may_answer_and_close_before_it_has_a_whole_body(
    autojump_clock: MockClock, size: int
) -> None:
    async def refuse(stream: trio.abc.Stream) -> None:
        await stream.receive_some(10)
        await stream.send_all(b"HTTP/1.1 413 X\r\ncontent-length: 2\r\n\r\nno")

    async with bench(refuse) as made:
        reply = await made.client.send(HttpRequest("POST", API, "/", (), b"x" * size))
        assert (reply.status, reply.body) == (413, b"no")
        await wait_all_tasks_blocked()


async def test_a_stream_gives_headers_and_pieces_as_they_came(autojump_clock: MockClock) -> None:
    packed = gzip.compress(b"x" * 5000)
    head = b"HTTP/1.1 302 X\r\nSet-Cookie: a\r\nlocation: /y\r\nset-cookie: b\r\n"
    head += b"content-encoding: gzip\r\n"
    body = b"content-length: %d\r\n\r\n%b" % (len(packed), packed)
    async with (
        bench(Scripted(raw(head + body)), follow_redirects=True, max_reply_bytes=1) as made,
        made.client.stream(GET) as stream,
    ):
        assert stream.status == 302
        assert list(stream.raw_headers) == [
            *((b"set-cookie", b"a"), (b"location", b"/y"), (b"set-cookie", b"b")),
            (b"content-encoding", b"gzip"),
            (b"content-length", b"%d" % len(packed)),
        ]
        assert await whole(stream) == packed


async def test_nothing_is_read_ahead(autojump_clock: MockClock) -> None:
    sent = 0

    async def endless(_request: Received, stream: trio.abc.Stream) -> None:
        nonlocal sent
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send_all(b"x" * 100)
            sent += 1
            await trio.sleep(1)

    async with bench(Scripted(endless)) as made, made.client.stream(GET) as stream:
        for number in range(1, 4):
            assert await stream.receive() == b"x" * 100
            assert sent == number
        await trio.sleep(9.5)
        (connection,) = made.net.open
        assert connection.is_readable()
        assert len(await stream.receive()) > 500


@pytest.mark.parametrize("pieces_left", [True, False])
async def test_leaving_before_the_end_closes_the_connection(
    autojump_clock: MockClock, pieces_left: bool
) -> None:
    service = Scripted(raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"))
    async with bench(service) as made:
        async with made.client.stream(GET) as stream:
            if not pieces_left:
                assert await stream.receive() == b"half"
        assert not made.net.open


async def test_leaving_after_the_end_gives_it_back(autojump_clock: MockClock) -> None:
    service = Scripted(http(200, "abc"))
    async with bench(service) as made:
        for _ in range(3):
            async with made.client.stream(GET) as stream:
                assert await whole(stream) == b"abc"
                assert await stream.receive() == b""
        assert service.accepted == 1


async def test_a_stream_that_was_left_reads_nobody_elses_reply(autojump_clock: MockClock) -> None:
    async with bench(Scripted(http(200, "abc"))) as made:
        async with made.client.stream(GET) as stream:
            await whole(stream)
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive()


@pytest.mark.parametrize("how", ["send", "stream"])
async def test_a_stream_that_breaks_is_unreachable(autojump_clock: MockClock, how: str) -> None:
    half = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", close=True)
    async with bench(Scripted(half)) as made:
        with pytest.raises(Unreachable, match="half-way"):
            await ask(made, GET, how)


# ------------------------------------------------------------------ whole replies


async def test_a_body_that_announces_too_much_is_not_read(autojump_clock: MockClock) -> None:
    answer = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n")
    async with bench(Scripted(answer)) as made:
        with pytest.raises(BadReply, match="over 1000 bytes"):
            await made.client.send(GET)


async def test_a_reply_to_head_says_more_than_it_has(autojump_clock: MockClock) -> None:
    service = Scripted(http(200, length=9999, content_encoding="br"))
    async with bench(service) as made:
        for _ in range(2):
            reply = await made.client.send(HttpRequest("HEAD", API, "/"))
            assert (reply.body, reply.header("content-length")) == (b"", "9999")
    assert service.accepted == 1


@pytest.mark.parametrize(
    ("location", "kept"),
    [("https://api.test/y", {"authorization", "cookie"}), ("https://api.test:444/y", set())],
)
async def test_secrets_go_along_to_the_same_host_by_https(location: str, kept: set[str]) -> None:
    sent: list[HttpRequest] = []

    class Once:
        async def send(self, request: HttpRequest, /) -> Any:
            sent.append(request)
            answer = {b"location": location.encode()} if len(sent) == 1 else {}
            return HttpReply(302 if len(sent) == 1 else 200, answer, b"")

    headers = (("Authorization", "s"), ("cookie", "s"), ("host", "h"), ("traceparent", "t"))
    request = HttpRequest("POST", API, "/x", (*headers, ("content-type", "a/b")), b"body")
    await Redirecting(Once()).send(request)  # type: ignore[arg-type]
    assert {name.lower() for name, _ in sent[1].headers} == {"traceparent", *kept}
    assert (sent[1].method, sent[1].content, sent[1].target) == ("GET", None, "/y")


# ------------------------------------------------------------------ cancelled


SENT = [
    GET,
    POST,
    HttpRequest("PUT", API, "/", (), b"x" * 200_000),
]


@pytest.mark.parametrize("request_", SENT, ids=lambda one: one.method)
@pytest.mark.parametrize("how", ["send", "stream"])
@pytest.mark.parametrize("warm", [False, True])
def test_cancelled_anywhere_it_leaves_nothing(request_: HttpRequest, how: str, warm: bool) -> None:
    async def scenario(cancellable: Cancellable) -> None:
        # A warm connection is closed as soon as it is used: the request is sent again.
        service = (
            closing_after(1) if warm else Scripted(http(200, "abc", after_s=1, connection="close"))
        )
        async with bench(service) as made:
            if warm:
                await made.client.send(GET)

            async def call() -> None:
                try:
                    await ask(made, request_, how)
                except Unreachable:
                    assert warm

            # The service sees it a few steps later.
            await cancellable(call, settle_s=5)

    assert cancel_at_every_checkpoint(scenario) > 5


def test_a_stream_both_ways_cancelled_anywhere_leaves_nothing() -> None:
    async def scenario(cancellable: Cancellable) -> None:
        async with bench(partial(echo, header=b"connection: close\r\n")) as made:

            async def call() -> None:
                request = HttpRequest("POST", API, "/", (), pieces(b"a", b"b", b"c"))
                async with made.client.stream(request) as stream:
                    await whole(stream)

            await cancellable(call, settle_s=5)

    assert cancel_at_every_checkpoint(scenario) > 10
