"""One POST over Streamable HTTP and what comes back: JSON, an event stream, a refusal.

Source: MCP 2026-07-28, Streamable HTTP, "Receiving Messages"; MCP 2025-11-25, Transports.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from typing import TYPE_CHECKING

import attrs
import trio

from gateway.adapters.mcp import messages
from gateway.adapters.mcp.link import NEVER_CANCELLED, Call, Outdated, Refused
from gateway.adapters.mcp.messages import Message, Response
from gateway.adapters.mcp.sse import EventReader
from gateway.core.errors import BadReply, Unreachable
from gateway.core.mcp import SESSION_HEADER
from gateway.net.body import Body

if TYPE_CHECKING:
    from gateway.adapters.mcp.http import HttpLink
    from gateway.net.client import HttpStream

__all__ = ["HttpExchange"]

_ANSWER_S = 5.0
"""Seconds that the answer to what a server asked may take to be sent."""

_EVENTS_PER_CALL = 8
"""How many replies of the largest size one event stream may amount to."""

_MAX_RESUMED = 5
"""How often a stream is gone on with of which no event comes."""

_LAST_WORD_S = 0.02
"""Seconds that a stream's end may come after its response; a server that takes longer once is not
waited for again."""

_MAX_SAID = 65_536


@attrs.define(slots=True, eq=False)
class HttpExchange:
    """One POST and what comes back.

    Args:
        link: Whose it is.
        call: What was sent.
        stream: What comes back.
        stack: Holds the stream open; another one goes on instead if it breaks and may be resumed.

    Attributes:
        answered: Whether its response came, or it was refused.
    """

    _link: HttpLink
    _call: Call
    _stream: HttpStream
    _stack: contextlib.AsyncExitStack
    _ahead: deque[Message] = attrs.field(factory=deque)
    _events: EventReader | None = None
    _left: float = 0
    _begun: bool = False
    _resumed: int = 0
    answered: bool = False

    @property
    def session_id(self) -> str | None:
        """As `Exchange`."""
        return self._header(SESSION_HEADER)

    def _header(self, name: str) -> str | None:
        raw = name.encode()
        return next((str(v, "latin-1") for n, v in self._stream.raw_headers if n == raw), None)

    async def receive(self) -> Message:
        """As `Exchange`."""
        if not self._begun:
            await self._begin()
        while not self._ahead:
            await self._read_on()
        message = self._ahead.popleft()
        if isinstance(message, Response):
            self.answered = True
        return message

    async def answer(self, message: bytes) -> None:
        """As `Exchange`."""
        try:
            with trio.fail_after(_ANSWER_S):
                await self._link.post(message, self._call.era, self._call.context)
        except (Refused, trio.TooSlowError) as error:
            raise Unreachable("what it asked cannot be answered") from error

    async def _begin(self) -> None:
        self._begun = True
        media_type = (self._header("content-type") or "").partition(";")[0].strip().lower()
        if self._stream.status != 200:
            self._take_refusal(await self._beginning())
        elif media_type == "text/event-stream":
            if self._header("content-encoding") not in {None, "identity"}:
                raise BadReply("the event stream is encoded, though identity was asked for")
            self._events = EventReader(self._link.max_reply)
            # To listen has no end; a call has.
            own = bool(self._call.method) and self._call.context is not None
            self._left = self._link.max_reply * _EVENTS_PER_CALL if own else math.inf
        elif media_type == "application/json":
            self._take(await self._whole(self._link.max_reply))
            if not self._ahead:
                raise BadReply("what came does not answer what was asked")
        else:
            what = media_type[:60] or "no content-type"
            raise BadReply(f"what came ({what}) is neither JSON nor an event stream")

    async def _whole(self, max_bytes: int) -> bytes:
        body = Body(self._header("content-encoding") or "", max_bytes)
        while piece := await self._stream.receive():
            body.take(piece)
        return body.whole()

    async def _beginning(self) -> bytes:
        """As much of the body as is looked at where it is a refusal's."""
        said = b""
        while len(said) < _MAX_SAID and (piece := await self._stream.receive()):
            said += piece
        return said[:_MAX_SAID]

    async def _read_on(self) -> None:
        """Read until something came."""
        if self._events is None:
            raise Unreachable("the connection broke: the reply ended before the answer")
        try:
            piece = await self._stream.receive()
        except Unreachable as error:
            broken = error
        else:
            broken = Unreachable("the connection broke: its events ended before the answer")
            if piece:
                self._take_events(self._events, piece)
                return
        await self._resume(self._events, broken)

    def _take_events(self, events: EventReader, piece: bytes) -> None:
        self._left -= len(piece)
        if self._left < 0:
            most = self._link.max_reply * _EVENTS_PER_CALL
            raise BadReply(f"the event stream of the reply is over {most} bytes")
        for event in events.feed(piece):
            self._resumed = 0
            self._take(event)

    async def _resume(self, events: EventReader, broken: Unreachable) -> None:
        """Go on with the stream of a legacy server where it ended, as it may want it.

        Raises:
            Unreachable: `broken`: it cannot be gone on with.
        """
        era, last_id = self._call.era, events.last_id
        if era is None or era.is_modern or not last_id or not self._call.method:
            raise broken
        if self._resumed >= _MAX_RESUMED:
            raise broken
        self._resumed += 1
        await self._stack.aclose()
        await trio.sleep(events.retry_s)
        stream = self._link.reopened(era, last_id, self._call.context)
        self._stream = await self._stack.enter_async_context(stream)
        media_type = (self._header("content-type") or "").partition(";")[0].strip().lower()
        if self._stream.status != 200 or media_type != "text/event-stream":
            raise broken
        events.restart()

    async def finish(self) -> None:
        """Read the end of an event stream that was answered: its connection may serve another call.

        Cancellation: the connection is closed.
        """
        if self._events is None or not self.answered or not self._link.ends_streams:
            return
        with (
            trio.move_on_after(_LAST_WORD_S) as scope,
            contextlib.suppress(Unreachable, BadReply),  # the answer is there, whatever follows it
        ):
            while await self._stream.receive():
                pass
        self._link.ends_streams = not scope.cancelled_caught

    def _take(self, data: bytes) -> None:
        for message in messages.read(data):
            # A response to something else answers nothing that anybody waits for.
            if not isinstance(message, Response) or self._is_answered_by(message):
                self._ahead.append(message)

    def _is_answered_by(self, message: Response) -> bool:
        # Where a server cannot read the id of what it refuses, it names none.
        return message.id == self._call.id or (message.id is None and message.error is not None)

    def _take_refusal(self, body: bytes) -> None:
        """A status that is not 200, in JSON-RPC's words or in HTTP's alone.

        Raises:
            Outdated: The session is not known any more.
            Refused: In HTTP's words.
        """
        status = self._stream.status
        self.answered = True
        try:
            told = [m for m in messages.read(body) if isinstance(m, Response) and m.error]
        except BadReply:
            told = []
        ours = [message for message in told if message.id == self._call.id]
        if self._is_outdated(status, ours):
            raise Outdated(f"{status} {body.decode('utf-8', 'replace')}")
        if not told or status in {401, 403, 429} or status >= 500:
            said = body.decode("utf-8", "replace")
            raise Refused(status, said, self._header("retry-after"))
        self._ahead.append((ours or told)[0])

    def _is_outdated(self, status: int, ours: list[Response]) -> bool:
        """Whether it is what was agreed that is refused: the session, or the revision."""
        era = self._call.era
        if era is None or self._call.method in NEVER_CANCELLED:
            return False
        if era.is_modern:
            return status in {400, 404, 405} and not ours
        return era.session_id is not None and (status == 404 or (status == 400 and not ours))
