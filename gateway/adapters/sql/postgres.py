"""PostgreSQL, by psycopg 3: the extra `postgres`.

What is left of the budget is the statement's own `statement_timeout`. A request that goes away has
its statement cancelled at the server.

Source: PostgreSQL 15, sections 20.11.1, 34.7 and appendix A; psycopg 3, "Connection classes".
"""

from __future__ import annotations

import contextlib
import itertools
import math
import selectors
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, cast

from gateway.adapters.sql.database import Order, Session
from gateway.adapters.sql.idle import Idle
from gateway.adapters.sql.rows import objects
from gateway.adapters.sql.times import keep_texts
from gateway.core.errors import (
    BadReply,
    DeadlineExceeded,
    GatewayError,
    InvalidArguments,
    Overloaded,
    Rejected,
    Unreachable,
)

if TYPE_CHECKING:
    import psycopg

__all__ = ["Postgres"]

_CONNECT_S = 10.0
_STOP_S = 1.0
_MAX_SAID = 300
_AT_REST = 0
"""libpq's `PQTRANS_IDLE`."""


class Postgres:
    """A PostgreSQL database.

    Connections are kept here, not by psycopg's pool: whoever waits for one of that one's is not told
    that the server refuses, and learns it only when its own time is over (docs/adr/0015).

    Args:
        url: As libpq has it.
        read_only: Whether nothing can be written.
    """

    stop_blocks = True

    def __init__(self, url: str, *, read_only: bool) -> None:
        self._url = url
        self._read_only = read_only
        self._idle: Idle[psycopg.Connection[Any]] = Idle()

    def open(self) -> None:
        """As `Database`; nothing is connected to yet."""
        try:
            import psycopg  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ValueError('needs psycopg: pip install "trio-gateway[postgres]"') from error
        try:
            psycopg.conninfo.conninfo_to_dict(self._url)
        except psycopg.Error as error:
            raise ValueError("expected a URL that PostgreSQL has") from error
        self._idle.open()

    def take(self, left_s: float, /) -> Session:
        """As `Database`."""
        import psycopg  # noqa: PLC0415

        while (raw := self._idle.take()) is not None:
            if _is_good(raw):
                return _Connection(raw, read_only=self._read_only)
            raw.close()
        timeout_s = math.ceil(min(left_s, _CONNECT_S))
        try:
            raw = psycopg.connect(self._url, autocommit=True, connect_timeout=timeout_s)
        except psycopg.Error as error:  # its text names the host and the user
            raise Unreachable("no connection to the database", where=str(error)) from error
        keep_texts(raw)
        return _Connection(raw, read_only=self._read_only)

    def give_back(self, session: Session, /) -> None:
        """As `Database`."""
        assert isinstance(session, _Connection)  # noqa: S101 - it came from here
        raw = session.raw
        clean = not raw.closed and raw.info.transaction_status == _AT_REST
        self._idle.keep(raw, clean=clean)

    def close(self) -> None:
        """As `Database`."""
        self._idle.close()


def _is_good(raw: psycopg.Connection[Any]) -> bool:
    """Whether a connection that is at rest is still there: one that has closed can be read."""
    if raw.closed:
        return False
    watched = selectors.DefaultSelector()
    with watched:
        watched.register(raw.fileno(), selectors.EVENT_READ)
        return not watched.select(0)


class _Connection:
    """One connection, as a `Session`."""

    def __init__(self, raw: psycopg.Connection[Any], *, read_only: bool) -> None:
        self.raw = raw
        self._read_only = read_only

    def stop(self) -> None:
        """As `Session`."""
        with contextlib.suppress(Exception):  # it is gone already, or will be with its connection
            self.raw.cancel_safe(timeout=_STOP_S)

    def run(self, order: Order, left_s: float, /) -> list[dict[str, Any]] | int:
        """As `Session`."""
        import psycopg  # noqa: PLC0415

        writes = order.write and not self._read_only
        try:
            self.raw.execute(_beginning(left_s, writes=writes))
            given = self._given(order)
            # What a read has set for its session is undone with it: the connection is another's next.
            self.raw.execute("COMMIT" if writes else "ROLLBACK")
            return given
        except psycopg.Error as error:
            raise _failure(error) from error
        except RecursionError as error:
            raise BadReply("the reply has JSON that is nested too deeply") from error
        finally:
            if not self.raw.closed and self.raw.info.transaction_status != _AT_REST:
                with contextlib.suppress(psycopg.Error):
                    self.raw.rollback()
            if order.statement.marks_session:
                self._forget()

    def _forget(self) -> None:
        """Have nothing left of what was done to the session, or nothing of the session."""
        import psycopg  # noqa: PLC0415

        try:
            self.raw.execute("DISCARD ALL")
        except psycopg.Error:
            self.raw.close()

    def _given(self, order: Order) -> list[dict[str, Any]] | int:
        marks = [f"%({name})s" for name in order.statement.names]
        text = order.statement.text(marks, escaped="%" if marks else "")
        values = {name: _bound(value) for name, value in order.values.items()} if marks else None
        with self.raw.cursor() as cursor:
            if order.write:
                cursor.execute(text, values)
                return (
                    self._objects(cursor, iter(cursor), order)
                    if cursor.description
                    else _changed(cursor)
                )
            # Row by row: what is over the bound is never held.
            stream = cast("Generator[Any]", cursor.stream(text, values))
            with contextlib.closing(stream) as rows:
                return self._objects(cursor, rows, order)

    def _objects(
        self, cursor: psycopg.Cursor[Any], rows: Iterator[Any], order: Order
    ) -> list[dict[str, Any]]:
        first = next(rows, None)  # the columns are known with it
        columns = [column.name for column in cursor.description or ()]
        whole = () if first is None else itertools.chain([first], rows)
        try:
            return objects(columns, whole, max_rows=order.max_rows, max_bytes=order.max_bytes)
        except BadReply:
            self.stop()  # the rest of it would be read, to get to its end
            raise


def _changed(cursor: psycopg.Cursor[Any]) -> int:
    return max(cursor.rowcount, 0)


def _beginning(left_s: float, *, writes: bool) -> str:
    """What begins a transaction, all in one round trip."""
    begin = f"BEGIN {'READ WRITE' if writes else 'READ ONLY'}"
    if left_s == math.inf:
        return begin
    return f"{begin}; SET LOCAL statement_timeout = {max(1, math.ceil(left_s * 1000))}"


def _bound(value: Any) -> Any:
    """A value as psycopg takes it: an object goes as JSON.

    Raises:
        InvalidArguments: It is no text that PostgreSQL can have.
    """
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and "\0" in text:
            raise InvalidArguments("not called: PostgreSQL has no text with a null character")
    if isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(part, (dict, list)) for part in value)
    ):
        from psycopg.types.json import Jsonb  # noqa: PLC0415

        return Jsonb(value)
    return value


def _is_of_connection(error: psycopg.Error) -> bool:
    import psycopg  # noqa: PLC0415

    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


def _failure(error: psycopg.Error) -> GatewayError:
    """What a failure means: of PostgreSQL's by its SQLSTATE, which psycopg's own have not."""
    state = error.sqlstate or ""
    if not state and not _is_of_connection(error):
        return BadReply(f"the statement failed: {str(error)[:_MAX_SAID]}")
    said = (error.diag.message_primary or "").strip()
    match state[:2]:
        case "57" if state == "57014":
            return DeadlineExceeded("the statement was stopped")
        case "23":
            status = 409 if state in {"23505", "23P01"} else 422
            return Rejected(f"the database refused it: {said}", service_status=status)
        case "22":
            return Rejected(f"a value does not fit: {said}", service_status=422)
        case "40" | "53" | "55":
            return Overloaded(f"the database is too busy: {said}", retry_after_s=1)
        case "25" | "42" if state in {"25006", "42501"}:
            return Rejected("the statement does what it may not")
        case "" | "08" | "57" | "58":
            return Unreachable("the connection to the database broke")
    return BadReply(f"the statement failed: {said}")
