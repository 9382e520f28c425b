"""The output: JMESPath over what came back, and what is missing in it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.errors import Unreachable
from gateway.testing import ScriptedService
from tests.apps import driven, get

USER = {"name": "Ann", "posts": [{"id": 1, "t": "x"}, {"id": 2, "t": "y"}]}


@pytest.mark.parametrize(
    ("output", "value"),
    [
        (None, {"user": USER, "n": 2}),
        ("user.name", "Ann"),
        ("n", 2),
        ("user.nothing", None),
        ("@.user.name", "Ann"),
        ("sort(keys(@))", ["id", "n", "user"]),
        ("user.posts[].t", ["x", "y"]),
        ("{a: user.name, b: n, c: id}", {"a": "Ann", "b": 2, "c": 5}),
        (
            {"name": "user.name", "first": "user.posts[0].{n: id}"},
            {"name": "Ann", "first": {"n": 1}},
        ),
        ({"id": "id"}, {"id": 5}),
        ({"whole": "@"}, {"whole": {"id": 5, "user": USER, "n": 2}}),
    ],
)
async def test_the_output_is_worked_out_over_inputs_and_calls(output: Any, value: Any) -> None:
    calls = {"user": get("users"), "n": get("n")}
    services = {"users": ScriptedService().reply(USER), "n": ScriptedService().reply(2)}
    schema = {"properties": {"id": "integer"}}
    keys = {} if output is None else {"output": output}
    async with driven(calls, services, input=schema, **keys) as gateway:
        answer = await gateway.post(id=5)
    assert answer.json() == value


async def test_keys_stand_in_the_files_order() -> None:
    output = {"z": "a", "a": "a", "m": "a"}
    async with driven({"a": get()}, output=output) as gateway:
        assert list((await gateway.post()).json()) == ["z", "a", "m"]


@pytest.mark.parametrize(
    ("output", "value"),
    [
        ({"n": "length(a)", "b": "b"}, {"n": None, "b": 5}),
        ({"n": "a.x.y"}, {"n": None}),
        ({"n": "sum(a[].total)", "m": "max([b])"}, {"n": None, "m": 5}),
        ({"whole": "length(values(@)[0])"}, {"whole": None}),
    ],
)
async def test_what_cannot_do_without_a_missing_call_is_null(output: Any, value: Any) -> None:
    calls = {"a": get("a", optional=True), "b": get("b")}
    services = {"a": ScriptedService().fail(Unreachable("x")), "b": ScriptedService().reply(5)}
    async with driven(calls, services, output=output) as gateway:
        answer = await gateway.post()
    body = answer.json()
    errors = body.pop("_errors")
    assert (answer.status, body) == (200, value)
    assert [error["call"] for error in errors] == ["a"]


@pytest.mark.parametrize(
    ("output", "place"), [("length(b)", "output"), ({"x": "length(b)"}, "output.x")]
)
async def test_an_output_that_does_not_fit_the_replies_is_a_bad_reply(
    output: Any, place: str
) -> None:
    calls = {"a": get("a", optional=True), "b": get("b")}
    services = {"a": ScriptedService().fail(Unreachable("x")), "b": ScriptedService().reply(5)}
    async with driven(calls, services, output=output) as gateway:
        answer = await gateway.post()
    assert (answer.status, answer.json()["code"]) == (502, "bad_reply")
    assert f"fit {place}:" in answer.json()["detail"]
    gateway.events.assert_balanced()


@pytest.mark.parametrize("value", [{1, 2}, object(), b"\xff", "\ud800", {(1, 2): 3}])
async def test_a_value_that_json_lacks_never_breaks_the_answer(value: Any) -> None:
    """Services of ours give JSON's types; a host's own may give anything."""
    async with driven({"a": get()}, {"s": ScriptedService().reply(value)}) as gateway:
        answer = await gateway.post()
    assert answer.status in {200, 502}
    assert answer.headers["content-type"].endswith("json")
