"""A call's `parameters` and `optional_body`: what of them goes out, and what is refused at load."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from gateway import ConfigError, load_config
from gateway.core.errors import InvalidArguments
from tests.adapters.test_http import bench, failure
from tests.http_service import Scripted, http

FORM = "application/x-www-form-urlencoded"


def call(parameters: list[dict[str, Any]], **keys: Any) -> dict[str, Any]:
    return {"post": "/x", "parameters": parameters, **keys}


@pytest.mark.parametrize(
    ("keys", "target"),
    [
        (call([{"to": "query", "name": "q", "value": "{v}", "explode": False}]), "/x?q=1,2"),
        (
            call([{"to": "query", "name": "q", "value": "{v}", "style": "pipeDelimited"}]),
            "/x?q=1%7C2",
        ),
        (call([{"to": "query", "name": "q", "value": "{v}"}], query={"p": 1}), "/x?q=1&q=2&p=1"),
        (call([{"to": "query", "name": "q", "value": "{w}"}]), "/x"),
        (call([{"to": "path", "name": "v", "value": "{v}"}], post="/a/{{v}}/b"), "/a/1,2/b"),
        (
            call([{"to": "path", "name": "v", "value": "{v}", "style": "matrix"}], post="/a{{v}}"),
            "/a;v=1,2",
        ),
    ],
)
async def test_targets(autojump_clock: MockClock, keys: Any, target: str) -> None:
    service = Scripted(http())
    async with bench(service, keys) as made:
        await made(v=[1, 2])
    assert service.requests[0].target == target


async def test_reserved_characters_reach_the_service(autojump_clock: MockClock) -> None:
    service = Scripted(http())
    parameters = [{"to": "query", "name": "q", "value": "{v}", "allow_reserved": True}]
    async with bench(service, call(parameters)) as made:
        await made(v=["/a?b:c&d=#e+f", "(g)"])
    assert service.requests[0].target == "/x?q=/a?b:c%26d%3D%23e%2Bf&q=(g)"


async def test_headers_and_cookies(autojump_clock: MockClock) -> None:
    service = Scripted(http())
    parameters = [
        {"to": "header", "name": "X-Ids", "value": "{v}"},
        {"to": "header", "name": "x-none", "value": "{w}"},
        {"to": "cookie", "name": "a", "value": "{v}", "explode": False},
    ]
    async with bench(service, call(parameters), headers={"cookie": "sid=s3"}) as made:
        await made(v=[1, 2])
    (request,) = service.requests
    assert request.header("x-ids") == "1,2"
    assert request.header("x-none") is None
    assert request.header("cookie") == "sid=s3; a=1,2"


async def test_a_form_of_one_input(autojump_clock: MockClock) -> None:
    service = Scripted(http())
    async with bench(service, call([{"to": "form", "name": "b", "value": "{v}"}])) as made:
        await made(v={"a": [1, 2], "b": "x&y"})
    (request,) = service.requests
    assert (request.header("content-type"), request.body) == (FORM, b"a=1&a=2&b=x%26y")


async def test_a_multipart_body(autojump_clock: MockClock) -> None:
    service = Scripted(http())
    async with bench(service, call([{"to": "part", "name": "note", "value": "{v}"}])) as made:
        await made(v="é")
    (request,) = service.requests
    content_type = request.header("content-type") or ""
    boundary = content_type.removeprefix("multipart/form-data; boundary=")
    assert (
        request.body
        == (
            f"--{boundary}\r\n"
            'content-disposition: form-data; name="note"\r\n\r\né\r\n'
            f"--{boundary}--\r\n"
        ).encode()
    )


@pytest.mark.parametrize("key", ["json", "body"])
@pytest.mark.parametrize("value", [None, "given"])
async def test_an_optional_body(autojump_clock: MockClock, key: str, value: Any) -> None:
    service = Scripted(http())
    async with bench(service, {"post": "/x", key: "{v}", "optional_body": True}) as made:
        await made(v=value)
    (request,) = service.requests
    assert (request.header("content-type") is None) == (value is None)
    assert (b"given" in request.body) == (value is not None)


async def test_a_path_without_its_value_is_not_asked_for(autojump_clock: MockClock) -> None:
    service = Scripted()
    keys = call([{"to": "path", "name": "v", "value": "{v}"}], post="/a/{{v}}")
    async with bench(service, keys) as made:
        error = await failure(made, v=[])
    assert isinstance(error, InvalidArguments)
    assert service.requests == []


async def test_a_header_stays_one(autojump_clock: MockClock) -> None:
    service = Scripted()
    async with bench(service, call([{"to": "header", "name": "x", "value": "{v}"}])) as made:
        error = await failure(made, v=["a\r\nx-evil: 1"])
    assert isinstance(error, InvalidArguments)
    assert service.requests == []


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            call([{"to": "query", "name": "q", "value": 1, "style": "matrix"}]),
            "parameters[0].style: expected one of",
        ),
        (
            call([{"to": "cookie", "name": "q", "value": 1, "allow_reserved": True}]),
            'parameters[0].to: expected one of "query", "form" where',
        ),
        (call([{"to": "querry", "name": "q", "value": 1}]), 'did you mean "query"?'),
        (call([{"to": "query", "value": 1}]), "parameters[0].name: missing"),
        (call([{"to": "query", "name": "q", "value": "{x}"}]), "got 'x'"),
        (call([{"to": "header", "name": "host", "value": 1}]), "host is not for the file to send"),
        (
            call([{"to": "header", "name": "X-Request-Timeout-Ms", "value": 1}]),
            "carries the budget",
        ),
        (call([{"to": "path", "name": "id", "value": 1}]), "expected {{id}} in the path"),
        (call([{"to": "form", "name": "id", "value": 1}], json={}), "expected at most one body"),
        ({"post": "/x", "parameters": {"q": 1}}, "expected a list such as"),
        ({"post": "/x", "parameters": [1]}, "expected a table with to, name, value"),
    ],
)
def test_mistakes(keys: Any, message: str) -> None:
    tool = {"input": {"properties": {"v": {}}}, "calls": {"a": {"service": "s", **keys}}}
    services = {"s": {"kind": "http", "url": "http://api.test"}}
    with pytest.raises(ConfigError) as caught:
        load_config({"services": services, "tools": {"t": tool}})
    assert message in str(caught.value)
