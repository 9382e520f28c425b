"""`kind = "http"`, over a network in memory: what goes out, and what comes back as what."""

from __future__ import annotations

import base64
import contextlib
import errno
import gzip
import json
import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from email.utils import formatdate
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway import ConfigError, load_config
from gateway.app import Gateway, create_app
from gateway.build import build
from gateway.core.errors import (
    BadReply,
    DeadlineExceeded,
    GatewayError,
    InvalidArguments,
    InvalidRequest,
    Rejected,
    Unreachable,
)
from gateway.core.messages import Context, Request
from gateway.core.trace import Trace
from tests.http_service import Received, Scripted, http, raw
from tests.network import Network, network

JSON = "application/json"
ADDRESS = "10.0.0.1"
PLAIN = {"get": "/x"}


@attrs.frozen
class Bench:
    """One call to one service, on a network of its own."""

    app: Gateway
    net: Network

    async def __call__(
        self, headers: Mapping[str, str] | None = None, /, *, timeout_s: float = 60, **values: Any
    ) -> Any:
        context = Context(request_id="r", headers=headers or {}, trace=TRACE)
        reply = await self.app.call(Request("t", values, context), timeout_s=timeout_s)
        return reply.value


TRACE = Trace("a" * 32, "b" * 16, "01")


@asynccontextmanager
async def bench(
    service: Any, call: Mapping[str, Any] = PLAIN, **settings: Any
) -> AsyncGenerator[Bench]:
    """`service` at `http://api.test`, and a tool `t` with the inputs `v` and `w`."""
    config = {
        "services": {
            "s": {"kind": "http", "url": "http://api.test", "allow_private": True, **settings}
        },
        "tools": {
            "t": {
                "deadline": "10s",
                "input": {"properties": {"v": {}, "w": {}}},
                "output": "a",
                "calls": {"a": {"service": "s", **call}},
            }
        },
    }
    async with network() as net:
        net.name("api.test", ADDRESS)
        net.serve(ADDRESS, 80, service)
        app = create_app(config)
        async with app.running():
            yield Bench(app, net)
        await wait_all_tasks_blocked()
        assert not net.open


async def failure(bench: Bench, *args: Any, **values: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await bench(*args, **values)
    return caught.value


# ------------------------------------------------------------------ what goes out


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "head"])
async def test_each_verb_is_its_method(autojump_clock: MockClock, method: str) -> None:
    service = Scripted(http(200, b"" if method == "head" else "true", content_type=JSON))
    async with bench(service, {method: "/a/b"}) as call:
        assert await call() is (None if method == "head" else True)
    (request,) = service.requests
    assert (request.method, request.target) == (method.upper(), "/a/b")
    assert request.header("host") == "api.test"


@pytest.mark.parametrize(
    ("url", "call", "values", "target"),
    [
        ("http://api.test", {"get": "/"}, {}, "/"),
        ("http://api.test/v1", {"get": "/x"}, {}, "/v1/x"),
        ("http://api.test/v1/", {"get": "/x"}, {}, "/v1/x"),
        ("http://api.test", {"get": "/{v}"}, {"v": "a/b?c#d"}, "/a%2Fb%3Fc%23d"),
        ("http://api.test", {"get": "/{v}/x"}, {"v": "%2e%2e"}, "/%252e%252e/x"),
        ("http://api.test", {"get": "/{v}"}, {"v": "é"}, "/%C3%A9"),
        ("http://api.test", {"get": "/é"}, {}, "/%C3%A9"),
        (
            "http://api.test",
            {"get": "/x", "query": {"q": "{v}"}},
            {"v": "a b&c=d"},
            "/x?q=a+b%26c%3Dd",
        ),
        ("http://api.test", {"get": "/x", "query": {"q": "{v}"}}, {"v": None}, "/x"),
        (
            "http://api.test",
            {"get": "/x", "query": {"q": "{v}"}},
            {"v": [1, None, "z"]},
            "/x?q=1&q=z",
        ),
        ("http://api.test", {"get": "/x", "query": {"q": "{v}"}}, {"v": True}, "/x?q=true"),
        (
            "http://api.test",
            {"get": "/x", "query": {"q": "{v}"}},
            {"v": {"a": 1}},
            "/x?q=%7B%22a%22%3A1%7D",
        ),
        ("http://api.test", {"get": "/x?k=1", "query": {"q": 2}}, {}, "/x?k=1&q=2"),
        ("http://api.test", {"get": "/x", "query": {"é": "ü"}}, {}, "/x?%C3%A9=%C3%BC"),
    ],
)
async def test_path_and_query(
    autojump_clock: MockClock, url: str, call: Any, values: dict[str, Any], target: str
) -> None:
    service = Scripted(http(200, "true", content_type=JSON))
    async with bench(service, call, url=url) as made:
        await made(**values)
    assert service.requests[0].target == target


@pytest.mark.parametrize(
    ("call", "values", "content_type", "body"),
    [
        ({"json": {"a": "{v}"}}, {"v": [1, None]}, JSON, b'{"a":[1,null]}'),
        ({"json": "{v}"}, {"v": None}, JSON, b"null"),
        (
            {"form": {"a": "{v}", "b": "x"}},
            {"v": "1 & 2"},
            "application/x-www-form-urlencoded",
            b"a=1+%26+2&b=x",
        ),
        ({"form": {"a": "{v}"}}, {"v": [1, 2]}, "application/x-www-form-urlencoded", b"a=1&a=2"),
        ({"body": "<é>{v}"}, {"v": 3}, "text/plain; charset=utf-8", "<é>3".encode()),
        ({}, {}, None, b""),
        (
            {"json": {}, "headers": {"Content-Type": "application/vnd.api+json"}},
            {},
            "application/vnd.api+json",
            b"{}",
        ),
    ],
)
async def test_bodies(
    autojump_clock: MockClock, call: Any, values: dict[str, Any], content_type: Any, body: bytes
) -> None:
    service = Scripted(http())
    async with bench(service, {"post": "/x", **call}) as made:
        await made(**values)
    (request,) = service.requests
    assert request.header("content-type") == content_type
    assert request.header("content-length") == str(len(body))
    assert request.body == body


async def test_headers_come_from_service_client_and_call_and_the_last_wins(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "s3cret")
    service = Scripted(http())
    call = {"get": "/x", "headers": {"X-Own": "{v}", "X-B": "call", "x-null": "{w}"}}
    settings = {
        "headers": {"authorization": "env:TOKEN", "X-A": "service", "x-b": "service"},
        "forward": ["X-A", "accept-language", "cookie"],
    }
    client = {"x-a": "client", "accept-language": "de", "x-secret": "no", "user-agent": "agent"}
    async with bench(service, call, **settings) as made:
        await made(client, v=7, w=None)
    (request,) = service.requests
    got = dict(request.headers)
    assert got["authorization"] == "s3cret"
    assert (got["x-a"], got["x-b"], got["x-own"]) == ("client", "call", "7")
    assert got["accept-language"] == "de"
    assert "x-secret" not in got
    assert "x-null" not in got
    assert "cookie" not in got
    assert got["user-agent"] != "agent"
    assert len(got) == len(request.headers)


async def test_nothing_of_the_client_goes_along_unasked(autojump_clock: MockClock) -> None:
    service = Scripted(http())
    client = dict.fromkeys(("authorization", "cookie", "x-api-key", "accept"), "client")
    async with bench(service) as made:
        await made(client)
    assert "client" not in dict(service.requests[0].headers).values()


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\0b", "\x7f", "a\x1fb"])
async def test_a_value_that_would_end_its_header_is_refused(
    autojump_clock: MockClock, value: str
) -> None:
    service = Scripted(http())
    async with bench(service, {"get": "/", "headers": {"x-v": "{v}"}}) as made:
        error = await failure(made, v=value)
    assert isinstance(error, InvalidArguments)
    assert "x-v" in error.detail
    assert not service.requests


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("é日本", "é日本".encode()),
        ("  padded\t", b"padded"),
        ("a\tb", b"a\tb"),
        ("", b""),
        ([1], b"[1]"),
        (True, b"true"),
    ],
)
async def test_any_other_value_is_a_header(
    autojump_clock: MockClock, value: Any, sent: bytes
) -> None:
    service = Scripted(http())
    async with bench(service, {"get": "/", "headers": {"x-v": "{v}"}}) as made:
        await made(v=value)
    text = service.requests[0].header("x-v")
    assert text is not None
    assert text.encode("latin-1") == sent


async def test_a_forwarded_header_goes_on_byte_for_byte(autojump_clock: MockClock) -> None:
    service = Scripted(http())
    async with bench(service, forward=["x-name"]) as made:
        await made({"x-name": "é".encode().decode("latin-1")})
    text = service.requests[0].header("x-name")
    assert text is not None
    assert text.encode("latin-1") == "é".encode()


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\0", "\x7f", "\u20ac"])
@pytest.mark.parametrize("name", ["x-name", "x-request-id"])
async def test_a_clients_header_that_is_none_is_its_own_mistake(
    autojump_clock: MockClock, name: str, value: str
) -> None:
    """Whoever embeds the gateway may serve it by what lets more in than our server."""
    service = Scripted(http())
    async with bench(service, forward=[name]) as made:
        context = Context(request_id=value, headers={name: value}, trace=TRACE)
        with pytest.raises(InvalidRequest, match=name):
            await made.app.call(Request("t", {}, context))
    assert not service.requests


FRAMING = [
    *("content-length", "Transfer-Encoding", "host", "connection", "te", "trailer", "upgrade"),
    *("keep-alive", "proxy-connection", "expect", "accept-encoding", "traceparent"),
    "X-Request-Timeout-Ms",
]


@pytest.mark.parametrize("name", FRAMING)
def test_what_frames_a_message_is_not_for_a_file_to_write(name: str) -> None:
    for service, call in (
        ({"forward": [name]}, {}),
        ({"headers": {name: "1"}}, {}),
        ({}, {"headers": {name: "1"}}),
    ):
        if name == "host" and "headers" in service:
            continue
        config = {
            "services": {"s": {"kind": "http", "url": "http://api.test", **service}},
            "tools": {"t": {"calls": {"a": {"service": "s", "get": "/", **call}}}},
        }
        with pytest.raises(ConfigError, match=r"is not for the file|carries the budget"):
            load_config(config)


@pytest.mark.parametrize("text", ["env:HOME", "file:/etc/hostname"])
def test_a_calls_headers_hold_no_references(text: str) -> None:
    """They would go out as they stand."""
    config = {
        "services": {"s": {"kind": "http", "url": "http://api.test"}},
        "tools": {"t": {"calls": {"a": {"service": "s", "get": "/", "headers": {"x-a": text}}}}},
    }
    with pytest.raises(ConfigError, match="put it into the service's headers"):
        load_config(config)


def test_a_secret_in_a_calls_headers_is_noted_and_not_shown() -> None:
    written = {
        "authorization": "Bearer hunter2",
        "x-api-key": "{v}",
        "x-token": "{{hunter2}}",
        "x-secret": 22222,
        "accept": "hunter2",
    }
    call = {"service": "s", "get": "/", "headers": written}
    config = {
        "services": {"s": {"kind": "http", "url": "http://api.test"}},
        "tools": {"t": {"input": {"properties": {"v": {}}}, "calls": {"a": call}}},
    }
    with pytest.raises(ConfigError) as caught:
        build(config, record=lambda _event: None, strict=True)
    assert [problem.path[-1] for problem in caught.value.problems] == [
        *("authorization", "x-token", "x-secret"),
    ]
    assert "hunter2" not in repr(load_config(config))


@pytest.mark.parametrize("name", ["content-length", "Host"])
def test_the_budget_is_not_carried_by_what_frames_a_message(name: str) -> None:
    service = {"kind": "http", "url": "http://api.test", "budget_header": name}
    config = {
        "services": {"s": service},
        "tools": {"t": {"calls": {"a": {"service": "s", "get": "/"}}}},
    }
    with pytest.raises(ConfigError, match="cannot carry the budget"):
        load_config(config)


async def test_a_service_may_have_another_name_than_its_address(autojump_clock: MockClock) -> None:
    service = Scripted(http())
    async with bench(service, headers={"host": "tenant.test"}) as made:
        await made()
    assert service.requests[0].header("host") == "tenant.test"


async def test_the_trace_goes_on_under_the_same_id(autojump_clock: MockClock) -> None:
    service = Scripted(http())
    async with bench(service) as made:
        await made({"traceparent": f"00-{'a' * 32}-{'c' * 16}-01"})
    assert service.requests[0].header("traceparent") == f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.mark.parametrize(
    ("budget_s", "call", "header"),
    [
        (2.5, {}, "2500"),
        (0.0019, {}, "1"),
        (60, {}, "10000"),
        (60, {"timeout": "300ms"}, "300"),
        (0.2, {"timeout": "300ms"}, "200"),
    ],
)
async def test_what_is_left_of_the_budget_goes_along(
    autojump_clock: MockClock, budget_s: float, call: dict[str, Any], header: str
) -> None:
    service = Scripted(http())
    async with bench(service, {"get": "/", **call}) as made:
        await made({"x-request-timeout-ms": "999999"}, timeout_s=budget_s)
    assert service.requests[0].header("x-request-timeout-ms") == header


async def test_a_later_call_sees_less_and_the_header_has_the_services_name(
    autojump_clock: MockClock,
) -> None:
    service = Scripted(http(200, "1", after_s=0.75, content_type=JSON))
    config = {
        "services": {
            "s": {
                "kind": "http",
                "url": "http://api.test",
                "allow_private": True,
                "budget_header": "X-Budget",
            }
        },
        "tools": {
            "t": {
                "calls": {
                    "a": {"service": "s", "get": "/a"},
                    "b": {"service": "s", "get": "/{a}"},
                }
            }
        },
    }
    async with network() as net:
        net.name("api.test", ADDRESS)
        net.serve(ADDRESS, 80, service)
        app = create_app(config)
        async with app.running():
            request = Request("t", {}, Context(request_id="r"))
            await app.call(request, timeout_s=4)
    assert [one.header("x-budget") for one in service.requests] == ["4000", "3250"]


async def test_waiting_for_a_connection_takes_from_the_budget(autojump_clock: MockClock) -> None:
    service = Scripted(http(200, "1", after_s=0.75, content_type=JSON))
    async with bench(service, max_connections=1) as made, trio.open_nursery() as nursery:
        nursery.start_soon(partial(made, timeout_s=4))
        await trio.testing.wait_all_tasks_blocked()
        await made(timeout_s=4)
    assert [one.header("x-request-timeout-ms") for one in service.requests] == ["4000", "3250"]


async def test_under_a_millisecond_the_call_is_not_made(autojump_clock: MockClock) -> None:
    service = Scripted(http(200, "1", after_s=0.9995, content_type=JSON))
    calls = {
        "a": {"service": "s", "get": "/a"},
        "b": {"service": "s", "get": "/{a}", "optional": True},
    }
    config = {
        "services": {"s": {"kind": "http", "url": "http://api.test", "allow_private": True}},
        "tools": {"t": {"calls": calls, "deadline": "1s"}},
    }
    async with network() as net:
        net.name("api.test", ADDRESS)
        net.serve(ADDRESS, 80, service)
        app = create_app(config)
        async with app.running():
            reply = await app.call(Request("t", {}, Context(request_id="r")))
    assert reply.partial_label == "b=deadline_exceeded"
    assert reply.missing[0].detail.startswith("not called")
    assert len(service.requests) == 1


async def test_the_environments_proxies_are_ignored(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://10.9.9.9:3128")
    service = Scripted(http())
    async with bench(service) as made:
        await made()
        assert made.net.connected == [(ADDRESS, 80)]


async def test_cookies_of_one_request_are_never_sent_with_another(
    autojump_clock: MockClock,
) -> None:
    service = Scripted(http(set_cookie="session=1; Path=/"))
    async with bench(service) as made:
        await made()
        await made()
    assert [request.header("cookie") for request in service.requests] == [None, None]


# ------------------------------------------------------------------ what comes back


@pytest.mark.parametrize(
    ("content_type", "body", "value"),
    [
        (JSON, '{"a": [1, null]}', {"a": [1, None]}),
        (f"{JSON}; charset=utf-8", "1", 1),
        ("application/problem+json", '"x"', "x"),
        ("text/json", "[]", []),
        ("Application/JSON", "true", True),
        ("text/plain", "1", "1"),
        ("text/html", "<é>", "<é>"),
        ("application/x-unknown", "abc", "abc"),
        (None, '{"a": 1}', {"a": 1}),
        (None, "plain", "plain"),
        (JSON, "", None),
        ("text/plain", "", None),
        (JSON, "123456789012345678901234567890", 123456789012345678901234567890),
    ],
)
async def test_a_reply_is_decoded_by_what_it_says_it_is(
    autojump_clock: MockClock, content_type: str | None, body: str, value: Any
) -> None:
    headers = {} if content_type is None else {"content_type": content_type}
    async with bench(Scripted(http(200, body, **headers))) as made:
        assert await made() == value


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_every_2xx_is_a_reply(autojump_clock: MockClock, status: int) -> None:
    length = -1 if status == 204 else None
    async with bench(Scripted(http(status, length=length))) as made:
        assert await made() is None


BAD = {
    "JSON that is none": (http(200, "{", content_type=JSON), "not JSON"),
    "JSON too deep": (http(200, "[" * 100_000, content_type=JSON), "not JSON"),
    "JSON deeper than is taken": (
        http(200, "[" * 201 + "]" * 201, content_type=JSON),
        "nested deeper than 200",
    ),
    "JSON that is not UTF-8": (http(200, b'"\xff"', content_type=JSON), "not JSON"),
    "JSON with a lone surrogate": (http(200, rb'"\ud800"', content_type=JSON), "not JSON"),
    "a picture": (http(200, b"\x89PNG\xff", content_type="image/png"), "neither JSON nor UTF-8"),
    "bytes of no type": (http(200, b"\x00\xff"), "neither JSON nor UTF-8"),
    "no HTTP": (raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "not HTTP"),
    "a head without end": (raw(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 30_000), "not HTTP"),
    "a bad chunk": (
        raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
        "not HTTP",
    ),
    "two lengths": (
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
        "not HTTP",
    ),
    "gzip that is none": (
        http(200, b"abc", content_type=JSON, content_encoding="gzip"),
        "does not decompress",
    ),
    "gzip cut short": (
        http(200, gzip.compress(b'"' + b"x" * 1000 + b'"')[:-9], content_encoding="gzip"),
        "does not decompress",
    ),
    "gzip with something behind it": (
        http(200, gzip.compress(b"1") + b"2", content_encoding="gzip"),
        "does not decompress",
    ),
    "an unknown encoding": (http(200, b"abc", content_encoding="br"), "encoded as 'br'"),
    "two encodings": (http(200, b"abc", content_encoding="gzip, gzip"), "encoded as"),
}


@pytest.mark.parametrize(("answer", "said"), BAD.values(), ids=BAD)
async def test_what_is_no_reply_is_a_bad_reply(
    autojump_clock: MockClock, answer: Any, said: str
) -> None:
    async with bench(Scripted(answer)) as made:
        error = await failure(made)
    assert isinstance(error, BadReply)
    assert said in error.detail
    assert (error.call, error.service) == ("a", "s")


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "identity", "GZIP"])
async def test_a_service_that_compresses_unasked_is_understood(
    autojump_clock: MockClock, encoding: str
) -> None:
    text = json.dumps({"a": "x" * 1000}).encode()
    packed = {"deflate": zlib.compress(text), "identity": text}.get(encoding, gzip.compress(text))
    service = Scripted(http(200, packed, content_type=JSON, content_encoding=encoding))
    async with bench(service) as made:
        assert await made() == {"a": "x" * 1000}
    assert service.requests[0].header("accept-encoding") == "identity"


STATUSES = [
    # the service's status → code, ours
    (400, "rejected", 502),
    (401, "rejected", 502),
    (403, "rejected", 502),
    (404, "rejected", 404),
    (409, "rejected", 409),
    (410, "rejected", 410),
    (412, "rejected", 412),
    (418, "rejected", 502),
    (422, "rejected", 422),
    (429, "rejected", 503),
    (500, "bad_reply", 502),
    (502, "bad_reply", 502),
    (503, "bad_reply", 502),
    (504, "bad_reply", 502),
    (301, "bad_reply", 502),
    (302, "bad_reply", 502),
    (304, "bad_reply", 502),
]


@pytest.mark.parametrize(("theirs", "code", "ours"), STATUSES)
async def test_a_status_becomes_its_code(
    autojump_clock: MockClock, theirs: int, code: str, ours: int
) -> None:
    body = b"" if theirs == 304 else b'{"why": "no such thing"}'
    async with bench(Scripted(http(theirs, body, location="/y"))) as made:
        error = await failure(made)
    assert (error.code, error.status, error.service_status) == (code, ours, theirs)
    assert error.detail == f"s answered {theirs}" + (f": {body.decode()}" if body else "")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        (formatdate(0, usegmt=True), 0),
        ("soon", None),
        ("-1", None),
        ("9" * 20, None),
        ("", None),
        (None, None),
    ],
)
async def test_a_service_that_wants_us_to_wait_says_how_long(
    autojump_clock: MockClock, value: str | None, seconds: float | None
) -> None:
    headers = {} if value is None else {"retry_after": value}
    async with bench(Scripted(http(429, **headers))) as made:
        error = await failure(made)
    assert isinstance(error, Rejected)
    assert error.retry_after_s == seconds


async def test_a_service_that_is_down_may_say_for_how_long(autojump_clock: MockClock) -> None:
    async with bench(Scripted(http(503, retry_after="7"))) as made:
        error = await failure(made)
    assert isinstance(error, BadReply)
    assert (error.service_status, error.retry_after_s) == (503, 7)


@pytest.mark.parametrize(
    ("path", "fine"),
    [
        ("/../admin", False),
        ("/{v}/../admin", False),
        ("/a/..?x=1", False),
        ("/./a", False),
        ("/%2e%2E/admin", False),
        ("/a#b", False),
        ("/a?b#c", False),
        ("/a..b/...", True),
        ("/a?x=/../y", True),
        ("/{join('#', w)}/x", True),
        ("/{join('/../', w)}/x", True),
        ("/{{..}}/%23", True),
    ],
)
def test_a_path_leads_where_it_says(path: str, fine: bool) -> None:
    config = {
        "services": {"s": {"kind": "http", "url": "http://api.test/v1"}},
        "tools": {
            "t": {
                "input": {"properties": {"v": {}, "w": {}}},
                "calls": {"a": {"service": "s", "get": path}},
            }
        },
    }
    if fine:
        load_config(config)
        return
    with pytest.raises(ConfigError, match=r"tools\.t\.calls\.a\.get: expected a path"):
        load_config(config)


async def test_a_refusal_is_quoted_within_bounds(autojump_clock: MockClock) -> None:
    async with bench(Scripted(http(404, "é" * 100_000))) as made:
        error = await failure(made)
    assert len(error.detail) < 600


# ------------------------------------------------------------------ secrets


@pytest.mark.parametrize("status", [404, 500])
@pytest.mark.parametrize(
    "echoed",
    [
        "Bearer t0ps3cret-t0ken",
        "t0ps3cret-t0ken",
        f"{'x' * 490}t0ps3cret-t0ken",
        "pa55w0rd!",
        "pa55w0rd%21",
        base64.b64encode(b"user:pa55w0rd!").decode(),
        "t0ps3cret-t0ken t0ps3cret-t0ken",
    ],
)
async def test_a_secret_that_a_service_repeats_is_not_shown(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, status: int, echoed: str
) -> None:
    monkeypatch.setenv("TOKEN", "Bearer t0ps3cret-t0ken")
    settings = {
        "url": "http://user:pa55w0rd%21@api.test",
        "headers": {"x-key": "env:TOKEN"},
    }
    async with bench(Scripted(http(status, f"you sent {echoed}")), **settings) as made:
        error = await failure(made)
    shown = f"{error.detail} {error.problem()}"
    for part in ("t0ps", "cret", "pa55", "w0rd", "dXNlcj"):
        assert part not in shown
    assert error.detail.startswith(f"s answered {status}: you sent ")


async def test_a_password_in_the_url_is_sent(autojump_clock: MockClock) -> None:
    service = Scripted(http())
    async with bench(service, url="http://user:pa55w0rd%21@api.test") as made:
        await made()
    basic = base64.b64encode(b"user:pa55w0rd!").decode()
    assert service.requests[0].header("authorization") == f"Basic {basic}"


# ------------------------------------------------------------------ bounds


@pytest.mark.parametrize(("size", "fits"), [(1023, True), (1024, True), (1025, False)])
@pytest.mark.parametrize("encoding", [None, "gzip", "deflate", "chunked"])
async def test_a_reply_is_bounded_decompressed(
    autojump_clock: MockClock, size: int, fits: bool, encoding: str | None
) -> None:
    text = b"x" * size
    match encoding:
        case "gzip":
            answer: Any = http(200, gzip.compress(text), content_encoding="gzip")
        case "deflate":
            answer = http(200, zlib.compress(text), content_encoding="deflate")
        case "chunked":
            chunks = b"".join(b"1\r\nx\r\n" for _ in range(size))
            answer = raw(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
            )
        case _:
            answer = http(200, text)
    async with bench(Scripted(answer), max_reply="1KiB") as made:
        if fits:
            assert await made() == text.decode()
        else:
            assert "over 1024 bytes" in (await failure(made)).detail


@pytest.mark.parametrize("status", [200, 404, 500])
async def test_a_bomb_is_refused_at_its_bound(autojump_clock: MockClock, status: int) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    assert len(bomb) < 70_000
    answer = http(status, bomb, content_encoding="gzip")
    async with bench(Scripted(answer), max_reply="64KiB") as made:
        error = await failure(made)
    assert isinstance(error, BadReply)
    assert "over 65536 bytes" in error.detail


async def test_a_service_that_never_stops_is_stopped_at_the_bound(
    autojump_clock: MockClock,
) -> None:
    sent = 0

    async def endless(_request: Received, stream: trio.abc.Stream) -> None:
        nonlocal sent
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")
        while True:
            await stream.send_all(b"x" * 1000)
            sent += 1000
            await trio.sleep(0.001)

    async with bench(Scripted(endless), max_reply="64KiB") as made:
        assert isinstance(await failure(made), BadReply)
    assert sent < 200_000


# ------------------------------------------------------------------ connections that fail


UNREACHABLE = {
    "refused": OSError(errno.ECONNREFUSED, "Connection refused"),
    "no route": OSError(errno.EHOSTUNREACH, "No route to host"),
    "closed before a reply": Scripted(raw(b"", close=True)),
    "closed in the head": Scripted(raw(b"HTTP/1.1 200 OK\r\nconte", close=True)),
    "closed in the body": Scripted(
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", close=True)
    ),
    "closed in a chunk": Scripted(
        raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf", close=True)
    ),
}


@pytest.mark.parametrize("service", UNREACHABLE.values(), ids=UNREACHABLE)
async def test_a_connection_that_fails_is_unreachable(
    autojump_clock: MockClock, service: Any
) -> None:
    async with bench(service) as made:
        error = await failure(made)
        assert isinstance(error, Unreachable)
        assert (error.status, error.service) == (502, "s")
        assert error.detail


async def test_a_name_that_does_not_resolve_is_unreachable(autojump_clock: MockClock) -> None:
    async with bench(Scripted(http()), url="http://nowhere.test") as made:
        error = await failure(made)
    assert isinstance(error, Unreachable)
    assert error.detail.startswith("its name does not resolve: ")
    assert error.where == "nowhere.test"


async def test_a_name_that_is_none_is_unreachable(autojump_clock: MockClock) -> None:
    async with bench(Scripted(http()), url=f"http://{'a' * 64}.test") as made:
        assert isinstance(await failure(made), Unreachable)


async def test_a_second_address_is_tried(autojump_clock: MockClock) -> None:
    async with bench(Scripted(http(200, "1", content_type=JSON))) as made:
        made.net.name("api.test", "10.0.0.2", ADDRESS)
        assert await made() == 1
        assert made.net.connected == [("10.0.0.2", 80), (ADDRESS, 80)]


@pytest.mark.parametrize("where", ["connect", "head", "body"])
async def test_a_service_that_hangs_anywhere_is_a_timeout_and_its_connection_is_closed(
    autojump_clock: MockClock, where: str
) -> None:
    service: Any = {
        "connect": None,
        "head": Scripted(http(after_s=1000)),
        "body": Scripted(raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")),
    }[where]
    async with bench(service, {"get": "/", "timeout": "500ms"}) as made:
        start = trio.current_time()
        error = await failure(made)
        assert trio.current_time() - start == pytest.approx(0.5, abs=1e-6)
        assert not made.net.open
        await wait_all_tasks_blocked()
        if service is not None and where == "head":
            assert (service.active, service.connections) == (0, 0)
    assert isinstance(error, DeadlineExceeded)


async def test_a_connection_is_used_again(autojump_clock: MockClock) -> None:
    service = Scripted(http(200, "1", content_type=JSON))
    async with bench(service) as made:
        for _ in range(5):
            await made()
    assert (service.accepted, len(service.requests)) == (1, 5)


async def test_a_connection_that_the_service_closed_meanwhile_is_not_used(
    autojump_clock: MockClock,
) -> None:
    async def once(request: Received, stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1")
        await stream.aclose()

    service = Scripted(once)
    async with bench(service) as made:
        for _ in range(3):
            await made()
            await wait_all_tasks_blocked()
    assert (service.accepted, len(service.requests)) == (3, 3)


async def test_no_more_connections_than_allowed_and_every_call_gets_its_turn(
    autojump_clock: MockClock,
) -> None:
    service = Scripted(http(200, "1", after_s=0.1, content_type=JSON))
    async with bench(service, max_connections=3) as made:
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(made)
        assert made.net.most == 3
        assert trio.current_time() == pytest.approx(0.4, abs=1e-3)
    assert len(service.requests) == 12


async def test_a_call_that_waits_for_its_turn_is_cancelled_in_time(
    autojump_clock: MockClock,
) -> None:
    service = Scripted(http(after_s=1000))
    async with bench(service, max_connections=1) as made:

        async def late() -> None:
            assert isinstance(await failure(made, timeout_s=2), DeadlineExceeded)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(late)
            await trio.sleep(0.5)
            assert isinstance(await failure(made, timeout_s=1), DeadlineExceeded)
            assert trio.current_time() == pytest.approx(1.5, abs=1e-3)
    assert len(service.requests) == 1


async def test_a_thousand_cancelled_calls_leave_every_turn_free(
    autojump_clock: MockClock,
) -> None:
    service = Scripted(http(200, "1", after_s=0.05, content_type=JSON))
    async with bench(service, max_connections=4) as made:

        async def churn(number: int) -> None:
            await trio.sleep(number % 50 * 0.001)
            # Some get their turn in the last millisecond: they are not made any more.
            with (
                trio.move_on_after(0.001 + number % 97 * 0.001),
                contextlib.suppress(DeadlineExceeded),
            ):
                await made()

        async with trio.open_nursery() as nursery:
            for number in range(1000):
                nursery.start_soon(churn, number)
        await wait_all_tasks_blocked()
        assert service.active == 0
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(made)
        assert trio.current_time() - start == pytest.approx(0.1, abs=1e-3)


# ------------------------------------------------------------------ redirects


def to(location: str, status: int = 302) -> Any:
    return http(status, "moved", location=location)


async def test_a_redirect_is_not_followed_unless_told(autojump_clock: MockClock) -> None:
    service = Scripted(to("/y"))
    async with bench(service) as made:
        error = await failure(made)
    assert (error.service_status, len(service.requests)) == (302, 1)


@pytest.mark.parametrize(
    ("status", "method"), [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")]
)
async def test_a_redirect_is_followed_if_told(
    autojump_clock: MockClock, status: int, method: str
) -> None:
    service = Scripted(to("/y?z=1", status), http(200, "1", content_type=JSON))
    call = {"post": "/x", "json": {"a": 1}}
    async with bench(service, call, follow_redirects=True) as made:
        assert await made() == 1
    _, second = service.requests
    assert (second.method, second.target) == (method, "/y?z=1")
    assert second.body == (b'{"a":1}' if method == "POST" else b"")


@pytest.mark.parametrize("location", ["/y", "http://other.test/y"])
async def test_each_redirect_is_told_what_is_left(autojump_clock: MockClock, location: str) -> None:
    late = http(302, "moved", after_s=0.75, location=location)
    first, second = Scripted(late, http()), Scripted(http())
    async with bench(first, follow_redirects=True) as made:
        made.net.name("other.test", "10.0.0.2")
        made.net.serve("10.0.0.2", 80, second)
        await made(timeout_s=4)
    told = [one.header("x-request-timeout-ms") for one in first.requests + second.requests]
    assert told == ["4000", "3250"]


async def test_a_forwarded_request_id_is_the_requests_own(autojump_clock: MockClock) -> None:
    service = Scripted(http())
    async with bench(service, forward=["X-Request-Id"]) as made:
        await made()
    assert service.requests[0].header("x-request-id") == "r"


@pytest.mark.parametrize(("redirects", "fine"), [(10, True), (11, False)])
async def test_redirects_are_bounded(autojump_clock: MockClock, redirects: int, fine: bool) -> None:
    answers = [to(f"/{number}") for number in range(redirects)]
    service = Scripted(*answers, http(200, "1", content_type=JSON))
    async with bench(service, follow_redirects=True) as made:
        if fine:
            assert await made() == 1
        else:
            assert "10 redirects" in (await failure(made)).detail


async def test_the_reply_that_redirects_is_bounded_too(autojump_clock: MockClock) -> None:
    service = Scripted(http(302, b"x" * 5000, location="/y"), http())
    async with bench(service, follow_redirects=True, max_reply="1KiB") as made:
        assert "over 1024 bytes" in (await failure(made)).detail
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("location", "kept"),
    [
        ("/y", True),
        ("http://api.test/y", True),
        ("//other.test/y", False),
        ("http://other.test/y", False),
        ("http://api.test:81/y", False),
    ],
)
async def test_secrets_do_not_follow_a_redirect_to_another_origin(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, location: str, kept: bool
) -> None:
    monkeypatch.setenv("TOKEN", "t0ps3cret")
    first, second = Scripted(to(location), http()), Scripted(http())
    settings = {
        "follow_redirects": True,
        "headers": {"authorization": "env:TOKEN", "x-api-key": "env:TOKEN"},
        "forward": ["cookie"],
    }
    async with bench(first, **settings) as made:
        made.net.name("other.test", "10.0.0.2")
        made.net.serve("10.0.0.2", 80, second)
        made.net.serve(ADDRESS, 81, second)
        await made({"cookie": "session=t0ps3cret"})
    last = (first.requests + second.requests)[-1]
    assert len(first.requests) == (2 if kept else 1)
    assert last.header("traceparent") is not None
    assert (last.header("x-api-key"), last.header("authorization")) == (
        ("t0ps3cret", "t0ps3cret") if kept else (None, None)
    )
    if not kept:
        assert "t0ps3cret" not in str(last.headers)
        assert last.header("host") != "api.test"


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("ftp://api.test/y", BadReply),
        ("file:///etc/passwd", BadReply),
        ("http://[::1", BadReply),
        ("http://127.0.0.1/", Unreachable),
        ("http://169.254.169.254/latest/meta-data/", Unreachable),
        ("http://rebound.test/", Unreachable),
        ("http:///y", BadReply),
    ],
)
async def test_a_redirect_leads_nowhere_that_a_call_may_not_go(
    autojump_clock: MockClock, location: str, error: type[GatewayError]
) -> None:
    service = Scripted(to(location), to(location), to(location))
    settings = {"follow_redirects": True, "allow_private": False}
    async with bench(service, **settings) as made:
        made.net.name("api.test", "93.184.216.34")
        made.net.serve("93.184.216.34", 80, service)
        made.net.name("rebound.test", "10.1.1.1")
        assert isinstance(await failure(made), error) or location == "http:///y"
        assert {address for address, _ in made.net.connected} == {"93.184.216.34"}


# ------------------------------------------------------------------ which addresses


ADDRESSES = [
    # what api.test is, allow_private, connected to
    (["93.184.216.34"], False, True),
    (["10.0.0.1"], False, False),
    (["10.0.0.1"], True, True),
    (["127.0.0.1"], False, False),
    (["127.0.0.1"], True, True),
    (["169.254.169.254"], True, False),
    (["93.184.216.34", "10.0.0.1"], False, False),
    (["::ffff:10.0.0.1"], False, False),
    (["fd00:ec2::254"], True, False),
]


@pytest.mark.parametrize(("addresses", "allow", "connected"), ADDRESSES)
async def test_a_name_is_connected_to_where_its_addresses_are_allowed(
    autojump_clock: MockClock, addresses: list[str], allow: bool, connected: bool
) -> None:
    service = Scripted(http(200, "1", content_type=JSON))
    async with bench(service, allow_private=allow) as made:
        made.net.name("api.test", *addresses)
        for address in addresses:
            made.net.serve(address, 80, service)
        if connected:
            assert await made() == 1
        else:
            error = await failure(made)
            assert isinstance(error, Unreachable)
            assert "api.test is" in error.where
            assert not made.net.connected


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.1.2.3"])
async def test_loopback_that_the_file_writes_out_is_meant(
    autojump_clock: MockClock, host: str
) -> None:
    service = Scripted(http(200, "1", content_type=JSON))
    async with bench(service, url=f"http://{host}:8000", allow_private=False) as made:
        made.net.name("localhost", "127.0.0.1")
        address = {"localhost": "127.0.0.1", "[::1]": "::1"}.get(host, host)
        made.net.serve(address, 8000, service)
        assert await made() == 1


async def test_a_redirect_to_another_port_of_loopback_is_not_meant(
    autojump_clock: MockClock,
) -> None:
    service, other = Scripted(to("http://127.0.0.1:6379/")), Scripted(http())
    settings = {"allow_private": False, "follow_redirects": True}
    async with bench(service, url="http://127.0.0.1:8000", **settings) as made:
        made.net.serve("127.0.0.1", 8000, service)
        made.net.serve("127.0.0.1", 6379, other)
        assert isinstance(await failure(made), Unreachable)
    assert not other.requests


async def test_a_name_that_turns_private_later_is_refused_later(
    autojump_clock: MockClock,
) -> None:
    """DNS rebinding: every connection is checked, not the first."""
    service = Scripted(http(200, "1", content_type=JSON, connection="close"))
    async with bench(service, allow_private=False) as made:
        made.net.name("api.test", "93.184.216.34")
        made.net.serve("93.184.216.34", 80, service)
        assert await made() == 1
        made.net.name("api.test", "10.0.0.1")
        assert isinstance(await failure(made), Unreachable)
    assert len(service.requests) == 1


# ------------------------------------------------------------------ keys of a call


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "expected one of get, post, put, patch, delete, head, got none"),
        ({"get": "/", "post": "/"}, "got get and post"),
        ({"post": "/", "json": 1, "body": "x"}, "at most one of json, form, multipart, body"),
        ({"get": "/", "json": 1}, "a GET has no body"),
        ({"head": "/", "form": {"a": 1}}, "a HEAD has no body"),
        (
            {"get": "/", "headers": {"a b": 1}},
            "expected the name of a header, such as accept-language",
        ),
    ],
)
def test_what_is_wrong_with_a_call_is_said_at_load(keys: dict[str, Any], message: str) -> None:
    config = {
        "services": {"s": {"kind": "http", "url": "http://api.test"}},
        "tools": {"t": {"calls": {"a": {"service": "s", **keys}}}},
    }
    with pytest.raises(Exception, match=r"tools\.t\.calls\.a") as caught:
        create_app(config)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("verb", "idempotent", "read_only"),
    [
        ("get", True, True),
        ("head", True, True),
        ("put", True, False),
        ("delete", True, False),
        ("post", False, False),
        ("patch", False, False),
    ],
)
def test_what_a_tool_may_be_told_of_follows_from_its_verbs(
    verb: str, idempotent: bool, read_only: bool
) -> None:
    config = {
        "services": {"s": {"kind": "http", "url": "http://api.test"}},
        "tools": {"t": {"calls": {"a": {"service": "s", verb: "/"}}}},
    }
    tool = create_app(config).tools["t"]
    assert (tool.idempotent, tool.read_only) == (idempotent, read_only)


async def test_a_call_before_the_gateway_is_open_is_unreachable() -> None:
    config = {
        "services": {"s": {"kind": "http", "url": "http://api.test"}},
        "tools": {"t": {"calls": {"a": {"service": "s", "get": "/"}}}},
    }
    with pytest.raises(Unreachable, match="not open"):
        await create_app(config).call(Request("t", {}, Context(request_id="r")))


def test_a_url_with_a_query_is_refused() -> None:
    """Paths are appended to it: they would become a part of the query."""
    with pytest.raises(ConfigError) as caught:
        load_config({"services": {"s": {"kind": "http", "url": "http://api.test/?key=1"}}})
    assert str(caught.value).startswith(
        '<mapping>: services.s.url: expected a URL without a query, such as "https://'
    )


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}", {}),
        (b"HTTP/1.1 204 No Content\r\n\r\n", None),
        (
            (
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
            ),
            {},
        ),
    ],
)
async def test_what_nobody_asked_for_is_no_reply_to_the_next_request(
    autojump_clock: MockClock, reply: bytes, value: Any
) -> None:
    poison = (
        b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 8\r\n\r\n"POISON"'
    )
    service = Scripted(raw(reply + poison), http(200, '"good"', content_type=JSON))
    async with bench(service) as made:
        assert await made() == value
        assert await made() == "good"
        assert await made() == "good"
