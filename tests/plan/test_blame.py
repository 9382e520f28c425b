"""Who is to blame for an argument that does not fit: the client, or the call whose reply it came from."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.app import Gateway, create_app
from gateway.core.errors import BadReply, GatewayError, InvalidArguments
from tests.adapters import functions
from tests.apps import request

PYTHON = {"kind": "python", "module": functions.__name__}
COMMAND = {"kind": "command", "program": ["true"]}


def app_of(b: dict[str, Any], /, **more: Any) -> Gateway:
    a = {"service": "first", "function": "everything", "arguments": {"id": "{x}", "at": "{y}"}}
    return create_app(
        {
            "services": {"first": PYTHON, "p": PYTHON, "c": COMMAND},
            "tools": {
                "t": {
                    "input": {"properties": {"x": {}, "y": {}}},
                    "calls": {"a": a, "b": {**b, **more}, "c": {**a, "optional": True}},
                }
            },
        }
    )


def add(**arguments: str) -> dict[str, Any]:
    return {"service": "p", "function": "add", "arguments": arguments}


def run(*arguments: str) -> dict[str, Any]:
    return {"service": "c", "arguments": list(arguments)}


@pytest.mark.parametrize(
    ("b", "blamed", "says"),
    [
        (add(a="{a.id}"), "first", r"what a gave does not fit: .*/a: expected `int`, got `str`"),
        (add(a="{a.id}", b="{a.id}"), "first", "what a gave"),
        (add(a="{a.id}", b="{c.id}"), "p", "what a and c gave"),
        (add(a="{a.id}", b="{y}"), "first", "what a gave"),
        (add(a="{a.id}-{y}"), "first", "what a gave"),
        (add(a="{y}", b="{a.at}"), None, ""),
        (add(a="{y}", b="{x}"), None, "/b: expected `int`"),
        (add(a="{a.at}", b="{x}"), None, "/b: expected `int`"),
        (add(a="{a.id}", b="{x}"), None, "/a: expected `int`"),
        (run("{a.list}"), "first", r"what a gave does not fit: .*arguments\[0\]"),
        (run("{a.at}", "{x}", "{a.none}"), None, r"arguments\[2\]"),
    ],
)
async def test_what_another_call_gave_is_not_the_clients_fault(
    b: dict[str, Any], blamed: str | None, says: str
) -> None:
    app = app_of(b)
    async with app.running():
        if not says:
            await app.call(request(x="text", y=1))
            return
        with pytest.raises(GatewayError, match=says) as caught:
            await app.call(request(x="text", y=1))
    error = caught.value
    if blamed is None:
        assert isinstance(error, InvalidArguments)
        assert error.call == "b"
    else:
        assert (type(error), error.status) == (BadReply, 502)
        assert (error.call, error.service) == ("b", blamed)


async def test_an_optional_call_is_missing_for_it() -> None:
    app = app_of(add(a="{a.id}"), optional=True, default=0)
    async with app.running():
        reply = await app.call(request(x="text", y=1))
    assert reply.value["b"] == 0
    assert [error.label for error in reply.missing] == ["b=bad_reply"]
