"""A request's body, out of the bytes that frame it: nothing is read twice, nothing guessed.

Source: RFC 9112, sections 6.2 and 7.1.
"""

from __future__ import annotations

import re

import trio

from gateway.server.heads import Refused

__all__ = ["Chunked", "Sized"]

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_CHUNK = re.compile(
    rb"([0-9A-Fa-f]{1,15})(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb'|"[\t !#-\[\]-~]*"))?)*'
)
_TRAILER = re.compile(_TOKEN + rb":[\t -~\x80-\xff]*")
_MAX_LINE = 256
"""Bytes of a chunk's size and its extensions, which nobody reads."""
_SMALL = 32
"""A chunk of fewer bytes costs more than it brings."""
_MAX_SMALL = 1_000
"""Small chunks in a second: a hundred times what a person types, and nothing to us."""


class Sized:
    """A body whose length was said beforehand.

    Args:
        length: Its bytes.

    Attributes:
        done: Whether all of it was taken.
        rest: What was fed and is no part of it.
    """

    __slots__ = ("_left", "done", "rest")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = not length
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Take more of the connection's bytes; what of them is the body's."""
        piece = data[: self._left]
        self._left -= len(piece)
        if not self._left:
            self.done = True
            self.rest = data[len(piece) :]
        return piece


class Chunked:
    """A body in chunks. Extensions and trailers are checked and dropped.

    Args:
        max_trailers: Bytes of trailers that are read.

    Attributes:
        done: Whether all of it was taken.
    """

    __slots__ = ("_buffer", "_left", "_line", "_max_line", "_second", "_small", "_trailers", "done")

    def __init__(self, max_trailers: int) -> None:
        self._buffer = bytearray()
        self._left = 0
        self._line = self._size
        self._max_line = _MAX_LINE
        self._trailers = max_trailers
        self._small = 0
        self._second = 0.0
        self.done = False

    @property
    def rest(self) -> bytes:
        """What was fed and is no part of it."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> bytes:
        """Take more of the connection's bytes; what of them is the body's, decoded.

        Raises:
            Refused: It is no body in chunks, or one that is made to cost.
        """
        buffer = self._buffer
        buffer += data
        pieces: list[bytearray] = []
        at = 0
        while not self.done:
            if self._left:
                piece = buffer[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._line = self._end_of_chunk
            end = buffer.find(b"\r\n", at, at + self._max_line + 2)
            if end < 0:
                self._check_line(buffer[at:])
                break
            line = bytes(buffer[at:end])
            at = end + 2
            self._line(line)
        del buffer[:at]
        return b"".join(pieces)

    def _check_line(self, line: bytearray) -> None:
        """Refuse a line that has not ended, and never will as it should."""
        if len(line) > self._max_line:
            raise Refused(400, "the body is malformed: a line of its chunks is too long")
        if b"\n" in line or b"\r" in line[:-1]:
            raise Refused(400, "the body is malformed: a line ends in CR LF")

    def _size(self, line: bytes) -> None:
        match = _CHUNK.fullmatch(line)
        if match is None:
            raise Refused(400, "the body is malformed: expected a chunk's size in hex")
        self._left = int(match[1], 16)
        if not self._left:
            self._line = self._trailer
            self._max_line = self._trailers
        elif self._left < _SMALL:
            self._count()

    def _count(self) -> None:
        if not self._small:
            self._second = trio.current_time()
        self._small += 1
        if self._small > _MAX_SMALL:
            if trio.current_time() - self._second < 1:
                raise Refused(400, f"over {_MAX_SMALL} chunks of a few bytes in a second")
            self._small = 0

    def _end_of_chunk(self, line: bytes) -> None:
        if line:
            raise Refused(400, "the body is malformed: a chunk is longer than its size")
        self._line = self._size

    def _trailer(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        self._trailers -= len(line) + 2
        if self._trailers < 0:
            raise Refused(431, "the trailers are too large")
        if _TRAILER.fullmatch(line) is None:
            raise Refused(400, "the body is malformed: a trailer is no header")
