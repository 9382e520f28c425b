"""Schemas whose values would take for ever, and those that only look like it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.openapi.bounds import MAX_CIRCULAR, endless

A = {"$ref": "#/$defs/a"}
B = {"$ref": "#/$defs/b"}
INPUT = {"properties": {"p": A}}


def under(name: str, *parts: Any) -> list[Any]:
    return [{"properties": {name: part}} for part in parts]


def test_branches_multiply() -> None:
    definitions: Any = {"x0": {"type": "string"}}
    for i in range(1, 40):
        definitions[f"x{i}"] = {"anyOf": [{"$ref": f"#/$defs/x{i - 1}"}] * 2}
    assert endless({}, {name: definitions[name] for name in list(definitions)[:10]}) is None
    assert (
        endless({}, definitions) == "held against more than 10000 schemas, or against one forever"
    )


@pytest.mark.parametrize(
    "looping",
    [{"allOf": [A]}, {"not": B}, {"dependentSchemas": {"x": A}}, {"if": {"anyOf": [B]}}],
)
def test_a_schema_that_goes_nowhere_but_to_itself(looping: Any) -> None:
    why = endless(INPUT, {"a": looping, "b": A})
    assert why == "held against more than 10000 schemas, or against one forever"


@pytest.mark.parametrize(
    "definition",
    [
        {"properties": {"left": A, "right": A}},
        {"anyOf": [{"items": A}, {"additionalProperties": A}]},
        {"anyOf": [{"properties": {"all": {"items": A}}}, {"required": ["key"]}]},
        {"properties": {"n": {"anyOf": [A, {"type": "null"}]}}},
        {"properties": {"n": B}},
        {"allOf": [B], "properties": {"m": A}},
        {"anyOf": under("n", {"type": "string"}, A)},
    ],
)
def test_a_schema_that_comes_back_on_one_way(definition: Any) -> None:
    assert endless(INPUT, {"a": definition, "b": {"properties": {"o": A, "p": {}}}}) is None


@pytest.mark.parametrize(
    "definition",
    [
        {"anyOf": under("n", A, A)},
        {"oneOf": under("n", A, B)},
        {"properties": {"n": {"oneOf": [A, B]}}},
        {"properties": {"n": A}, "patternProperties": {"^n": A}},
        {"properties": {"n": A}, "additionalProperties": B},
        {"prefixItems": [A], "items": A},
        {"properties": {"n": {"properties": {"n": A}}}, "allOf": under("n", A)},
        {"allOf": [B], "properties": {"o": A}},
    ],
)
def test_a_schema_that_comes_back_on_two(definition: Any) -> None:
    why = endless(INPUT, {"a": definition, "b": {"properties": {"o": A}}})
    assert why == "held against a on two ways at once, with each level of it"


def test_circles_are_bounded() -> None:
    count = MAX_CIRCULAR + 1
    definitions = {
        f"x{i}": {"properties": {"n": {"$ref": f"#/$defs/x{(i + 1) % count}"}}}
        for i in range(count)
    }
    assert "in circles" in str(endless({}, definitions))


def test_long_chains_are_no_circles() -> None:
    definitions: Any = {
        f"x{i}": {"properties": {"n": {"$ref": f"#/$defs/x{i + 1}"}}} for i in range(3000)
    }
    assert endless({}, definitions | {"x3000": {}}) is None
