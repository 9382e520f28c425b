"""Which headers go on, which are replaced, and what no head can smuggle in."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.net.asgi import PEER
from tests.http_service import Received, Scripted, http
from tests.inbound.proxy.bench import bench


async def passed(*headers: str, **options: Any) -> Received:
    """What the service got of a request with these headers."""
    service = Scripted(http(200, b"ok"))
    async with bench(service, **options) as b:
        client = b.client()
        await client.get("/files/x", *headers)
        await client.hear(b"ok")
    return service.requests[0]


async def asked(
    headers: list[tuple[bytes, bytes]], *, body: bytes = b"", **scope: Any
) -> tuple[int, Scripted]:
    """The status of a request whose ASGI scope another server made."""
    service = Scripted(http(200, b"ok"))
    statuses: list[int] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    given = {
        "type": "http",
        "http_version": "2",
        "method": "GET",
        "scheme": "https",
        "path": "/files/x",
        "query_string": b"",
        "headers": [(b"host", b"gw.test"), *headers],
        "client": ("2001:db8::1", 7),
        **scope,
    }
    async with bench(service) as b:
        await b.app(given, receive, send)
    return statuses[0], service


async def test_what_belongs_to_one_connection_stays() -> None:
    request = await passed(
        "connection: x-own, keep-alive, Cookie",
        "x-own: 1",
        "cookie: a=b",
        "keep-alive: 5",
        "te: trailers",
        "trailer: x",
        "proxy-authorization: Basic x",
        "proxy-connection: close",
        "http2-settings: x",
        "authorization: Bearer mine",
        "x-other: 2",
    )
    names = {name for name, _ in request.headers}
    assert names == {
        *("host", "authorization", "x-other", "x-request-id", "traceparent", "via"),
        *("x-forwarded-proto", "x-forwarded-host", "forwarded", "x-request-timeout-ms"),
    }


async def test_the_services_own_headers_win() -> None:
    request = await passed(
        "authorization: Bearer mine",
        "x_api_key: mine",
        "x-api-key: mine",
        "X-Request-Timeout-Ms: 5000",
        "host_: evil",
        of_service={"headers": {"authorization": "Bearer ours", "x-api-key": "ours"}},
    )
    assert request.header("authorization") == "Bearer ours"
    assert request.header("x-api-key") == "ours"
    assert request.header("x_api_key") is None
    assert 4000 < int(request.header("x-request-timeout-ms") or "") <= 5000
    assert request.header("host_") == "evil"


async def test_repeated_headers_stay_repeated_and_in_order() -> None:
    request = await passed("x-a: 1", "x-b: 2", "x-a: 3")
    assert [pair for pair in request.headers if pair[0] in {"x-a", "x-b"}] == [
        ("x-a", "1"),
        ("x-b", "2"),
        ("x-a", "3"),
    ]


async def test_bytes_beyond_ascii_pass() -> None:
    assert (await passed("x-a: caf\xe9")).header("x-a") == "caf\xe9"


async def test_a_trace_and_an_id_go_along() -> None:
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    request = await passed(f"traceparent: {trace}", "x-request-id: mine", "via: 1.0 other")
    told = request.header("traceparent")
    assert told is not None
    assert told != trace
    assert told.startswith("00-" + "a" * 32)
    assert request.header("x-request-id") == "mine"
    assert [value for name, value in request.headers if name == "via"] == [
        "1.0 other",
        "1.1 gateway",
    ]


CLAIMS = (
    "x-forwarded-for: 6.6.6.6",
    "x-forwarded-proto: https",
    "x-forwarded-host: evil.test",
    "x-forwarded-port: 1",
    "x_forwarded_for: 6.6.6.6",
    "x-real-ip: 6.6.6.6",
    "forwarded: for=6.6.6.6",
)


async def test_nobodys_word_on_the_client_is_passed_on() -> None:
    request = await passed(*CLAIMS)
    assert request.header("x-forwarded-for") is None  # in memory there is no address
    assert request.header("x-forwarded-proto") == "http"
    assert request.header("x-forwarded-host") == "gw.test"
    assert request.header("forwarded") == 'for=unknown;proto=http;host="gw.test"'
    assert not [name for name, value in request.headers if "6.6.6.6" in value or "port" in name]


async def test_a_trusted_proxys_word_is_added_to() -> None:
    service = Scripted(http(200, b"ok"))
    async with bench(service, server={"trusted_proxies": ["127.0.0.0/8"]}) as b:
        headers = dict(claim.split(": ") for claim in CLAIMS)
        await b.asgi.request("GET", "/files/x", headers=headers)
    request = service.requests[0]
    assert request.header("x-forwarded-for") == "6.6.6.6, 127.0.0.1"
    assert request.header("x-forwarded-proto") == "https"
    assert request.header("x-forwarded-host") == "evil.test"
    assert request.header("x-forwarded-port") == "1"
    forwarded = 'for=6.6.6.6, for=127.0.0.1;proto=http;host="localhost"'
    assert request.header("forwarded") == forwarded


async def test_an_ipv6_client_over_http2() -> None:
    status, service = await asked([])
    assert status == 200
    request = service.requests[0]
    assert request.header("x-forwarded-for") == "2001:db8::1"
    assert request.header("forwarded") == 'for="[2001:db8::1]";proto=https;host="gw.test"'
    assert request.header("via") == "2 gateway"


class Peer:
    """What our own server tells of a client; of its body, nothing beforehand."""

    left = False
    cancels = None

    def body_at_hand(self) -> None:
        return None


@pytest.mark.parametrize("extensions", [{}, {PEER: Peer()}])
async def test_a_body_that_no_header_announces_goes_along(extensions: Any) -> None:
    """As HTTP/2 has it."""
    status, service = await asked([], method="POST", extensions=extensions, body=b"hello")
    assert status == 200
    assert service.requests[0].body == b"hello"
    assert service.requests[0].header("content-length") == "5"


@pytest.mark.parametrize(
    ("headers", "scope"),
    [
        ([(b"x-a", b"1\r\nx-b: 2")], {}),
        ([(b"x-a", b"1\nx-b: 2")], {}),
        ([(b"x-a", b"1\r")], {}),
        ([(b"x-a", b"\0")], {}),
        ([(b"x-a: 1\r\nx-b", b"2")], {}),
        ([(b"x a", b"2")], {}),
        ([(b"", b"2")], {}),
        ([(b"Transfer-Encoding", b"chunked")], {}),
        ([(b"content-length", b"1"), (b"content-length", b"2")], {}),
        ([(b"content-length", b"1"), (b"transfer-encoding", b"chunked")], {}),
        ([(b"content-length", b"+1")], {}),
        ([], {"method": "GET / HTTP/1.1\r\nx"}),
        ([], {"raw_path": b"/files/x HTTP/1.1\r\nx: y"}),
        ([], {"raw_path": b"/files/\xff"}),
        ([], {"query_string": b"a b"}),
        ([], {"query_string": b"a\r\nb"}),
        ([], {"query_string": b"a#b"}),
    ],
)
async def test_what_would_break_a_head_is_refused(headers: Any, scope: Any) -> None:
    """Whatever a foreign server lets through."""
    status, service = await asked(headers, **scope)
    assert status == 400
    assert not service.requests


async def test_what_in_an_answer_belongs_to_one_connection_stays() -> None:
    service = Scripted(
        http(
            200,
            b"ok",
            connection="x-own, content-length, close",
            x_own="1",
            keep_alive="timeout=5",
            proxy_authenticate="Basic",
            access_control_allow_origin="*",
            x_request_id="theirs",
            set_cookie="a=b",
        )
    )
    async with bench(service) as b:
        answer = await b.asgi.request("GET", "/files/x", headers={"x-request-id": "mine"})
    assert set(answer.headers) == {"content-length", "set-cookie", "x-request-id"}
    assert answer.headers["x-request-id"] == "mine"


async def test_a_page_reads_what_the_gateway_allows() -> None:
    service = Scripted(http(200, b"ok", access_control_allow_origin="*"))
    async with bench(service, server={"allowed_origins": ["http://page.test"]}) as b:
        answer = await b.asgi.request("GET", "/files/x", headers={"origin": "http://page.test"})
        assert answer.headers["access-control-allow-origin"] == "http://page.test"
        other = await b.asgi.request("GET", "/files/x", headers={"origin": "http://evil.test"})
        assert other.status == 403
    assert len(service.requests) == 1
