"""Type hints of Python functions: what arguments become before a function sees them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.app import create_app
from gateway.core.errors import InvalidArguments
from tests.adapters import functions
from tests.apps import request

LINE = {"start": {"x": 3, "at": "2024-05-01T12:00:00Z"}, "colours": ["red"]}


async def called(function: str, arguments: dict[str, Any]) -> Any:
    call = {"service": "s", "function": function, "arguments": arguments}
    written = {
        "services": {"s": {"kind": "python", "module": functions.__name__}},
        "tools": {"t": {"output": "a", "calls": {"a": call}}},
    }
    app = create_app(written)
    async with app.running():
        return (await app.call(request())).value


async def test_arguments_are_converted_to_the_types_that_are_hinted() -> None:
    arguments = {"line": LINE, "when": "2024-05-01T00:00:00Z", "more": 1}
    got = await called("typed", arguments)
    assert got == {"x": 3, "day": 1, "rest": {"more": 1}}
    assert await called("typed_async", {"line": LINE}) == 3


async def test_callable_objects_and_partials_have_hints_too() -> None:
    assert await called("adder", {"a": 1}) == 2
    with pytest.raises(InvalidArguments):
        await called("adder", {"a": "1"})


@pytest.mark.parametrize(
    ("line", "pointer", "detail"),
    [
        ("x", "/line", "expected `object`, got `str`"),
        ({**LINE, "colours": ["blue"]}, "/line/colours/0", "invalid enum value 'blue'"),
        ({**LINE, "start": {"x": "3"}}, "/line/start/x", "expected `int`, got `str`"),
        ({"start": LINE["start"]}, "/line", "object missing required field `colours`"),
    ],
)
async def test_what_does_not_fit_is_told_by_its_place(line: Any, pointer: str, detail: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        await called("typed", {"line": line})
    assert caught.value.errors == ({"pointer": pointer, "detail": detail},)
    assert pointer in caught.value.detail


async def test_every_argument_that_does_not_fit_is_told() -> None:
    with pytest.raises(InvalidArguments) as caught:
        await called("typed", {"line": 1, "when": "noon"})
    assert [error["pointer"] for error in caught.value.errors] == ["/line", "/when"]


async def test_hints_that_nothing_can_be_made_of_are_as_none() -> None:
    assert await called("hinted_oddly", {"a": [1]}) == "list"


async def test_a_whole_number_is_an_integer_however_it_is_written() -> None:
    assert await called("add", {"a": 1.0, "b": 2}) == 3
    line = {**LINE, "start": {**LINE["start"], "x": 3.0}}  # type: ignore[dict-item]
    assert await called("typed", {"line": line}) == {"x": 3, "day": 1, "rest": {}}
    with pytest.raises(InvalidArguments, match="expected `int`, got `float`"):
        await called("add", {"a": 1.5})
