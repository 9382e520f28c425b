"""Commands and replies as bytes, and as JSON has them.

Source: RESP3 specification.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any, Final

import attrs
import msgspec

from gateway.core.errors import BadReply, InvalidArguments
from gateway.net.json_text import MAX_DEPTH

__all__ = ["Refusal", "ReplyReader", "argument", "packed"]

_END = b"\r\n"
_MORE: Final = object()
"""More bytes have to come."""


def argument(index: int, value: Any) -> bytes:
    """One argument: text as it is, any other value as JSON.

    Raises:
        InvalidArguments: It is null.
    """
    if value is None:
        raise InvalidArguments(f"not called: command[{index}]: expected a value, got null")
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)


def packed(words: Sequence[bytes]) -> bytes:
    """A command as it goes out."""
    return b"*%d\r\n" % len(words) + b"".join(
        b"$%d\r\n%b\r\n" % (len(word), word) for word in words
    )


@attrs.frozen(slots=True)
class Refusal:
    """A reply that says no, in Redis' words."""

    said: str


class ReplyReader:
    """One reply, read as its bytes come.

    Bytes that are no UTF-8 become `{"base64": "…"}`, refusals within it `{"error": "…"}`, maps
    objects, sets lists.

    Args:
        max_bytes: Of all of it.

    Attributes:
        value: Once it is whole: JSON's types, or a `Refusal`.
        rest: Bytes that came behind it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._data = bytearray()
        self._at = 0
        self._open: list[_Aggregate] = []
        self.value: Any = None

    @property
    def rest(self) -> int:
        """Bytes that came behind the reply."""
        return len(self._data) - self._at

    def feed(self, data: bytes) -> bool:
        """Take what came next; whether the reply is whole.

        Raises:
            BadReply: It is over its bound, nested too deep, or none.
        """
        if len(self._data) + len(data) > self._max_bytes:
            raise self._too_much()
        self._data += data
        try:
            while (value := self._next()) is not _MORE:
                if self._is_placed(value):
                    return True
        except (ValueError, KeyError) as error:
            raise BadReply("the reply is none of Redis'") from error
        return False

    def _too_much(self) -> BadReply:
        return BadReply(f"the reply is over {self._max_bytes} bytes")

    def _is_placed(self, value: Any) -> bool:
        """Put a value where it belongs; whether that was the whole reply."""
        if isinstance(value, _Aggregate):
            if value.left:
                if len(self._open) == MAX_DEPTH:
                    raise BadReply(f"the reply is nested deeper than {MAX_DEPTH}")
                self._open.append(value)
                return False
            value = value.value()
        while self._open:
            self._open[-1].add(value)
            if self._open[-1].left:
                return False
            value = self._open.pop().value()
        self.value = value
        return True

    def _next(self) -> Any:
        """The next value, or the head of an aggregate of some; `_MORE` if it is not there yet."""
        end = self._data.find(_END, self._at)
        if end < 0:
            return _MORE
        kind, line = self._data[self._at : self._at + 1], bytes(self._data[self._at + 1 : end])
        after = end + len(_END)
        value: Any
        match bytes(kind):
            case b"$" | b"=" | b"!":
                size = _size(line)
                if size is not None:
                    return self._bulk(bytes(kind), after, size)
                value = None
            case b"*" | b"~" | b"%":
                size = _size(line)
                value = None if size is None else _Aggregate(size, is_map=kind == b"%")
            case _:
                value = _scalar(bytes(kind), line)
        self._at = after
        return value

    def _bulk(self, kind: bytes, start: int, size: int) -> Any:
        end = start + size
        if end > self._max_bytes:
            raise self._too_much()
        if len(self._data) < end + len(_END):
            return _MORE
        if self._data[end : end + len(_END)] != _END:
            raise ValueError("no end where one should be")
        raw = bytes(self._data[start:end])
        self._at = end + len(_END)
        if kind == b"!":
            return Refusal(_words(raw))
        return _text(raw[4:] if kind == b"=" else raw)  # "txt:" before what is verbatim


class _Aggregate:
    """A list, a set or a map, while its parts come."""

    __slots__ = ("_is_map", "_parts", "left")

    def __init__(self, size: int, *, is_map: bool) -> None:
        self._is_map = is_map
        self._parts: list[Any] = []
        self.left = size * 2 if is_map else size

    def add(self, part: Any) -> None:
        self._parts.append({"error": part.said} if isinstance(part, Refusal) else part)
        self.left -= 1

    def value(self) -> Any:
        if not self._is_map:
            return self._parts
        parts = iter(self._parts)
        return {_key(key): value for key, value in zip(parts, parts, strict=True)}


def _size(line: bytes) -> int | None:
    """A length; `None` for null as RESP2 has it."""
    size = int(line)
    if size < -1:
        raise ValueError("a length below 0")
    return None if size == -1 else size


def _scalar(kind: bytes, line: bytes) -> Any:
    match kind:
        case b"+":
            return _text(line)
        case b"-":
            return Refusal(_words(line))
        case b":" | b"(":
            number = int(line)
            return number if -(2**63) <= number < 2**64 else str(number)
        case b",":
            double = float(line)
            return double if math.isfinite(double) else str(double)
        case b"#":
            return {b"t": True, b"f": False}[line]
        case b"_":
            return None
    raise ValueError("no type of RESP's that a reply has")


def _text(raw: bytes) -> Any:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}


def _words(raw: bytes) -> str:
    return " ".join(raw.decode("utf-8", "replace").split())


def _key(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
