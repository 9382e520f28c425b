"""What every connection keeps to."""

from __future__ import annotations

import logging

from hypercorn.config import Config

__all__ = ["ConnectionConfig"]


class ConnectionConfig(Config):
    """Hypercorn's configuration with the bounds it lacks.

    Args:
        header_timeout: Seconds for a whole request head, from its first byte on, and for a TLS
            handshake.
        send_timeout: Seconds in which a client takes a piece of what is sent.
        keep_alive: Seconds that an idle connection stays.
        max_headers: Bytes of a request head that are kept while it is incomplete.
        body_timeout: Seconds between two pieces of a body.
        max_message: Bytes of a WebSocket message.
        allow_half_close: Whether a client that will send no more is still there.
        http2_prior_knowledge: Whether HTTP/2 is spoken in clear with a client that begins with it.
    """

    include_server_header = False
    accesslog = None
    # A pooled client would meet a closing connection for no reason: there is nothing to recycle.
    keep_alive_max_requests = 2**62

    def __init__(
        self,
        *,
        header_timeout: float,
        send_timeout: float,
        keep_alive: float,
        max_headers: int,
        body_timeout: float,
        max_message: int,
        allow_half_close: bool = False,
        http2_prior_knowledge: bool = False,
    ) -> None:
        self.header_timeout = header_timeout
        self.send_timeout = send_timeout
        self.keep_alive_timeout = keep_alive
        self.h11_max_incomplete_size = max_headers
        self.h2_max_header_list_size = max_headers
        self.max_headers = max_headers
        self.body_timeout = body_timeout
        self.allow_half_close = allow_half_close
        self.http2_prior_knowledge = http2_prior_knowledge
        self.websocket_max_message_size = max_message
        # A logger, not a name: Hypercorn would give a named one a handler of its own.
        self.errorlog = logging.getLogger("hypercorn.error")
