"""Hypercorn's protocols as a connection speaks them, with what they get wrong put right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h2.events
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import StreamClosed
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H2ProtocolAssumedError, H11Protocol

if TYPE_CHECKING:
    import h11
    from hypercorn.protocol.events import Event as StreamEvent

__all__ = ["Http2", "Http11", "Protocols"]

_METHODS_REFUSED = frozenset({b"CONNECT", b"TRACE"})
"""No tunnel is opened here, and what came is not told back."""


class Http11(H11Protocol):
    """Hypercorn's HTTP/1.1, strict about where a body ends, without the upgrade to HTTP/2 in clear.

    A malformed `HTTP2-Settings` would end the connection, and RFC 9113 has dropped the upgrade; a
    server may ignore it (RFC 9110, section 7.8). HTTP/2 by prior knowledge remains.
    """

    async def _check_protocol(self, event: h11.Request) -> None:
        if (event.method, event.target, event.http_version) == (b"PRI", b"*", b"2.0"):
            raise H2ProtocolAssumedError(
                b"PRI * HTTP/2.0\r\n\r\n" + self.connection.trailing_data[0]
            )

    async def _create_stream(self, request: h11.Request) -> None:
        status = _refusal(request)
        if status is None:
            await super()._create_stream(request)
            return
        await self._send_error_response(status)
        await self.send(Closed())


def _refusal(request: h11.Request) -> int | None:
    """The status to refuse `request` with, before anything believes where it ends.

    Two framings at once are how a request is smuggled past a proxy that took the other one; h11
    goes by the one, and refuses lengths that differ by itself. HTTP/1.0 knows no chunks.

    Source: RFC 9112, sections 6.1 and 6.3; RFC 9110, sections 9.3.6 and 9.3.8.
    """
    if request.method in _METHODS_REFUSED:
        return 501
    names = {name for name, _ in request.headers}
    if b"transfer-encoding" in names and (
        b"content-length" in names or request.http_version != b"1.1"
    ):
        return 400
    return None


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


class Protocols:
    """A connection's protocol: HTTP/1.1 until it turns out to be HTTP/2.

    Args:
        about: What either protocol is made with.
        alpn: What the TLS handshake agreed on; `http/1.1` without TLS.
    """

    __slots__ = ("_about", "current")

    def __init__(self, about: tuple[Any, ...], alpn: str) -> None:
        self._about = about
        self.current: Http11 | Http2 = Http2(*about) if alpn == "h2" else Http11(*about)

    async def initiate(self) -> None:
        """Say what a server says first."""
        await self.current.initiate()

    async def handle(self, event: Event) -> None:
        """Take what came from the client."""
        try:
            await self.current.handle(event)
        except H2ProtocolAssumedError as assumed:
            self.current = Http2(*self._about)
            await self.current.initiate()
            await self.current.handle(RawData(assumed.data))
            if self.current.idle:
                # The preface counted as a request; without one it would stay for ever.
                await self.current.send(Updated(idle=True))
