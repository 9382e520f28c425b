"""Schemas and arguments made to take forever: nearly all of these would hang, or take minutes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.config.schema_bounds import MAX_DEPTH, MAX_VALUES, MAX_WORK, work_of
from gateway.core.errors import InvalidArguments
from gateway.plan.arguments import ArgumentsSchema

NODE = {"$ref": "#/$defs/node"}


@contextmanager
def soon(seconds: float = 5.0) -> Iterator[None]:
    """Fail if it takes more of a processor: a hundred times what it does take, for the machine is shared."""
    start = time.process_time()
    yield
    assert time.process_time() - start < seconds


def circular(node: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": NODE}, "$defs": {"node": node}}


def chain(length: int, keyword: str, *, below: bool) -> dict[str, Any]:
    """Definitions each of which refers to the next one twice."""

    def part(number: int) -> dict[str, Any]:
        reference = {"$ref": f"#/$defs/d{number}"}
        return {"properties": {"c": reference}} if below else reference

    names = {f"d{n}": {keyword: [part(n + 1), part(n + 1)]} for n in range(length)}
    names[f"d{length}"] = {"type": "integer"}
    properties = {"a": {"$ref": "#/$defs/d0"}}
    return {"type": "object", "properties": properties, "$defs": names}


def nested(levels: int, leaf: Any = 1) -> Any:
    value = leaf
    for _ in range(levels):
        value = {"c": value}
    return value


def fails(schema: dict[str, Any], arguments: dict[str, Any]) -> InvalidArguments:
    with pytest.raises(InvalidArguments) as caught:
        ArgumentsSchema.compile(schema).validate(arguments)
    assert caught.value.errors
    return caught.value


FORKS = {
    "anyOf": {
        "anyOf": [
            {"type": "object", "properties": {"c": NODE}, "required": ["x"]},
            {"type": "object", "properties": {"c": NODE}, "required": ["y"]},
        ]
    },
    "oneOf": {
        "oneOf": [
            {"type": "object", "properties": {"c": NODE}},
            {"type": "object", "additionalProperties": NODE, "required": ["x"]},
        ]
    },
    "allOf": {
        "type": "object",
        "allOf": [{"properties": {"c": NODE}}, {"patternProperties": {"c": NODE}}],
    },
    "if": {
        "type": "object",
        "if": {"properties": {"c": NODE}},
        "then": {"properties": {"c": NODE}},
        "else": {"properties": {"c": NODE}},
    },
}


@pytest.mark.parametrize("name", FORKS)
@pytest.mark.parametrize("levels", [14, 150])
def test_what_leads_back_on_two_ways_is_judged_soon(name: str, levels: int) -> None:
    schema = circular(FORKS[name])
    with soon():
        error = fails(schema, {"a": nested(levels)})
    assert error.errors[0]["pointer"].startswith("/a")


@pytest.mark.parametrize("levels", [14, 150])
def test_what_is_right_is_judged_soon_too(levels: int) -> None:
    compiled = ArgumentsSchema.compile(circular(FORKS["allOf"]))
    arguments = {"a": nested(levels, {})}
    with soon():
        assert compiled.validate(arguments) == arguments


def test_a_tree_of_kinds_is_no_attack() -> None:
    def kind(name: str) -> dict[str, Any]:
        parts = {"kind": {"const": name}, "parts": {"type": "array", "items": NODE}}
        return {"type": "object", "properties": parts, "required": ["kind"]}

    schema = circular({"anyOf": [kind(name) for name in ("and", "or", "not", "leaf")]})
    value: Any = {"kind": "leaf"}
    for _ in range(20):
        value = {"kind": "and", "parts": [value, {"kind": "leaf"}]}
    assert ArgumentsSchema.compile(schema).validate({"a": value}) == {"a": value}
    wrong = {"a": {"kind": "and", "parts": [{"kind": "xor"}]}}
    assert fails(schema, wrong).errors[0]["pointer"] == "/a"


@pytest.mark.parametrize("keyword", ["anyOf", "allOf", "oneOf"])
@pytest.mark.parametrize("below", [True, False])
def test_branches_that_multiply_are_refused(keyword: str, below: bool) -> None:
    with soon(), pytest.raises(ValueError, match=f"more than {MAX_WORK} schemas"):
        ArgumentsSchema.compile(chain(40, keyword, below=below))
    compiled = ArgumentsSchema.compile(chain(5, "allOf", below=below))
    with pytest.raises(InvalidArguments):
        compiled.validate({"a": nested(5, "x")})


def test_what_refers_to_itself_alone_ends() -> None:
    with soon():
        assert work_of({"$ref": "#"}) == 1
        assert work_of({"allOf": [{"$ref": "#/allOf/0"}]}) == 2


def test_work_is_that_of_one_place() -> None:
    wide = {"properties": {f"p{n}": {"type": "integer"} for n in range(1000)}}
    assert work_of(wide) == 1
    assert work_of({"properties": {"a": {}}, "patternProperties": {"a": {}, "b": {}}}) == 3
    assert work_of({"enum": [{} for _ in range(50)]}) == 51
    assert work_of({"enum": [str(n) for n in range(160)]}) == 11


def test_a_schema_is_bounded_in_size_and_depth() -> None:
    deep: dict[str, Any] = {}
    for _ in range(MAX_DEPTH):
        deep = {"not": deep}
    with pytest.raises(ValueError, match="nested deeper"):
        ArgumentsSchema.compile(deep)
    with pytest.raises(ValueError, match=f"more than {MAX_VALUES} values"):
        ArgumentsSchema.compile({"properties": {f"p{n}": {} for n in range(MAX_VALUES)}})


@pytest.mark.parametrize(
    "items",
    [
        {"type": "integer"},
        {"anyOf": [{"type": "integer"}, {"type": "null"}] * 50},
        {"enum": [{"n": n} for n in range(1000)]},
        {"$ref": "#/$defs/node"},
    ],
)
def test_many_breaches_are_told_soon(items: dict[str, Any]) -> None:
    schema = {
        "type": "object",
        "properties": {"l": {"type": "array", "items": items}, "n": {"type": "integer"}},
        "required": ["x"],
        "$defs": {"node": FORKS["anyOf"]},
    }
    with soon():
        error = fails(schema, {"l": ["x"] * 200_000, "n": "1"})
    assert len(error.errors) <= 100
    assert error.errors[0]["pointer"] in {"", "/x"}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"anyOf": [{"type": "string"}] * 1900}, list(range(1900))),
        ({"allOf": [{"type": "string"}] * 1900}, list(range(1900))),
        ({"items": {"enum": [f"x{n}" for n in range(8_000)]}}, ["y"] * 1900),
        ({"items": {"const": [*range(8_000)]}}, ["y"] * 1900),
        ({"items": {"required": [f"x{n}" for n in range(1000)]}}, [{}] * 1000),
        ({"allOf": [{"minItems": 5000}, {"items": NODE}]}, [[[[*range(1000)]]]]),
    ],
)
def test_breaches_that_would_be_long_are_not_written_out(schema: Any, value: Any) -> None:
    with soon(2):
        error = fails({**circular(schema), "properties": {"a": schema}}, {"a": value})
    assert error.errors == ({"pointer": "/a", "detail": "breaks its schema"},)


def test_references_that_lead_deep_are_refused() -> None:
    chained = {f"d{n}": {"properties": {"c": {"$ref": f"#/$defs/d{n + 1}"}}} for n in range(3000)}
    schema = {"properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": {**chained, "d3000": {}}}
    with soon(), pytest.raises(ValueError, match="too deep"):
        ArgumentsSchema.compile(schema)


def test_of_a_large_value_each_property_is_told_of() -> None:
    schema = {
        "type": "object",
        "properties": {"l": {"type": "array", "items": {"type": "integer"}}, "a/b": {"const": 1}},
        "required": ["x"],
    }
    error = fails(schema, {"l": ["x"] * 10_000, "a/b": 2})
    assert {breach["pointer"]: breach["detail"] for breach in error.errors} == {
        "/x": "required, but missing",
        "/l": "breaks its schema",
        "/a~1b": "1 was expected",
    }


def test_of_a_large_value_what_breaks_the_whole_is_told() -> None:
    schema = {"type": "object", "properties": {"l": {}}, "maxProperties": 1}
    error = fails(schema, {"l": [1] * 10_000, "m": 1})
    assert error.errors == ({"pointer": "", "detail": "breaks the schema"},)


@pytest.mark.parametrize("pattern", ["(?=a)a*a*a*a*b", r"(a*)\1(a*)\2b", "^(a+)+$"])
def test_a_pattern_gives_up(pattern: str) -> None:
    schema = {"type": "object", "properties": {"s": {"type": "string", "pattern": pattern}}}
    with soon(20):
        fails(schema, {"s": "a" * 100_000 + "!"})


def test_beside_patterns_that_look_around_texts_are_bounded() -> None:
    schema = {"type": "object", "properties": {"s": {"pattern": "(?=a)a*a*a*a*b"}, "t": {}}}
    assert ArgumentsSchema.compile(schema).validate({"s": "ab", "t": "x" * 90_000})
    with soon(1):
        error = fails(schema, {"s": "a" * 1_000_000})
    assert error.errors[0]["detail"] == "too large to be held against this schema"


def test_patterns_that_look_around_still_work() -> None:
    pattern = r"^(?=.*[A-Z])(?=.*\d)(?!.*\s).{8,}$"
    schema = {"type": "object", "properties": {"s": {"type": "string", "pattern": pattern}}}
    compiled = ArgumentsSchema.compile(schema)
    assert compiled.validate({"s": "Passw0rd" * 1000})
    with pytest.raises(InvalidArguments):
        compiled.validate({"s": "password" * 100})


@pytest.mark.parametrize("uri", ["https://example.com/a.json", "file:///etc/passwd", "b.json"])
def test_nothing_is_fetched(uri: str) -> None:
    with soon(), pytest.raises(ValueError, match=r"retriev|local"):
        ArgumentsSchema.compile({"properties": {"a": {"$ref": uri}}})
