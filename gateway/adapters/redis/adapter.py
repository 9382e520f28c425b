"""The adapter: a call has a connection to itself while it lasts.

A call that goes away closes its connection, so that no later one reads its reply; a command that
waits at the server ends with it.
"""

from __future__ import annotations

import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trio

from gateway.adapters.redis.commands import reads
from gateway.adapters.redis.settings import RedisCall, RedisSettings, check
from gateway.adapters.redis.values import argument, plain
from gateway.config.secret import Redaction
from gateway.core.adapter import Environment, Kind
from gateway.core.errors import GatewayError, Unreachable
from gateway.core.messages import Reply, Request
from gateway.core.service import Emit, Service
from gateway.net.credentials import secrets_of_url
from gateway.net.dial import Dialer
from gateway.net.guard import AddressGuard
from gateway.net.messages import Origin

if TYPE_CHECKING:
    from gateway.adapters.redis.connection import Connection

__all__ = ["KIND", "RedisAdapter"]

_PORT = 6379


class RedisAdapter:
    """One Redis server."""

    def __init__(self, settings: RedisSettings, environment: Environment) -> None:
        parts = urlsplit(settings.url)
        number = parts.path.strip("/")
        if number and not (number.isascii() and number.isdecimal()):
            raise ValueError("url: expected the number of a database as its path, such as /0")
        self._name = environment.service
        self._settings = settings
        self._environment = environment
        secure = parts.scheme == "rediss"
        host = (parts.hostname or "").lower()
        self._origin = Origin("https" if secure else "http", host, parts.port or _PORT)
        self._tls = ssl.create_default_context() if secure else None
        self._shown = Redaction(secrets_of_url(settings.url))
        self._places = trio.CapacityLimiter(settings.max_connections)
        self._idle: deque[Connection] = deque()
        self._dialer: Dialer | None = None
        self._nursery: trio.Nursery | None = None
        self._kind: type[Connection] | None = None

    @property
    def taken(self) -> int:
        """Connections in use."""
        return self._places.borrowed_tokens

    def bind(self, call: RedisCall, /) -> Service:
        """The `Service` of `call`: one command."""

        async def ask(request: Request, _emit: Emit, /) -> Reply:
            given = request.arguments.get("command", call.command)
            words = [argument(index, value) for index, value in enumerate(given)]
            # Not the task's own: a task may have several calls under way.
            place = object()
            await self._places.acquire_on_behalf_of(place)
            try:
                return Reply(await self._ask(words))
            finally:
                self._places.release_on_behalf_of(place)

        return ask

    async def _ask(self, words: list[bytes]) -> Any:
        connection = self._warm() or await self._connect()
        try:
            return plain(await connection.ask(words))
        except GatewayError as error:
            raise self._redacted(error) from error.__cause__
        finally:
            # One whose reply is still to come would give it to somebody else.
            if connection.is_good:
                self._idle.append(connection)
            else:
                connection.close()

    def _warm(self) -> Connection | None:
        """The connection that was used last and is still good."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_good:
                return connection
            connection.close()
        return None

    async def _connect(self) -> Connection:
        if self._dialer is None or self._nursery is None or self._kind is None:
            raise Unreachable(f"{self._name} is not open")
        settings = self._settings
        wire = await self._dialer.connect(self._origin)
        connection = self._kind(wire, settings.url, settings.max_reply)
        try:
            await connection.open(self._nursery)
        except GatewayError as error:
            raise self._redacted(error) from error.__cause__
        return connection

    def _redacted(self, error: GatewayError) -> GatewayError:
        """`error` without the password in its words."""
        shown = error.blamed()
        shown.args = (self._shown(error.detail),)
        return shown

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Be ready to connect; leaving closes what is open.

        Raises:
            ValueError: What speaks to Redis is not installed.
        """
        try:
            from gateway.adapters.redis.connection import Connection  # noqa: PLC0415 - an extra
        except ImportError as error:
            needs = 'needs coredis: pip install "trio-gateway[redis]"'
            raise ValueError(f"services.{self._name}: {needs}") from error
        allow_private = self._settings.allow_private
        guard = AddressGuard.of([self._origin], self._environment, allow_private=allow_private)
        self._dialer = Dialer(guard, self._tls)
        self._kind = Connection
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                yield
            finally:
                nursery.cancel_scope.cancel()
                self._dialer = self._nursery = None
                while self._idle:
                    self._idle.pop().close()


def _reads(call: RedisCall) -> bool:
    return reads(call.command)


KIND = Kind(
    settings=RedisSettings,
    call=RedisCall,
    create=RedisAdapter,
    check=check,
    idempotent=_reads,
    read_only=_reads,
)
"""How `redis` is declared."""
