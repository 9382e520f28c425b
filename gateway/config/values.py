"""Codecs of plain values: text, numbers, quantities, choices, lists."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from gateway.config import units
from gateway.config.codec import Codec, decode_each, expected
from gateway.config.problems import Refused
from gateway.config.secret import Secret, is_reference, resolve, reveal
from gateway.config.text import alternatives, did_you_mean, show

if TYPE_CHECKING:
    from gateway.config.problems import Place

__all__ = [
    "NAME_PATTERN",
    "boolean",
    "check_name",
    "duration",
    "either",
    "integer",
    "is_integer",
    "list_of",
    "matching",
    "name",
    "one_of",
    "or_none",
    "rate",
    "share",
    "size",
    "string",
    "strings",
    "wait",
    "workers",
]

NAME_PATTERN = "^[a-zA-Z][a-zA-Z0-9_-]{0,63}$"
"""Names of tools, services, calls and profiles."""

_A_NAME = 'a name such as "users": a letter, then up to 63 letters, digits, _ or -'
_NAME = re.compile(NAME_PATTERN)
_MOST_WORKERS = 256


def is_integer(value: Any) -> bool:
    """Whether TOML wrote a whole number; `true` is none, whatever Python says."""
    return isinstance(value, int) and not isinstance(value, bool)


def string(*, reference: bool = False, secret: bool = False, least: int = 0) -> Codec:
    """Text.

    Args:
        reference: Whether it may say where it is instead: `env:NAME`, `file:PATH`; such a value
            decodes to a `Secret`.
        secret: Whether it decodes to a `Secret` always, and a literal is noted as one.
        least: Characters that it has at least.
    """
    referable = reference or secret
    wanted = 'a string or "env:NAME" or "file:PATH"' if referable else "a string"

    def decode(value: Any, place: Place) -> str | Secret:
        text = read(value, place)
        if len(reveal(text)) < least:
            raise Refused(f"expected at least {least} characters")
        return text

    def read(value: Any, place: Place) -> str | Secret:
        if not isinstance(value, str):
            raise Refused(f"expected {wanted}") if secret else expected(wanted, value)
        if referable and is_reference(value):
            return resolve(value, place)
        if secret:
            place.note_literal()
            return Secret(value)
        return value

    return Codec(decode=decode, wanted=wanted, schema={"type": "string"})


def name() -> Codec:
    """A name of a tool, service, call or profile."""
    wanted = _A_NAME

    def decode(value: Any, _place: Place) -> str:
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            raise expected(wanted, value)
        return value

    return Codec(decode=decode, wanted=wanted, schema={"type": "string", "pattern": NAME_PATTERN})


def check_name(text: str, place: Place) -> bool:
    """Whether a key is a name as tools, services, calls and profiles have them; told if not."""
    if _NAME.fullmatch(text):
        return True
    place.problem(f"expected {_A_NAME}")
    return False


def boolean() -> Codec:
    """True or false."""

    def decode(value: Any, _place: Place) -> bool:
        if not isinstance(value, bool):
            raise expected("true or false", value)
        return value

    return Codec(decode=decode, wanted="true or false", schema={"type": "boolean"})


def integer(*, minimum: int | None = None, maximum: int | None = None) -> Codec:
    """A whole number within bounds, both included."""
    wanted = "a whole number"
    schema: dict[str, Any] = {"type": "integer"}
    if minimum is not None:
        schema["minimum"] = minimum
        wanted += f" from {minimum}" + (" up" if maximum is None else "")
    if maximum is not None:
        schema["maximum"] = maximum
        wanted += f" {'up ' if minimum is None else ''}to {maximum}"

    def decode(value: Any, _place: Place) -> int:
        if (
            not is_integer(value)
            or (minimum is not None and value < minimum)
            or (maximum is not None and value > maximum)
        ):
            raise expected(wanted, value)
        return int(value)

    return Codec(decode=decode, wanted=wanted, schema=schema)


def duration(*, none: bool = False) -> Codec:
    """A duration above zero → seconds.

    Args:
        none: Whether `"none"` may stand for no limit; it decodes to inf.
    """
    return _quantity(
        'a duration such as "2s"',
        (units.parse_duration, units.format_duration),
        units.DURATION_PATTERN,
        none=none,
    )


def size(*, none: bool = False) -> Codec:
    """A size above zero → bytes.

    Args:
        none: Whether `"none"` may stand for no limit; it decodes to inf.
    """
    wanted = 'a size such as "1MiB"' + (' or "none"' if none else "")
    of_size = (units.parse_size, units.format_size)
    return _quantity(wanted, of_size, units.SIZE_PATTERN, none=none)


def rate() -> Codec:
    """A rate above zero → so many a second."""
    of_rate = (units.parse_rate, units.format_rate)
    return _quantity('a rate such as "100/s"', of_rate, units.RATE_PATTERN)


def share(*, none: bool = False) -> Codec:
    """A share above zero, at most `"100%"` → a number up to 1.

    Args:
        none: Whether `"none"` may stand for no limit; it decodes to inf.
    """
    wanted = 'a share such as "10%"' + (' or "none"' if none else "")
    of_share = (units.parse_share, units.format_share)
    return _quantity(wanted, of_share, units.SHARE_PATTERN, none=none)


def either(*codecs: Codec) -> Codec:
    """What the first of `codecs` that takes the value makes of it; none of them may have parts."""
    wanted = " or ".join(codec.wanted for codec in codecs)

    def decode(value: Any, place: Place) -> Any:
        for codec in codecs:
            try:
                return codec.decode(value, place)
            except Refused:
                continue
        raise expected(wanted, value)

    schemas = [codec.schema for codec in codecs]
    return Codec(decode=decode, wanted=wanted, schema={"anyOf": schemas})


def or_none(codec: Codec) -> Codec:
    """What `codec` decodes, or `"none"`, which decodes to inf: none of it."""
    wanted = f'{codec.wanted} or "none"'

    def decode(value: Any, place: Place) -> Any:
        if value == "none":
            return math.inf
        if isinstance(value, str):
            try:
                return codec.decode(value, place)
            except Refused:
                raise expected(wanted, value) from None
        return codec.decode(value, place)

    schema = {"anyOf": [codec.schema, {"const": "none"}]}
    return attrs.evolve(codec, decode=decode, wanted=wanted, schema=schema)


def list_of(item: Codec, *, wanted: str) -> Codec:
    """A list of at least one of what `item` decodes → a tuple.

    Args:
        item: The codec of each.
        wanted: What belongs here, as messages say it.
    """

    def decode(value: Any, place: Place) -> tuple[Any, ...]:
        if not isinstance(value, list) or not value:
            raise expected(wanted, value)
        return tuple(decode_each(enumerate(value), place, item.decode).values())

    schema = {"type": "array", "items": item.schema, "minItems": 1}
    return Codec(decode=decode, wanted=wanted, schema=schema)


def _quantity(
    wanted: str,
    unit: tuple[Callable[[str], float], Callable[[float], str]],
    pattern: str,
    *,
    none: bool = False,
) -> Codec:
    """A number with its unit, which is parsed and formatted by the two of `unit`."""
    parse, write = unit

    def decode(value: Any, _place: Place) -> float:
        if none and value == "none":
            return math.inf
        if (
            is_integer(value)
            or isinstance(value, float)
            or (isinstance(value, str) and value.isascii() and value.isdigit())
        ):
            raise Refused(f"expected {wanted}, got {show(value)}; write the unit")
        try:
            quantity = parse(value) if isinstance(value, str) else None
        except ValueError:
            quantity = None
        if quantity is None:
            raise expected(wanted, value)
        if quantity <= 0:
            raise Refused(f"expected {wanted}, above zero, got {show(value)}")
        return quantity

    schema = {"type": "string", "pattern": f"^none$|{pattern}" if none else pattern}
    return Codec(decode=decode, wanted=wanted, schema=schema, write=write)


def one_of(*values: Any) -> Codec:
    """One of `values`: strings, integers or booleans."""
    wanted = alternatives(values)

    def decode(value: Any, _place: Place) -> Any:
        for allowed in values:
            # By type too: in Python, true equals 1.
            if type(allowed) is type(value) and allowed == value:
                return allowed
        names = [allowed for allowed in values if isinstance(allowed, str)]
        raise Refused(f"expected {wanted}, got {show(value)}{did_you_mean(value, names)}")

    return Codec(decode=decode, wanted=wanted, schema={"enum": list(values)})


def strings() -> Codec:
    """A list of strings → a tuple."""
    wanted = 'a list of strings such as ["a", "b"]'
    item = string()

    def decode(value: Any, place: Place) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise expected(wanted, value)
        return tuple(decode_each(enumerate(value), place, item.decode).values())

    return Codec(
        decode=decode, wanted=wanted, schema={"type": "array", "items": {"type": "string"}}
    )


def wait() -> Codec:
    """How many calls a plan waits for: `"all"`, `"first"` or a number."""
    wanted = '"all", "first" or a whole number from 1 up'

    def decode(value: Any, _place: Place) -> str | int:
        if value in ("all", "first") or (is_integer(value) and value >= 1):
            return value  # type: ignore[no-any-return]
        raise Refused(
            f"expected {wanted}, got {show(value)}{did_you_mean(value, ('all', 'first'))}"
        )

    return Codec(
        decode=decode,
        wanted=wanted,
        schema={"anyOf": [{"enum": ["all", "first"]}, {"type": "integer", "minimum": 1}]},
    )


def workers() -> Codec:
    """How many processes: a number, or one per core that this process may use."""
    wanted = f'a whole number from 1 to {_MOST_WORKERS}, or "auto"'

    def decode(value: Any, _place: Place) -> int:
        if value == "auto":
            return min(_cores(), _MOST_WORKERS)
        if is_integer(value) and 1 <= value <= _MOST_WORKERS:
            return int(value)
        raise Refused(f"expected {wanted}, got {show(value)}{did_you_mean(value, ('auto',))}")

    return Codec(
        decode=decode,
        wanted=wanted,
        schema={
            "anyOf": [
                {"enum": ["auto"]},
                {"type": "integer", "minimum": 1, "maximum": _MOST_WORKERS},
            ]
        },
    )


def _cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def matching(pattern: str, wanted: str) -> Codec:
    """Text of one form.

    Args:
        pattern: A regular expression that matches the whole of it.
        wanted: The form, as messages say it.
    """
    compiled = re.compile(pattern)

    def decode(value: Any, _place: Place) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise expected(wanted, value)
        return value

    schema = {"type": "string", "pattern": f"^(?:{pattern})$"}
    return Codec(decode=decode, wanted=wanted, schema=schema)
