"""The heads of a client's HTTP/2 frames, looked at before anything is kept or done for them.

Most of HTTP/2's frames cost nine bytes to send and some work to take. So each kind that brings no
request forward has an allowance, which requests answered and data sent renew.

Source: RFC 9113, sections 4.1 and 10.5; CVE-2019-9511 to 9518 (floods), CVE-2023-44487 (rapid
reset), CVE-2024-27316 (CONTINUATION), CVE-2025-8671 (resets provoked).
"""

from __future__ import annotations

from gateway.server.allowance import Allowance
from gateway.server.heads import HTTP2_PREFACE

__all__ = ["Flood", "Frames"]

_HEAD_BYTES = 9
_DATA, _HEADERS, _RST_STREAM, _CONTINUATION = 0x0, 0x1, 0x3, 0x9
_END_STREAM, _END_HEADERS = 0x1, 0x4

_SMALL = 32
"""A piece of a body of fewer bytes costs more than it brings, as a chunk does in HTTP/1.1."""


class Flood(Exception):
    """A client sends more of what is cheap to send than serves any purpose."""


class Frames:
    """The frames of one connection.

    Args:
        max_headers: Bytes of a header block, over all of its frames.

    Attributes:
        resets: The allowance for streams that end early.
        cheap: The one for frames that bring no request forward.
        in_block: Whether a header block has begun and not ended.
    """

    __slots__ = ("_block", "_head", "_max_headers", "_skip", "cheap", "in_block", "resets")

    def __init__(self, max_headers: int) -> None:
        self._max_headers = max_headers
        self._skip = len(HTTP2_PREFACE)
        self._head = b""
        self._block = 0
        self.in_block = False
        self.resets = Allowance(100, 10)
        self.cheap = Allowance(1000, 100)

    def feed(self, data: bytes) -> None:
        """Look at more of the client's bytes, the preface first.

        Raises:
            Flood: An allowance is spent, or a header block is too large. The connection is to end.
        """
        at = self._skip
        if self._head:
            missing = _HEAD_BYTES - len(self._head)
            head = self._head + data[:missing]
            at = missing
            if len(head) < _HEAD_BYTES:
                self._head = head
                return
            self._head = b""
            at += self._look(head)
        while at + _HEAD_BYTES <= len(data):
            at += _HEAD_BYTES + self._look(data[at : at + _HEAD_BYTES])
        if at < len(data):
            self._head = data[at:]
            at = len(data)
        self._skip = at - len(data)

    def _look(self, head: bytes) -> int:
        """Count one frame; the bytes that follow its head."""
        length = int.from_bytes(head[:3], "big")
        kind, flags = head[3], head[4]
        if kind == _RST_STREAM:
            self.spend_reset()
        elif kind == _HEADERS or (kind == _CONTINUATION and self.in_block):
            self._block = length if kind == _HEADERS else self._block + length
            self.in_block = not flags & _END_HEADERS
            if self._block > self._max_headers:
                raise Flood(f"a header block is over {self._max_headers} bytes")
            if kind == _CONTINUATION:
                self._spend_cheap()
        elif kind != _DATA or (length < _SMALL and not flags & _END_STREAM):
            self._spend_cheap()
        return length

    def spend_reset(self) -> None:
        """Count a stream that ends early, whoever ended it.

        Raises:
            Flood: Too many did.
        """
        if not self.resets.spend():
            raise Flood("too many streams are opened and reset")

    def _spend_cheap(self) -> None:
        if not self.cheap.spend():
            raise Flood("too many frames bring no request forward")
