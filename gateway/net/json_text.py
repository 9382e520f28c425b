"""JSON that came from outside, bounded in depth: what is taken can be written again."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["MAX_DEPTH", "checked_json", "decode_json"]

MAX_DEPTH = 200
"""How deep arrays and objects may be nested.

It is far below what the decoder takes: whatever reads the value after it needs stack too.
"""


def decode_json(data: bytes) -> Any:
    """The value of the JSON text `data`.

    Raises:
        ValueError: It is no JSON, not UTF-8, or nested deeper than `MAX_DEPTH`.
    """
    try:
        value = msgspec.json.decode(data)
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from None
    # Few brackets are a shallow text: most are known by this.
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _is_deep(value):
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    return value


def checked_json(data: bytes) -> msgspec.Raw | None:
    """The JSON text `data` as it is; `None` if it has to be decoded after all.

    What is passed on stands within other JSON, in an event's line perhaps: a text with line ends in
    it would break that.

    Raises:
        ValueError: As `decode_json`.
    """
    if b"\n" in data or b"\r" in data or data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        return None
    raw = _AS_IT_IS.decode(data)
    if not data.isascii():
        data.decode("utf-8")
    return raw


_AS_IT_IS = msgspec.json.Decoder(msgspec.Raw)


def _is_deep(value: Any) -> bool:
    """Whether containers are left below `MAX_DEPTH` of them; level by level, for no stack."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(MAX_DEPTH):
        if not level:
            return False
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) is dict or type(item) is list
        ]
    return bool(level)
