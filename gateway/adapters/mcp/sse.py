"""Server-sent events, from bytes to the data of each; no I/O.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, "Parsing an event stream".
"""

from __future__ import annotations

import re

from gateway.core.errors import BadReply

__all__ = ["EventReader"]

_ID = re.compile(rb"[!-~]{1,1024}")
_DIGITS = re.compile(rb"[0-9]{1,9}")
_MOST_RETRY_S = 60.0


class EventReader:
    """Reads one event stream.

    Args:
        max_bytes: Of one event, framing and comments included.

    Attributes:
        last_id: The id of the last event that has one a header can carry.
        retry_s: Seconds to wait before the stream is gone on with, should it end.
    """

    __slots__ = (
        "_after_cr",
        "_data",
        "_id",
        "_is_message",
        "_line",
        "_max_bytes",
        "_rest",
        "_size",
        "_started",
        "last_id",
        "retry_s",
    )

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.last_id: str | None = None
        self.retry_s = 1.0
        self.restart()

    def restart(self) -> None:
        """Begin a stream that goes on where another ended."""
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._id: str | None = None
        self._is_message = True
        self._rest = 0
        self._size = 0
        self._started = False
        self._after_cr = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; the data of each event that is complete, if it is a message.

        Events of other types and those without data, which only carry an id, are left out.

        Args:
            data: Not empty.

        Raises:
            BadReply: An event is over the bound.
        """
        if self._after_cr and data.startswith(b"\n"):  # the other half of a line's end
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = data.split(b"\n")
        events = []
        if lines:
            lines[0] = b"".join([*self._line, lines[0]])
            self._line, self._rest = [], 0
            events = [event for line in lines if (event := self._take(line))]
        self._line.append(rest)
        self._rest += len(rest)
        self._check(self._size + self._rest)
        return events

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise BadReply(f"an event of the reply is over {self._max_bytes} bytes")

    def _take(self, line: bytes) -> bytes | None:
        """Take one line, without its end; the event's data, if the line ends it."""
        if not self._started:
            self._started = True
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            event = b"\n".join(self._data) if self._is_message else None
            self._data, self._is_message, self._size = [], True, 0
            self.last_id = self._id or self.last_id
            return event
        self._size += len(line) + 1
        self._check(self._size)
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._is_message = value in {b"message", b""}
        elif name == b"id" and _ID.fullmatch(value):
            self._id = value.decode()
        elif name == b"retry" and _DIGITS.fullmatch(value):
            self.retry_s = min(_MOST_RETRY_S, int(value) / 1000)
        return None
