"""HTTP/2 on h2: the requests of one connection, each a task, none in another's way.

One task reads, one writes, and each request has its own. Whoever has something to send hands whole
frames to the writer, so that a request which is cancelled in the middle of its answer cuts that
answer and not the connection. What a client may have us do is bounded:

* as many handlers run as there may be streams, those whose streams were reset included;
* a body is kept up to its stream's window, and the connection's window has room for all of them;
* what waits to be sent is bounded, and who lets it wait for `send_timeout` is given up;
* frames that bring no request forward have an allowance (`frames.py`).

Source: RFC 9113.
"""

from __future__ import annotations

import math
from functools import singledispatchmethod
from typing import TYPE_CHECKING, Any

import h2.events
import trio
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from gateway.server.answers import problem
from gateway.server.containment import contained
from gateway.server.fields import Answer, Malformed, Request, trailers_are_fields
from gateway.server.frames import Flood, Frames
from gateway.server.heads import Refused
from gateway.server.opening import STREAMS, opened
from gateway.server.outgoing import Outgoing
from gateway.server.stream import Stream
from gateway.server.wire import Gone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.net.asgi import ASGIApp
    from gateway.server.bounds import ConnectionConfig
    from gateway.server.fields import Headers
    from gateway.server.wire import Wire

__all__ = ["Http2"]

_SLICE_BYTES = 16 * 1024
"""So much is read of a connection before others have their turn."""
_PROGRESS_BYTES = 64 * 1024
"""A client that takes less than this within `send_timeout` reads nothing, for our purposes."""
_EARNED = 10
"""Frames allowed for each request answered: the updates of windows and the like that it takes."""


class Http2:
    """The requests of one connection.

    Args:
        app: What answers them.
        wire: The connection's bytes.
        config: Its bounds.
        about: What every request's scope says of it.
        report: Takes what an application raised.

    Attributes:
        gone: Whether the client has left.
    """

    def __init__(
        self,
        app: ASGIApp,
        wire: Wire,
        config: ConnectionConfig,
        *,
        about: Mapping[str, Any],
        report: Callable[[BaseException], None],
    ) -> None:
        self._app = app
        self._wire = wire
        self.config = config
        self._about = about
        self._report = report
        self._frames = Frames(config.max_headers)
        self._h2 = opened(config.max_headers)
        self._streams: dict[int, Stream] = {}
        self._outgoing = Outgoing(wire)
        self._reading = trio.CancelScope()
        self._since = self._began = trio.current_time()
        self._agreed = False
        self._draining = False
        self._over = False
        self.gone = False

    def left(self) -> None:
        """Take note that the client has left: what is done for it ends."""
        self.gone = True
        self._abandon()
        self._reading.cancel()

    def _leave(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            stream.leave()

    def _abandon(self) -> None:
        for stream in self._streams.values():
            stream.leave()
        self._outgoing.wake()

    def dismiss(self) -> None:
        """Have it end after the requests it has; further ones are refused, to be asked elsewhere.

        GOAWAY comes last: clients built on h2, httpx among them, give up every answer that is on
        its way when they hear it.
        """
        self._draining = True
        self._rest()

    async def run(self, data: bytes) -> None:
        """Answer requests until the connection is to be closed.

        Args:
            data: What was read already.

        Cancellation: the requests end; the connection cannot be used any more.
        """
        async with trio.open_nursery() as self._tasks:
            self._tasks.start_soon(self._write)
            self._flush()
            await self._read(data)
            self._abandon()
            self._over = True
            self._outgoing.end()

    # ------------------------------------------------------------------ from the client

    async def _read(self, data: bytes) -> None:
        with self._reading:
            while True:
                for start in range(0, len(data), _SLICE_BYTES):
                    if not self._take(data[start : start + _SLICE_BYTES]):
                        return
                    await trio.lowlevel.checkpoint()
                    while self._outgoing.full:
                        await self._outgoing.until_changed()
                data = await self._wire.receive()
                if not data:
                    self.left()
                    return
        if not self.gone:
            self._end(self._why_ended())

    def _take(self, data: bytes) -> bool:
        """Do what the client wants; whether the connection goes on."""
        in_block = self._frames.in_block
        try:
            self._frames.feed(data)
            for event in self._h2.receive_data(data):
                self._on(event)
        except Flood:
            self._end(ErrorCodes.ENHANCE_YOUR_CALM)
        except ProtocolError:
            self._over = True  # h2 has said so to the client
        self._flush()
        if self._frames.in_block and not in_block:
            self._since = trio.current_time()
        self._keep_time()
        return not self._over

    @singledispatchmethod
    def _on(self, event: h2.events.Event) -> None:
        """What needs no answer of ours: h2 has given it, or there is none."""

    @_on.register
    def _(self, event: h2.events.RequestReceived) -> None:
        number = event.stream_id
        if self._draining or len(self._streams) >= STREAMS:
            self.reset(number, ErrorCodes.REFUSED_STREAM)
            self._frames.spend_reset()
            return
        try:
            request = Request.of(event.headers)
        except Malformed:
            self.reset(number, ErrorCodes.PROTOCOL_ERROR)
            self._frames.spend_reset()
        except Refused as refused:
            self.refuse(number, refused)
        else:
            self._streams[number] = stream = Stream(self, number, request)
            self._tasks.start_soon(self._serve, stream)

    @_on.register
    def _(self, event: h2.events.DataReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None and not stream.left:
            stream.feed(event.data, event.flow_controlled_length)
            return
        # More of a body that nobody waits for: an early 413 must not cost other streams.
        self.acknowledge(event.stream_id, event.flow_controlled_length)
        if stream is None and event.stream_ended is None:
            self.reset(event.stream_id, ErrorCodes.NO_ERROR)  # RFC 9113, section 8.1

    @_on.register
    def _(self, event: h2.events.TrailersReceived) -> None:
        if not trailers_are_fields(event.headers):
            self.reset(event.stream_id, ErrorCodes.PROTOCOL_ERROR)
            self._frames.spend_reset()
            self._leave(event.stream_id)

    @_on.register
    def _(self, event: h2.events.StreamEnded) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.end()

    @_on.register
    def _(self, event: h2.events.StreamReset) -> None:
        if not event.remote_reset:
            self._frames.spend_reset()  # provoked
        self._leave(event.stream_id)
        self._outgoing.wake()

    @_on.register(h2.events.WindowUpdated)
    @_on.register(h2.events.RemoteSettingsChanged)
    def _(self, _event: h2.events.Event) -> None:
        self._outgoing.wake()

    @_on.register
    def _(self, _event: h2.events.SettingsAcknowledged) -> None:
        self._agreed = True

    @_on.register
    def _(self, _event: h2.events.ConnectionTerminated) -> None:
        self._over = True  # h2 sends nothing more either

    # ------------------------------------------------------------------ time

    def _keep_time(self) -> None:
        """Say until when the reader waits for what comes next."""
        config = self.config
        if not self._agreed:
            self._reading.deadline = self._began + config.header_timeout
        elif self._frames.in_block:
            self._reading.deadline = self._since + config.header_timeout
        else:
            idle = not self._streams
            self._reading.deadline = self._since + config.keep_alive if idle else math.inf

    def _why_ended(self) -> ErrorCodes:
        if not (self._agreed or self._draining):
            return ErrorCodes.SETTINGS_TIMEOUT
        return ErrorCodes.ENHANCE_YOUR_CALM if self._frames.in_block else ErrorCodes.NO_ERROR

    def _rest(self) -> None:
        """Be idle once no request is left, or go if dismissed."""
        if not self._streams:
            self._since = trio.current_time()
            if self._draining:
                self._reading.cancel()
            else:
                self._keep_time()

    def _end(self, code: ErrorCodes) -> None:
        """Say why the connection ends."""
        if not self._over:
            self._over = True
            self._h2.close_connection(code)
            self._flush()

    # ------------------------------------------------------------------ a request

    async def _serve(self, stream: Stream) -> None:
        try:
            with contained(self._report):
                await self._app(stream.scope(self._about), stream.receive, stream.send)
            stream.conclude()
        finally:
            del self._streams[stream.number]
            self._rest()

    def acknowledge(self, number: int, size: int) -> None:
        """Have the client send `size` bytes more, on this stream and on the connection."""
        if not self._over:
            self._h2.acknowledge_received_data(size, number)
            self._flush()

    def reset(self, number: int, code: ErrorCodes) -> None:
        """End a stream before its time; one that has ended stays as it is."""
        if self._is_open(number):
            self._h2.reset_stream(number, code)
            self._flush()

    def refuse(self, number: int, refused: Refused | None) -> None:
        """Answer in the application's stead; without `refused` because it gave no answer."""
        if not self._is_open(number):
            return
        status, headers, body = problem(refused)
        fits = self._h2.local_flow_control_window(number) >= len(body)
        self._h2.send_headers(number, Answer(status, headers).fields, end_stream=not fits)
        if fits:
            self._h2.send_data(number, body, end_stream=True)
        self._flush()

    def invite(self, stream: Stream) -> None:
        """Tell the client to send the body it holds back."""
        if self._is_open(stream.number):
            self._h2.send_headers(stream.number, [(b":status", b"100")])
            self._flush()

    def _is_open(self, number: int) -> bool:
        state = self._h2.streams.get(number)
        return not self._over and state is not None and not state.closed

    # ------------------------------------------------------------------ to the client

    def send_head(self, stream: Stream, fields: Headers, *, end: bool) -> None:
        """Begin an answer; with `end` that is all of it."""
        self._h2.send_headers(stream.number, fields, end_stream=end)
        if end:
            self._earn()
        self._flush()

    async def send_body(self, stream: Stream, body: bytes, *, end: bool) -> None:
        """Hand a piece of an answer's body to the writer.

        Raises:
            Gone: The client left, or took too little of it in `send_timeout`.

        Cancellation: a part of it is sent.
        """
        rest = memoryview(body)
        deadline, goal = math.inf, len(rest)
        while True:
            room = self._room(stream)
            if rest and room <= 0:
                if deadline == math.inf or len(rest) <= goal:
                    deadline = trio.current_time() + self.config.send_timeout
                    goal = len(rest) - _PROGRESS_BYTES
                await self._until_room(stream, deadline)
                continue
            piece, rest = rest[:room], rest[room:]
            self._h2.send_data(stream.number, piece, end_stream=end and not rest)
            self._frames.cheap.earn(4)
            self._flush()
            if not rest:
                break
        if end:
            self._earn()
        await trio.lowlevel.checkpoint()

    def _room(self, stream: Stream) -> int:
        """How much may be sent on a stream now."""
        if self._outgoing.full:
            return 0
        window: int = self._h2.local_flow_control_window(stream.number)
        return min(window, self._h2.max_outbound_frame_size)

    async def _until_room(self, stream: Stream, deadline: float) -> None:
        with trio.CancelScope(deadline=deadline) as waiting:
            while not stream.left and self._room(stream) <= 0:
                await self._outgoing.until_changed()
        if waiting.cancelled_caught:
            self.reset(stream.number, ErrorCodes.CANCEL)
            stream.leave()
            raise Gone("the client does not read")
        if stream.left:
            raise Gone("the client has left")

    def _earn(self) -> None:
        """An answer is whole: its client may do more that brings nothing forward."""
        self._frames.cheap.earn(_EARNED)
        self._frames.resets.earn(2)

    def _flush(self) -> None:
        """Have sent what h2 has made."""
        self._outgoing.put(self._h2.data_to_send())

    async def _write(self) -> None:
        try:
            await self._outgoing.run()
        except Gone:
            self.left()
