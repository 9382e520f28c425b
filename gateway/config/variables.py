"""The codec of environment variables: what a program is given beside the harmless ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gateway.config.codec import Codec, decode_each, expected
from gateway.config.problems import Refused
from gateway.config.secret import Secret, is_reference, names_secret, resolve

if TYPE_CHECKING:
    from gateway.config.problems import Place

__all__ = ["variables"]


def variables() -> Codec:
    """A table of environment variables; values may be references, and are secrets by their names."""
    wanted = 'a table of variables such as { API_TOKEN = "env:API_TOKEN" }'

    def decode_one(value: Any, place: Place) -> str | Secret:
        name = place.path[-1]
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise Refused("expected the name of an environment variable")
        if not isinstance(value, str) or "\0" in value:
            raise Refused("expected a string")
        if is_reference(value):
            return resolve(value, place)
        if names_secret(name):
            place.note_literal()
            return Secret(value)
        return value

    def decode(value: Any, place: Place) -> dict[str, str | Secret]:
        if not isinstance(value, Mapping):
            raise expected(wanted, value)
        return decode_each(value.items(), place, decode_one)

    schema = {"type": "object", "additionalProperties": {"type": "string"}}
    return Codec(decode=decode, wanted=wanted, schema=schema)
