"""What Redis takes and gives, and JSON's values.

Source: RESP3 specification, "Types equivalent to RESP version 2" and "New types".
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from gateway.core.errors import BadReply, InvalidArguments
from gateway.net.json_text import MAX_DEPTH

__all__ = ["argument", "plain"]


def argument(index: int, value: Any) -> bytes:
    """One argument: text as it is, any other value as JSON.

    Raises:
        InvalidArguments: It is null.
    """
    if value is None:
        raise InvalidArguments(f"not called: command[{index}]: expected a value, got null")
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)


def plain(value: Any, depth: int = 0) -> Any:
    """A reply in JSON's types.

    Bytes that are no UTF-8 are `{"base64": "…"}`, errors within it `{"error": "…"}`; sets are lists
    in an order of their own.

    Raises:
        BadReply: It is nested too deep.
    """
    if depth > MAX_DEPTH:
        raise BadReply(f"the reply is nested deeper than {MAX_DEPTH}")
    match value:
        case None | bool() | str():
            return value
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return {"base64": base64.b64encode(value).decode()}
        case int():
            return value if -(2**63) <= value < 2**64 else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case Exception():
            return {"error": str(value)}
        case Mapping():
            return {_key(key, depth): plain(part, depth + 1) for key, part in value.items()}
        case AbstractSet():
            return sorted((plain(part, depth + 1) for part in value), key=str)
    return [plain(part, depth + 1) for part in value]


def _key(value: Any, depth: int) -> str:
    found = plain(value, depth + 1)
    return found if isinstance(found, str) else msgspec.json.encode(found).decode()
