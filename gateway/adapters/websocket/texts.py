"""Values as messages, and messages as values."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from gateway.core.errors import InvalidArguments
from gateway.net.json_text import decode_json

__all__ = ["text_of", "value_of"]


def text_of(value: Any) -> str:
    """What is sent: text as it is, any other value as JSON.

    Raises:
        InvalidArguments: It has no JSON form.
    """
    if isinstance(value, str):
        return value
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError) as error:
        raise InvalidArguments(
            f"not called: what is to be sent has no JSON form: {error}"
        ) from error


def value_of(message: str | bytes) -> Any:
    """A message: JSON's value if it is JSON, else its text, or base64 of what is binary."""
    raw = message.encode() if isinstance(message, str) else message
    try:
        return decode_json(raw)
    except ValueError:
        return message if isinstance(message, str) else base64.b64encode(message).decode()
