"""The adapter: a call has a connection to itself while it lasts.

A call that goes away closes its connection, so that no later one reads its reply; a command that
waits at the server ends with it.
"""

from __future__ import annotations

import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote, urlsplit

import trio

from gateway.adapters.redis.commands import reads
from gateway.adapters.redis.connection import Connection
from gateway.adapters.redis.resp import argument
from gateway.adapters.redis.settings import RedisCall, RedisSettings, check
from gateway.config.secret import Redaction
from gateway.core.adapter import Environment, Kind
from gateway.core.errors import GatewayError, Unreachable
from gateway.core.messages import Reply, Request
from gateway.core.service import Emit, Service
from gateway.net.credentials import secrets_of_url
from gateway.net.dial import Dialer
from gateway.net.guard import AddressGuard
from gateway.net.messages import Origin
from gateway.net.wire import Unsent

__all__ = ["KIND", "RedisAdapter"]

_PORT = 6379


class RedisAdapter:
    """One Redis server."""

    def __init__(self, settings: RedisSettings, environment: Environment) -> None:
        parts = urlsplit(settings.url)
        database = parts.path.strip("/") or "0"
        if not (database.isascii() and database.isdecimal()):
            raise ValueError("url: expected the number of a database as its path, such as /0")
        self._name = environment.service
        self._settings = settings
        self._environment = environment
        self._user = unquote(parts.username or "")
        self._password = unquote(parts.password or "")
        self._database = int(database)
        secure = parts.scheme == "rediss"
        host = (parts.hostname or "").lower()
        self._origin = Origin("https" if secure else "http", host, parts.port or _PORT)
        self._tls = ssl.create_default_context() if secure else None
        self._shown = Redaction(secrets_of_url(settings.url))
        self._places = trio.CapacityLimiter(settings.max_connections)
        self._idle: deque[Connection] = deque()
        self._dialer: Dialer | None = None

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
            except GatewayError as error:
                raise self._redacted(error) from error.__cause__
            finally:
                self._places.release_on_behalf_of(place)

        return ask

    async def _ask(self, words: list[bytes]) -> Any:
        """Ask over a connection that served before, or else over a new one."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_good:
                connection.close()
                continue
            try:
                return await self._over(connection, words)
            except Unsent:
                break  # it was closed just then, and nothing went out
        return await self._over(await self._connect(), words)

    async def _over(self, connection: Connection, words: list[bytes]) -> Any:
        try:
            return await connection.ask(words)
        finally:
            self._give_back(connection)

    async def _connect(self) -> Connection:
        if self._dialer is None:
            raise Unreachable(f"{self._name} is not open")
        wire = await self._dialer.connect(self._origin)
        connection = Connection(wire, self._settings.max_reply)
        try:
            await connection.log_in(self._user, self._password, self._database)
        except BaseException:
            connection.close()
            raise
        return connection

    def _give_back(self, connection: Connection) -> None:
        """Keep a connection for the next call, if it can be one's."""
        if connection.is_good and self._dialer is not None:
            self._idle.append(connection)
        else:
            connection.close()

    def _redacted(self, error: GatewayError) -> GatewayError:
        """`error` without the password in its words."""
        shown = error.blamed()
        shown.args = (self._shown(error.detail),)
        return shown

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Be ready to connect; leaving closes what is open."""
        allow_private = self._settings.allow_private
        guard = AddressGuard.of([self._origin], self._environment, allow_private=allow_private)
        self._dialer = Dialer(guard, self._tls)
        try:
            yield
        finally:
            self._dialer = None
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
