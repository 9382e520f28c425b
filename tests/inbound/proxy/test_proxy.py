"""Bytes through: what reaches the service, what reaches the client, and what ends either."""

from __future__ import annotations

import contextlib
import errno
import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway import create_app
from gateway.inbound.front import context_of
from gateway.net.asgi import PEER, Receive
from gateway.server.inbox import Inbox
from gateway.testing import Cancellable, cancel_at_every_checkpoint
from tests.http_service import Received, Scripted, http, raw
from tests.inbound.proxy.bench import bench, config_of

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def get_scope(**keys: Any) -> dict[str, Any]:
    """A request as an ASGI server that is not ours gives it."""
    return {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": "GET",
        "path": "/files/x",
        "query_string": b"",
        "headers": [(b"host", b"gw.test")],
        **keys,
    }


def waits_for_its_answer() -> Receive:
    """What such a server receives of a client that sent all, and stays."""
    messages = [{"type": "http.request"}]

    async def receive() -> Any:
        if not messages:
            await trio.sleep_forever()
        return messages.pop()

    return receive


async def body_of(stream: trio.abc.Stream, size: int) -> bytes:
    body = b""
    while len(body) < size:
        piece = await stream.receive_some()
        assert piece
        body += piece
    return body


# ------------------------------------------------------------------ there and back


async def test_a_request_goes_through_and_its_answer_comes_back() -> None:
    service = Scripted(http(206, b"\x00\xffpart", content_range="bytes 0-5/9", etag='"x"'))
    async with bench(service) as b:
        client = b.client()
        await client.get("/files/a%20b/%2F?q=%zz&r", "range: bytes=0-5", "cookie: a=b")
        heard = await client.hear(b"part")
    (request,) = service.requests
    assert (request.method, request.target) == ("GET", "/api/files/a%20b/%2F?q=%zz&r")
    assert request.header("host") == "api.test"
    assert request.header("range") == "bytes=0-5"
    assert request.header("cookie") == "a=b"
    assert request.header("accept-encoding") is None
    assert request.header("user-agent") is None
    head = heard.decode("latin-1").lower()
    assert head.startswith("http/1.1 206 partial content\r\n")
    assert 'etag: "x"' in head
    assert "content-range: bytes 0-5/9" in head
    assert "content-length: 6" in head


async def test_any_method_goes_through() -> None:
    service = Scripted(http(200, b"ok"))
    async with bench(service) as b:
        client = b.client()
        for method in ("DELETE", "OPTIONS", "PROPFIND", "PATCH"):
            await client.get(method=method)
            await client.hear(b"ok")
    assert [request.method for request in service.requests] == [
        *("DELETE", "OPTIONS", "PROPFIND", "PATCH")
    ]
    assert service.requests[3].header("content-length") == "0"
    assert service.requests[0].header("content-length") is None
    assert service.accepted == 1


async def test_the_path_can_be_cut_off() -> None:
    service = Scripted(http(200, b"ok"))
    async with bench(service, {"strip_path": True}) as b:
        await b.asgi.request("GET", "/files/a/b?c")
        await b.asgi.request("GET", "/files/")
    assert [request.target for request in service.requests] == ["/api/a/b?c", "/api/"]


async def test_only_the_methods_of_the_file_go_through() -> None:
    service = Scripted(http(200, b"ok"))
    async with bench(service, {"methods": ["GET", "PUT"]}) as b:
        answer = await b.asgi.request("DELETE", "/files/x")
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, PUT")
        problem = answer.json()  # the same as of a tool's route
        assert (problem["code"], problem["title"]) == ("not_found", "Method not allowed")
        assert (await b.asgi.request("HEAD", "/files/x")).status == 200
    assert [request.method for request in service.requests] == ["HEAD"]


@pytest.mark.parametrize(
    "path",
    ["../x", "a/..", "./x", "%2e%2e/x", "a/%2E/b", "..%2fx", "..%5cx", "..;a=b/x", "%2e%2e%3b/x"],
)
async def test_no_path_leads_out(path: str) -> None:
    service = Scripted(http(200, b"ok"))
    async with bench(service) as b:
        answer = await b.asgi.request("GET", f"/files/{path}")
        assert (answer.status, answer.json()["code"]) == (400, "invalid_request")
        for fine in ("...", ".well-known/x", "a..b", "%2e%2ea", "a.b/"):
            assert (await b.asgi.request("GET", f"/files/{fine}")).status == 200
    assert len(service.requests) == 5


async def test_the_innermost_of_two_proxies_answers() -> None:
    config = config_of()
    config["proxies"]["q"] = {"path": "/files/in/", "service": "s"}
    app = create_app(config)
    found = [
        app._dispatch._proxies.find(path)
        for path in ("/files/in/x", "/files/inx", "/file", "/files")
    ]
    assert [proxy and proxy.prefix for proxy in found] == ["/files/in/", "/files/", None, None]


# ------------------------------------------------------------------ bodies


@pytest.mark.parametrize("framing", ["content-length: 5", "transfer-encoding: chunked"])
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_body_goes_along(framing: str, at_once: bool) -> None:
    service = Scripted(http(201, b"made"))
    chunked = "chunked" in framing
    body = "5\nhello\n0\n\n" if chunked else "hello"
    head = f"PUT /files/x HTTP/1.1\nhost: gw.test\n{framing}\ncontent-type: text/plain\n\n"
    async with bench(service) as b:
        client = b.client()
        if at_once:
            await client.say(head + body)
        else:
            await client.say(head)
            await wait_all_tasks_blocked()
            await client.say(body[:4])
            await wait_all_tasks_blocked()
            await client.say(body[4:])
        await client.hear(b"made")
        await client.get()
        await client.hear(b"made")
    request = service.requests[0]
    assert request.body == b"hello"
    assert request.header("content-type") == "text/plain"
    streamed = chunked  # in memory nobody tells of a body that is at hand
    assert request.header("transfer-encoding") == ("chunked" if streamed else None)
    assert request.header("content-length") == (None if streamed else "5")


async def test_both_bodies_stream_at_once_and_nothing_is_read_ahead() -> None:
    """The service answers each piece before the client sends the next."""

    async def echo(stream: trio.abc.Stream) -> None:
        await stream.receive_some()  # the head
        await stream.send_all(CHUNKED)
        for word in (b"one", b"two"):
            assert await body_of(stream, 8) == b"3\r\n%b\r\n" % word
            await stream.send_all(b"3\r\n%b\r\n" % word.upper())
        assert await body_of(stream, 5) == b"0\r\n\r\n"
        await stream.send_all(b"0\r\n\r\n")
        await trio.sleep_forever()

    async with bench(echo) as b:
        client = b.client()
        await client.say("POST /files/x HTTP/1.1\nhost: gw.test\ntransfer-encoding: chunked\n\n")
        await client.hear(b"\r\n\r\n")
        for word in (b"one", b"two"):
            await client.say(b"3\r\n%b\r\n" % word)
            assert await client.hear(b"\r\n%b\r\n" % word.upper())
        await client.say("0\n\n")
        await client.hear(b"0\r\n\r\n")
        await wait_all_tasks_blocked()
        assert b.events.last.outcome == "ok"
        assert b.pool.idle == 1


async def test_a_client_that_waits_is_told_to_go_on() -> None:
    service = Scripted(http(200, b"ok"))
    async with bench(service) as b:
        client = b.client()
        await client.say(
            "PUT /files/x HTTP/1.1\nhost: gw.test\nexpect: 100-continue\ncontent-length: 2\n\n"
        )
        assert await client.hear(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.say("hi")
        await client.hear(b"ok")
    assert service.requests[0].header("expect") is None


@pytest.mark.parametrize("framing", ["content-length: 11", "transfer-encoding: chunked"])
async def test_a_body_over_its_bound_is_refused(framing: str) -> None:
    service = Scripted(http(200, b"ok"))
    async with bench(service, {"max_body": "10B"}) as b:
        client = b.client()
        await client.say(f"PUT /files/x HTTP/1.1\nhost: gw.test\n{framing}\n\n")
        await wait_all_tasks_blocked()
        await client.say("b\nhello world\n0\n\n" if "chunked" in framing else "")
        heard = await client.hear(b'"too_large"')
        assert heard.startswith(b"HTTP/1.1 413 ")
        assert b.events.last.code == "too_large"
    assert not service.requests


async def test_a_refusal_before_the_whole_body_reaches_the_client() -> None:
    async def refuse(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno")
        await trio.sleep_forever()

    async with bench(refuse) as b:
        client = b.client()
        await client.say("PUT /files/x HTTP/1.1\nhost: gw.test\ncontent-length: 1000\n\nabc")
        heard = await client.hear(b"no")
        assert heard.startswith(b"HTTP/1.1 403 ")
        assert b"connection: close" in heard
        await wait_all_tasks_blocked()
        assert b.pool.idle == 0


# ------------------------------------------------------------------ answers


async def test_a_head_leaves_before_its_stream_has_begun() -> None:
    more = trio.Event()

    async def events(_request: Received, stream: trio.abc.Stream) -> None:
        await stream.send_all(CHUNKED[:-2] + b"content-type: text/event-stream\r\n\r\n")
        await more.wait()
        await stream.send_all(b"9\r\ndata: 1\n\n\r\n")
        await trio.sleep_forever()

    async with bench(Scripted(events)) as b:
        client = b.client()
        await client.get()
        assert b"text/event-stream" in await client.hear(b"\r\n\r\n")
        more.set()
        assert await client.hear(b"\n\n") == b"9\r\ndata: 1\n\n"


@pytest.mark.parametrize(
    ("reply", "head", "body"),
    [
        (b"HTTP/1.1 204 X\r\n\r\n", b"204 No Content", b""),
        (b'HTTP/1.1 304 X\r\netag: "x"\r\n\r\n', b"304 Not Modified", b""),
        (b"HTTP/1.1 302 X\r\nlocation: /y\r\ncontent-length: 0\r\n\r\n", b"location: /y", b""),
        (b"HTTP/1.1 103 X\r\n\r\nHTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\nok", b"200 OK", b"ok"),
        (CHUNKED + b"2\r\nok\r\n0\r\nx-trailer: y\r\n\r\n", b"content-length: 2", b"ok"),
        (b"HTTP/1.1 599 Odd\r\ncontent-length: 2\r\n\r\nok", b"HTTP/1.1 599 ", b"ok"),
        (
            b"HTTP/1.1 200 X\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nok",
            b"content-encoding: gzip",
            b"ok",
        ),
    ],
)
async def test_answers_come_as_they_are(reply: bytes, head: bytes, body: bytes) -> None:
    async with bench(Scripted(raw(reply), http(200, b"next"))) as b:
        client = b.client()
        await client.get()
        heard = await client.hear(b"\r\n\r\n")
        assert head in heard
        await client.get()
        assert (await client.hear(b"next")).startswith(body + b"HTTP/1.1 200 ")


async def test_an_answer_that_ends_with_its_connection_is_whole() -> None:
    service = Scripted(raw(b"HTTP/1.0 200 X\r\n\r\nto the end", close=True))
    async with bench(service) as b:
        answer = await b.asgi.request("GET", "/files/x")
        assert (answer.status, answer.body) == (200, b"to the end")
        client = b.client()
        await client.say("GET /files/x HTTP/1.0\nhost: gw.test\n\n")
        heard = await client.hear_all()
        assert heard.endswith(b"\r\n\r\nto the end")
        assert b"transfer-encoding" not in heard


async def test_a_head_request_has_the_length_and_no_body() -> None:
    service = Scripted(raw(b"HTTP/1.1 200 X\r\ncontent-length: 1000\r\n\r\n"), http(200, b"next"))
    async with bench(service) as b:
        client = b.client()
        await client.get(method="HEAD")
        assert b"content-length: 1000" in await client.hear(b"\r\n\r\n")
        await client.get()
        assert (await client.hear(b"next")).startswith(b"HTTP/1.1 200 ")
    assert service.accepted == 1


async def test_a_redirect_is_the_clients_even_where_calls_follow_theirs() -> None:
    service = Scripted(http(302, location="http://elsewhere.test/"))
    async with bench(service, of_service={"follow_redirects": True}) as b:
        answer = await b.asgi.request("GET", "/files/x")
        assert (answer.status, answer.headers["location"]) == (302, "http://elsewhere.test/")


# ------------------------------------------------------------------ failures


async def test_a_service_that_is_not_there_is_named() -> None:
    async with bench(OSError(errno.ECONNREFUSED, "refused")) as b:
        answer = await b.asgi.request("GET", "/files/x")
        problem = answer.json()
        assert (answer.status, problem["code"], problem["service"]) == (502, "unreachable", "s")
        assert problem["request_id"] == answer.headers["x-request-id"]
        assert (b.events.last.tool, b.events.last.outcome) == ("p", "error")


@pytest.mark.parametrize(
    "reply",
    [
        b"what?\r\n\r\n",
        b"HTTP/1.1 101 X\r\nupgrade: x\r\n\r\n",
        b"HTTP/1.1 200 X\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_what_is_no_answer_is_a_bad_reply(reply: bytes) -> None:
    async with bench(Scripted(raw(reply))) as b:
        answer = await b.asgi.request("GET", "/files/x")
        assert (answer.status, answer.json()["code"]) == (502, "bad_reply")


@pytest.mark.parametrize(
    ("deadline", "attempt", "budget", "late_s"),
    [
        ("2s", "5s", None, 2),
        ("5s", "2s", None, 2),
        ("5s", None, "1500", 1.5),
        (None, None, None, 10),
    ],
)
async def test_an_answer_that_does_not_begin_is_too_late(
    autojump_clock: MockClock, deadline: Any, attempt: Any, budget: Any, late_s: float
) -> None:
    keys = {} if deadline is None else {"deadline": deadline}
    of_service = {} if attempt is None else {"timeout": attempt}
    service = Scripted(raw(b"", after_s=math.inf))
    async with bench(service, keys, of_service=of_service) as b:
        headers = {} if budget is None else {"x-request-timeout-ms": budget}
        start = trio.current_time()
        client = b.client()
        await client.get("/files/x", *(f"{name}: {value}" for name, value in headers.items()))
        heard = await client.hear(b'"service":"s"}')
        assert heard.startswith(b"HTTP/1.1 504 ")
        assert trio.current_time() - start == pytest.approx(late_s)


async def test_the_service_is_told_how_long_the_client_waits(autojump_clock: MockClock) -> None:
    service = Scripted(http(200, b"ok"))
    async with bench(service, {"deadline": "3s"}) as b:
        await b.asgi.request("GET", "/files/x")
        await b.asgi.request("GET", "/files/x", headers={"x-request-timeout-ms": "500"})
        gone = await b.asgi.request("GET", "/files/x", headers={"x-request-timeout-ms": "0"})
        assert gone.status == 504
        bad = await b.asgi.request("GET", "/files/x", headers={"x-request-timeout-ms": "soon"})
        assert bad.status == 400
    told = [request.header("x-request-timeout-ms") for request in service.requests]
    assert told == ["3000", "500"]


async def test_without_a_deadline_nothing_is_told(autojump_clock: MockClock) -> None:
    service = Scripted(http(200, b"ok", after_s=3600))
    async with bench(service, {"deadline": "none"}, server={"deadline": "none"}) as b:
        assert (await b.asgi.request("GET", "/files/x")).status == 200
    assert service.requests[0].header("x-request-timeout-ms") is None


async def test_an_upload_has_time_as_long_as_it_moves(autojump_clock: MockClock) -> None:
    service = Scripted(http(200, b"ok", after_s=1.5))
    async with bench(service, {"deadline": "2s"}) as b:
        client = b.client()
        await client.say("PUT /files/x HTTP/1.1\nhost: gw.test\ncontent-length: 40\n\n")
        for _ in range(4):
            await trio.sleep(5)
            await client.say(b"0123456789")
        assert (await client.hear(b"ok")).startswith(b"HTTP/1.1 200 ")


async def test_an_answer_that_has_begun_ends_by_idleness_alone(autojump_clock: MockClock) -> None:
    async def slowly(_request: Received, stream: trio.abc.Stream) -> None:
        await stream.send_all(CHUNKED)
        for _ in range(3):
            await trio.sleep(4)
            await stream.send_all(b"1\r\nx\r\n")
        await trio.sleep_forever()

    async with bench(Scripted(slowly), {"deadline": "1s", "idle_timeout": "5s"}) as b:
        start = trio.current_time()
        client = b.client()
        await client.get("/files/x", "x-request-timeout-ms: 1000")
        heard = await client.hear_all()
        assert trio.current_time() - start == pytest.approx(12 + 5)
        assert heard.count(b"1\r\nx\r\n") == 3
        assert not heard.endswith(b"0\r\n\r\n")
        assert b.events.last.code == "deadline_exceeded"


@pytest.mark.parametrize("size", [10, 200_000])
async def test_a_slow_client_is_not_the_services_fault(
    autojump_clock: MockClock, size: int
) -> None:
    taken = 0

    async def send(message: Any) -> None:
        nonlocal taken
        await trio.sleep(8)
        taken += len(message.get("body", b""))

    keys = {"deadline": "5s", "idle_timeout": "2s"}
    async with bench(Scripted(http(200, bytes(size))), keys) as b:
        await b.app(get_scope(), waits_for_its_answer(), send)
        assert (taken, b.events.last.outcome) == (size, "ok")


async def test_an_upload_does_not_start_the_services_time_while_the_client_is_slow(
    autojump_clock: MockClock,
) -> None:
    body = iter(
        [
            {"type": "http.request", "body": b"a", "more_body": True},
            {"type": "http.request", "body": b"b"},
        ]
    )
    answering = trio.Event()

    async def receive() -> Any:
        message = next(body, None)
        if message is None:
            await trio.sleep_forever()
        if message == {"type": "http.request", "body": b"b"}:
            await answering.wait()
        return message

    async def send(message: Any) -> None:
        answering.set()
        await trio.sleep(8)

    async def at_once(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await stream.send_all(CHUNKED + b"2\r\nok\r\n")
        await body_of(stream, 1)
        await trio.sleep(9)
        await stream.send_all(b"0\r\n\r\n")
        await trio.sleep_forever()

    scope = get_scope(method="PUT", headers=[(b"host", b"gw.test"), (b"content-length", b"2")])
    async with bench(at_once, {"idle_timeout": "2s"}) as b:
        await b.app(scope, receive, send)
        assert b.events.last.outcome == "ok"


@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 200 X\r\ncontent-length: 10\r\n\r\nhalf",
        CHUNKED + b"4\r\nhalf\r\n",
    ],
)
async def test_an_answer_cut_half_way_does_not_look_whole(begun: bytes) -> None:
    async with bench(Scripted(raw(begun, close=True))) as b:
        client = b.client()
        await client.get()
        heard = await client.hear_all()
        assert b"half" in heard
        assert not heard.endswith(b"0\r\n\r\n")
        assert b.events.last.outcome == "error"


async def test_an_answer_that_breaks_before_its_body_is_a_problem() -> None:
    service = Scripted(raw(b"HTTP/1.1 200 X\r\ncontent-length: 10\r\n\r\n", close=True))
    async with bench(service) as b:
        assert (await b.asgi.request("GET", "/files/x")).status == 502


async def test_the_clients_leaving_ends_the_services_connection(autojump_clock: MockClock) -> None:
    service = Scripted(raw(b"", after_s=math.inf))
    async with bench(service) as b:
        assert await b.asgi.leave("GET", "/files/x", after_s=1) is None
        await wait_all_tasks_blocked()
        assert (service.connections, service.active) == (0, 0)
        assert b.events.last.outcome == "client_left"


async def test_leaving_is_seen_after_the_service_wanted_no_more_of_the_body() -> None:
    """Under a server that tells of it by `receive` alone."""

    async def refuse(stream: Any) -> None:
        await stream.receive_some()
        stream.receive_stream.close()
        await stream.send_all(CHUNKED + b"2\r\nno\r\n")
        await trio.sleep_forever()

    async def send(_message: Any) -> None:
        await trio.lowlevel.checkpoint()

    said, receive = trio.open_memory_channel[Any](math.inf)
    scope = get_scope(method="PUT", headers=[(b"host", b"gw.test"), (b"content-length", b"9")])
    async with bench(refuse) as b, trio.open_nursery() as nursery:
        nursery.start_soon(b.app, scope, receive.receive, send)
        await wait_all_tasks_blocked()
        said.send_nowait({"type": "http.request", "body": b"abc", "more_body": True})
        await wait_all_tasks_blocked()
        assert b.pool.taken == 1
        said.send_nowait({"type": "http.disconnect"})
        await wait_all_tasks_blocked()
        assert b.pool.taken == 0
        assert b.events.last.outcome == "client_left"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("refused", ["http.response.start", "http.response.body"])
async def test_a_client_that_takes_nothing_has_left(refused: str) -> None:
    async def send(message: Any) -> None:
        if message["type"] == refused:
            raise BrokenPipeError("the client has left")

    async with bench(Scripted(http(200, b"ok"))) as b:
        await b.app(get_scope(), waits_for_its_answer(), send)
        assert b.events.last.outcome == "client_left"


async def test_a_client_that_leaves_before_it_is_told_to_go_on_has_left() -> None:
    async def receive() -> Any:
        raise BrokenPipeError("the client has left")

    async def send(message: Any) -> None:
        raise AssertionError(message)

    scope = get_scope(method="PUT", headers=[(b"host", b"gw.test"), (b"content-length", b"2")])
    scope["extensions"] = {PEER: Inbox(0)}
    async with bench(Scripted(http(200, b"ok"))) as b:
        await b.app(scope, receive, send)
        assert b.events.last.outcome == "client_left"


async def test_an_oserror_of_our_own_is_nobodys_leaving() -> None:
    async def work() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async with bench(Scripted(http(200, b"ok"))) as b:
        proxy = b.app._dispatch._proxies.find("/files/x")
        assert proxy is not None
        error = await proxy._booked(context_of({}, "proxy"), work)
        assert (error and error.code, b.events.last.outcome) == ("internal", "error")


async def test_a_drain_cuts_what_streams(autojump_clock: MockClock) -> None:
    service = Scripted(raw(CHUNKED + b"1\r\nx\r\n"))
    async with bench(service) as b:
        client = b.client()
        await client.get()
        await client.hear(b"\r\nx\r\n")
        start = trio.current_time()
        b.app.begin_drain(3)
        assert not await client.hear_all()
        assert trio.current_time() - start == pytest.approx(3, abs=1.5)


def test_cancelled_anywhere_nothing_is_left() -> None:
    async def scenario(cancellable: Cancellable) -> None:
        service = Scripted(http(200, b"ok", after_s=0.1))
        async with bench(service) as b:
            with contextlib.suppress(AssertionError):  # the far side's own tasks
                await cancellable(
                    lambda: b.asgi.request("PUT", "/files/x", content=b"body"), settle_s=0.001
                )
            await wait_all_tasks_blocked()
            assert (b.pool.taken, b.pool.waiting) == (0, 0)
            assert service.active == 0
            assert service.connections == len(b.net.open) == b.pool.idle
            b.events.assert_balanced()
            assert (await b.asgi.request("GET", "/files/x")).status == 200

    assert cancel_at_every_checkpoint(scenario) > 10


async def test_the_servers_deadline_is_its_ceiling(autojump_clock: MockClock) -> None:
    service = Scripted(http(200, b"ok", after_s=3600))
    async with bench(service, {"deadline": "1h"}, server={"deadline": "3s"}) as b:
        assert (await b.asgi.request("GET", "/files/x")).status == 504
        assert trio.current_time() == pytest.approx(3, abs=0.01)
