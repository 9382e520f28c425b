"""Codecs of headers: a service's own, a call's, and the names of those that are passed on.

Some are nobody's to write: they frame the message, belong to one connection, or are the gateway's.

Source: RFC 9110, sections 5.1, 5.5 and 7.6.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gateway.config.codec import Codec, decode_each, expected
from gateway.config.json_values import table_of, to_json
from gateway.config.problems import Refused
from gateway.config.secret import Secret, is_reference, names_secret, resolve, reveal
from gateway.config.text import show

if TYPE_CHECKING:
    from gateway.config.problems import Place

__all__ = ["RESERVED", "forwarded_headers", "header_name", "header_templates", "headers"]

RESERVED: Mapping[str, str] = {
    **dict.fromkeys(
        ("content-length", "transfer-encoding", "te", "trailer", "expect"),
        "the HTTP client frames the message",
    ),
    **dict.fromkeys(
        ("connection", "keep-alive", "proxy-connection", "upgrade"),
        "it belongs to one connection",
    ),
    "host": "it names the service, by its url",
    "accept-encoding": "the HTTP client says what it can unpack",
    "traceparent": "the gateway continues the trace of itself",
}
"""Headers that no file may set or pass on, and why."""

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?|")
_NAMES = {"pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"}


def headers() -> Codec:
    """A table of header names and values → a dict, its names in lower case.

    A value that came by a reference, or stands under a name that means a secret, decodes to a
    `Secret`. `host` may be set: several services may be at one address.
    """
    wanted = 'a table of headers such as { accept = "application/json" }'

    def decode(value: Any, place: Place) -> dict[str, str | Secret]:
        if not isinstance(value, Mapping):
            raise expected(wanted, value)
        seen: dict[str, str] = {}

        def decode_header(raw: Any, here: Place) -> str | Secret:
            name = header_name(here.path[-1], but="host")
            first = seen.setdefault(name.lower(), name)
            if first != name:
                raise Refused(f"the same header as {show(first)}: case makes no difference")
            return _value(raw, here, secret=names_secret(name))

        decoded = decode_each(value.items(), place, decode_header)
        return {name.lower(): text for name, text in decoded.items()}

    schema = {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "propertyNames": _NAMES,
    }
    return Codec(decode=decode, wanted=wanted, schema=schema)


def forwarded_headers() -> Codec:
    """A list of names of headers → a tuple, in lower case."""
    wanted = 'a list of headers such as ["accept-language"]'

    def decode_one(value: Any, _place: Place) -> str:
        if not isinstance(value, str) or not _TOKEN.fullmatch(value):
            raise expected("the name of a header", value)
        return header_name(value).lower()

    def decode(value: Any, place: Place) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise expected(wanted, value)
        return tuple(decode_each(enumerate(value), place, decode_one).values())

    return Codec(
        decode=decode, wanted=wanted, schema={"type": "array", "items": {"type": "string"}}
    )


def header_templates() -> Codec:
    """A table of header names and values that may hold placeholders → a dict.

    Secrets belong into the headers of the service: there they are known as such.
    """

    def decode_one(value: Any, place: Place) -> Any:
        name = header_name(place.path[-1])
        if isinstance(value, Mapping):
            raise expected("a string, a number, true, false or a list of these", value)
        if isinstance(value, str) and is_reference(value):
            raise Refused(
                f"a call's headers hold no references, got {show(value)}: "
                "put it into the service's headers"
            )
        if names_secret(name) and not _has_placeholder(value):
            place.note_literal()
        return to_json(value, place)

    return table_of(decode_one)


def header_name(name: object, *, but: str = "") -> str:
    """`name`, if it is one that a file may use.

    Raises:
        Refused: It is not; `but` is, though it is reserved elsewhere.
    """
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise Refused("expected the name of a header, such as accept-language")
    folded = name.lower()
    if folded in RESERVED and folded != but:
        raise Refused(f"{folded} is not for the file to send: {RESERVED[folded]}")
    return name


def _has_placeholder(value: Any) -> bool:
    if isinstance(value, list):
        return any(_has_placeholder(item) for item in value)
    return isinstance(value, str) and "{" in value.replace("{{", "")


def _value(raw: Any, place: Place, *, secret: bool) -> str | Secret:
    if not isinstance(raw, str):
        # Under a secret's name nothing is shown: a list or a number may hold it too.
        raise Refused("expected a string") if secret else expected("a string", raw)
    value: str | Secret = raw
    if is_reference(raw):
        value = resolve(raw, place)
    elif secret:
        place.note_literal()
        value = Secret(raw)
    if not _VALUE.fullmatch(reveal(value)) or len(reveal(value)) > 8192:
        raise Refused(
            "expected a header's value: up to 8192 visible ASCII characters, spaces only between them"
        )
    return value
