"""One life of a program: lines out, lines in, each answer to whom it belongs.

Source: MCP 2026-07-28 and 2025-11-25, stdio.
"""

from __future__ import annotations

import contextlib
import re
from collections import OrderedDict, deque
from collections.abc import Callable

import attrs
import trio

from gateway.adapters.mcp import messages
from gateway.adapters.mcp.link import NEVER_CANCELLED, Call
from gateway.adapters.mcp.messages import Asked, Message, Response, Told
from gateway.core.errors import BadReply, GatewayError, Overloaded, Unreachable
from gateway.core.peer import ASKABLE

__all__ = ["Channel", "LineReader", "Waiting"]

_MAX_QUEUED = 1_048_576
"""Bytes that may wait to be written before further requests wait themselves."""

_MAX_WAITING = 1_000
"""Requests under way at once."""

_MAX_AHEAD = 100
"""Messages of one request that nobody took yet; further notes are dropped."""

_ID = re.compile(rb'\{\s*"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(\d{1,18})\s*,')


@attrs.frozen(slots=True)
class TooLong:
    """What stands in for a line over the bound: its beginning."""

    start: bytes


class LineReader:
    """Cuts bytes into lines; no I/O.

    Args:
        max_bytes: Of one line; what is longer is skipped to its end, and told as `TooLong`.
    """

    __slots__ = ("_max_bytes", "_parts", "_size")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes | TooLong]:
        """Take the next bytes; the lines that are complete, those without anything left out."""
        *lines, rest = data.split(b"\n")
        found: list[bytes | TooLong] = []
        for line in lines:
            self._append(line)
            whole = b"".join(self._parts)
            if self._size > self._max_bytes:
                found.append(TooLong(whole[:200]))
            elif whole.strip():
                found.append(whole)
            self._parts, self._size = [], 0
        self._append(rest)
        return found

    def _append(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= self._max_bytes:
            self._parts.append(part)
        else:  # only its beginning is of use any more
            self._parts = [b"".join([*self._parts, part])[:200]]


class Waiting:
    """A request under way: what came for it and was not taken yet.

    Args:
        call: The request.
        channel: Where answers to what the server asks go.

    Attributes:
        call: As above.
        session_id: As `Exchange`: none.
        answered: Whether its response came.
        is_alone: Whether the program has had no other client's request to do meanwhile.
    """

    session_id = None

    def __init__(self, call: Call, channel: Channel, *, is_alone: bool) -> None:
        self.call = call
        self.is_alone = is_alone
        self.answered = False
        self._channel = channel
        self._ahead: deque[Message] = deque()
        self._failure: GatewayError | None = None
        self._came = trio.Event()

    @property
    def is_full(self) -> bool:
        """Whether more is there than anybody takes."""
        return len(self._ahead) >= _MAX_AHEAD

    @property
    def has_peer(self) -> bool:
        """Whether something may be asked back of whom it is for."""
        context = self.call.context
        return context is not None and context.peer is not None

    @property
    def hears_logs(self) -> bool:
        """Whether what the program logs now is about this one, for certain."""
        era = self.call.era
        return self.is_alone and era is not None and era.is_modern

    def put(self, message: Message) -> None:
        """Take what came for it; never waits."""
        self.answered = self.answered or isinstance(message, Response)
        self._ahead.append(message)
        self._came.set()

    def fail(self, error: GatewayError) -> None:
        """Nothing comes any more but what is there."""
        self.answered = True  # by nobody: there is nothing to cancel
        self._failure = error
        self._came.set()

    async def receive(self) -> Message:
        """As `Exchange`."""
        while not self._ahead:
            if self._failure is not None:
                raise self._failure.blamed()
            self._came = trio.Event()
            await self._came.wait()
        return self._ahead.popleft()

    async def answer(self, message: bytes) -> None:
        """As `Exchange`."""
        await self._channel.send(message)


class Channel:
    """What goes to and fro with one process.

    Args:
        name: The service's.
        max_bytes: Of one line that comes.
        hear: Takes what belongs to no request.
        decline: Answers what the server asks where it cannot be told of whom.
        note: Takes what is worth a line in the log.

    Attributes:
        ended: Why nothing goes to and fro any more; `None` while it does.
    """

    def __init__(
        self,
        name: str,
        max_bytes: int,
        hear: Callable[[Told], None],
        decline: Callable[[Asked], bytes],
        note: Callable[[str], None],
    ) -> None:
        self._name = name
        self._max_bytes = max_bytes
        self._hear = hear
        self._decline = decline
        self._note = note
        self._waiting: dict[int, Waiting] = {}
        self._unsent: OrderedDict[int, bytes] = OrderedDict()
        self._unsent_bytes = 0
        self._numbers = 0
        self._abandoned = False
        self._filled = trio.Event()
        self._room = trio.lowlevel.ParkingLot()
        self.ended: Unreachable | None = None

    # What calls do.

    def begin(self, call: Call) -> Waiting:
        """Expect what comes for a call that is about to be sent.

        Raises:
            Unreachable: The process is gone.
            Overloaded: As many are under way as may be.
        """
        if self.ended is not None:
            raise self.ended.blamed()
        if len(self._waiting) >= _MAX_WAITING:
            raise Overloaded(f"{_MAX_WAITING} requests to {self._name} are under way")
        is_alone = True
        if call.context is not None:
            others = [each for each in self._waiting.values() if each.call.context is not None]
            is_alone = not others and not self._abandoned
            for other in others:
                other.is_alone = False
        waiting = self._waiting[call.id] = Waiting(call, self, is_alone=is_alone)
        return waiting

    async def send(self, message: bytes) -> int:
        """Queue a message, once there is room for it.

        Args:
            message: Without its newline.

        Returns:
            What `finish` takes it back by.

        Raises:
            Unreachable: The process is gone.
        """
        while self._unsent_bytes >= _MAX_QUEUED and self.ended is None:
            await self._room.park()
        if self.ended is not None:
            raise self.ended.blamed()
        return self._queue(message)

    def _queue(self, message: bytes) -> int:
        self._numbers += 1
        self._unsent[self._numbers] = message + b"\n"
        self._unsent_bytes += len(message) + 1
        self._filled.set()
        return self._numbers

    def finish(self, waiting: Waiting, number: int | None) -> None:
        """Expect nothing more for a call; without its response the server is told so. Never waits.

        Args:
            waiting: The call.
            number: What `send` gave; `None` if it was not queued.
        """
        call = waiting.call
        del self._waiting[call.id]
        if waiting.answered or number is None or self.ended is not None:
            return
        line = self._unsent.pop(number, None)
        if line is not None:  # it never left
            self._unsent_bytes -= len(line)
            self._room.unpark_all()
            return
        if call.context is not None:
            self._abandoned = True
        if call.method not in NEVER_CANCELLED:
            told = messages.notification("notifications/cancelled", {"requestId": call.id})
            self._queue(told)

    # What the process' own tasks do.

    async def write(self, stdin: trio.abc.SendStream) -> None:
        """Write what is queued until nobody reads it any more."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                while not self._unsent:
                    self._filled = trio.Event()
                    await self._filled.wait()
                _, line = self._unsent.popitem(last=False)
                self._unsent_bytes -= len(line)
                self._room.unpark_all()
                await stdin.send_all(line)

    async def read(self, stdout: trio.abc.ReceiveStream) -> None:
        """Read until it ends, each message to where it belongs."""
        lines = LineReader(self._max_bytes)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await stdout.receive_some(65_536):
                for line in lines.feed(bytes(data)):
                    if isinstance(line, TooLong):
                        self._take_too_long(line)
                    else:
                        self._take_line(line)

    def end(self, why: str) -> None:
        """Nothing goes to and fro any more: every call under way fails."""
        if self.ended is not None:
            return
        self.ended = Unreachable(f"the program of {self._name} is gone: {why}")
        for waiting in self._waiting.values():
            waiting.fail(self.ended)
        self._room.unpark_all()

    def _take_too_long(self, line: TooLong) -> None:
        error = BadReply(f"a message of {self._name} is over {self._max_bytes} bytes")
        found = _ID.match(line.start)
        known = self._waiting.get(int(found[1])) if found else None
        # Where its beginning does not say whose it is, it is an answer that somebody waits for.
        for waiting in list(self._waiting.values()) if known is None else [known]:
            waiting.fail(error)

    def _take_line(self, line: bytes) -> None:
        try:
            found = messages.read(line)
        except BadReply as error:
            self._note(f"no message: {error.detail}")
            return
        for message in found:
            self._take(message)

    def _take(self, message: Message) -> None:
        match message:
            case Response():
                waiting = self._waiting.get(message.id) if isinstance(message.id, int) else None
                if waiting is not None and not waiting.answered:
                    waiting.put(message)
            case Told(method="notifications/progress"):
                token = message.params.get("progressToken")
                waiting = self._waiting.get(token) if isinstance(token, int) else None
                if waiting is not None and not waiting.is_full:
                    waiting.put(message)
            case Told(method="notifications/message"):
                self._log(message)
            case Told():
                self._hear(message)
            case Asked():
                self._pass_on(message)

    def _log(self, told: Told) -> None:
        """Have the client told whose request it is about; where that is not certain, nobody is.

        A program does not say which request that is. In 2026-07-28 it is about one that is under
        way, in former revisions about anything.
        """
        possible = [each for each in self._waiting.values() if each.call.context is not None]
        if len(possible) == 1 and possible[0].hears_logs and not possible[0].is_full:
            possible[0].put(told)
        else:
            self._hear(told)

    def _pass_on(self, asked: Asked) -> None:
        """Have the client asked for whose request the server asks.

        It does not say which that is: where several might be meant, nobody is asked. Roots are no
        request's: what one client has, others would be told.
        """
        possible = [waiting for waiting in self._waiting.values() if waiting.has_peer]
        of_a_call = asked.method in ASKABLE and asked.method != "roots/list"
        if of_a_call and len(possible) == 1 and not possible[0].is_full:
            possible[0].put(asked)
        elif self._unsent_bytes < _MAX_QUEUED:
            self._queue(self._decline(asked))
