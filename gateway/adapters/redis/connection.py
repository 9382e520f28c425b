"""coredis' connection, over bytes of ours: the extra `redis`.

Its pool is not used: a command that is cancelled there costs the pool a connection for good
(docs/adr/0018). Here a connection serves one call at a time, and one whose reply was not read is
closed.

Source: RESP3 specification; coredis 6, "Connections".
"""

from __future__ import annotations

import re
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import unquote, urlsplit

import trio
from anyio.abc import ByteStream
from coredis.connection import BaseConnection
from coredis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 - its name there
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
    WrongTypeError,
)

from gateway.core.errors import BadReply, GatewayError, Overloaded, Rejected, Unreachable
from gateway.net.wire import Wire

__all__ = ["Connection", "failure_of"]

_BUSY = re.compile(r"(BUSY|OOM|MISCONF|NOREPLICAS|MASTERDOWN|UNBLOCKED|max number of clients)\b")


class _TooMuch(ConnectionError):
    """A reply is over its bound."""


class _Bytes:
    """A wire as coredis has its streams, within a bound.

    Args:
        wire: Connected.
        max_bytes: Of a reply.
    """

    def __init__(self, wire: Wire, max_bytes: int) -> None:
        self._wire = wire
        self._max_bytes = max_bytes
        self._left = max_bytes

    def expect(self) -> None:
        """Another reply comes."""
        self._left = self._max_bytes

    async def receive(self) -> bytes:
        try:
            data = await self._wire.receive()
        except Unreachable as error:
            raise ConnectionError(error.detail) from error
        if not data:
            raise ConnectionError("the connection ended before the reply did")
        self._left -= len(data)
        if self._left < 0:
            raise _TooMuch(f"the reply is over {self._max_bytes} bytes")
        return data

    async def send(self, data: bytes) -> None:
        try:
            await self._wire.send(data)
        except Unreachable as error:
            raise ConnectionError(error.detail) from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._wire.close()


class Connection(BaseConnection):
    """One connection to Redis; `run` it in a nursery, which returns once it is closed.

    Args:
        wire: Connected; from here on this connection's.
        url: Names the user, the password and the database.
        max_reply_bytes: Of a reply.
    """

    def __init__(self, wire: Wire, url: str, max_reply_bytes: int) -> None:
        parts = urlsplit(url)
        super().__init__(
            cast("Any", None),  # connected already
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            db=int(parts.path.strip("/") or 0),
        )
        self._wire = wire
        self._bytes = _Bytes(wire, max_reply_bytes)
        self._is_asked = False

    async def open(self, nursery: trio.Nursery) -> None:
        """Log in, and run in `nursery` from there on, until it is closed.

        Raises:
            GatewayError: There is no Redis, or it lets nobody in.

        Cancellation: it is closed.
        """
        try:
            await nursery.start(self.run)
        except RedisError as error:
            raise failure_of(error) from error
        finally:
            if not self.usable:
                self.close()

    async def _connect(self) -> ByteStream:
        return cast("ByteStream", self._bytes)

    def describe(self) -> str:
        """As coredis shows it: without an address."""
        return "Connection<>"

    @property
    def is_good(self) -> bool:
        """Whether it may serve a call: nothing is under way, and nothing came unasked for."""
        return not self._is_asked and self.reusable and not self._wire.is_stale()

    async def ask(self, words: list[bytes]) -> Any:
        """Send a command; its reply, in coredis' types.

        Raises:
            GatewayError: Redis refuses it, or the connection broke.

        Cancellation: its reply is not read, and the connection not good any more.
        """
        self._is_asked = True
        self._bytes.expect()
        try:
            asked = self.create_request(words[0], *words[1:], decode=False, raise_exceptions=False)
        except RedisError as error:  # it broke since it was looked at
            raise failure_of(error) from error
        reply: Any = await asked
        self._is_asked = False
        if isinstance(reply, Exception):
            raise failure_of(reply) from reply
        return reply

    def close(self) -> None:
        """Close it at once; what runs it ends soon after."""
        self.invalidate()
        self._wire.close()


def failure_of(error: Exception) -> GatewayError:
    """What a failure of Redis' or coredis' means."""
    said = " ".join(str(error).split())
    match error:
        case _TooMuch():
            return BadReply(said)
        case BusyLoadingError() | ClusterDownError() | TryAgainError():
            return Overloaded(f"Redis cannot answer now: {said}", retry_after_s=1)
        case ConnectionError() | ResponseError() if _BUSY.match(said):
            return Overloaded(f"Redis cannot answer now: {said}", retry_after_s=1)
        case ConnectionError():
            return Unreachable("the connection broke, or there is no Redis", where=said)
        case AskError() | ClusterCrossSlotError():
            return BadReply("the keys are on other nodes of a cluster: one server is asked here")
        case AuthenticationError() | AuthorizationError():
            return Rejected(f"Redis refuses the gateway: {said}")
        case ReadOnlyError():
            return Rejected(f"Redis is read only: {said}")
        case WrongTypeError():
            return Rejected(f"Redis refused it: {said}", service_status=409)
        case ResponseError():
            return Rejected(f"Redis refused it: {said}")
    return BadReply(f"the reply is none of Redis': {said or type(error).__name__}")
