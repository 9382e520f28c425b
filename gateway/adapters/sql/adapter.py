"""The adapter: calls run in threads, under the service's own limiter, one connection each.

When its request goes away a statement is stopped at once, and its thread ends soon after: until then
it keeps its place, and is counted.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote, urlsplit

import trio

from gateway.adapters.sql.database import Database, Order, Session
from gateway.adapters.sql.postgres import Postgres
from gateway.adapters.sql.settings import SqlCall, SqlSettings
from gateway.adapters.sql.sqlite import Sqlite
from gateway.adapters.sql.statement import Statement
from gateway.config.fields import reveal
from gateway.config.secret import Redaction, Secret
from gateway.core.adapter import Environment, Kind
from gateway.core.errors import BadReply, GatewayError, Overloaded
from gateway.core.messages import Reply, Request
from gateway.core.service import Emit, Service
from gateway.net.threads import Threads
from gateway.telemetry.events import PlacesMade

__all__ = ["KIND", "SqlAdapter"]


class SqlAdapter:
    """One database."""

    def __init__(self, settings: SqlSettings, environment: Environment) -> None:
        self._name = environment.service
        self._settings = settings
        self._environment = environment
        self._database = _database_of(settings, environment)
        self._limiter = trio.CapacityLimiter(settings.threads)
        self._stoppers = trio.CapacityLimiter(settings.threads)
        self._threads = Threads(environment.service, environment.record, self._limiter)
        environment.record(PlacesMade(environment.service, "threads", self._limiter))
        self._redact = Redaction(_secrets_of(settings))

    def bind(self, call: SqlCall, /) -> Service:
        """The `Service` of `call`.

        Raises:
            ValueError: The statement is none, or several; it writes where nothing may be written; a
                parameter has no name, or no value.
        """
        statement = Statement.of(call.sql)
        if statement.question and isinstance(self._database, Sqlite):
            raise ValueError("sql: ? is filled in nowhere; a parameter is written :name")
        if call.write and self._settings.read_only:
            raise ValueError("write: the service is read only; say read_only = false there")
        if call.parameters is not None:
            for name in statement.names:
                if name not in call.parameters:
                    raise ValueError(f"sql: :{name} is none of parameters")
        max_rows = call.max_rows or self._settings.max_rows
        max_rows = min(max_rows, 2) if call.one else max_rows

        async def run(request: Request, _emit: Emit, /) -> Reply:
            given = request.arguments.get("parameters") or {}
            order = Order(
                statement=statement,
                values={name: given.get(name) for name in statement.names},
                write=call.write,
                max_rows=max_rows,
                max_bytes=self._settings.max_reply,
            )
            result = await self._run(order)
            return Reply(_shaped(result, call))

        return run

    async def _run(self, order: Order) -> list[dict[str, Any]] | int:
        work = _Work(self._database, order)
        done = False
        try:
            result = await self._threads.run(work)
            done = True
            return result
        except GatewayError as error:
            done = True
            raise self._shown(error) from error.__cause__
        finally:
            if not done:
                self._leave(work)

    def _shown(self, error: GatewayError) -> GatewayError:
        """`error` without secrets of ours in its words."""
        shown = error.blamed()
        shown.args = (self._redact(error.detail),)
        return shown

    def _leave(self, work: _Work) -> None:
        """Have a statement stopped that nobody waits for any more."""
        if not self._database.stop_blocks:
            work.stop()
            return

        async def stop() -> None:
            await trio.to_thread.run_sync(
                work.stop, abandon_on_cancel=False, limiter=self._stoppers
            )

        # Its end is nobody's to wait for: the answer is due now.
        with contextlib.suppress(Overloaded):
            self._environment.background.start(stop)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Be ready to connect; leaving closes the connections.

        Raises:
            ValueError: There is no such database, or what speaks to it is not installed.
        """
        try:
            await trio.to_thread.run_sync(
                self._database.open, abandon_on_cancel=False, limiter=self._stoppers
            )
        except ValueError as error:
            raise ValueError(f"services.{self._name}.url: {self._redact(str(error))}") from error
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):  # bounded by the database's own
                await trio.to_thread.run_sync(
                    self._database.close, abandon_on_cancel=False, limiter=self._stoppers
                )


class _Work:
    """One statement, in a thread; to be stopped from outside.

    Args:
        database: Where.
        order: What.
    """

    def __init__(self, database: Database, order: Order) -> None:
        self._database = database
        self._order = order
        self._lock = threading.Lock()
        self._session: Session | None = None

    def __call__(self, left_s: float) -> list[dict[str, Any]] | int:
        session = self._database.take(left_s)
        try:
            with self._lock:
                self._session = session
            return session.run(self._order, left_s)
        finally:
            # From here on the connection is another's: `stop` must not reach it.
            with self._lock:
                self._session = None
            self._database.give_back(session)

    def stop(self) -> None:
        """Stop it, if it runs."""
        with self._lock:
            if self._session is not None:
                self._session.stop()


def _shaped(result: list[dict[str, Any]] | int, call: SqlCall) -> Any:
    """What a call gives: rows, a single one, or how many were changed."""
    if isinstance(result, int):
        return {"changed": result}
    if not call.one:
        return result
    if len(result) > 1:
        raise BadReply("expected a single row, got several")
    return result[0] if result else None


def _database_of(settings: SqlSettings, environment: Environment) -> Database:
    """The database that `url` names.

    Raises:
        ValueError: None of those there are.
    """
    url = reveal(settings.url)
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        path = unquote(rest.removeprefix("/"))
        if not rest.startswith("/") and rest:
            raise ValueError('url: expected "sqlite:///PATH", with three slashes')
        if not path:
            if settings.threads != 1:
                raise ValueError("url: a database in memory has one connection: say threads = 1")
            return Sqlite(None, read_only=settings.read_only)
        return Sqlite(environment.directory / path, read_only=settings.read_only)
    if scheme in {"postgresql", "postgres"}:
        return Postgres(url, read_only=settings.read_only)
    raise ValueError('url: expected a URL such as "sqlite:///data.db" or "postgresql://…"')


def _secrets_of(settings: SqlSettings) -> list[str | Secret]:
    url = reveal(settings.url)
    try:
        password = urlsplit(url).password
    except ValueError:
        password = None
    found: list[str | Secret] = [Secret(url)]
    if password:
        found += [Secret(password), Secret(unquote(password))]
    return found


KIND = Kind(
    settings=SqlSettings,
    call=SqlCall,
    create=SqlAdapter,
    idempotent=lambda call: not call.write,
    read_only=lambda call: not call.write,
    inputs_key="parameters",
    takes=lambda call: frozenset(Statement.of(call.sql).names),
)
"""How `sql` is declared."""
