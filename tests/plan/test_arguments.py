"""A tool's input schema: text coerced, every breach listed, defaults filled in."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.errors import InvalidArguments
from gateway.plan.arguments import ArgumentsSchema


def schema(**properties: Any) -> ArgumentsSchema:
    return ArgumentsSchema.compile({"type": "object", "properties": properties})


TEXTS = [
    # type, texts, value
    ("integer", ["7"], 7),
    ("integer", ["-7"], -7),
    ("integer", ["7.0"], 7),
    ("integer", ["1e3"], 1000),
    ("integer", ["123456789012345678901234567890"], 123456789012345678901234567890),
    ("integer", ["7.5"], "7.5"),
    ("integer", ["0x10"], "0x10"),
    ("integer", ["007"], "007"),
    ("integer", ["1_000"], "1_000"),
    ("integer", ["٣"], "٣"),
    ("integer", [""], ""),
    ("integer", ["true"], "true"),
    ("integer", ["9" * 65], "9" * 65),
    ("integer", ["1", "2"], 2),
    ("number", ["7"], 7),
    ("number", ["0.5"], 0.5),
    ("number", ["NaN"], "NaN"),
    ("number", ["Infinity"], "Infinity"),
    ("number", ["1e999"], "1e999"),
    ("boolean", ["true"], True),
    ("boolean", ["false"], False),
    ("boolean", ["True"], "True"),
    ("boolean", ["1"], "1"),
    ("null", ["null"], None),
    ("string", ["7"], "7"),
    ("string", ["null"], "null"),
    ("string", ["[1]"], "[1]"),
    (["integer", "null"], ["null"], None),
    (["integer", "null"], ["4"], 4),
    (["integer", "string"], ["x"], "x"),
    (["integer", "string"], ["4"], 4),
    ("array", ["[1, 2]"], [1, 2]),
    ("array", ["[1, 2"], "[1, 2"),
    ("array", ["a"], ["a"]),
    ("array", ["a", "b"], ["a", "b"]),
    ("array", ["[", "b"], ["[", "b"]),
    ("object", ['{"a": 1}'], {"a": 1}),
    ("object", ["{"], "{"),
    ("object", ["[" * 100_000], "[" * 100_000),
]


@pytest.mark.parametrize(
    ("kind", "texts", "value"), TEXTS, ids=[f"{k}-{t[0][:12]}" for k, t, _ in TEXTS]
)
def test_a_text_becomes_what_its_property_is(kind: Any, texts: list[str], value: Any) -> None:
    coerced = schema(x={"type": kind}).coerce({"x": texts})["x"]
    assert coerced == value
    assert type(coerced) is type(value)


@pytest.mark.parametrize(
    "part",
    [
        {"$ref": "#/$defs/n"},
        {"$ref": "#/$defs/again"},
        {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        {"oneOf": [{"type": "integer"}]},
    ],
)
def test_a_type_is_found_behind_references_and_alternatives(part: Any) -> None:
    definitions = {"n": {"type": "integer"}, "again": {"$ref": "#/$defs/n"}}
    compiled = ArgumentsSchema.compile(
        {"type": "object", "properties": {"x": part}, "$defs": definitions}
    )
    assert compiled.coerce({"x": ["4"]}) == {"x": 4}


def test_a_reference_in_a_circle_ends() -> None:
    compiled = ArgumentsSchema.compile(
        {
            "type": "object",
            "properties": {"x": {"$ref": "#/$defs/a"}},
            "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "integer"}]}},
        }
    )
    assert compiled.coerce({"x": ["4"]}) == {"x": 4}


def test_items_are_coerced_by_their_own_type() -> None:
    compiled = schema(x={"type": "array", "items": {"type": "integer"}})
    assert compiled.coerce({"x": ["1", "2", "z"]}) == {"x": [1, 2, "z"]}


def test_what_is_not_declared_stays_text() -> None:
    assert schema().coerce({"x": ["1", "2"]}) == {"x": "2"}


@pytest.mark.parametrize("part", [True, {}, {"description": "anything"}])
def test_a_property_of_any_type_stays_text(part: Any) -> None:
    assert schema(x=part).coerce({"x": ["7"]}) == {"x": "7"}


def test_every_breach_is_listed_with_its_pointer() -> None:
    compiled = ArgumentsSchema.compile(
        {
            "type": "object",
            "properties": {
                "id": {"type": "integer"},
                "a/b~c": {
                    "type": "object",
                    "properties": {"d": {}},
                    "required": ["d"],
                    "additionalProperties": False,
                },
                "l": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["id", "l"],
            "additionalProperties": False,
        }
    )
    with pytest.raises(InvalidArguments) as caught:
        compiled.validate({"id": "x", "a/b~c": {"e": 1}, "l": ["x", 1, 2], "more": 1})
    pointers = sorted(breach["pointer"] for breach in caught.value.errors)
    assert pointers == ["/a~1b~0c/d", "/a~1b~0c/e", "/id", "/l/1", "/l/2", "/more"]
    assert "and 3 more" in caught.value.detail


def test_an_argument_of_a_tool_that_takes_none_is_told_by_its_name() -> None:
    compiled = ArgumentsSchema.compile({"type": "object", "additionalProperties": False})
    with pytest.raises(InvalidArguments) as caught:
        compiled.validate({"x": 1})
    assert caught.value.errors == ({"pointer": "/x", "detail": "not expected here"},)


def test_breaches_are_bounded() -> None:
    compiled = schema(l={"type": "array", "items": {"type": "string"}})
    with pytest.raises(InvalidArguments) as caught:
        compiled.validate({"l": list(range(1_000))})
    assert len(caught.value.errors) == 100
    with pytest.raises(InvalidArguments) as caught:
        compiled.validate({"l": "x" * 100_000})
    assert len(caught.value.detail) < 1000
    assert all(len(breach["detail"]) <= 300 for breach in caught.value.errors)


def test_defaults_are_filled_in_and_checked_with_the_rest() -> None:
    compiled = schema(n={"type": "integer", "default": 3}, m={"type": "integer"})
    assert compiled.validate({}) == {"n": 3}
    assert compiled.validate({"n": 4, "m": 5}) == {"n": 4, "m": 5}


def test_a_default_is_never_shared_between_requests() -> None:
    compiled = schema(l={"type": "array", "default": []})
    compiled.validate({})["l"].append(1)
    assert compiled.validate({}) == {"l": []}


def test_what_the_schema_does_not_name_is_left_out() -> None:
    assert schema(x={}).validate({"x": 1, "y": 2}) == {"x": 1}


@pytest.mark.parametrize("reference", ["https://example.com/s.json", "file:///etc/passwd"])
def test_nothing_is_fetched_for_a_schema(reference: str) -> None:
    with pytest.raises(ValueError, match="only local references"):
        schema(x={"$ref": reference})


@pytest.mark.parametrize("depth", [100, 900])
def test_deep_arguments_are_judged(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    assert schema(x={}).validate({"x": value}) == {"x": value}
