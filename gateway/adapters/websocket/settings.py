"""The keys of `[services.NAME]` with `kind = "websocket"`, and of a call to one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from gateway.config import fields
from gateway.config.fields import Secret
from gateway.net.oauth2 import OAuth2Settings

__all__ = ["WebSocketCall", "WebSocketSettings", "check"]


@attrs.frozen(slots=True, kw_only=True)
class WebSocketSettings:
    """`[services.NAME]` with `kind = "websocket"`."""

    url: str = fields.url(
        schemes=("ws", "wss"), example="wss://ticks.internal/feed", doc="Where the service is."
    )
    headers: Mapping[str, str | Secret] = fields.headers(
        default={}, doc="Sent with each handshake; values may be `env:NAME` or `file:PATH`."
    )
    oauth2: OAuth2Settings | None = fields.table(
        OAuth2Settings, default=None, doc="Where the token comes from that handshakes carry."
    )
    subprotocols: tuple[str, ...] = fields.strings(
        default=(), doc="Subprotocols that are offered, the best first."
    )
    correlation: str | None = fields.string(
        default=None,
        doc="The field that pairs a reply with its request; then all calls share a connection.",
    )
    max_message: int = fields.size(default="1MiB", doc="Largest message.")
    max_waiting: int = fields.integer(
        default=1000, minimum=1, doc="Calls that wait for their replies at once, where they share."
    )
    max_connections: int = fields.integer(
        default=100, minimum=1, doc="Connections at once, where calls have their own."
    )
    idle: float = fields.duration(
        default="30s", doc="Silence after which the service is asked whether it is still there."
    )
    allow_private: bool = fields.boolean(
        default=False,
        doc="Whether private addresses may be connected to; loopback written out in `url` may.",
    )


@attrs.frozen(slots=True, kw_only=True)
class WebSocketCall:
    """The keys of a call to a WebSocket service."""

    send: Any = fields.template_value(
        default=None, doc="What is sent: text as it is, any other value as JSON."
    )
    subscribe: bool = fields.boolean(
        default=False, doc="Whether all that comes is the reply, each message sent on as it comes."
    )
    messages: int | None = fields.integer(
        default=None, minimum=1, maximum=100_000, doc="Of a subscription: how many end it."
    )
    lasting: float | None = fields.duration(
        default=None, doc="Of a subscription: how long it lasts; else until the deadline."
    )


def check(call: WebSocketCall) -> list[tuple[str, str]]:
    """What is wrong with `call` as a whole."""
    if call.subscribe:
        return []
    if call.send is None:
        return [("send", "missing; a call without subscribe sends something")]
    return [
        (key, "goes with subscribe = true")
        for key in ("messages", "lasting")
        if getattr(call, key) is not None
    ]
