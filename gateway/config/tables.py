"""Tables: from a class's fields to its keys and back; unknown, missing, not available."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from gateway.config.codec import Codec, expected
from gateway.config.problems import Refused
from gateway.config.text import nearest
from gateway.config.unavailable import NOTHING_LATER, Unavailable

if TYPE_CHECKING:
    from gateway.config.problems import Place

__all__ = [
    "KEY",
    "Decoded",
    "codec_of",
    "codecs_of",
    "decode_keys",
    "optional",
    "schema_of",
    "table",
]

KEY = "gateway.config.codec"
"""Under which a field's metadata holds its codec."""


def codec_of(field: Any) -> Codec:
    """The codec of an attrs field, whether made by `fields` a moment ago or found on a class.

    Raises:
        TypeError: The field was not made by `gateway.config.fields`.
    """
    codec = field.metadata.get(KEY)
    if not isinstance(codec, Codec):
        raise TypeError(f"{field!r} was not made by gateway.config.fields")
    return codec


def codecs_of(cls: type[Any]) -> dict[str, Codec]:
    """The codec of every key of a class, in the order of its fields."""
    return {attribute.name: codec_of(attribute) for attribute in attrs.fields(cls)}


def optional(codecs: Mapping[str, Codec]) -> dict[str, Codec]:
    """The same keys, none of them required: a policy that is absent is not there."""
    return {key: attrs.evolve(codec, default=None) for key, codec in codecs.items()}


@attrs.frozen(slots=True)
class Decoded:
    """What became of a table's keys.

    Args:
        values: The decoded values of the keys that are there and right.
        failed: The keys that are wrong, unknown, not available or missing.
    """

    values: Mapping[str, Any]
    failed: frozenset[str]


def decode_keys(
    codecs: Mapping[str, Codec],
    table: Mapping[str, Any],
    place: Place,
    later: Unavailable = NOTHING_LATER,
) -> Decoded:
    """Decode every key of a table, and tell each mistake once.

    Args:
        codecs: The keys there are.
        table: As the file has it.
        place: Where it stands.
        later: Which further keys and values belong to the language and are not built yet.
    """
    values: dict[str, Any] = {}
    failed: set[str] = set()
    meant: set[str] = set()
    for key, value in table.items():
        codec = codecs.get(key)
        if codec is None:
            failed.add(key)
            near = None if key in later.keys else nearest(key, codecs)
            meant.update([near] if near else [])
            (place / key).problem(_unknown(key, near, later))
            continue
        try:
            values[key] = codec.decode(value, place / key)
        except Refused as refused:
            failed.add(key)
            (place / key).tell(later.explain(key, value, refused))
    for key, codec in codecs.items():
        if codec.required and key not in table:
            failed.add(key)
            # Written with a slip: that was told already, as an unknown key.
            if key not in meant:
                (place / key).problem(f"missing; expected {codec.wanted}")
    return Decoded(values, frozenset(failed))


def _unknown(key: str, near: str | None, later: Unavailable) -> str:
    if key in later.keys:
        return "not available in this version"
    return "unknown key" + (f'; did you mean "{near}"?' if near else "")


def table(cls: type[Any]) -> Codec:
    """A table whose keys are the fields of `cls` → an instance of it."""
    codecs = codecs_of(cls)
    wanted = "a table"
    required = [key for key, codec in codecs.items() if codec.required]
    if required:
        wanted += " with " + ", ".join(required)

    def decode(value: Any, place: Place) -> Any:
        if not isinstance(value, Mapping):
            raise expected(wanted, value)
        decoded = decode_keys(codecs, value, place)
        if decoded.failed:
            raise Refused(None)
        return cls(**decoded.values)

    return Codec(decode=decode, wanted=wanted, schema=schema_of(codecs))


def schema_of(codecs: Mapping[str, Codec]) -> dict[str, Any]:
    """JSON Schema (draft 7) of a table with these keys and no others."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {key: _described(codec) for key, codec in codecs.items()},
        "additionalProperties": False,
    }
    required = [key for key, codec in codecs.items() if codec.required]
    if required:
        schema["required"] = required
    return schema


def _described(codec: Codec) -> dict[str, Any]:
    schema = dict(codec.schema)
    if codec.doc:
        schema["description"] = codec.doc
    default = codec.default
    if default is not None and not codec.required and not attrs.has(type(default)):
        schema["default"] = list(default) if isinstance(default, tuple) else default
    return schema
