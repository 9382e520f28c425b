"""A WebSocket's opening handshake: what is wrong with it, and how it is answered.

Source: RFC 6455, section 4.2.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from wsproto.utilities import generate_accept_token

from gateway.server.announced import Announced
from gateway.server.answers import AnswerHead
from gateway.server.deflate import BoundedDeflate, agreed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wsproto.extensions import Extension

    from gateway.server.heads import Head

__all__ = ["Handshake", "turned_away"]

_VERSION = b"13"
_KEY_BYTES = 16


class Handshake:
    """One handshake, as the client began it.

    Args:
        head: The request's; it asks for an upgrade to WebSocket.
        max_message: Bytes of a message, decompressed.
        compression: Whether messages may be compressed.

    Attributes:
        subprotocols: Those that the client offers, in its order of preference.
        extensions: Those that were agreed on, behind what bounds each frame.
    """

    __slots__ = ("_agreed", "_key", "_version", "extensions", "subprotocols")

    def __init__(self, head: Head, *, max_message: int, compression: bool) -> None:
        values: dict[bytes, list[bytes]] = {}
        for name, value in head.headers:
            values.setdefault(name, []).append(value)
        self._version = values.get(b"sec-websocket-version", [])
        self._key = values.get(b"sec-websocket-key", [])
        offered = b",".join(values.get(b"sec-websocket-protocol", ()))
        self.subprotocols = [
            name.strip(" \t") for name in offered.decode("latin-1").split(",") if name.strip(" \t")
        ]
        self.extensions: list[Extension] = [Announced(max_message)]
        self._agreed = b""
        if compression:
            deflate = BoundedDeflate(max_message)
            self._agreed = agreed(b",".join(values.get(b"sec-websocket-extensions", ())), deflate)
            if self._agreed:
                # What cannot be compressed grows, by zlib's own bound less than a quarter.
                self.extensions = [Announced(max_message + max_message // 4 + 256), deflate]

    def refusal(self) -> bytes | None:
        """The answer to one that is none; `None` for one that is."""
        if self._version != [_VERSION]:
            return turned_away(426, [(b"sec-websocket-version", _VERSION)])
        if len(self._key) != 1 or not _is_key(self._key[0]):
            return turned_away(400)
        return None

    def acceptance(self, subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The answer that opens the WebSocket.

        Args:
            subprotocol: The one chosen of those offered.
            headers: The application's.

        Raises:
            ValueError: The client has not offered `subprotocol`, or a header is none.
        """
        token = generate_accept_token(self._key[0])
        lines = [b"upgrade: websocket", b"connection: upgrade", b"sec-websocket-accept: " + token]
        if subprotocol is not None:
            if subprotocol not in self.subprotocols:
                raise ValueError(f"the client does not offer the subprotocol {subprotocol!r}")
            lines.append(b"sec-websocket-protocol: " + subprotocol.encode("latin-1"))
        if self._agreed:
            lines.append(b"sec-websocket-extensions: " + self._agreed)
        return AnswerHead(101, headers).encoded(b"\r\n".join(lines) + b"\r\n")


def turned_away(status: int, headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """The whole answer to a handshake that is not accepted."""
    return AnswerHead(status, headers).encoded(b"content-length: 0\r\nconnection: close\r\n")


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == _KEY_BYTES
    except binascii.Error:
        return False
