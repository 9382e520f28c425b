"""SQLite behind a tool: rows as JSON, bounds, what may not be, time."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.app import create_app
from gateway.config.problems import ConfigError
from gateway.core.errors import BadReply, DeadlineExceeded, GatewayError, Overloaded, Rejected
from tests.apps import request


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.db"
    with contextlib.closing(sqlite3.connect(path)) as made:
        made.executescript(
            "create table t(id integer primary key, name text, raw blob, part real);"
            "create table p(id integer references t(id));"
        )
        made.executemany(
            "insert into t values (?, ?, ?, ?)",
            [(n, f"n{n}", bytes([n]), n / 2) for n in range(20)],
        )
        made.commit()
    return path


def written(file: Path, sql: str, service: Any = None, **call: Any) -> dict[str, Any]:
    names = {"x": {}, "y": {}}
    return {
        "services": {"s": {"kind": "sql", "url": f"sqlite:///{file}", **(service or {})}},
        "tools": {
            "t": {
                "input": {"properties": names},
                "output": "a",
                "calls": {"a": {"service": "s", "sql": sql, **call}},
            }
        },
    }


async def asked(document: dict[str, Any], timeout_s: float = 5, /, **arguments: Any) -> Any:
    app = create_app(document)
    async with app.running():
        return (await app.call(request(**arguments), timeout_s=timeout_s)).value


@pytest.mark.parametrize(
    ("sql", "arguments", "rows"),
    [
        (
            "select * from t where id = :x",
            {"x": 1},
            [{"id": 1, "name": "n1", "raw": "AQ==", "part": 0.5}],
        ),
        (
            "select name from t where id < :x order by id",
            {"x": 2},
            [{"name": "n0"}, {"name": "n1"}],
        ),
        ("select id from t where name = :x", {"x": "' or 1=1 --"}, []),
        ("select :x as a, :y as b", {"x": [1, {"k": None}]}, [{"a": '[1,{"k":null}]', "b": None}]),
        (
            "select 9e999 as inf, null as no, 1 = 1 as yes",
            {},
            [{"inf": "inf", "no": None, "yes": 1}],
        ),
        ("select :x as big", {"x": 2**70}, [{"big": str(2**70)}]),
    ],
)
async def test_rows_are_objects(
    file: Path, sql: str, arguments: dict[str, Any], rows: list[Any]
) -> None:
    assert await asked(written(file, sql), **arguments) == rows


async def test_one_is_the_row_or_null(file: Path) -> None:
    sql = "select id from t where id between :x and :y"
    assert await asked(written(file, sql, one=True), x=3, y=3) == {"id": 3}
    assert await asked(written(file, sql, one=True), x=99, y=99) is None
    with pytest.raises(BadReply, match="single row"):
        await asked(written(file, sql, one=True), x=3, y=4)


async def test_parameters_may_be_named_apart_from_the_inputs(file: Path) -> None:
    sql = "select name from t where id = :number"
    document = written(file, sql, parameters={"number": "{x}"}, one=True)
    assert await asked(document, x=2) == {"name": "n2"}


@pytest.mark.parametrize(
    ("sql", "kind", "says"),
    [
        ("select * from nowhere", BadReply, "no such table"),
        ("select 1 as a, 2 as a", BadReply, "two columns are called 'a'"),
        ("delete from t", Rejected, "may not"),
        ("pragma writable_schema = 1", Rejected, "may not"),
        ("attach 'other.db' as other", Rejected, "may not"),
        ("select load_extension('x')", Rejected, "may not"),
        ("create table z(a)", Rejected, "may not"),
    ],
)
async def test_what_may_not_be_or_is_wrong_fails(
    file: Path, sql: str, kind: type[GatewayError], says: str
) -> None:
    with pytest.raises(kind, match=says):
        await asked(written(file, sql))
    assert len(await asked(written(file, "select id from t"))) == 20


async def test_writes_need_a_yes_on_both_sides(file: Path) -> None:
    sql = "insert into t(id, name) values (:x, 'new') returning id"
    with pytest.raises(ConfigError, match="read only"):
        create_app(written(file, sql, write=True))
    with pytest.raises(Rejected, match="may not: the call does not say write = true"):
        await asked(written(file, sql, {"read_only": False}), x=50)
    open_to_all = {"read_only": False}
    assert await asked(written(file, sql, open_to_all, write=True), x=50) == [{"id": 50}]
    update = "update t set name = 'z' where id >= :x"
    assert await asked(written(file, update, open_to_all, write=True), x=10) == {"changed": 11}
    with pytest.raises(Rejected, match="UNIQUE") as caught:
        await asked(written(file, sql, open_to_all, write=True), x=1)
    assert caught.value.status == 409
    with pytest.raises(Rejected, match="FOREIGN KEY"):
        await asked(written(file, "insert into p values (:x)", open_to_all, write=True), x=12345)
    with pytest.raises(Rejected, match="may not: rows are written, and nothing else"):
        await asked(written(file, "drop table t", open_to_all, write=True))


@pytest.mark.parametrize(
    "sql",
    ["select id from t", "select id as a, id as a from t", "select zeroblob(9000000), id from t"],
)
async def test_a_reply_that_is_refused_keeps_no_lock(file: Path, sql: str) -> None:
    """One that was not read to its end would hold off all who write, other programs too."""
    document = written(file, sql, {"max_rows": 5})
    app = create_app(document)
    async with app.running():
        for _ in range(3):
            with pytest.raises(BadReply):
                await app.call(request(), timeout_s=5)
        with contextlib.closing(sqlite3.connect(file, timeout=0)) as other, other:
            other.execute("insert into t(id) values (77)")


async def test_who_reads_holds_up_a_commit_and_fails_it_not(file: Path) -> None:
    """A reader of another program, who is done soon: its lock is waited for."""
    reader = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    try:
        reader.execute("begin")
        reader.execute("select * from t").fetchone()

        async def be_done() -> None:
            await trio.sleep(0.3)
            reader.execute("rollback")
            reader.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(be_done)
            document = written(
                file, "insert into t(id) values (:x)", {"read_only": False}, write=True
            )
            assert await asked(document, x=50) == {"changed": 1}
    finally:
        reader.close()


async def test_replies_are_bounded(file: Path) -> None:
    with pytest.raises(BadReply, match="over 5 rows"):
        await asked(written(file, "select * from t", max_rows=5))
    assert len(await asked(written(file, "select * from t", max_rows=20))) == 20
    with pytest.raises(BadReply, match="over 1024 bytes"):
        await asked(written(file, "select printf('%2000s', id) as a from t", {"max_reply": "1KiB"}))


async def test_a_statement_is_stopped_at_the_deadline(file: Path) -> None:
    endless = "with recursive c(x) as (select 1 union all select x + 1 from c) select max(x) from c"
    app = create_app(written(file, endless, {"threads": 1}))
    async with app.running():
        for _ in range(3):  # its one thread is free again soon: it was stopped
            start = time.monotonic()
            with pytest.raises(DeadlineExceeded):
                await app.call(request(), timeout_s=0.1)
            assert time.monotonic() - start < 5
        limiter: Any = app._built.adapters["s"]._limiter  # type: ignore[attr-defined]
        with trio.fail_after(30):
            while limiter.borrowed_tokens:
                await trio.sleep(0.001)


async def test_another_that_writes_is_waited_for_until_the_deadline(file: Path) -> None:
    sql = "update t set name = 'w'"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises((Overloaded, DeadlineExceeded)):
            await asked(written(file, sql, {"read_only": False}, write=True), 0.2)
        other.execute("rollback")
    assert await asked(written(file, sql, {"read_only": False}, write=True)) == {"changed": 20}


@pytest.mark.parametrize(
    ("service", "call", "says"),
    [
        ({"url": "mysql://x/y"}, {}, "sqlite:///data.db"),
        ({"url": "sqlite://x"}, {}, "three slashes"),
        ({"url": "sqlite://"}, {}, "threads = 1"),
        ({}, {"sql": "select 1; select 2"}, "one statement"),
        ({}, {"sql": "select :a", "parameters": {"b": 1}}, ":a is none of parameters"),
        ({}, {"sql": "select :x, :z"}, "a.parameters: missing, and 'z' is no input of the tool"),
        ({}, {"sql": "select ?"}, r"tools.t.calls.a.sql: \? is filled in nowhere"),
        ({}, {"sql": "select '?', 1 from {t}"}, r"a.sql: \{ is filled in nowhere"),
    ],
)
def test_mistakes_of_the_file_are_told(
    file: Path, service: dict[str, Any], call: dict[str, Any], says: str
) -> None:
    sql = call.pop("sql", "select 1")
    with pytest.raises(ConfigError, match=says):
        create_app(written(file, sql, service, **call))


async def test_a_database_that_is_not_there_keeps_the_gateway_from_opening(tmp_path: Path) -> None:
    app = create_app(written(tmp_path / "none.db", "select 1"))
    with pytest.raises(ValueError, match=r"services\.s\.url: expected a database that is there"):
        async with app.running():
            pass


async def test_a_database_in_memory_has_one_connection() -> None:
    document = written(Path("x"), "select :x as a", one=True)
    document["services"]["s"] = {"kind": "sql", "url": "sqlite://", "threads": 1}
    app = create_app(document)
    async with app.running():
        for number in range(3):
            assert (await app.call(request(x=number))).value == {"a": number}
