"""How long a value may take to be held against a schema that a stranger wrote.

The size of a schema says little: branches that refer to branches multiply, and a schema that comes
back to itself on two ways multiplies them with every level of the value. The validator is fast
where a value is right; why it is wrong it looks for on every way there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from gateway.config.openapi.schemas import LIST, NAMED, ONE, Schema, name_in

__all__ = ["MAX_CIRCULAR", "MAX_WORK", "endless"]

MAX_WORK = 10_000
"""Schemas one value may be held against."""

MAX_CIRCULAR = 200
"""Definitions that lead back to themselves, and references among them from one."""

_BESIDE = ("not", "if", "then", "else")
_OF_ARRAYS = ("items", "contains", "unevaluatedItems")
_OF_ANY_NAME = ("additionalProperties", "unevaluatedProperties", "propertyNames")

_Step: TypeAlias = tuple[str, str | None]
"""Into a value: an array's items, or an object's property; `None` for one of any name."""


def endless(schema: Schema, definitions: Mapping[str, Schema]) -> str | None:
    """Why values may take too long; `None` if they do not.

    Args:
        schema: As `Schemas` makes them.
        definitions: What it refers to.
    """
    if _work_of(schema, definitions) >= MAX_WORK:
        return f"held against more than {MAX_WORK} schemas, or against one forever"
    circular = _circular(definitions)
    if len(circular) > MAX_CIRCULAR:
        return f"held against more than {MAX_CIRCULAR} schemas that refer to one another in circles"
    for name in circular:
        if _forks(name, circular, definitions):
            return f"held against {name} on two ways at once, with each level of it"
    return None


def _circular(definitions: Mapping[str, Schema]) -> dict[str, frozenset[str]]:
    """The definitions that lead back to themselves, each with those it leads to of these."""
    edges = {
        name: {
            name_in(part) for part in _all(part, {}) if isinstance(part, dict) and "$ref" in part
        }
        for name, part in definitions.items()
    }
    # What refers to nothing that is left is in no circle: nearly always that is all of them.
    # `done` is its own queue.
    waiting = {name: len(targets) for name, targets in edges.items()}
    sources: dict[str, list[str]] = {name: [] for name in edges}
    for name, targets in edges.items():
        for target in targets:
            sources[target].append(name)
    done = [name for name, count in waiting.items() if not count]
    for name in done:
        for source in sources[name]:
            waiting[source] -= 1
            if not waiting[source]:
                done.append(source)
    left = edges.keys() - set(done)
    if len(left) > MAX_CIRCULAR:
        return dict.fromkeys(left, frozenset())
    reached = {name: _reached(name, edges, left) for name in left}
    return {name: found for name, found in reached.items() if name in found}


def _reached(name: str, edges: Mapping[str, set[str]], among: set[str]) -> frozenset[str]:
    found: set[str] = set()
    stack = [name]
    while stack:
        new = (edges[stack.pop()] & among) - found
        found |= new
        stack += new
    return frozenset(found)


def _forks(
    name: str, circular: Mapping[str, frozenset[str]], definitions: Mapping[str, Schema]
) -> bool:
    """Whether two ways lead from a definition to the same part of a value, and both back to it."""
    circle = {other for other in circular[name] if name in circular.get(other, ())}
    ways: list[tuple[_Step, ...]] = []

    def walk(part: Schema, way: tuple[_Step, ...]) -> None:
        if isinstance(part, bool) or len(ways) > MAX_CIRCULAR:
            return
        if "$ref" in part and name_in(part) in circle:
            if way:
                ways.append(way)
            else:
                walk(definitions[name_in(part)], way)
        for branch in _branches(part):
            walk(branch, way)
        for step, inner in _parts(part):
            walk(inner, (*way, step))

    walk(definitions[name], ())
    return len(ways) > MAX_CIRCULAR or any(
        all(_same(a, b) for a, b in zip(one, other, strict=False))
        for index, one in enumerate(ways)
        for other in ways[:index]
    )


def _same(one: _Step, other: _Step) -> bool:
    return one[0] == other[0] and (one[1] == other[1] or None in {one[1], other[1]})


def _parts(schema: dict[str, Any]) -> Iterator[tuple[_Step, Schema]]:
    """What parts of the value are held against, and which."""
    for keyword in _OF_ARRAYS:
        if keyword in schema:
            yield ("array", None), schema[keyword]
    for part in schema.get("prefixItems", ()):
        yield ("array", None), part
    for name, part in schema.get("properties", {}).items():
        yield ("object", name), part
    for part in schema.get("patternProperties", {}).values():
        yield ("object", None), part
    for keyword in _OF_ANY_NAME:
        if keyword in schema:
            yield ("object", None), schema[keyword]


def _work_of(schema: Schema, definitions: Mapping[str, Schema]) -> int:
    """How many schemas one value may be held against, references followed.

    Branches that refer to branches multiply: twenty lines can stand for a million comparisons.

    Returns:
        Their number for the part of a value that has the most; `MAX_WORK` at least where it is
        beyond that, or where a schema refers to itself without going deeper into the value.
    """
    known: dict[str, int] = {}

    def here(part: Schema, within: frozenset[str]) -> int:
        if isinstance(part, bool):
            return 1
        total = 1
        if "$ref" in part:
            name = name_in(part)
            if name in within:
                return MAX_WORK
            if name not in known:
                known[name] = here(definitions[name], within | {name})
            total += known[name]
        for branch in _branches(part):
            total += here(branch, within)
        return min(total, MAX_WORK)

    return max(here(part, frozenset()) for part in _all(schema, definitions))


def _branches(schema: dict[str, Any]) -> Iterator[Schema]:
    """What the same value is held against besides."""
    for keyword in ("allOf", "anyOf", "oneOf"):
        yield from schema.get(keyword, ())
    for keyword in _BESIDE:
        if keyword in schema:
            yield schema[keyword]
    yield from schema.get("dependentSchemas", {}).values()


def _all(schema: Schema, definitions: Mapping[str, Schema]) -> Iterator[Schema]:
    """Every schema there is, at any depth."""
    stack: list[Schema] = [schema, *definitions.values()]
    while stack:
        part = stack.pop()
        yield part
        if isinstance(part, bool):
            continue
        stack += [part[keyword] for keyword in ONE & part.keys()]
        for keyword in LIST & part.keys():
            stack += part[keyword]
        for keyword in NAMED & part.keys():
            stack += part[keyword].values()
