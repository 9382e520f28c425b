"""An answer as an event stream: what a client is told while its request is under way.

It begins with the first message that is no answer; a request without one is answered with JSON.

Source: MCP 2025-11-25, Transports, "Sending Messages to the Server"; MCP 2026-07-28, Streamable
HTTP; https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import trio

from gateway.net.asgi import Send, telling_of_leaving

__all__ = ["EventStream"]

_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    # Proxies that know it pass events on as they come.
    (b"x-accel-buffering", b"no"),
)
_TAKERS: Final = ("text/event-stream", "text/*", "*/*")


class EventStream:
    """One answer's events.

    Args:
        send: The request's ASGI `send`.
        headers: The client's.
        request_id: What `x-request-id` says.

    Attributes:
        begun: Whether the answer is an event stream by now: then no other one may be sent.
    """

    __slots__ = ("_headers", "_request_id", "_send", "_turns", "begun")

    def __init__(self, send: Send, headers: Mapping[str, str], request_id: str) -> None:
        self._send = send
        self._headers = headers
        self._request_id = request_id
        self._turns: trio.Lock | None = None
        self.begun = False

    @property
    def is_accepted(self) -> bool:
        """Whether the client takes an event stream."""
        accept = self._headers.get("accept")
        if accept is None:
            return True
        ranges = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
        return not ranges.isdisjoint(_TAKERS)

    async def put(self, message: Mapping[str, Any]) -> None:
        """Send one message that is no answer.

        Raises:
            ClientLeft: There is nobody to tell.
            TypeError: It has no JSON form.

        Cancellation: in the middle of it the answer is cut, and the connection with it.
        """
        await self._event(b"event: message\ndata: %b\n\n" % msgspec.json.encode(message))

    async def beat(self) -> None:
        """Send what says nothing, and so keeps proxies from taking the stream for dead.

        Raises:
            ClientLeft: There is nobody to tell.
        """
        await self._event(b": \n\n")

    async def end(self, answer: bytes) -> None:
        """Send the answer, and nothing after it.

        Args:
            answer: One JSON-RPC message; empty if there is none to be sent.

        Raises:
            ClientLeft: There is nobody to tell.
        """
        event = b"event: message\ndata: %b\n\n" % answer if answer else b""
        await self._write(event, more=False)

    async def _event(self, event: bytes) -> None:
        if self._turns is None:
            self._turns = trio.Lock()
        async with self._turns:
            if not self.begun:
                self.begun = True
                headers = [*_HEADERS, (b"x-request-id", self._request_id.encode("latin-1"))]
                start = {"type": "http.response.start", "status": 200, "headers": headers}
                await telling_of_leaving(self._send)(start)
            await self._write(event, more=True)

    async def _write(self, body: bytes, *, more: bool) -> None:
        message = {"type": "http.response.body", "body": body, "more_body": more}
        await telling_of_leaving(self._send)(message)
