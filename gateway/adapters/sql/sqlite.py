"""SQLite, of the standard library.

Read only means three locks: the file is opened so, the connection refuses to write, and what a
statement may touch is looked at before it runs.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from gateway.adapters.sql.database import Order, Session
from gateway.adapters.sql.idle import Idle
from gateway.adapters.sql.rows import objects
from gateway.core.errors import (
    BadReply,
    DeadlineExceeded,
    GatewayError,
    Overloaded,
    Rejected,
    Unreachable,
)

__all__ = ["Sqlite"]

_READS = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
_WRITES = _READS | {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}
_UNSAFE = frozenset({"load_extension", "readfile", "writefile", "fts3_tokenizer", "edit"})
_BUSY_S = 5.0
"""Seconds that somebody else's writing is waited for."""
_TURN_S = 0.01


class Sqlite:
    """A SQLite database in a file, or in memory.

    Args:
        path: The file; `None` for one in memory, which then has a single connection.
        read_only: Whether nothing can be written.
    """

    stop_blocks = False

    def __init__(self, path: Path | None, *, read_only: bool) -> None:
        self._path = path
        self._read_only = read_only
        self._idle: Idle[_Connection] = Idle()

    def open(self) -> None:
        """As `Database`."""
        if self._path is not None and self._read_only and not self._path.is_file():
            raise ValueError(f"expected a database that is there, got {self._path.name}")
        try:
            first = self._connect()
        except sqlite3.Error as error:
            raise ValueError(f"cannot open the database: {error}") from error
        self._idle.open()
        self._idle.keep(first, clean=True)

    def _connect(self) -> _Connection:
        if self._path is None:
            target = ":memory:"
        else:
            target = f"file:{quote(str(self._path))}?mode={'ro' if self._read_only else 'rwc'}"
        raw = sqlite3.connect(
            target,
            uri=self._path is not None,
            isolation_level=None,
            check_same_thread=False,
            timeout=0,
        )
        return _Connection(raw, read_only=self._read_only)

    def take(self, _left_s: float, /) -> Session:
        """As `Database`."""
        kept = self._idle.take()
        if kept is not None:
            return kept
        try:
            return self._connect()
        except sqlite3.Error as error:
            raise Unreachable(f"cannot open the database: {error}") from error

    def give_back(self, session: Session, /) -> None:
        """As `Database`."""
        assert isinstance(session, _Connection)  # noqa: S101 - it came from here
        self._idle.keep(session, clean=session.is_clean)

    def close(self) -> None:
        """As `Database`."""
        self._idle.close()


class _Connection:
    """One connection, as a `Session`."""

    def __init__(self, raw: sqlite3.Connection, *, read_only: bool) -> None:
        self._raw = raw
        self._read_only = read_only
        self._allowed = _READS
        self._stopped = False
        raw.execute("PRAGMA foreign_keys = ON")
        raw.execute(f"PRAGMA query_only = {'ON' if read_only else 'OFF'}")
        raw.set_authorizer(self._authorize)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is under way."""
        return not self._raw.in_transaction

    def close(self) -> None:
        self._raw.close()

    def stop(self) -> None:
        """As `Session`."""
        self._stopped = True
        self._raw.interrupt()

    def _authorize(self, action: int, _first: Any, second: Any, *_: Any) -> int:
        if action == sqlite3.SQLITE_TRANSACTION:
            return sqlite3.SQLITE_OK  # ours alone: a statement is one, and within it
        if action == sqlite3.SQLITE_FUNCTION and str(second).lower() in _UNSAFE:
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK if action in self._allowed else sqlite3.SQLITE_DENY

    def _once_free(self, statement: str, end: float) -> None:
        """Begin or commit a transaction once nobody else holds it up, until then at most."""
        while True:
            try:
                self._raw.execute(statement)
                return
            except sqlite3.OperationalError as error:
                busy = (error.sqlite_errorcode & 0xFF) == sqlite3.SQLITE_BUSY
                if not busy or self._stopped or time.monotonic() >= end:
                    raise
            time.sleep(_TURN_S)

    def run(self, order: Order, left_s: float, /) -> list[dict[str, Any]] | int:
        """As `Session`."""
        writes = order.write and not self._read_only
        self._allowed = _WRITES if writes else _READS
        values = {name: _bound(value) for name, value in order.values.items()}
        text = order.statement.text([f":{name}" for name in order.statement.names])
        self._stopped = False
        end = time.monotonic() + min(left_s, _BUSY_S)
        try:
            self._once_free("BEGIN IMMEDIATE" if writes else "BEGIN", end)
            # One that was not read to its end would keep its lock beyond a ROLLBACK.
            with closing(self._raw.execute(text, values)) as cursor:
                given = _given(cursor, order)
            self._once_free("COMMIT", end)
            return given
        except sqlite3.Error as error:
            raise self._failure(error, order) from error
        finally:
            if self._raw.in_transaction:
                self._raw.execute("ROLLBACK")

    def _failure(self, error: sqlite3.Error, order: Order) -> GatewayError:
        if _is_forbidden(error):
            why = "rows are written, and nothing else"
            if self._read_only:
                why = "the service is read only"
            elif not order.write:
                why = "the call does not say write = true"
            return Rejected(f"the statement does what it may not: {why}")
        return _failure(error)


def _given(cursor: sqlite3.Cursor, order: Order) -> list[dict[str, Any]] | int:
    """The rows of a statement, or how many it has changed."""
    if cursor.description is None:
        return max(cursor.rowcount, 0)
    columns = [column[0] for column in cursor.description]
    return objects(columns, cursor, max_rows=order.max_rows, max_bytes=order.max_bytes)


def _is_forbidden(error: sqlite3.Error) -> bool:
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    # Of some, the code is no other than that of a mistake.
    said = "not authorized" in str(error) or "prohibited" in str(error)
    return said or code in {sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}


def _bound(value: Any) -> Any:
    """A value as SQLite takes it: what it has no type for goes as JSON text."""
    if isinstance(value, (list, dict)):
        return msgspec.json.encode(value).decode()
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    return value


def _failure(error: sqlite3.Error) -> GatewayError:
    """What a failure of SQLite's means."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    match code & 0xFF:
        case sqlite3.SQLITE_INTERRUPT:
            return DeadlineExceeded("the statement was stopped")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Overloaded("the database is locked", retry_after_s=1)
        case sqlite3.SQLITE_CONSTRAINT:
            return Rejected(f"the database refused it: {error}", service_status=409)
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_IOERR | sqlite3.SQLITE_FULL:
            return Unreachable(f"the database cannot be used: {error}")
    return BadReply(f"the statement failed: {error}")
