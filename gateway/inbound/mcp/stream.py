"""An answer as an event stream of JSON-RPC messages.

It begins with the first message that is no answer; a request without one is answered with JSON.

Source: MCP 2025-11-25, Transports, "Sending Messages to the Server"; MCP 2026-07-28, Streamable
HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.net import events
from gateway.net.accept import weight
from gateway.net.asgi import Send

__all__ = ["EventStream", "event"]


def event(message: Mapping[str, Any]) -> bytes:
    """One message as an event.

    Raises:
        TypeError: It has no JSON form.
    """
    return events.event(b"message", msgspec.json.encode(message))


class EventStream:
    """One answer's events.

    Args:
        send: The request's ASGI `send`.
        headers: The client's.
        request_id: What `x-request-id` says.

    Attributes:
        events: The stream itself.
    """

    __slots__ = ("_headers", "events")

    def __init__(self, send: Send, headers: Mapping[str, str], request_id: str) -> None:
        self._headers = headers
        self.events = events.EventStream(send, request_id)

    @property
    def is_accepted(self) -> bool:
        """Whether the client takes an event stream."""
        return weight(self._headers.get("accept"), events.EVENT_STREAM) > 0

    @property
    def begun(self) -> bool:
        """Whether the answer is an event stream by now: then no other one may be sent."""
        return self.events.begun

    async def put(self, message: Mapping[str, Any]) -> None:
        """Send one message that is no answer.

        Raises:
            ClientLeft: There is nobody to tell.
            TypeError: It has no JSON form.

        Cancellation: in the middle of it the answer is cut, and the connection with it.
        """
        await self.events.put(event(message))

    async def beat(self) -> None:
        """Send what says nothing, and so keeps proxies from taking the stream for dead.

        Raises:
            ClientLeft: There is nobody to tell.
        """
        await self.events.beat()

    async def end(self, answer: bytes) -> None:
        """Send the answer, and nothing after it.

        Args:
            answer: One JSON-RPC message; empty if there is none to be sent.

        Raises:
            ClientLeft: There is nobody to tell.
        """
        await self.events.end(events.event(b"message", answer) if answer else b"")
