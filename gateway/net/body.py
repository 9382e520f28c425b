"""A reply's whole body: decompressed, and bounded."""

from __future__ import annotations

import zlib
from typing import Any

from gateway.core.errors import BadReply

__all__ = ["Body"]

_WBITS = {"": None, "identity": None, "gzip": 31, "x-gzip": 31, "deflate": 47}


class Body:
    """A reply's body in pieces, decompressed and bounded: a bomb stays small.

    Args:
        encoding: What its `content-encoding` says; empty without one.
        max_bytes: Its largest size, decompressed.

    Raises:
        BadReply: It is encoded as nothing known here.
    """

    def __init__(self, encoding: str, max_bytes: int) -> None:
        encoding = encoding.strip().lower()
        if encoding not in _WBITS:
            shown = repr(encoding[:60])
            raise BadReply(f"the reply is encoded as {shown}, though identity was asked for")
        wbits = _WBITS[encoding]
        self._unpack = None if wbits is None else zlib.decompressobj(wbits)
        self._max_bytes = max_bytes
        self._size = 0
        self._pieces: list[bytes] = []

    def take(self, raw: bytes) -> None:
        """Take the next piece.

        Raises:
            BadReply: It does not decompress, or the body is over the bound.
        """
        room = self._max_bytes - self._size
        piece = raw if self._unpack is None else self._unpacked(self._unpack, raw, room)
        if len(piece) > room:
            raise BadReply(f"the reply is over {self._max_bytes} bytes")
        self._size += len(piece)
        self._pieces.append(piece)

    def whole(self) -> bytes:
        """All of it.

        Raises:
            BadReply: It is compressed, and its end is missing.
        """
        if self._unpack is not None and self._pieces and not self._unpack.eof:
            raise BadReply("the reply does not decompress: it ends half-way")
        return b"".join(self._pieces)

    @staticmethod
    def _unpacked(unpack: Any, raw: bytes, room: int) -> bytes:
        """`raw` decompressed, at most one byte more than there is room for."""
        try:
            piece: bytes = unpack.decompress(raw, room + 1)
        except zlib.error as error:
            raise BadReply(f"the reply does not decompress: {error}") from error
        if unpack.unused_data:
            raise BadReply("the reply does not decompress: something follows its end")
        return piece
