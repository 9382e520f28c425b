"""A real PostgreSQL behind a tool: types, bounds, what is stopped, what is left."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.app import Gateway, create_app
from gateway.core.errors import (
    BadReply,
    DeadlineExceeded,
    GatewayError,
    InvalidArguments,
    Rejected,
    Unreachable,
)
from tests.apps import request
from tests.end_to_end.postgres import postgresql, programs
from tests.end_to_end.postgres_figures import app_of, leave, read, stop
from tests.end_to_end.processes import free_port
from tests.end_to_end.sql_injection import inject
from tests.support import require

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if programs() is None:
        require("PostgreSQL's initdb is not here")
    with postgresql() as found:
        yield found


async def asked(app: Gateway, timeout_s: float = 10, /, **arguments: Any) -> Any:
    async with app.running():
        return (await app.call(request(**arguments), timeout_s=timeout_s)).value


async def test_rows_are_json(url: str) -> None:
    sql = """
        select 1.50::numeric as dec, '2026-01-02'::date as day, '{"a": [1]}'::jsonb as doc,
            '\\x01ff'::bytea as raw, array[1, 2] as many, 'NaN'::float8 as nan, null as no, true as yes,
            'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid as id, interval '90 s' as span,
            '2026-01-02T03:04:05Z'::timestamptz at time zone 'utc' as at, 5 % 3 as rest, :x::text as said
    """
    (row,) = await asked(app_of(url, sql), x="50% 'x' :y")
    assert row == {
        "dec": "1.50",
        "day": "2026-01-02",
        "doc": {"a": [1]},
        "raw": "Af8=",
        "many": [1, 2],
        "nan": "nan",
        "no": None,
        "yes": True,
        "id": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "span": 90.0,
        "at": "2026-01-02T03:04:05",
        "rest": 2,
        "said": "50% 'x' :y",
    }


async def test_a_time_that_python_has_not_is_its_text(url: str) -> None:
    sql = """
        select timestamp 'infinity' as never, date '-infinity' as before, date '0044-03-15 BC' as ides,
            timestamptz '10000-01-01Z' at time zone 'utc' as late, array[date 'infinity', '2026-01-02'] as days
    """
    (row,) = await asked(app_of(url, sql))
    assert row == {
        "never": "infinity",
        "before": "-infinity",
        "ides": "0044-03-15 BC",
        "late": "10000-01-01 00:00:00",
        "days": ["infinity", "2026-01-02"],
    }


@pytest.mark.parametrize("x", ["\0", ["a", "b\0"]])
async def test_a_text_that_it_cannot_have_is_the_callers(url: str, x: Any) -> None:
    with pytest.raises(InvalidArguments, match="null character"):
        await asked(app_of(url, "select :x as x"), x=x)


@pytest.mark.parametrize("x", ["'; drop table t; --", "\\'; drop table t; --", "$$", '"', "%s"])
async def test_what_is_asked_with_is_data(url: str, x: str) -> None:
    assert await asked(app_of(url, "select id from t where name = :x"), x=x) == []
    assert await asked(app_of(url, "select count(*) as n from t", one=True)) == {"n": 100}


@pytest.mark.parametrize(
    ("sql", "keys", "kind", "says"),
    [
        ("delete from t", ({}, {}), Rejected, "may not"),
        ("delete from t", ({"read_only": False}, {}), Rejected, "may not"),
        ("select * from nowhere", ({}, {}), BadReply, "nowhere"),
        ("select 1 / 0", ({}, {}), Rejected, "does not fit"),
        ("notify news", ({}, {}), BadReply, "didn't produce a result"),
        (
            "select (repeat('[', 2000) || repeat(']', 2000))::json as x",
            ({}, {}),
            BadReply,
            "nested too deeply",
        ),
        (
            "insert into t values (1)",
            ({"read_only": False}, {"write": True}),
            Rejected,
            "duplicate",
        ),
        ("select n from generate_series(1, 10000000) n", ({}, {}), BadReply, "over 1000 rows"),
    ],
)
async def test_failures_have_their_codes(
    url: str, sql: str, keys: Any, kind: type[GatewayError], says: str
) -> None:
    service, call = keys
    with pytest.raises(kind, match=says):
        await asked(app_of(url, sql, service, **call))


async def test_what_a_read_sets_for_its_session_ends_with_it(url: str) -> None:
    sql = (
        "select current_setting('work_mem') as before, set_config('work_mem', '78MB', false) as set"
    )
    app = app_of(url, sql, {"threads": 1}, one=True)
    async with app.running():
        found = [(await app.call(request())).value["before"] for _ in range(3)]
    assert "78MB" not in found


LOCKS = "select count(*)::int as n from pg_locks where locktype = 'advisory'"
WRITES: Any = ({"threads": 1, "read_only": False}, {"write": True})


@pytest.mark.parametrize(
    ("sql", "keys", "left"),
    [
        ("select pg_advisory_lock(1)::text as x", ({}, {}), LOCKS),
        ("select pg_try_advisory_lock_shared(1, 2) as x", ({}, {}), LOCKS),
        ("select pg_advisory_lock(1), 1 / (random() * 0)::int", ({}, {}), LOCKS),
        ("select pg_advisory_lock(1), pg_sleep(30)", ({}, {}), LOCKS),
        ("select pg_try_advisory_lock(1) as x", WRITES, LOCKS),
        ("do $$ begin perform pg_advisory_lock(1); end $$", WRITES, LOCKS),
        (
            "set work_mem = '78MB'",
            WRITES,
            "select (current_setting('work_mem') = '78MB')::int as n",
        ),
        (
            "select set_config('role', 'pg_monitor', false)",
            WRITES,
            "select (current_user = 'pg_monitor')::int as n",
        ),
        ("listen news", WRITES, "select count(*)::int as n from pg_listening_channels()"),
        (
            "create temp table mine as select 1 as x",
            WRITES,
            "select count(*)::int as n from pg_class where relname = 'mine'",
        ),
        (
            "prepare mine as select 1",
            ({}, {}),
            "select count(*)::int as n from pg_prepared_statements",
        ),
    ],
)
async def test_what_a_statement_does_to_its_session_is_undone(
    url: str, sql: str, keys: Any, left: str
) -> None:
    service, call = keys
    app = create_app(
        {
            "services": {"s": {"kind": "sql", "url": url, "threads": 1, **service}},
            "tools": {
                "t": {"calls": {"a": {"service": "s", "sql": sql, **call}}},
                "left": {"calls": {"a": {"service": "s", "sql": left, "one": True}}},
                "pid": {
                    "calls": {
                        "a": {"service": "s", "sql": "select pg_backend_pid() as n", "one": True}
                    }
                },
            },
        }
    )

    async def number(tool: str) -> int:
        return int((await app.call(request(tool), timeout_s=10)).value["a"]["n"])

    async with app.running():
        before = await number("pid")
        with contextlib.suppress(BadReply, DeadlineExceeded, Rejected):
            await app.call(request(), timeout_s=1)
        assert await number("left") == 0
        if "pg_sleep" not in sql:  # which may be stopped once more in the middle of it
            assert await number("pid") == before


async def test_statements_that_psycopg_prepared_are_prepared_again(url: str) -> None:
    app = create_app(
        {
            "services": {"s": {"kind": "sql", "url": url, "threads": 1, "read_only": False}},
            "tools": {
                "t": {
                    "input": {"properties": {"x": {}}},
                    "calls": {
                        "a": {
                            "service": "s",
                            "sql": "update t set name = :x where id = -1",
                            "write": True,
                        }
                    },
                },
                "forget": {
                    "calls": {"a": {"service": "s", "sql": "set work_mem = '5MB'", "write": True}}
                },
            },
        }
    )
    async with app.running():
        for _ in range(3):
            for _ in range(8):
                assert (await app.call(request(x="a"))).value == {"a": {"changed": 0}}
            await app.call(request("forget"))


async def test_a_server_that_is_not_there_is_known_at_once() -> None:
    start = time.monotonic()
    app = app_of(f"postgresql://u:s3cret@127.0.0.1:{free_port()}/x", "select 1")
    with pytest.raises(Unreachable) as caught:
        await asked(app)
    assert time.monotonic() - start < 8
    assert "s3cret" not in str(caught.value.problem())


async def test_a_statement_is_stopped_at_the_server(url: str) -> None:
    figures = await stop(url, 10)
    assert (figures.told, figures.taken) == (10, 0), figures
    for median_ms, most_ms in (figures.late_ms, figures.gone_ms):
        assert median_ms < 1000, figures
        assert most_ms < 5000, figures  # the machine may stand still for a while


async def test_clients_that_leave_leave_nothing(url: str) -> None:
    figures = await leave(url, 300)
    assert 0 < figures.answered < 300, figures
    assert figures.most <= 10, figures
    left = (figures.in_transaction, figures.at_work, figures.connections, figures.taken)
    assert left == (0, 0, 0, 0), figures


async def test_many_rows_are_read_within_bounds_and_leave_no_memory_taken(url: str) -> None:
    figures = await read(url, 10_000, 20, times=5)
    assert (figures.refused, figures.of_bytes) == (5, 5), figures
    # A thousand rows are 2 MB as objects; the million of the statement would be 2 GB.
    assert figures.refused_mib < 20, figures


async def test_a_value_is_never_a_statement(url: str) -> None:
    figures = await inject(url)
    assert figures.attempts >= 500, figures
    assert figures.data + figures.refused == figures.attempts, figures
    assert figures.refused == 2 * figures.texts, figures
    assert figures.rows == (100, 100), figures
