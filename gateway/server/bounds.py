"""What every connection keeps to."""

from __future__ import annotations

import attrs

__all__ = ["ConnectionConfig"]


@attrs.frozen(slots=True, kw_only=True)
class ConnectionConfig:
    """The bounds of a connection.

    Args:
        header_timeout: Seconds for a whole request head, from its first byte on, for a TLS
            handshake, and for HTTP/2's settings to be agreed on.
        body_timeout: Seconds between two pieces of a body.
        send_timeout: Seconds in which a client takes a piece of what is sent.
        keep_alive: Seconds that an idle connection stays.
        max_headers: Bytes of a request head.
        max_message: Bytes of a WebSocket message, decompressed.
        allow_half_close: Whether a client that will send no more is still there.
        http2_prior_knowledge: Whether HTTP/2 is spoken in clear with a client that begins with it.
        websocket_compression: Whether WebSocket messages may be compressed.
    """

    header_timeout: float
    body_timeout: float
    send_timeout: float
    keep_alive: float
    max_headers: int
    max_message: int
    allow_half_close: bool = False
    http2_prior_knowledge: bool = False
    websocket_compression: bool = False
