"""Values that would be statements, at every place of one: `python -m tests.end_to_end.sql_injection`.

What it said stands in docs/reference/adapters/sql.md.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import trio

from gateway.core.errors import GatewayError
from tests.apps import request
from tests.end_to_end.postgres import postgresql
from tests.end_to_end.postgres_figures import app_of

__all__ = ["Injected", "inject"]

_HOSTILE = (
    *("'", "''", "' or '1'='1", "' or 1=1 --", "'; drop table t; --", "\\'; drop table t; --"),
    *('"; drop table t; --', "1; drop table t", "1) or (1=1", "' union select name from t --"),
    *("$$; drop table t; $$", "$1", ":x", ":y", "{x}", "{y}", "%s", "%(x)s", "%", "?", "?1", "@x"),
    *(
        "E'\\x27'",
        "\\",
        "\\\\'",
        "/* */",
        "/*",
        "--",
        "-- ",
        "\n; drop table t",
        "\r\ndrop table t",
    ),
    *("ʼ; drop table t", "＇ or 1=1", "\u2019", "\ufeff'", "'::text", "pg_sleep(10)", "0x27"),  # noqa: RUF001
    *(
        "; commit; drop table t; begin",
        "'); delete from t; --",
        "` or 1=1",
        "\x1a'",
        "' || name || '",
    ),
)
"""Texts that would be more than data, were they ever a part of a statement."""


@attrs.frozen
class Injected:
    """Attempts to have a value read as a statement.

    Args:
        texts: How many.
        attempts: Each at every place of a value, in both databases.
        data: How many came back as what they are, or found nothing.
        refused: How many the database refused, where it takes a number.
        rows: Rows of the table, afterwards; a hundred in each.
    """

    texts: int
    attempts: int
    data: int
    refused: int
    rows: tuple[int, ...]


async def inject(url: str) -> Injected:
    """Try every text at every place where a value can stand, in PostgreSQL and in SQLite."""
    counts = {"data": 0, "refused": 0}
    attempts = 0
    rows: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        for address, lists in ((url, True), (_sqlite(Path(folder) / "t.db"), False)):
            for place in _places(lists=lists):
                attempts += len(_HOSTILE)
                async for outcome in _tried(address, place):
                    counts[outcome] += 1
            app = app_of(address, "select count(*) as n from t", one=True)
            async with app.running():
                rows.append((await app.call(request(), timeout_s=10)).value["n"])
    return Injected(len(_HOSTILE), attempts, **counts, rows=tuple(rows))


async def _tried(address: str, place: _Place) -> AsyncIterator[str]:
    """How each text fared: `data`, `refused`; nothing is told of one that was more."""
    app = app_of(address, place.sql, {"read_only": False}, **place.call)
    for text in _HOSTILE:
        try:
            async with app.running():
                value = (await app.call(request(x=place.given(text)), timeout_s=10)).value
        except GatewayError:
            if place.came is None:
                yield "refused"
        else:
            if place.came is not None and value == place.came(text):
                yield "data"


def _sqlite(file: Path) -> str:
    """A database with the same table as PostgreSQL's."""
    with contextlib.closing(sqlite3.connect(file)) as made, made:
        made.execute("create table t(id integer primary key, name text)")
        made.executemany("insert into t values (?, ?)", [(n, f"n{n}") for n in range(1, 101)])
    return f"sqlite:///{file}"


@attrs.frozen
class _Place:
    """Where a value can stand.

    Args:
        sql: A statement with it.
        came: What it gives, if the value is data; `None` if it is to be refused.
        given: What is given for a text.
        call: Further keys.
    """

    sql: str
    came: Callable[[str], Any] | None
    given: Callable[[str], Any] = lambda text: text
    call: Mapping[str, Any] = attrs.field(factory=dict)


def _places(*, lists: bool) -> list[_Place]:
    said = "select cast(:x as text) as said"
    find = "select id from t where name = :x"
    places = [
        _Place(said, lambda text: [{"said": text}]),
        _Place(said, lambda text: [{"said": f"<{text}>"}], call={"parameters": {"x": "<{x}>"}}),
        _Place(find, lambda _: []),
        _Place(f"{find} or name = '{{x}}' or name = ':x'", lambda _: []),
        _Place("select id from t where cast(:x as text) <> cast(:x as text)", lambda _: []),
        _Place(
            "update t set name = :x where id = -1",
            lambda _: {"changed": 0},
            call={"write": True},
        ),
        _Place("select id from t order by id limit :x", None),
    ]
    if lists:
        found = "select id from t where name = any(:x)"
        places.append(_Place(found, lambda _: [], given=lambda text: [text]))
    return places


if __name__ == "__main__":
    with postgresql() as found:
        print(trio.run(inject, found))
