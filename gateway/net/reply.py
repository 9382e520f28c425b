"""One reply, from bytes to its head and the pieces of its body; no I/O.

llhttp reads heads and chunks; a length is counted here, so that what follows a reply is seen to
the byte.

Source: RFC 9112, sections 4 to 9.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import attrs
import httptools

from gateway.core.errors import BadReply, Unreachable
from gateway.net.messages import by_name

__all__ = ["MAX_HEAD", "ReplyReader"]

MAX_HEAD = 65_536
"""Bytes of a head, those of interim replies included; and of chunks' framing without any body."""

_MAX_INTERIM = 16
"""Interim replies (1xx) before the one that counts."""

_END = b"\r\n\r\n"
_BODILESS = frozenset({204, 304})
_UNTIL_CLOSE = math.inf
_CHUNKED = -1.0
_NO_FIELDS: Mapping[bytes, bytes] = MappingProxyType({})


@attrs.frozen(slots=True)
class _Known:
    """What a head meant when its very bytes came before: one that tells its body's length."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    fields: Mapping[bytes, bytes]
    length: int


_known: dict[bytes, _Known] = {}
"""By their bytes: within a second, which `date` tells, a service begins its replies much alike."""
_MAX_KNOWN, _LONG_HEAD = 1000, 2048


class ReplyReader:
    """Reads one reply.

    Args:
        bodiless: Whether the request was a HEAD: the reply ends with its head.
        upgrades: Whether it asked for another protocol: after a 101 all that comes is its body.

    Attributes:
        status: Its status.
        headers: Names in lower case, values, in order; trailers are dropped. Other replies may
            share them.
        fields: The same by name, repeated ones joined by `, `: RFC 9110, section 5.3.
        started: Whether a byte of it came.
        ended: Whether all of it came.
        announced: The bytes its head says the body has; `None` where it does not say.
        keeps_alive: Whether the connection may serve another request once this reply ended.
    """

    __slots__ = (
        "_bodiless",
        "_chunks",
        "_fields",
        "_head",
        "_head_bytes",
        "_interim",
        "_left",
        "_parser",
        "_silent",
        "_tail",
        "_upgrades",
        "announced",
        "ended",
        "fields",
        "headers",
        "keeps_alive",
        "started",
        "status",
    )

    def __init__(self, *, bodiless: bool = False, upgrades: bool = False) -> None:
        self._bodiless = bodiless
        self._upgrades = upgrades
        self._head_bytes = 0
        self._interim = 0
        self._left = 0.0
        self._silent = 0
        self._chunks: list[bytes] = []
        self.headers: Sequence[tuple[bytes, bytes]] = ()
        self.fields = _NO_FIELDS
        self.status = 0
        self.announced: int | None = None
        self.started = False
        self.ended = False
        self.keeps_alive = True

    def _expect_head(self) -> None:
        self._fields: list[tuple[bytes, bytes]] = []
        self.status = 0
        self._tail = b""
        self._head = False
        self._parser = httptools.HttpResponseParser(self)

    # What llhttp calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or a trailer."""
        if not self._head:
            self._fields.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head's end."""
        self._head = True

    def on_body(self, piece: bytes) -> None:
        """Some of a chunk; of a second reply's, if this one ended."""
        if not self.ended:
            self._chunks.append(piece)

    def on_message_begin(self) -> None:
        """A reply's first byte: of a second one, if this one ended."""
        if self.ended:
            self.keeps_alive = False

    def on_message_complete(self) -> None:
        """The last chunk's end; of an interim reply, its head's."""
        if self._left == _CHUNKED:
            self.ended = True

    # What whoever reads calls.

    def take_head(self, data: bytes) -> bytes | None:
        """Take the next bytes of the head.

        Args:
            data: Not empty.

        Returns:
            The body's first bytes, perhaps none, if the head is complete; `None` if not yet.

        Raises:
            BadReply: It is no head, or over its bound.
        """
        if not self.started:
            self.started = True
            end = data.find(_END) + len(_END)
            known = _known.get(data[:end])
            if known is not None and not self._bodiless:
                self._recall(known)
                return data[end:]
            self._expect_head()
        return self._read_head(data)

    def _read_head(self, data: bytes) -> bytes | None:
        while True:
            end = self._end_of_head(data)
            head = data if end < 0 else data[:end]
            self._head_bytes += len(head)
            if self._head_bytes > MAX_HEAD:
                raise BadReply(f"what came back is not HTTP: its head is over {MAX_HEAD} bytes")
            self._feed(head)
            if end < 0:
                return None
            if not self._head:
                raise BadReply("what came back is not HTTP: an empty line is no head")
            self.status = self._parser.get_status_code()
            rest = data[end:]
            if self.status >= 200:
                self._frame()
                self._keep(head)
                return rest
            if self.status == 101 and self._upgrades:
                self._forget_parser()
                self.headers = self._fields
                self.keeps_alive = False
                self._left = _UNTIL_CLOSE
                return rest
            self._interim += 1
            if self.status == 101:
                raise BadReply("what came back is not HTTP: it switches protocols unasked")
            if self._interim > _MAX_INTERIM:
                raise BadReply(f"what came back is not HTTP: over {_MAX_INTERIM} interim replies")
            self._expect_head()
            if not rest:
                return None
            data = rest

    def _recall(self, known: _Known) -> None:
        """Take a head that came before: no parser is needed."""
        self.status, self.headers, self.fields = known.status, known.headers, known.fields
        self.announced = self._left = known.length
        self.ended = not known.length

    def _keep(self, head: bytes) -> None:
        """Have a head known when it comes again, if nothing but its length frames the reply."""
        if self.announced is None or not self.keeps_alive or self._bodiless:
            return
        if not self._head_bytes == len(head) <= _LONG_HEAD:
            return  # it came in pieces, or behind interim ones
        if len(_known) >= _MAX_KNOWN:
            _known.clear()
        _known[head] = _Known(self.status, self.headers, self.fields, self.announced)

    def _end_of_head(self, data: bytes) -> int:
        """Where in `data` the head ends, -1 if it goes on."""
        if not self._tail:
            end = data.find(_END)
            if end >= 0:
                return end + 4
            self._tail = data[-3:]
            return -1
        joined = self._tail + data
        end = joined.find(_END)
        if end >= 0:
            return end + 4 - len(self._tail)
        self._tail = joined[-3:]
        return -1

    def _frame(self) -> None:
        """See from the head how long the body is, and whether another reply may follow."""
        version = self._parser.get_http_version()
        persistent = version == "1.1"
        if not persistent and version != "1.0":
            raise BadReply("what came back is not HTTP: neither 1.0 nor 1.1")
        self.headers = self._fields
        self.fields = fields = by_name(self.headers)
        length = fields.get(b"content-length")
        if length is not None:
            self.announced = int(length)  # llhttp takes one alone, of digits alone
        connection = fields.get(b"connection")
        if connection is not None and not (persistent and connection.lower() == b"keep-alive"):
            options = {option.strip() for option in connection.lower().split(b",")}
            persistent = b"close" not in options and (persistent or b"keep-alive" in options)
        coding = fields.get(b"transfer-encoding")
        if self._bodiless or self.status in _BODILESS:
            self.announced, self._left = 0, 0
        elif coding is not None:
            if coding.lower() != b"chunked" or version != "1.1" or self.announced is not None:
                raise BadReply("what came back is not HTTP: a transfer coding that is not chunked")
            self._left = _CHUNKED
        elif self.announced is not None:
            self._left = self.announced
        else:
            self._left = _UNTIL_CLOSE
            persistent = False
        self.keeps_alive = persistent
        self.ended = self._left == 0
        if self._left != _CHUNKED:
            self._forget_parser()

    def _forget_parser(self) -> None:
        """Let go of llhttp, which holds on to us: nobody else would, but the garbage collector."""
        del self._parser

    def take_body(self, data: bytes) -> bytes:
        """Take the next bytes of the body.

        Args:
            data: Not empty.

        Returns:
            The piece of the body in them; perhaps empty, though more will come.

        Raises:
            BadReply: It is not framed as HTTP has it.
        """
        if self.ended:
            # Nobody asked for it: RFC 9112, section 9.2. It is never taken for the next reply.
            self.keeps_alive = False
            return b""
        if self._left == _CHUNKED:
            return self._take_chunks(data)
        if len(data) > self._left:
            self.keeps_alive = False
            data = data[: int(self._left)]
        self._left -= len(data)
        self.ended = self._left == 0
        return data

    def _take_chunks(self, data: bytes) -> bytes:
        self._feed(data)
        if self.ended:
            self._forget_parser()
        if not self._chunks:
            # Extensions and trailers: llhttp gathers them, whatever their size.
            self._silent += len(data)
            if self._silent > MAX_HEAD:
                raise BadReply(f"what came back is not HTTP: over {MAX_HEAD} bytes frame nothing")
            return b""
        self._silent = 0
        piece = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks = []
        return piece

    def take_end(self) -> None:
        """Take the connection's end.

        Raises:
            Unreachable: The reply is not complete.
        """
        if self._left != _UNTIL_CLOSE:
            where = "half-way" if self.started else "before its reply"
            raise Unreachable(f"the connection broke: the service closed it {where}")
        self.ended = True

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self.ended:
                self.keeps_alive = False  # it is what follows that is wrong
            elif self._parser.get_status_code() != 101 or not self._head:  # it tells of itself
                raise BadReply(f"what came back is not HTTP: {error}") from error
