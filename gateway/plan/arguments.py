"""A tool's input schema, compiled: coercion of text, validation, defaults.

Source: JSON Schema 2020-12.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import msgspec

from gateway.core.errors import InvalidArguments
from gateway.plan.validation import Validator, summary

__all__ = ["ArgumentsSchema"]

_LONGEST_NUMBER = 64
"""A longer text is left to fail validation: parsing it is quadratic."""

Schema = Mapping[str, Any]


@attrs.frozen(slots=True)
class ArgumentsSchema:
    """What a tool's arguments must be.

    Args:
        schema: JSON Schema 2020-12 with `type: object` at its root.
        names: The names of its declared properties.
    """

    schema: Schema
    names: frozenset[str]
    _validator: Validator = attrs.field(repr=False, eq=False)
    _defaults: Mapping[str, Any] = attrs.field(repr=False)
    _typed: Mapping[str, _Types] = attrs.field(repr=False)

    @classmethod
    def compile(cls, schema: Schema) -> ArgumentsSchema:
        """Compile `schema`; nothing is ever fetched for it.

        Raises:
            ValueError: It is not a JSON Schema, refers to something outside itself, or holding
                arguments against it could take long.
        """
        # With properties, if none, an argument that is not expected is told by its name.
        validator = Validator({"properties": {}, **schema})
        properties = _properties(schema)
        defaults = {
            name: part["default"]
            for name, part in properties.items()
            if isinstance(part, Mapping) and "default" in part
        }
        types = {name: _types_of(schema, part) for name, part in properties.items()}
        return cls(schema, frozenset(properties), validator, defaults, types)

    @property
    def required(self) -> frozenset[str]:
        """The names that every call has to give, as far as the schema says so plainly."""
        named = self.schema.get("required", ())
        return frozenset(named) - self._defaults.keys()

    def wrong_defaults(self) -> Iterator[tuple[str, str]]:
        """Each default that breaks the schema of its own property: the name, and how."""
        for name, value in self._defaults.items():
            for breach in self._validator.breaches_of(name, value):
                yield name, breach["detail"]

    def coerce(self, texts: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """Arguments from texts, as paths, queries and command lines carry them.

        A text that does not fit its property's type stays text, for `validate` to report. An
        array takes every text of its name, or one text that is a JSON array.

        Args:
            texts: Each name's texts, one or more, in their order.
        """
        arguments: dict[str, Any] = {}
        for name, values in texts.items():
            own, of_items = self._typed.get(name, _UNTYPED)
            if "array" in own and not _is_json_array(values):
                arguments[name] = [_coerced(value, of_items) for value in values]
            else:
                arguments[name] = _coerced(values[-1], own)
        return arguments

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The declared arguments, the schema's defaults filled in.

        What the schema allows without naming it is checked and left out: no plan can read it.

        Raises:
            InvalidArguments: They break the schema; `errors` lists every breach (100 at most).
        """
        # A default is each request's own: a function may change what it is given.
        whole = (
            {**copy.deepcopy(self._defaults), **arguments} if self._defaults else dict(arguments)
        )
        if self._validator.is_valid(whole):
            if whole.keys() <= self.names:
                return whole
            return {name: value for name, value in whole.items() if name in self.names}
        breaches = self._validator.breaches(whole)
        raise InvalidArguments(
            f"the arguments break the tool's input schema: {summary(breaches)}", errors=breaches
        )


_Types: TypeAlias = tuple[frozenset[str], frozenset[str]]
"""The JSON types a property may be, and those of its items."""
_UNTYPED: _Types = (frozenset(), frozenset())


def _types_of(schema: Schema, property_: Any) -> _Types:
    part = _resolved(schema, property_)
    return _types(part), _types(_resolved(schema, part.get("items")))


def _resolved(schema: Schema, part: Any) -> Schema:
    """`part` with local references followed, a bounded number of times."""
    for _ in range(16):
        if not isinstance(part, Mapping):
            return {}
        reference = part.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return part
        target: Any = schema
        for token in reference[2:].split("/"):
            key = token.replace("~1", "/").replace("~0", "~")
            target = target.get(key) if isinstance(target, Mapping) else None
        part = target
    return {}


def _properties(schema: Schema) -> Schema:
    properties = schema.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def _types(part: Schema) -> frozenset[str]:
    """The JSON types `part` says it may be, as far as it says so plainly."""
    named = part.get("type")
    if isinstance(named, str):
        return frozenset({named})
    if isinstance(named, Sequence):
        return frozenset(named)
    alternatives = part.get("anyOf") or part.get("oneOf") or ()
    return frozenset[str]().union(
        *(_types(one) for one in alternatives if isinstance(one, Mapping))
    )


def _is_json_array(values: Sequence[str]) -> bool:
    return len(values) == 1 and values[0].startswith("[")


def _coerced(text: str, types: frozenset[str]) -> Any:
    """`text` as the first of `types` it can be read as; itself if none."""
    if not types or types == {"string"} or len(text) > 1_000_000:
        return text
    if types & {"integer", "number"} and 0 < len(text) <= _LONGEST_NUMBER:
        number = _number(text, whole="number" not in types)
        if number is not None:
            return number
    if "boolean" in types and text in {"true", "false"}:
        return text == "true"
    if "null" in types and text == "null":
        return None
    if types & {"array", "object"} and text[:1] in {"[", "{"}:
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return text
    return text


_NUMBERS: msgspec.json.Decoder[int | float] = msgspec.json.Decoder(int | float)


def _number(text: str, *, whole: bool) -> int | float | None:
    """`text` as JSON would read it; `None` where it is no number or, if `whole`, has a part."""
    try:
        number = _NUMBERS.decode(text)
    except msgspec.DecodeError:
        return None
    if isinstance(number, float) and (whole or not math.isfinite(number)):
        return int(number) if whole and number.is_integer() else None
    return number
