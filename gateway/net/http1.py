"""Requests over the pool: the hot path has no task, no nursery and no scope of its own.

A request that breaks on a connection that was idle is sent once more on a new one, if no byte of a
reply came and sending it twice is harmless: the service may have closed just then.

Source: RFC 9110, section 9.2.2; RFC 9112, section 9.3.1.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from typing import TypeVar

import msgspec
import trio

from gateway.core.deadline import remaining_ms, whole_ms
from gateway.core.errors import BadReply, Internal, Unreachable
from gateway.net.body import Body
from gateway.net.connection import ONE_WRITE, Connection
from gateway.net.messages import HttpReply, HttpRequest, HttpStream, Origin
from gateway.net.pool import Pool
from gateway.net.request import IDEMPOTENT, closing, head_of, too_late
from gateway.net.sent import Queued, Sent

__all__ = ["Http1Client", "sending"]

T = TypeVar("T")

_AT_ONCE = 8192
"""Bytes of a body that are sent without waiting: any system takes as many."""


class Http1Client:
    """Sends requests over HTTP/1.1.

    Args:
        pool: Its connections.
        budget_header: Carries what remains of the budget; in lower case.
        max_reply_bytes: Largest body of a whole reply, decompressed.
    """

    def __init__(self, pool: Pool, budget_header: str, max_reply_bytes: int) -> None:
        self.pool = pool
        self._budget_header = budget_header
        self._raw_budget_header = budget_header.encode("latin-1")
        self._max_bytes = max_reply_bytes

    async def send(self, request: HttpRequest, /) -> HttpReply:
        """As `HttpClient`."""
        content = request.content
        if isinstance(content, bytes) and len(content) > ONE_WRITE:
            # It may be answered before it was read, and not read on unless the answer is.
            request = msgspec.structs.replace(
                request, content=_sliced(content), content_length=len(content)
            )
        connection = await self._begin(request)
        try:
            pieces = _pieces(request.content)
            if pieces is None:
                return await self.whole(connection)
            async with sending(connection, pieces, request.content_length):
                await connection.read_head()
                return await self.whole(connection)
        finally:
            self.pool.give_back(connection)

    async def whole(self, connection: Connection) -> HttpReply:
        """The reply whose head came, and its body.

        Raises:
            Unreachable, BadReply: As `send`.
        """
        found = self.whole_at_hand(connection)
        if found is not None:
            return found
        reply = connection.reply
        encoding = reply.fields.get(b"content-encoding", b"").decode("latin-1")
        return HttpReply(reply.status, reply.fields, await self._read(connection, encoding))

    def whole_at_hand(self, connection: Connection) -> HttpReply | None:
        """The reply whose head came, if its body came with it, and as it is.

        Raises:
            BadReply: The body is over the bound.
        """
        reply = connection.reply
        if not reply.ended or b"content-encoding" in reply.fields:
            return None
        body = connection.at_hand
        if len(body) > self._max_bytes:
            raise self._too_large()
        return HttpReply(reply.status, reply.fields, body)

    async def ask_anew(
        self, connection: Connection, method: str, head: bytes, content: bytes
    ) -> None:
        """Send a request over `connection`, or over a new one in its place if it was used before."""
        if connection.reused:
            await self.pool.renew(connection)
        await self.ask_over(connection, method, head, content)

    def _too_large(self) -> BadReply:
        return BadReply(f"the reply is over {self._max_bytes} bytes")

    async def ask(self, request: HttpRequest, /) -> Connection:
        """A connection over which all of `request` was sent and the head of its reply came.

        It is to be given back to `pool`, whatever happens.

        Raises:
            GatewayError: As `HttpClient.send`.
        """
        connection = await self._begin(request)
        pieces = _pieces(request.content)
        if pieces is not None:
            try:
                await _send_pieces(connection, pieces, request.content_length)
                await connection.read_head()
            except BaseException:
                self.pool.give_back(connection)
                raise
        return connection

    @contextlib.asynccontextmanager
    async def stream(self, request: HttpRequest, /) -> AsyncIterator[HttpStream]:
        """As `HttpClient`."""
        connection = await self._begin(request)
        pieces = _pieces(request.content)
        try:
            if pieces is None:
                with contextlib.closing(_Stream(connection)) as stream:
                    yield stream
            else:
                async with sending(connection, pieces, request.content_length):
                    await connection.read_head()
                    with contextlib.closing(_Stream(connection)) as stream:
                        yield stream
        finally:
            self.pool.give_back(connection)

    async def _begin(self, request: HttpRequest) -> Connection:
        head = head_of(request, self._budget_header).encode("latin-1")
        return await self.begin(request.origin, request.method, head, request.content)

    async def begin(
        self,
        origin: Origin,
        method: str,
        head: bytes,
        content: bytes | AsyncIterable[bytes] | None,
        *,
        upgrades: bool = False,
    ) -> Connection:
        """A connection with a request begun: a whole one answered, of another the head sent.

        It is to be given back to `pool`, whatever happens. What an `HttpRequest` is made into
        comes this way too; who has bytes already, of another's head, spares itself that.

        Args:
            origin: Who is asked.
            method: As in `head`.
            head: From the request line on, checked, with what frames the body; all but the line
                that tells the budget and the empty one.
            content: The whole body, or none. Of one in pieces only the head is sent here:
                `sending` sends the rest, and `Connection.read_head` reads the answer's.
            upgrades: Whether it asks for another protocol, as `Connection.begin` says.

        Raises:
            Unreachable: No connection, or it broke.
            BadReply: What came is not HTTP.
            DeadlineExceeded: Less than 1 ms of the budget was left; nothing was sent.

        Cancellation: the connection is closed, its permit given back.
        """
        connection = self.pool.take_warm(origin) or await self.pool.take(origin)
        try:
            await self.ask_over(connection, method, head, content, upgrades=upgrades)
        except BaseException:
            self.pool.give_back(connection)
            raise
        return connection

    async def ask_over(
        self,
        connection: Connection,
        method: str,
        head: bytes,
        content: bytes | AsyncIterable[bytes] | None,
        *,
        upgrades: bool = False,
    ) -> None:
        """Begin a request over `connection`, as `begin`; over a new one where that turns out to be closed."""
        bodiless = method == "HEAD"
        while True:
            left_ms = remaining_ms()
            if left_ms is not None and left_ms < 1:
                await too_late()
            data = self.ended(head, left_ms)
            try:
                if content is None or isinstance(content, bytes):
                    await connection.ask(data, content, bodiless=bodiless, upgrades=upgrades)
                else:
                    await connection.begin(data, bodiless=bodiless)
            except Unreachable as error:
                repeatable = method in IDEMPOTENT and _pieces(content) is None
                if not connection.may_repeat(error, repeatable=repeatable):
                    raise
            else:
                return
            await self.pool.renew(connection)

    def ended(self, head: bytes, left_ms: int | None) -> bytes:
        """A head, and at its end what remains of the budget."""
        if left_ms is None:
            return head + b"\r\n"
        return b"%b%b: %d\r\n\r\n" % (head, self._raw_budget_header, left_ms)

    def start(
        self,
        request: HttpRequest,
        until: float,
        now: float,
        convert: Callable[[HttpReply], T],
    ) -> Sent[T] | None:
        """Send `request` without waiting, or once it is its turn, for who waits for several at once.

        Args:
            request: What is asked.
            until: The end of its budget, on Trio's clock; may be inf.
            now: That clock's time.
            convert: From its reply to what is wanted; it may raise `GatewayError`.

        Returns:
            What came of it, to be closed; `None` if it would have to wait, for a new connection or
            to be sent: then `send` it.

        Raises:
            GatewayError: As `send`.
        """
        content = request.content or b""
        left_s = until - now
        if not isinstance(content, bytes) or len(content) > _AT_ONCE or left_s < 0.001:
            return None
        head = head_of(request, self._budget_header).encode("latin-1")
        method, origin = request.method, request.origin
        connection = self.pool.take_warm(origin)
        if connection is None:
            queued = Queued(self, method, head, content, convert, origin, until)
            return queued if queued.waits else None
        sent = Sent(self, method, head, content, convert, connection)
        if sent.send(whole_ms(left_s)):
            return sent
        sent.close()
        return None

    async def _read(self, connection: Connection, encoding: str) -> bytes:
        """The whole body, decompressed, within its bound."""
        reply = connection.reply
        if not encoding and (reply.announced or 0) > self._max_bytes:
            raise self._too_large()
        piece = await connection.receive()
        if not piece:
            return b""  # whatever its encoding
        if not encoding and reply.ended and len(piece) <= self._max_bytes:
            return piece
        body = Body(encoding, self._max_bytes)
        while piece:
            body.take(piece)
            piece = await connection.receive()
        return body.whole()


async def _sliced(content: bytes) -> AsyncGenerator[bytes]:  # noqa: ASYNC124 - an asynchronous iterator, as bodies in pieces are
    """A whole body in pieces."""
    for start in range(0, len(content), ONE_WRITE):
        yield content[start : start + ONE_WRITE]


def _pieces(content: bytes | AsyncIterable[bytes] | None) -> AsyncIterable[bytes] | None:
    """The body that comes in pieces; `None` if it is whole, or there is none."""
    return None if content is None or isinstance(content, bytes) else content


class _Stream:
    """A reply of which the body is still to come, for as long as its context lasts."""

    __slots__ = ("_connection", "raw_headers", "status")

    def __init__(self, connection: Connection) -> None:
        self._connection: Connection | None = connection
        self.status: int = connection.reply.status
        self.raw_headers: Sequence[tuple[bytes, bytes]] = connection.reply.headers

    async def receive(self) -> bytes:
        if self._connection is None:
            raise trio.ClosedResourceError("the reply's context was left")
        return await self._connection.receive()

    def close(self) -> None:
        """Its connection is another's from here on."""
        self._connection = None


async def _send_pieces(
    connection: Connection, pieces: AsyncIterable[bytes], length: int | None
) -> None:
    """Send a request's body until it ends or the connection breaks.

    Raises:
        Internal: It is not as long as was announced.
        Exception: What its pieces raised.
    """
    left = length or 0
    async with closing(pieces):
        async for piece in pieces:
            if not piece:
                continue  # an empty chunk would be the last
            left -= len(piece)
            if length is not None and left < 0:
                raise Internal("a request's body is longer than was announced")
            data = piece if length is not None else b"%x\r\n%b\r\n" % (len(piece), piece)
            if not await _sent(connection, data):
                return
    if left > 0:
        raise Internal("a request's body is shorter than was announced")
    if length is not None or await _sent(connection, b"0\r\n\r\n"):
        connection.end()


async def _sent(connection: Connection, data: bytes) -> bool:
    # Neither the pieces nor a socket with room need wait: others get their turn here.
    await trio.lowlevel.checkpoint()
    try:
        await connection.send(data)
    except Unreachable:
        # Whoever refuses a body answers, and closes before it has all of it: reading tells.
        return False
    return True


@contextlib.asynccontextmanager
async def sending(
    connection: Connection, pieces: AsyncIterable[bytes], length: int | None
) -> AsyncIterator[None]:
    """Send a request's body while the reply is read, at most until the context is left.

    What is raised, inside or by the pieces, leaves bare.

    Args:
        connection: As `Http1Client.begin` gave it.
        pieces: The body, iterated once.
        length: The bytes they amount to, as the head says; `None` if it says chunked.
    """
    failure: Exception | None = None

    async def send(scope: trio.CancelScope) -> None:
        nonlocal failure
        try:
            await _send_pieces(connection, pieces, length)
        except Exception as error:  # noqa: BLE001 - it is raised where the nursery ended
            failure = failure or error
            scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, nursery.cancel_scope)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - likewise: a nursery would wrap it
            failure = failure or error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
