"""Health and metrics as an ASGI application of four addresses.

A page that a browser loaded from elsewhere must not read them by a name that was rebound to this
address: `Host` is checked. An IP address always passes, since no name stands for it, and so does a
request without `Host`, which no browser sends: probes and scrapers call by address.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from gateway.access.browsers import hostname, is_address
from gateway.core.errors import Forbidden, GatewayError, NotFound
from gateway.net.asgi import headers_of, path_of, respond

if TYPE_CHECKING:
    from gateway.net.asgi import Receive, Scope, Send

__all__ = ["Admin", "Complete", "Render", "Status"]

Status: TypeAlias = Literal["starting", "ready", "draining"]
"""What the gateway is about."""

Render: TypeAlias = Callable[[str], tuple[bytes, str]]
"""From a scraper's `accept` header to the metrics' text and its content type."""

Complete: TypeAlias = Callable[[bytes, str], Awaitable[bytes]]
"""From this worker's metrics and the `accept` header to the metrics of all workers."""

_Answer: TypeAlias = tuple[int, str, bytes]

_INDEX = {
    "/health/live": "200 as long as the process can answer",
    "/health/ready": "200 while requests are served, else 503",
    "/metrics": "Prometheus text",
}
_PATHS = frozenset({"/", *_INDEX})


class Admin:
    """Answers `/health/live`, `/health/ready`, `/metrics`, and `/` with the list of them.

    Args:
        status: Asked anew by every request for readiness.
        metrics: This process's; asked anew by every scrape. It does not wait.
        hosts: `Host` values answered beside `localhost` and IP addresses, ports aside; `*`
            answers all.
        complete: What makes a worker's metrics those of all; `None` where it is the only one.
    """

    __slots__ = ("_complete", "_hosts", "_metrics", "_status")

    def __init__(
        self,
        status: Callable[[], Status],
        metrics: Render,
        *,
        hosts: Iterable[str] = (),
        complete: Complete | None = None,
    ) -> None:
        self._hosts = frozenset({"localhost", *(hostname(host) or host.lower() for host in hosts)})
        self._status = status
        self._metrics = metrics
        self._complete = complete

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; WebSockets are refused."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            raise RuntimeError(f"the admin application serves HTTP, not {scope['type']}")
        path, method = path_of(scope), scope["method"]
        extra: list[tuple[str, str]] = []
        headers_in = headers_of(scope)
        if not self._answers(headers_in.get("host")):
            answer = _problem(Forbidden("the host is not in server.allowed_hosts"))
        elif path not in _PATHS:
            answer = _problem(NotFound(f"there is no {path[:100]!a} here"))
        elif method not in {"GET", "HEAD"}:
            answer = _problem(
                NotFound("only GET and HEAD are answered here", allow=("GET", "HEAD"))
            )
            extra.append(("allow", "GET, HEAD"))
        else:
            answer = await self._answer(path, headers_in.get("accept", ""))
        status, content_type, body = answer
        headers = [("content-type", content_type), ("cache-control", "no-store"), *extra]
        # The server leaves the body out of an answer to HEAD, and its length in.
        await respond(send, status, headers, body)

    def _answers(self, host: str | None) -> bool:
        if host is None or "*" in self._hosts:
            return True
        name = hostname(host)
        return name in self._hosts or is_address(name)

    async def _answer(self, path: str, accept: str) -> _Answer:
        match path:
            case "/health/live":
                return _json(200, {"status": "live"})
            case "/health/ready":
                status = self._status()
                return _json(200 if status == "ready" else 503, {"status": status})
            case "/metrics":
                body, content_type = self._metrics(accept)
                if self._complete is not None:
                    body = await self._complete(body, accept)
                return 200, content_type, body
            case _:
                return _json(200, _INDEX)


def _json(status: int, value: object) -> _Answer:
    return status, "application/json", msgspec.json.encode(value)


def _problem(error: GatewayError) -> _Answer:
    return error.status, "application/problem+json", msgspec.json.encode(error.problem())
