"""Codecs of what JSON has: any value, and tables of any keys."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gateway.config.codec import Codec, Decode, decode_each, expected
from gateway.config.problems import Refused

if TYPE_CHECKING:
    from gateway.config.problems import Place

__all__ = ["json_value", "mapping", "table_of", "to_json"]

_MAX_DEPTH = 64


def json_value() -> Codec:
    """Any value, as JSON has it: TOML's dates and times become ISO 8601 text."""
    return Codec(decode=to_json, wanted="a value that JSON has")


def mapping(*, tables: bool = True) -> Codec:
    """A table of any keys to values that JSON has.

    Args:
        tables: Whether a value may be a table itself.
    """

    def decode_item(value: Any, place: Place) -> Any:
        if not tables and isinstance(value, Mapping):
            raise expected("a string, a number, true, false or a list of these", value)
        return to_json(value, place)

    return table_of(decode_item)


def table_of(decode_item: Decode) -> Codec:
    """A table of any keys → a dict, each value decoded by `decode_item`."""
    wanted = "a table"

    def decode(value: Any, place: Place) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise expected(wanted, value)
        return decode_each(value.items(), place, decode_item)

    return Codec(decode=decode, wanted=wanted, schema={"type": "object"})


def to_json(value: Any, place: Place, depth: int = 0) -> Any:
    """`value` in JSON's types alone.

    Raises:
        Refused: It holds nan or an infinity, or is nested deeper than 64; told at its place.
    """
    if depth > _MAX_DEPTH:
        raise Refused(f"nested deeper than {_MAX_DEPTH}")
    if isinstance(value, Mapping):
        return decode_each(value.items(), place, lambda v, p: to_json(v, p, depth + 1))
    if isinstance(value, (list, tuple)):
        items = decode_each(enumerate(value), place, lambda v, p: to_json(v, p, depth + 1))
        return list(items.values())
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise expected("a value that JSON has", value)
