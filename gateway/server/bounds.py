"""What is said to a request before the application sees it, and to its answer after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.errors import TooLarge
from gateway.net.asgi import respond

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from gateway.net.asgi import ASGIApp, Receive, Scope, Send

__all__ = ["bounded"]


def bounded(app: ASGIApp, *, max_headers: int, draining: Callable[[], bool]) -> ASGIApp:
    """An application before `app` that refuses heads which are too large.

    The parsers bound only what they have to keep: a head that comes in one read, or compressed,
    may be larger. While draining, HTTP/1 clients are told that their connection closes.

    Args:
        app: What serves the request.
        max_headers: Bytes of a whole request head.
        draining: Whether the server is about to end.
    """

    async def before(scope: Scope, receive: Receive, send: Send) -> None:
        size = _head_size(scope)
        if size > max_headers:
            await _refuse(scope, receive, send, f"the head is over {max_headers} bytes")
        elif scope["type"] == "http" and scope["http_version"].startswith("1"):
            await app(scope, receive, _closing(send, draining))
        else:
            await app(scope, receive, send)

    return before


def _head_size(scope: Scope) -> int:
    # As it stands in HTTP/1.1: a request line, then lines of `name: value`.
    size = len(scope.get("raw_path") or b"") + len(scope.get("query_string", b""))
    for name, value in scope["headers"]:
        size += len(name) + len(value) + 4
    return size


async def _refuse(scope: Scope, receive: Receive, send: Send, detail: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1009})
        return
    error = TooLarge(detail, head=True)
    body = msgspec.json.encode(error.problem())
    headers = [("content-type", "application/problem+json"), ("connection", "close")]
    if not scope["http_version"].startswith("1"):
        headers.pop()  # HTTP/2 has no such header (RFC 9113, section 8.2.2)
    await respond(send, error.status, headers, body)


def _closing(send: Send, draining: Callable[[], bool]) -> Send:
    async def closing(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start" and draining():
            headers = [*message.get("headers", ()), (b"connection", b"close")]
            message = {**message, "headers": headers}
        await send(message)

    return closing
