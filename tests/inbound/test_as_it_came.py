"""JSON that nothing looks into reaches the client as it came from its service."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from trio.testing import MockClock

from gateway.app import Gateway, create_app
from gateway.core.errors import BadReply
from gateway.core.messages import Context, Request
from gateway.testing import InMemoryClient
from tests.http_service import Scripted, http
from tests.network import network

ADDRESS = "93.184.216.34"
JSON = {"content_type": "application/json; charset=utf-8"}


@asynccontextmanager
async def serving(*answers: Any, **tool: Any) -> AsyncGenerator[Gateway]:
    """A tool of one call `a`, unless `tool` has other ones, of a service that answers so."""
    config = {
        "server": {"allowed_hosts": ["localhost"]},
        "services": {"s": {"kind": "http", "url": "http://api.test", "allow_private": True}},
        "tools": {"t": {"http": "GET /t", "calls": {"a": {"service": "s", "get": "/"}}, **tool}},
    }
    async with network() as net:
        net.name("api.test", ADDRESS)
        net.serve(ADDRESS, 80, Scripted(*answers))
        app = create_app(config)
        async with app.running():
            yield app


AS_IT_CAME = [
    b'{"a": 1,   "b":[ 1.0, 1e2 ]}',
    '{"grüße": "…"}'.encode(),
    b'{"twice":1,"twice":2}',
    b"[1e400]",
    b"12345678901234567890123",
    b'"text"',
    b"null",
]


@pytest.mark.parametrize("body", AS_IT_CAME)
@pytest.mark.parametrize("whole", [True, False])
async def test_its_bytes_are_the_answers(
    autojump_clock: MockClock, body: bytes, whole: bool
) -> None:
    tool = {"output": "a"} if whole else {}
    async with serving(http(body=b" " + body + b" ", **JSON), **tool) as app:
        answer = await InMemoryClient(app).request("GET", "/t")
    assert answer.status == 200
    assert answer.body == (body if whole else b'{"a":' + body + b"}")


async def test_lines_are_joined(autojump_clock: MockClock) -> None:
    """An event of a stream is a line."""
    async with serving(http(body=b'{\n  "a": [\r\n1 ] }', **JSON), output="a") as app:
        assert (await InMemoryClient(app).request("GET", "/t")).body == b'{"a":[1]}'


@pytest.mark.parametrize(
    "body",
    [b'{"a": }', b'{"a":"\xff"}', b'"\x01"', b"[1] x", b"[" * 201 + b"]" * 201, b"NaN", b"\xff"],
)
async def test_what_is_no_json_is_a_bad_reply(autojump_clock: MockClock, body: bytes) -> None:
    async with serving(http(body=body, **JSON), output="a") as app:
        answer = await InMemoryClient(app).request("GET", "/t")
    assert (answer.status, json.loads(answer.body)["code"]) == (502, "bad_reply")
    assert "the reply is not JSON" in json.loads(answer.body)["detail"]


async def test_a_refusal_is_one(autojump_clock: MockClock) -> None:
    async with serving(http(404, body=b'{"no":1}', **JSON), output="a") as app:
        assert (await InMemoryClient(app).request("GET", "/t")).status == 404


async def test_what_is_missing_stands_in_an_object_that_came_whole(
    autojump_clock: MockClock,
) -> None:
    calls = {
        "a": {"service": "s", "get": "/a"},
        "b": {"service": "s", "get": "/b", "optional": True},
    }
    answers = (http(body=b'{"x": 1}', **JSON), http(500))
    async with serving(*answers, output="a", calls=calls) as app:
        answer = await InMemoryClient(app).request("GET", "/t")
    value = json.loads(answer.body)
    assert value["x"] == 1
    assert [error["call"] for error in value["_errors"]] == ["b"]


async def test_what_something_looks_into_is_decoded(autojump_clock: MockClock) -> None:
    calls = {
        "a": {"service": "s", "get": "/a"},
        "b": {"service": "s", "get": "/{a.x}"},
    }
    body = b'{"x": 1}'
    for tool, wanted in (
        ({"calls": calls}, b'{"a":{"x":1},"b":{"x": 1}}'),
        ({"output": "a.x"}, b"1"),
        ({"output": {"y": "a"}}, b'{"y":{"x": 1}}'),
        ({"output": {"y": "a", "z": "a.x"}}, b'{"y":{"x":1},"z":1}'),
        ({"output": "{b: a}"}, b'{"b":{"x":1}}'),
    ):
        async with serving(http(body=body, **JSON), http(body=body, **JSON), **tool) as app:
            assert (await InMemoryClient(app).request("GET", "/t")).body == wanted


async def test_from_python_it_is_decoded(autojump_clock: MockClock) -> None:
    asked = Request("t", {}, Context(request_id="r"))
    async with serving(http(body=b'{"x": [1]}', **JSON), http(body=b"[1e400]", **JSON)) as app:
        reply = await app.call(asked)
        assert reply.value == {"a": {"x": [1]}}
        assert reply.encoded == b'{"a":{"x": [1]}}'
        with pytest.raises(BadReply, match="cannot be decoded"):
            await app.call(asked)
