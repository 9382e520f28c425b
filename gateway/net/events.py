"""An answer as an event stream: what a client is told while its request is under way.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypeVar

import trio

from gateway.net.asgi import ClientLeft, Send, lose_client, telling_of_leaving

__all__ = ["BEAT_S", "EVENT_STREAM", "EventStream", "Put", "event", "feeding"]

EVENT_STREAM: Final = "text/event-stream"
"""Its media type."""

BEAT_S: Final = 15.0
"""Seconds without an event after which a stream shows that it lives."""

Put: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Takes one event, or several; blocking in it is back-pressure."""

T = TypeVar("T")

_HEADERS: Final = (
    (b"content-type", EVENT_STREAM.encode()),
    (b"cache-control", b"no-cache, no-transform"),
    # Proxies that know it pass events on as they come.
    (b"x-accel-buffering", b"no"),
)


def event(name: bytes, data: bytes) -> bytes:
    """One event.

    Args:
        name: What it is.
        data: JSON, which has no line ends outside of its texts, nor within them as they are.
    """
    return b"event: %b\ndata: %b\n\n" % (name, data)


class EventStream:
    """One answer's events. It begins with the first of them.

    Args:
        send: The request's ASGI `send`.
        request_id: What `x-request-id` says.

    Attributes:
        begun: Whether the answer is an event stream by now: then no other one may be sent.
    """

    __slots__ = ("_request_id", "_send", "_turns", "begun")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self._turns: trio.Lock | None = None
        self.begun = False

    async def put(self, events: bytes) -> None:
        """Send what is not the last of it.

        Raises:
            ClientLeft: There is nobody to tell.

        Cancellation: in the middle of it the answer is cut, and the connection with it.
        """
        await self._write(events, more=True)

    async def beat(self) -> None:
        """Send what says nothing, and so keeps proxies from taking the stream for dead.

        Raises:
            ClientLeft: There is nobody to tell.

        Cancellation: as `put`.
        """
        await self._write(b": \n\n", more=True)

    async def end(self, events: bytes = b"") -> None:
        """Send the last of it.

        Raises:
            ClientLeft: There is nobody to tell.
        """
        await self._write(events, more=False)

    async def _write(self, body: bytes, *, more: bool) -> None:
        if self._turns is None:
            self._turns = trio.Lock()
        async with self._turns:
            send = telling_of_leaving(self._send)
            if not self.begun:
                self.begun = True
                headers = [*_HEADERS, (b"x-request-id", self._request_id.encode("latin-1"))]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body, "more_body": more})


async def feeding(stream: EventStream, work: Callable[[Put], Awaitable[T]]) -> T:
    """Do `work`, and send what it puts into `stream` from a task of its own.

    So the end of a budget in the middle of an event cuts what put it, and not the answer. A put
    returns when its event's turn has come: one is under way at most. While none is, the stream
    beats.

    Args:
        stream: As above; `work` leaves the end of it to the caller.
        work: What to do for the client, below `while_connected`.

    Returns:
        What `work` returned, once all that it put has gone out.

    Raises:
        ClientLeft: There is nobody to tell any more; `work` was cancelled and has ended.
        Exception: What `work` raised, bare.

    Cancellation: `work` ends; an event that is under way is cut.
    """
    results: list[T] = []
    errors: list[Exception] = []
    putting, taking = trio.open_memory_channel[bytes](0)

    async def write() -> None:
        try:
            await _write_all(stream, taking)
        except ClientLeft as left:
            lose_client()
            errors.append(left)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        with putting:
            try:
                results.append(await work(putting.send))
            except ClientLeft as left:
                errors.append(left)
                nursery.cancel_scope.cancel()
            except Exception as error:  # noqa: BLE001 - carried out of the nursery, so that it stays bare
                errors.append(error)
    if errors:
        # Who has left is told nothing, whatever else went wrong.
        raise next((one for one in errors if isinstance(one, ClientLeft)), errors[0])
    return results[0]


async def _write_all(stream: EventStream, taking: trio.MemoryReceiveChannel[bytes]) -> None:
    """Send what comes, until there is no more."""
    while True:
        with trio.move_on_after(BEAT_S) as waiting:
            try:
                events = await taking.receive()
            except trio.EndOfChannel:
                return
        if waiting.cancelled_caught:
            await stream.beat()
        else:
            await stream.put(events)
