"""How long a value may take to be held against a schema, whoever wrote either.

The validator answers *whether* a value is right fast, and remembers what it knows of schemas that
lead back to themselves. Two things it cannot be asked without bounds: schemas whose branches refer
to branches, which multiply; and *why* a value is wrong, for which it goes every way there is, and
writes down every breach before it tells the first one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

__all__ = [
    "MAX_DEPTH",
    "MAX_VALUES",
    "MAX_WORK",
    "is_explicable",
    "is_within",
    "target_of",
    "work_of",
]

MAX_VALUES: Final = 20_000
"""Values in one schema, containers included."""

MAX_DEPTH: Final = 100
"""How deep a schema may be nested."""

MAX_WORK: Final = 2_000
"""Schemas that one part of a value may be held against."""

_MAX_EXPANDED: Final = 500_000
"""Schemas looked at to find that out."""

_MAX_EXPLAINED: Final = 100_000
"""Parts that are copied, for each breach that there may be, while breaches are looked for."""

_A_BREACH: Final = 40
"""Parts that are copied in the time that a breach takes."""

_SCALARS_A_STEP: Final = 16
"""Scalars that are compared in the time that a schema takes."""

_CHARACTERS_A_PART: Final = 16
"""Characters that are copied in the time that a part of a value takes."""

_BRANCHES: Final = ("allOf", "anyOf", "oneOf")
_BESIDE: Final = ("not", "if", "then", "else")
_OF_ARRAYS: Final = ("items", "contains", "unevaluatedItems")
_OF_ANY_NAME: Final = ("additionalProperties", "unevaluatedProperties", "propertyNames")

_Step: TypeAlias = tuple[str, str | None]
"""Into a value: an array's items, or an object's property; `None` for one of any name."""


def work_of(schema: Mapping[str, Any]) -> int:
    """How many schemas one part of a value may be held against.

    Args:
        schema: With references of its own alone.

    Raises:
        ValueError: It is larger, nested deeper, or more work than is borne; the message says which.
    """
    _check_size(schema)
    try:
        work = _Work(schema).most(schema)
    except RecursionError:
        raise ValueError("its references lead too deep") from None
    if work > MAX_WORK:
        raise ValueError(f"values would be held against more than {MAX_WORK} schemas at one place")
    return work


def is_within(value: Any, most: int) -> bool:
    """Whether `value` has at most so many parts; sixteen characters of text count as one."""
    return _size(value, most) <= most


def _size(value: Any, most: int = MAX_VALUES) -> int:
    """How many parts it has, counted until they are more than `most`."""
    stack = [value]
    count = 0
    while stack and count <= most:
        part = stack.pop()
        if isinstance(part, str):
            count += len(part) // _CHARACTERS_A_PART
        elif isinstance(part, (dict, list)):
            count += len(part)
            if count <= most:
                stack += part.values() if isinstance(part, dict) else part
    return count


def is_explicable(schema: Any, value: Any, root: Mapping[str, Any], *, share: int = 1) -> bool:
    """Whether it takes little time to find out why `value` breaks `schema`.

    Each schema that a part of it is held against may give a breach, which is written out with the
    part and with what was wanted instead.

    Args:
        schema: A part of `root`, or all of it.
        value: What is held against it.
        root: What references lead into.
        share: How many such questions share the time.
    """
    left = _MAX_EXPLAINED // share
    if not is_within(value, left // _A_BREACH):
        return False
    stack: list[tuple[Any, Any]] = [(schema, value)]
    while stack:
        part, of = stack.pop()
        left -= _A_BREACH
        if isinstance(part, dict):
            left -= _cost(part, of)
            stack += ((branch, of) for branch in _beside(part, root))
            stack += _inner(part, of)
        if left < len(stack) * _A_BREACH:
            return False
    return True


def _cost(schema: Mapping[str, Any], value: Any) -> int:
    """What writing down how `value` breaks this very schema takes."""
    required = schema.get("required")
    missing = len(required) if isinstance(required, list) else 0
    wanted = _size(schema.get("enum")) + _size(schema.get("const"))
    return missing * _A_BREACH + wanted + _size(value)


def _inner(schema: Mapping[str, Any], value: Any) -> Iterator[tuple[Any, Any]]:
    """Each part of `value` with what it is held against by `schema`."""
    for (kind, name), part in _parts(schema):
        if kind == "array" and isinstance(value, list):
            yield from ((part, item) for item in value)
        elif kind == "object" and isinstance(value, dict):
            keys = value if name is None else {name} & value.keys()
            yield from ((part, value[key]) for key in keys)


def target_of(reference: Any, root: Any) -> Any:
    """What a reference within `root` leads to; `None` if it leads nowhere.

    Source: RFC 6901, section 6.
    """
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    target = root
    for token in reference[1:].split("/")[1:]:
        key = re.sub("%([0-9A-Fa-f]{2})", lambda match: chr(int(match[1], 16)), token)
        key = key.replace("~1", "/").replace("~0", "~")
        if isinstance(target, Mapping):
            target = target.get(key)
        elif isinstance(target, list) and key.isdecimal() and int(key[:9]) < len(target):
            target = target[int(key[:9])]
        else:
            return None
    return target


def _check_size(schema: Mapping[str, Any]) -> None:
    level: list[Any] = [schema]
    count = 0
    for _ in range(MAX_DEPTH):
        count += len(level)
        if count > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES} values in one schema")
        level = [
            inner
            for value in level
            if isinstance(value, (dict, list))
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise ValueError(f"nested deeper than {MAX_DEPTH}")


class _Work:
    """Counts what one part of a value may be held against, at any depth.

    Args:
        root: What references lead into.
    """

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._known: dict[int, int] = {}
        self._expanded = 0

    def most(self, schema: Any) -> int:
        """For a value held against `schema`; more than `MAX_WORK` where it is more than that.

        A schema that leads back to itself counts once: the validator remembers what it knows.
        """
        known = self._known.get(id(schema))
        if known is not None:
            return known
        self._known[id(schema)] = 1
        count = 0
        below: defaultdict[_Step, int] = defaultdict(int)
        for part in self._expand(schema):
            count += _weight(part)
            if count > MAX_WORK:
                break
            for step, inner in _parts(part):
                below[step] = min(below[step] + self.most(inner), MAX_WORK + 1)
        else:
            count = max([count, *_together(below)])
        self._known[id(schema)] = count
        return count

    def _expand(self, schema: Any) -> Iterator[dict[str, Any]]:
        """What the same value is held against, each as often as it is.

        Raises:
            ValueError: That is too much to be counted.
        """
        stack: list[tuple[Any, frozenset[int]]] = [(schema, frozenset())]
        while stack:
            part, within = stack.pop()
            if not isinstance(part, dict) or id(part) in within:
                continue
            self._expanded += 1
            if self._expanded > _MAX_EXPANDED:
                raise ValueError("its references are too involved")
            yield part
            within |= {id(part)}
            stack += ((branch, within) for branch in _beside(part, self._root))


def _together(below: Mapping[_Step, int]) -> Iterator[int]:
    """For each step into the value, all that is held against what is there."""
    for (kind, name), work in below.items():
        yield work if name is None else work + below.get((kind, None), 0)


def _weight(schema: Mapping[str, Any]) -> int:
    choices = schema.get("enum")
    if not isinstance(choices, list):
        return 1
    scalars = sum(not isinstance(choice, (dict, list)) for choice in choices)
    return 1 + len(choices) - scalars + scalars // _SCALARS_A_STEP


def _beside(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[Any]:
    """What the same value is held against besides."""
    for keyword in ("$ref", "$dynamicRef"):
        if keyword in schema:
            yield target_of(schema[keyword], root)
    for keyword in _BRANCHES:
        branches = schema.get(keyword)
        if isinstance(branches, list):
            yield from branches
    for keyword in _BESIDE:
        if keyword in schema:
            yield schema[keyword]
    yield from _values(schema, "dependentSchemas")


def _parts(schema: Mapping[str, Any]) -> Iterator[tuple[_Step, Any]]:
    """What parts of the value are held against, and which."""
    for keyword in _OF_ARRAYS:
        if keyword in schema:
            yield ("array", None), schema[keyword]
    prefix = schema.get("prefixItems")
    for part in prefix if isinstance(prefix, list) else ():
        yield ("array", None), part
    named = schema.get("properties")
    for name, part in named.items() if isinstance(named, dict) else ():
        yield ("object", name), part
    for part in _values(schema, "patternProperties"):
        yield ("object", None), part
    for keyword in _OF_ANY_NAME:
        if keyword in schema:
            yield ("object", None), schema[keyword]


def _values(schema: Mapping[str, Any], keyword: str) -> Iterator[Any]:
    parts = schema.get(keyword)
    if isinstance(parts, dict):
        yield from parts.values()
