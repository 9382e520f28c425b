"""Tools over HTTP: how requests become arguments, and answers become bytes."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from gateway.app import Gateway, create_app
from gateway.core.errors import Overloaded, Rejected
from gateway.testing import Answer, InMemoryClient, ScriptedService

INPUT = {
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "flag": "boolean",
        "tags": {"type": "array", "items": {"type": "string"}},
        "numbers": {"type": "array", "items": {"type": "integer"}},
        "deep": {},
        "text": "string",
        "filter": "object",
    }
}
CALL = {
    "service": "s",
    "post": "/",
    "json": {name: f"{{{name}}}" for name in INPUT["properties"]},
}


def config(service: str = "s", **server: Any) -> dict[str, Any]:
    def tool(**keys: Any) -> dict[str, Any]:
        return {"input": INPUT, "calls": {"a": {**CALL, "service": service}}, "output": "a", **keys}

    return {
        "server": server,
        "services": {"s": {"kind": "http", "url": "http://api.test"}},
        "tools": {
            "echo": tool(http="GET /things/{id}"),
            "put": tool(http="PUT /things/{id}"),
            "search": tool(http="POST /things/search"),
            "strict": tool(input={**INPUT, "additionalProperties": False, "required": ["id"]}),
            "any": tool(http="GET /{text}"),
        },
    }


@attrs.frozen
class Bench:
    app: Gateway
    client: InMemoryClient
    service: ScriptedService

    @property
    def arguments(self) -> dict[str, Any]:
        """What the last request's arguments were, absent ones left out."""
        sent = self.service.requests[-1].arguments["json"]
        return {name: value for name, value in sent.items() if value is not None}


@asynccontextmanager
async def bench(service: ScriptedService | None = None, **server: Any) -> AsyncGenerator[Bench]:
    service = service or ScriptedService()
    app = create_app(config(**server), services={"s": service})
    async with app.running():
        yield Bench(app, InMemoryClient(app), service)


def problem(answer: Answer) -> Any:
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status
    assert body["request_id"] == answer.headers["x-request-id"]
    assert {"type", "title", "code", "detail"} <= set(body)
    return body


# ------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    ("method", "target", "body", "arguments"),
    [
        ("POST", "/tools/echo", {"id": 7}, {"id": 7}),
        ("POST", "/tools/echo", None, {}),
        ("POST", "/tools/echo?id=7&flag=true", None, {"id": 7, "flag": True}),
        ("GET", "/things/7", None, {"id": 7}),
        ("GET", "/things/7?flag=false&text=1", None, {"id": 7, "flag": False, "text": "1"}),
        ("GET", "/things/7?tags=a&tags=b", None, {"id": 7, "tags": ["a", "b"]}),
        ("GET", "/things/7?tags=a", None, {"id": 7, "tags": ["a"]}),
        ("GET", '/things/7?tags=["a","b"]', None, {"id": 7, "tags": ["a", "b"]}),
        ("GET", "/things/7?numbers=1&numbers=2", None, {"id": 7, "numbers": [1, 2]}),
        ("GET", '/things/7?filter={"a":1}', None, {"id": 7, "filter": {"a": 1}}),
        ("GET", "/things/7?text=a+b%20c%2B", None, {"id": 7, "text": "a b c+"}),
        ("GET", "/things/7?text=%C3%A9", None, {"id": 7, "text": "é"}),
        ("GET", "/things/7?text=", None, {"id": 7, "text": ""}),
        ("GET", "/things/7?text=a=b", None, {"id": 7, "text": "a=b"}),
        ("GET", "/things/7?unknown=1", None, {"id": 7}),
        ("GET", "/things/%37", None, {"id": 7}),
        ("PUT", "/things/7", {"flag": True}, {"id": 7, "flag": True}),
        # what the path says goes before the body, the body before the query
        (
            "PUT",
            "/things/7?flag=false&text=q",
            {"id": 1, "flag": True},
            {"id": 7, "flag": True, "text": "q"},
        ),
        ("POST", "/things/search", {"text": "x"}, {"text": "x"}),
        ("GET", "/things/7?id=9", None, {"id": 7}),
        ("GET", "/some%2Fthing", None, {"text": "some/thing"}),
        ("GET", "/%E2%80%AE", None, {"text": "\u202e"}),
        (
            "POST",
            "/tools/echo",
            {"deep": {"a": [1, {"b": None}]}},
            {"deep": {"a": [1, {"b": None}]}},
        ),
    ],
)
async def test_a_request_becomes_arguments(
    method: str, target: str, body: Any, arguments: dict[str, Any]
) -> None:
    async with bench() as made:
        answer = await made.client.request(method, target, json=body)
        assert answer.status == 200, answer.body
        assert made.arguments == arguments


@pytest.mark.parametrize(
    ("method", "target", "body", "pointers"),
    [
        ("GET", "/things/x", None, ["/id"]),
        ("GET", "/things/0", None, ["/id"]),
        ("GET", "/things/7.5", None, ["/id"]),
        ("GET", "/things/7?flag=yes&numbers=x", None, ["/flag", "/numbers/0"]),
        ("POST", "/tools/echo", {"id": "7"}, ["/id"]),  # JSON has types: nothing is coerced
        ("POST", "/tools/echo", {"id": None}, ["/id"]),
        ("POST", "/tools/strict", {"more": 1, "id": "x"}, ["/id", "/more"]),
        ("POST", "/tools/strict?more=1", None, ["/id", "/more"]),
    ],
)
async def test_arguments_that_break_the_schema_are_all_listed(
    method: str, target: str, body: Any, pointers: list[str]
) -> None:
    async with bench() as made:
        answer = await made.client.request(method, target, json=body)
        assert not made.service.requests
    said = problem(answer)
    assert (answer.status, said["code"]) == (422, "invalid_arguments")
    assert sorted(error["pointer"] for error in said["errors"]) == pointers


BODIES = {
    "no JSON": b"{",
    "a list": b"[1]",
    "text": b'"x"',
    "null": b"null",
    "a number": b"7",
    "not UTF-8": b'{"text": "\xff"}',
    "a lone surrogate": rb'{"text": "\ud800"}',
    "a depth bomb of lists": b'{"deep": ' + b"[" * 200_000,
    "a depth bomb of objects": b'{"deep": ' * 100_000,
    "a closed depth bomb": b'{"deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "two values": b"{}{}",
    "NaN": b'{"deep": NaN}',
    "a comment": b"{} // x",
    "UTF-16": '{"id": 7}'.encode("utf-16"),
    "a form": b"id=7",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    async with bench() as made:
        answer = await made.client.request("POST", "/tools/echo", content=body)
        assert not made.service.requests
    assert (answer.status, problem(answer)["code"]) == (400, "invalid_request")
    assert len(answer.body) < 1000


@pytest.mark.parametrize("body", [b"", b"  \r\n\t "])
async def test_an_empty_body_is_no_arguments(body: bytes) -> None:
    async with bench() as made:
        answer = await made.client.request("POST", "/tools/echo", content=body)
    assert answer.status == 200


@pytest.mark.parametrize("depth", [10, 200, 900])
async def test_a_deep_body_is_answered_whatever_its_depth(depth: int) -> None:
    body = b'{"deep": ' + b"[" * depth + b"]" * depth + b"}"
    async with bench() as made:
        answer = await made.client.request("POST", "/tools/echo", content=body)
    assert answer.status in {200, 400, 502}
    assert answer.status == 200 or problem(answer)["code"] != "internal"


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/things/7?text=%FF", 400),
        ("/things/%FF", 400),
        ("/things/7?" + "&".join(f"a{number}=1" for number in range(1001)), 431),
        ("/things/7?text=" + "x" * 40_000, 431),
        ("/things/" + "1" * 40_000, 431),
    ],
)
async def test_what_cannot_be_read_in_a_target_is_refused(target: str, status: int) -> None:
    async with bench() as made:
        answer = await made.client.request("GET", target)
        assert not made.service.requests
    assert answer.status == status
    problem(answer)


# ------------------------------------------------------------------ bodies in pieces


async def exchange(
    app: Gateway, pieces: list[Any], *, method: str = "POST", path: str = "/tools/echo"
) -> list[Any]:
    """An ASGI request whose body comes in `pieces`: bytes, seconds of silence, or `None`, gone."""
    sent: list[Any] = []
    pending = list(pieces)

    async def receive() -> Any:
        await trio.lowlevel.checkpoint()
        while pending:
            piece = pending.pop(0)
            if piece is None:
                return {"type": "http.disconnect"}
            if isinstance(piece, bytes):
                return {"type": "http.request", "body": piece, "more_body": bool(pending)}
            await trio.sleep(piece)
        await trio.sleep_forever()
        return None

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    await app(scope, receive, send)
    return sent


async def test_a_body_may_come_in_pieces(autojump_clock: MockClock) -> None:
    async with bench(body_timeout="1s") as made:
        start, end = await exchange(made.app, [b'{"id"', 0.9, b":", 0.9, b" 7}"])
        assert made.arguments == {"id": 7}
    assert start["status"] == 200
    assert json.loads(end["body"])["json"]["id"] == 7


async def test_a_body_that_stops_is_refused_in_time(autojump_clock: MockClock) -> None:
    async with bench(body_timeout="1s") as made:
        start, end = await exchange(made.app, [b'{"id"', 5, b":7}"])
        assert not made.service.requests
    assert trio.current_time() == pytest.approx(1, abs=1e-6)
    assert (start["status"], json.loads(end["body"])["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(("size", "status"), [(64, 200), (65, 413)])
@pytest.mark.parametrize("pieces", [1, 13])
async def test_a_body_has_a_bound(size: int, status: int, pieces: int) -> None:
    body = b'{"text": "' + b"x" * (size - 12) + b'"}'
    step = -(-size // pieces)
    cut = [body[at : at + step] for at in range(0, size, step)]
    async with bench(max_body="64B") as made:
        start, end = await exchange(made.app, cut)
    assert start["status"] == status
    if status == 413:
        assert json.loads(end["body"])["code"] == "too_large"


async def test_a_body_over_the_bound_is_refused_before_its_end(autojump_clock: MockClock) -> None:
    async with bench(max_body="64B") as made:
        start, _ = await exchange(made.app, [b"x" * 65, 1000, b"y"])
    assert start["status"] == 413
    assert trio.current_time() < 1


async def test_a_client_that_leaves_within_its_body_gets_nothing() -> None:
    async with bench() as made:
        assert await exchange(made.app, [b'{"id"', None]) == []
        assert not made.service.requests


# ------------------------------------------------------------------ what is not there


@pytest.mark.parametrize(
    ("method", "target", "status", "allow"),
    [
        ("GET", "/tools/echo", 405, "POST"),
        ("DELETE", "/things/7", 405, "GET, HEAD, PUT"),
        ("OPTIONS", "/things/7", 405, "GET, HEAD, PUT"),
        ("PATCH", "/things/search", 405, "GET, HEAD, POST, PUT"),
        ("POST", "/openapi.json", 405, "GET, HEAD"),
        ("TRACE", "/tools/echo", 405, "POST"),
        ("GET", "/no/such", 404, None),
        ("POST", "/tools/nobody", 404, None),
        ("POST", "/tools/echo/", 404, None),
        ("POST", "/Tools/echo", 404, None),
        ("POST", "/tools", 405, "GET, HEAD"),
        ("GET", "/", 404, None),
    ],
)
async def test_another_path_or_method_is_told(
    method: str, target: str, status: int, allow: str | None
) -> None:
    async with bench() as made:
        answer = await made.client.request(method, target)
    assert (answer.status, problem(answer)["code"]) == (status, "not_found")
    assert answer.headers.get("allow") == allow


async def test_a_long_path_is_not_repeated_whole() -> None:
    async with bench() as made:
        answer = await made.client.request("GET", "/x/" + "y" * 10_000)
    assert len(answer.body) < 1000


# ------------------------------------------------------------------ ids, budgets, failures


@pytest.mark.parametrize("wanted", ["a", "abc-123", "x" * 128, "!~"])
async def test_a_request_id_is_echoed(wanted: str) -> None:
    async with bench() as made:
        for target in ("/tools/echo", "/no/such"):
            answer = await made.client.request("POST", target, headers={"x-request-id": wanted})
            assert answer.headers["x-request-id"] == wanted


@pytest.mark.parametrize("wanted", ["", "x" * 129, "a b", "é", "a\tb", "a\x7f"])
async def test_a_request_id_that_is_none_is_replaced(wanted: str) -> None:
    async with bench() as made:
        answer = await made.client.request("POST", "/tools/echo", headers={"x-request-id": wanted})
    made_up = answer.headers["x-request-id"]
    assert made_up != wanted
    assert len(made_up) == 32


@pytest.mark.parametrize(
    "headers",
    [
        {"x-request-timeout-ms": "soon"},
        {"grpc-timeout": "1"},
        {"x-request-timeout-ms": "-1"},
        {"x-envoy-expected-rq-timeout-ms": "1.5"},
    ],
)
async def test_a_malformed_budget_is_refused(headers: Mapping[str, str]) -> None:
    async with bench() as made:
        answer = await made.client.request("POST", "/tools/echo", headers=headers)
        assert not made.service.requests
    assert (answer.status, problem(answer)["code"]) == (400, "invalid_request")


async def test_a_budget_is_kept(autojump_clock: MockClock) -> None:
    async with bench(ScriptedService().hang()) as made:
        answer = await made.client.request(
            "POST", "/tools/echo", headers={"x-request-timeout-ms": "250"}
        )
    assert answer.status == 504
    assert trio.current_time() == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (Overloaded("x", retry_after_s=2.1), 503, "3"),
        (Rejected("x", service_status=429, retry_after_s=7), 503, "7"),
        (Rejected("x", service_status=404), 404, None),
    ],
)
async def test_a_failure_says_when_to_try_again(
    error: Exception, status: int, retry_after: str | None
) -> None:
    async with bench(ScriptedService().fail(error)) as made:
        answer = await made.client.request("POST", "/tools/echo")
    assert answer.status == status
    assert answer.headers.get("retry-after") == retry_after
    assert problem(answer)["call"] == "a"


async def test_the_length_is_told() -> None:
    async with bench() as made:
        for target in ("/tools/echo", "/no/such", "/openapi.json"):
            answer = await made.client.request("POST", target)
            assert answer.headers["content-length"] == str(len(answer.body))


# ------------------------------------------------------------------ the document


async def test_head_is_get_without_its_body() -> None:
    """The server leaves the body out; its length is told."""
    async with bench() as made:
        answer = await made.client.request("HEAD", "/things/7")
        assert made.arguments == {"id": 7}
    assert answer.status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_document_goes_before_a_tool_at_a_placeholder(method: str) -> None:
    async with bench() as made:
        answer = await made.client.request(method, "/openapi.json")
        assert not made.service.requests
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["openapi"] == "3.1.0"
