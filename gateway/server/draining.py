"""What an answer tells its client while the server ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from gateway.net.asgi import ASGIApp, Receive, Scope, Send

__all__ = ["Reason", "told_to_go"]

Reason: TypeAlias = Literal["ending", "restarting"]
"""Why a worker drains: the whole server ends, or another worker takes its place."""


def told_to_go(app: ASGIApp, *, draining: Callable[[], bool]) -> ASGIApp:
    """An application before `app` that tells HTTP/1 clients to go while the server drains.

    Args:
        app: What serves the request.
        draining: Whether the server is about to end.
    """

    async def before(scope: Scope, receive: Receive, send: Send) -> None:
        # HTTP/2 has no such header (RFC 9113, section 8.2.2).
        if scope["type"] == "http" and scope["http_version"].startswith("1"):
            send = _closing(send, draining)
        await app(scope, receive, send)

    return before


def _closing(send: Send, draining: Callable[[], bool]) -> Send:
    async def closing(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start" and draining():
            headers = [*message.get("headers", ()), (b"connection", b"close")]
            message = {**message, "headers": headers}
        await send(message)

    return closing
