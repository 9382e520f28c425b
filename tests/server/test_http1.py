"""HTTP/1 as a client sees it, over connections in memory."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from gateway.server.bounds import ConnectionConfig
from gateway.server.connection import Connection, Shared

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CONFIG: Any = {
    "header_timeout": 5.0,
    "body_timeout": 10.0,
    "send_timeout": 10.0,
    "keep_alive": 75.0,
    "max_headers": 8 << 10,
    "max_message": 1 << 20,
}
START = {"type": "http.response.start", "status": 200, "headers": []}
END = b"GET /end HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


def body(data: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def answered(
    app: Callable[[Any, Any, Any], Awaitable[None]], *pieces: bytes, end: bool = True
) -> bytes:
    """All that a client hears that sends `pieces`, waiting after each, and then no more."""
    ours, theirs = trio.testing.memory_stream_pair()
    heard = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Connection(app, Shared.of(ConnectionConfig(**CONFIG)), ours).run)
        for piece in pieces:
            await theirs.send_all(piece)
            await trio.testing.wait_all_tasks_blocked()
        if end:
            await theirs.send_eof()
        try:
            while piece := await theirs.receive_some():
                heard += piece
        except trio.BrokenResourceError:
            heard += b"<reset>"
    return heard


def head_of(heard: bytes) -> tuple[bytes, bytes]:
    head, _, rest = heard.partition(b"\r\n\r\n")
    return head.lower(), rest


def saying(*messages: dict[str, Any]) -> Callable[[Any, Any, Any], Awaitable[None]]:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if scope["path"] == "/end":
            await send(START)
            await send(body(b"end"))
            return
        for message in messages:
            await send(message)

    return app


GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def test_a_whole_answer_has_its_length() -> None:
    head, rest = head_of(await answered(saying(START, body(b"hello")), GET))
    assert b"content-length: 5" in head
    assert b"date: " in head
    assert rest == b"hello"


async def test_an_answer_in_pieces_comes_in_chunks() -> None:
    app = saying(START, body(b"a" * 10, more=True), body(more=True), body(b"b"))
    head, rest = head_of(await answered(app, GET))
    assert b"transfer-encoding: chunked" in head
    assert rest == b"a\r\naaaaaaaaaa\r\n1\r\nb\r\n0\r\n\r\n"


async def test_an_answer_in_pieces_whose_length_is_said_comes_as_it_is() -> None:
    start = {**START, "headers": [(b"Content-Length", b"4")]}
    head, rest = head_of(await answered(saying(start, body(b"ab", more=True), body(b"cd")), GET))
    assert b"content-length: 4" in head
    assert b"chunked" not in head
    assert rest == b"abcd"


async def test_on_http_1_0_an_answer_in_pieces_ends_with_the_connection() -> None:
    app = saying(START, body(b"ab", more=True), body(b"cd"))
    heard = await answered(app, b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n" + END)
    head, rest = head_of(heard)
    assert b"connection: close" in head
    assert b"chunked" not in head
    assert rest == b"abcd"


async def test_on_http_1_0_a_connection_is_kept_if_asked_for() -> None:
    app = saying(START, body(b"ab"))
    heard = await answered(app, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + END)
    assert b"connection: keep-alive" in head_of(heard)[0]
    assert heard.endswith(b"end")
    assert not (await answered(app, b"GET / HTTP/1.0\r\n\r\n" + END)).endswith(b"end")


@pytest.mark.parametrize("more", [True, False])
async def test_the_answer_to_head_has_no_body(*, more: bool) -> None:
    messages = [START, body(b"hello", more=more), *([body(b"!")] if more else [])]
    heard = await answered(saying(*messages), GET.replace(b"GET", b"HEAD") + END)
    head, rest = head_of(heard)
    assert (b"transfer-encoding: chunked" if more else b"content-length: 5") in head
    assert rest.startswith(b"HTTP/1.1 200 OK")
    assert heard.endswith(b"end")


@pytest.mark.parametrize("status", [204, 304])
async def test_some_statuses_have_no_body(status: int) -> None:
    heard = await answered(saying({**START, "status": status}, body(b"ignored")), GET + END)
    head, rest = head_of(heard)
    assert b"content-length" not in head
    assert rest.startswith(b"HTTP/1.1 200 OK")


async def test_a_status_that_has_no_name_is_sent_as_it_is() -> None:
    heard = await answered(saying({**START, "status": 299}, body()), GET)
    assert heard.startswith(b"HTTP/1.1 299 \r\n")


@pytest.mark.parametrize(
    ("name", "value"), [(b"a", b"b\r\nc: d"), (b"a", b"b\nc"), (b"a\r\nb", b"c"), (b"a:", b"b")]
)
async def test_an_application_cannot_split_its_answer(name: bytes, value: bytes) -> None:
    heard = await answered(saying({**START, "headers": [(name, value)]}, body()), GET)
    assert heard.startswith(b"HTTP/1.1 500 ")


async def test_what_frames_an_answer_is_the_servers_to_say() -> None:
    theirs = [(b"Transfer-Encoding", b"gzip"), (b"Keep-Alive", b"1"), (b"Upgrade", b"x")]
    head, rest = head_of(await answered(saying({**START, "headers": theirs}, body(b"a")), GET))
    assert not any(word in head for word in (b"gzip", b"keep-alive", b"upgrade"))
    assert rest == b"a"


async def test_an_application_may_end_the_connection() -> None:
    app = saying({**START, "headers": [(b"connection", b"close")]}, body(b"a"))
    heard = await answered(app, GET + END)
    assert b"connection: close" in heard
    assert heard.endswith(b"\r\n\r\na")


async def test_a_client_may_end_the_connection() -> None:
    heard = await answered(saying(START, body(b"a")), END + GET)
    assert b"connection: close" in heard
    assert heard.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "messages",
    [
        [{**START, "headers": [(b"content-length", b"5")]}, body(b"abc")],
        [{**START, "headers": [(b"content-length", b"5")]}, body(b"abc", more=True), body(b"def")],
        [START, body(b"abc", more=True)],
        [START, body(b"abc", more=True), START],
    ],
    ids=["short", "long", "unfinished", "out of turn"],
)
async def test_a_cut_answer_does_not_look_whole(messages: list[dict[str, Any]]) -> None:
    heard = await answered(saying(*messages), GET + END)
    assert b"abc" in heard
    assert b"end" not in heard
    assert not heard.endswith(b"0\r\n\r\n")


async def test_no_answer_at_all_is_a_500() -> None:
    heard = await answered(saying(), GET + END)
    assert heard.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"application/problem+json" in heard
    assert b"end" not in heard


class Reads:
    """Reads the body as far as it is told, and answers with it."""

    def __init__(self, pieces: int = 1000) -> None:
        self.pieces = pieces
        self.heard: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/end":
            await saying()(scope, receive, send)
            return
        for _ in range(self.pieces):
            self.heard.append(await receive())
            if not self.heard[-1].get("more_body"):
                break
        await send(START)
        await send(body(b"".join(message.get("body", b"") for message in self.heard)))


POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n"


async def test_a_body_comes_as_it_arrives() -> None:
    app = Reads()
    heard = await answered(app, POST + b"\r\nab", b"cd", b"ef" + END)
    assert [message["body"] for message in app.heard] == [b"ab", b"cd", b"ef"]
    assert heard.endswith(b"end")


async def test_the_client_is_told_to_go_on_when_its_body_is_asked_for() -> None:
    asked = POST + b"Expect: 100-continue\r\n\r\n"
    heard = await answered(Reads(), asked, b"abcdef" + END)
    assert heard.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert heard.endswith(b"end")


async def test_a_client_that_has_sent_its_body_is_not_told_to_go_on() -> None:
    heard = await answered(Reads(), POST + b"Expect: 100-continue\r\n\r\nabcdef" + END)
    assert heard.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_client_that_waits_is_told_no_without_its_body() -> None:
    heard = await answered(Reads(pieces=0), POST + b"Expect: 100-continue\r\n\r\n")
    assert heard.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close" in heard


@pytest.mark.parametrize("pieces", [0, 1])
async def test_a_body_that_nobody_reads_is_skipped_if_it_is_there(pieces: int) -> None:
    heard = await answered(Reads(pieces), POST + b"\r\nabcdef" + END)
    assert heard.endswith(b"end")


async def test_a_body_that_nobody_reads_ends_the_connection_if_it_is_on_its_way(
    autojump_clock: trio.testing.MockClock,
) -> None:
    heard = await answered(Reads(pieces=0), POST + b"\r\nab", b"cdef" + END)
    assert b"connection: close" in heard
    assert b"end" not in heard


async def test_a_body_that_stops_ends_the_request(autojump_clock: trio.testing.MockClock) -> None:
    app = Reads()

    async def reads(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    heard = await answered(reads, POST + b"\r\nab", end=False)
    assert heard.startswith(b"HTTP/1.1 408 ")
    assert trio.current_time() == 11  # 10 s, and a moment in which the client may read it
    assert app.heard == []


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        await trio.lowlevel.checkpoint()
        await send(START)
        await send(body(scope["query_string"] + b","))

    sent = b"".join(b"GET /?%d HTTP/1.1\r\nhost: x\r\n\r\n" % n for n in range(200))
    heard = await answered(app, sent)
    answers = [piece.partition(b"\r\n\r\n")[2] for piece in heard.split(b"HTTP/1.1 200 OK\r\n")]
    assert b"".join(answers) == b"".join(b"%d," % n for n in range(200))


async def test_no_request_sees_what_another_set() -> None:
    variable = contextvars.ContextVar("variable", default=0)
    seen: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(variable.get())
        variable.set(1)
        await trio.lowlevel.checkpoint()
        seen.append(variable.get())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
        await send(START)
        await send(body())

    async def child() -> None:
        seen.append(variable.get())

    await answered(app, GET, GET, END)
    assert seen == [0, 1, 1] * 3


async def test_the_scope_says_what_was_asked() -> None:
    scopes: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await saying(START, body())(scope, receive, send)

    await answered(
        app, b"PUT /caf%C3%A9%2Fx?a=%20 HTTP/1.1\r\nHost: x\r\nA: 1\r\nA: caf\xe9\r\n\r\n"
    )
    scope = scopes[0]
    assert scope["type"] == "http"
    assert scope["method"] == "PUT"
    assert scope["path"] == "/café/x"
    assert scope["raw_path"] == b"/caf%C3%A9%2Fx"
    assert scope["query_string"] == b"a=%20"
    assert scope["http_version"] == "1.1"
    assert scope["scheme"] == "http"
    assert scope["headers"] == [(b"host", b"x"), (b"a", b"1"), (b"a", b"caf\xe9")]
    assert scope["root_path"] == ""
    assert scope["asgi"]["version"] == "3.0"


async def test_the_answer_to_head_has_no_length_that_nobody_said() -> None:
    heard = await answered(saying(START, body()), GET.replace(b"GET", b"HEAD") + END)
    head, rest = head_of(heard)
    assert b"content-length" not in head
    assert rest.startswith(b"HTTP/1.1 200 OK")


async def test_a_line_end_behind_a_body_leaves_the_connection_idle(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    shared = Shared.of(ConnectionConfig(**CONFIG))
    connection = Connection(Reads(), shared, ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shared.run)
        nursery.start_soon(connection.run)
        await theirs.send_all(POST + b"\r\nabcdef\r\n")
        heard = await theirs.receive_some()
        await trio.sleep(20)  # longer than a head may take
        await theirs.send_all(POST + b"\r\nabcdef\r\n")
        assert (await theirs.receive_some()).startswith(heard[:15])
        await trio.testing.wait_all_tasks_blocked()
        connection.dismiss("ending")
        with trio.fail_after(0.5):
            while await theirs.receive_some():
                pass
        nursery.cancel_scope.cancel()


async def test_empty_lines_without_end_are_no_request() -> None:
    heard = await answered(saying(START, body()), b"\r\n" * 1000 + GET)
    assert heard.startswith(b"HTTP/1.1 400 ")


async def test_what_comes_while_an_idle_connection_is_closed_is_not_begun() -> None:
    began: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        began.append(scope["path"])
        await saying(START, body(b"ok"))(scope, receive, send)

    class Stream(trio.abc.Stream):
        """Gives what comes next in the turn in which the drain begins."""

        def __init__(self, below: trio.StapledStream[Any, Any]) -> None:
            self.below = below
            self.reads = 0

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            data = bytes(await self.below.receive_some(max_bytes))
            self.reads += 1
            if self.reads == 2:
                connection.dismiss("ending")
            return data

        async def send_all(self, data: Any) -> None:
            await self.below.send_all(data)

        async def wait_send_all_might_not_block(self) -> None:
            await self.below.wait_send_all_might_not_block()

        async def aclose(self) -> None:
            await self.below.aclose()

    ours, theirs = trio.testing.memory_stream_pair()
    connection = Connection(app, Shared.of(ConnectionConfig(**CONFIG)), Stream(ours))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        await theirs.send_all(GET)
        assert (await theirs.receive_some()).endswith(b"ok")
        await theirs.send_all(GET.replace(b"/", b"/late", 1))
        while await theirs.receive_some():
            pass
    assert began == ["/"]
