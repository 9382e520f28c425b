"""Hypercorn's protocols as a connection speaks them, with what they get wrong put right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h2.events
from hypercorn.events import Closed, Event, Updated
from hypercorn.protocol.events import StreamClosed
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol

if TYPE_CHECKING:
    import h11
    from hypercorn.protocol.events import Event as StreamEvent

__all__ = ["Http2", "Http11"]


class Http11(H11Protocol):
    """Hypercorn's HTTP/1.1 for what it takes over: the handshake of a WebSocket, and that alone.

    What follows on a connection whose handshake was refused would be read by a parser that is
    less strict than ours; so that connection ends.
    """

    async def _check_protocol(self, event: h11.Request) -> None:
        """Upgrade to nothing else: the handshake was found to be one before it came here."""

    async def _maybe_recycle(self) -> None:
        await self._close_stream()
        await self.can_read.set()
        await self.send(Closed())


class Http2(H2Protocol):
    """Hypercorn's HTTP/2, whose answers end before the connection does."""

    async def handle(self, event: Event) -> None:
        """Take what came from the client."""
        await super().handle(event)
        if isinstance(event, Closed):
            # Applications would wait on for room in buffers that nobody empties any more.
            for buffer in list(self.stream_buffers.values()):
                await buffer.close()

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        for event in events:
            if isinstance(event, h2.events.DataReceived) and event.stream_id not in self.streams:
                # More of a body whose request was answered early: dropped, so that a 413 does not
                # cost the client its other streams.
                self.connection.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id
                )
            else:
                await super()._handle_events([event])
        await self._flush()

    async def stream_send(self, event: StreamEvent) -> None:
        """Take what an application sends."""
        if isinstance(event, StreamClosed):
            await self._close_stream(event.stream_id)
            await self._rest()
        else:
            await super().stream_send(event)

    async def _send_data(self, stream_id: int) -> None:
        await super()._send_data(stream_id)
        await self._rest()

    async def _rest(self) -> None:
        """Be idle, or go when dismissed, once no stream has anything left to send.

        Hypercorn does so as soon as the last application has ended: its answer's last frame may
        be on its way then, and GOAWAY or the connection's end would overtake it.
        """
        if self.closed or self.stream_buffers or not self.idle:
            return
        if self.context.terminated.is_set():
            self.connection.close_connection()
            await self._flush()
        await self.send(Updated(idle=True))
