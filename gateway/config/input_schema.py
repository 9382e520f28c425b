"""The codec of a tool's `input` and `output_schema`: JSON Schema 2020-12, short forms spelt out, checked whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import jsonschema_rs

from gateway.config.codec import Codec, expected
from gateway.config.json_values import to_json
from gateway.config.problems import Refused
from gateway.config.text import KeyPath, alternatives, did_you_mean, one_line, show

if TYPE_CHECKING:
    from gateway.config.problems import Place

__all__ = ["DIALECT", "TYPES", "input_schema", "refuse_to_fetch"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
"""The one dialect of a tool's input."""

TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
"""JSON Schema's type names."""

_MAX_KEYWORDS = 20_000

# Where schemas stand inside a schema; everything else (`enum`, `const`, `default`, …) is data.
_ONE = frozenset(
    {
        *("items", "additionalProperties", "not", "if", "then", "else", "contains"),
        *("propertyNames", "unevaluatedItems", "unevaluatedProperties", "contentSchema"),
    }
)
_LIST = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED = frozenset({"properties", "patternProperties", "$defs", "dependentSchemas", "definitions"})
_REFERENCES = ("$ref", "$dynamicRef")


def input_schema() -> Codec:
    """The schema of a tool's arguments or answers → a dict, `type = "object"` at its root.

    In `properties`, a string is short for a schema of that type. References stay within the
    schema: nothing is fetched.

    Source: JSON Schema 2020-12, core and validation.
    """
    wanted = "a table: the JSON Schema of an object"

    def decode(value: Any, place: Place) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise expected(wanted, value)
        schema: dict[str, Any] = to_json(value, place)
        told = _Told(place)
        for path, subschema in _subschemas(schema, ()):
            _spell_out(path, subschema, told)
        _check_root(schema, told)
        _check_keywords(schema, told)
        for path, subschema in _subschemas(schema, ()):
            _check_references(path, subschema, schema, told)
        if not told:
            # What only building a validator shows: patterns, references through `$id`.
            _check_whole(schema, told)
        if told:
            raise Refused(None)
        return schema

    return Codec(decode=decode, wanted=wanted, schema=_META)


_META = {
    "type": "object",
    "properties": {
        "type": {"const": "object"},
        "properties": {
            "type": "object",
            "additionalProperties": {
                "anyOf": [{"enum": list(TYPES)}, {"type": "object"}, {"type": "boolean"}]
            },
        },
        "required": {"type": "array", "items": {"type": "string"}},
    },
}


class _Told:
    """The mistakes of one schema: at most one for each keyword."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._paths: set[KeyPath] = set()

    def problem(self, path: KeyPath, message: str) -> None:
        # One slip breaks several rules of the meta-schema: the first one told says it.
        if any(path[: len(told)] == told for told in self._paths):
            return
        self._paths.add(path)
        place = self._place
        for key in path:
            place /= key
        place.problem(message)

    def __bool__(self) -> bool:
        return bool(self._paths)


def _subschemas(schema: Any, path: KeyPath) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Every schema in a schema, itself first, each with its path."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for keyword, value in list(schema.items()):
        here = (*path, keyword)
        if keyword in _ONE:
            yield from _subschemas(value, here)
        elif keyword in _LIST and isinstance(value, list):
            for index, item in enumerate(value):
                yield from _subschemas(item, (*here, index))
        elif keyword in _NAMED and isinstance(value, dict):
            for name, item in value.items():
                yield from _subschemas(item, (*here, name))


def _spell_out(path: KeyPath, schema: dict[str, Any], told: _Told) -> None:
    """Replace each short form in `properties`, before its parts are looked at."""
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return
    for name, short in properties.items():
        if not isinstance(short, str):
            continue
        if short not in TYPES:
            told.problem((*path, "properties", name), _wrong_type(short))
        properties[name] = {"type": short} if short in TYPES else {}


def _wrong_type(value: Any) -> str:
    return f"expected {alternatives(TYPES)}, got {show(value)}{did_you_mean(value, TYPES)}"


def _check_root(schema: dict[str, Any], told: _Told) -> None:
    kind = schema.setdefault("type", "object")
    if kind != "object":
        told.problem(("type",), f'expected "object": what it is of has names; got {show(kind)}')
    dialect = schema.get("$schema", DIALECT)
    if dialect not in (DIALECT, DIALECT + "#"):
        told.problem(("$schema",), f"expected {show(DIALECT)}, got {show(dialect)}")


def _check_keywords(schema: dict[str, Any], told: _Told) -> None:
    """Hold the schema against the meta-schema."""
    if _count(schema) > _MAX_KEYWORDS:
        told.problem((), f"more than {_MAX_KEYWORDS} values in one schema")
        return
    # The deepest first: where a part is wrong, the whole is wrong only because of it.
    errors = jsonschema_rs.Draft202012Validator(
        {"$ref": DIALECT}, retriever=refuse_to_fetch
    ).iter_errors(schema)
    for error in sorted(errors, key=lambda error: -len(error.instance_path)):
        path, value = _follow(schema, tuple(error.instance_path))
        if path and path[-1] == "type" and error.kind.name == "anyOf":
            wrong = (
                next((v for v in value if v not in TYPES), value)
                if isinstance(value, list)
                else value
            )
            told.problem(path, _wrong_type(wrong))
        else:
            told.problem(path, f"not valid JSON Schema: {one_line(error.message, 160)}")


def _count(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_count, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_count, value))
    return 1


def _follow(value: Any, path: KeyPath) -> tuple[KeyPath, Any]:
    """How far a validator's path leads, and to what.

    It leaves out names that are empty, and makes numbers of those that are digits.
    """
    followed: KeyPath = ()
    for step in path:
        key = str(step) if isinstance(value, dict) else step
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            break
        followed = (*followed, key)
    return followed, value


def _check_references(
    path: KeyPath, subschema: dict[str, Any], schema: dict[str, Any], told: _Told
) -> None:
    for keyword in _REFERENCES:
        target = subschema.get(keyword)
        if not isinstance(target, str):
            continue
        here = (*path, keyword)
        if target != "#" and not target.startswith("#/"):
            told.problem(
                here,
                f'expected a reference within this schema such as "#/$defs/x", got {show(target)}',
            )
        elif not _resolves(target, schema):
            told.problem(here, f"expected a reference to a part of this schema, got {show(target)}")


def _resolves(pointer: str, schema: Any) -> bool:
    """Whether a JSON pointer (RFC 6901, as a fragment) leads to something."""
    for token in pointer[1:].split("/")[1:]:
        key = re.sub("%([0-9A-Fa-f]{2})", lambda match: chr(int(match[1], 16)), token)
        key = key.replace("~1", "/").replace("~0", "~")
        if isinstance(schema, dict) and key in schema:
            schema = schema[key]
        elif (
            isinstance(schema, list)
            and key.isascii()
            and key.isdigit()
            and int(key[:9]) < len(schema)
        ):
            schema = schema[int(key[:9])]
        else:
            return False
    return True


def _check_whole(schema: dict[str, Any], told: _Told) -> None:
    try:
        jsonschema_rs.Draft202012Validator(schema, retriever=refuse_to_fetch)
    except jsonschema_rs.ValidationError as error:
        told.problem(
            _follow(schema, tuple(error.instance_path))[0],
            f"not valid JSON Schema: {one_line(error.message, 160)}",
        )
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        told.problem((), f"not valid JSON Schema: {one_line(str(error), 160)}")


def refuse_to_fetch(uri: str) -> NoReturn:
    """The retriever of every validator made from a configured schema.

    Raises:
        ValueError: Always: a schema is whole in the file, or it is wrong.
    """
    raise ValueError(f"a schema refers to nothing outside itself, not to {uri[:200]}")
