"""A real PostgreSQL behind a tool: types, bounds, what is stopped, what is left."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.app import Gateway, create_app
from gateway.core.errors import BadReply, DeadlineExceeded, GatewayError, Rejected, Unreachable
from tests.apps import request
from tests.end_to_end.processes import free_port
from tests.support import require

pytestmark = pytest.mark.end_to_end

STOPPED = int(os.environ.get("POSTGRES_STOPPED", "10"))


def programs() -> Path | None:
    """Where `initdb` and `postgres` are, if they are."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    kept = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return kept[-1].parent if kept else None


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    where = programs()
    if where is None:
        require("PostgreSQL's initdb is not here")
    # It does not run as root: then as whoever the package made for it.
    options: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with tempfile.TemporaryDirectory(prefix="gateway-pg-") as folder:
        if options:
            os.chown(folder, options["user"], options["group"])
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
        data = f"{folder}/data"
        trusting = [where / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "-N"]
        subprocess.run(trusting, check=True, **quiet, **options)
        port = free_port()
        settings = {
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": folder,
            "fsync": "off",
        }
        told = [f"-c{name}={value}" for name, value in settings.items()]
        server = subprocess.Popen([where / "postgres", "-D", data, *told], **quiet, **options)
        try:
            found = f"postgresql://postgres@127.0.0.1:{port}/postgres"
            _await(found, server)
            yield found
        finally:
            server.terminate()
            server.wait(20)


def _await(url: str, server: subprocess.Popen[bytes]) -> None:
    import psycopg  # noqa: PLC0415 - an extra

    end = time.monotonic() + 20
    while True:
        assert server.poll() is None, "PostgreSQL has ended"
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("create table t(id int primary key, name text)")
                connection.execute(
                    "insert into t select n, 'n' || n from generate_series(1, 100) n"
                )
                return
        except psycopg.OperationalError:
            assert time.monotonic() < end
            time.sleep(0.05)


def app_of(url: str, sql: str, service: Any = None, /, **call: Any) -> Gateway:
    return create_app(
        {
            "services": {"s": {"kind": "sql", "url": url, **(service or {})}},
            "tools": {
                "t": {
                    "input": {"properties": {"x": {}}},
                    "output": "a",
                    "calls": {"a": {"service": "s", "sql": sql, **call}},
                }
            },
        }
    )


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


async def test_a_server_that_is_not_there_is_known_at_once() -> None:
    start = time.monotonic()
    app = app_of(f"postgresql://u:s3cret@127.0.0.1:{free_port()}/x", "select 1")
    with pytest.raises(Unreachable) as caught:
        await asked(app)
    assert time.monotonic() - start < 3
    assert "s3cret" not in str(caught.value.problem())


async def test_a_statement_is_stopped_at_the_server(url: str) -> None:
    sleeping = app_of(url, "select pg_sleep(30)", {"threads": 2})
    seen = app_of(
        url,
        "select count(*) as n from pg_stat_activity where state <> 'idle' and query like '%pg_sleep(30)%'"
        " and pid <> pg_backend_pid()",
        one=True,
    )
    late, gone = [], []
    async with sleeping.running(), seen.running():
        for _ in range(STOPPED):
            start = time.monotonic()
            with pytest.raises(DeadlineExceeded):
                await sleeping.call(request(), timeout_s=0.3)
            late.append(time.monotonic() - start)
            with trio.fail_after(10):
                while (await seen.call(request())).value["n"]:
                    await trio.sleep(0.005)
            gone.append(time.monotonic() - start - late[-1])
        limiter: Any = sleeping._built.adapters["s"]._limiter  # type: ignore[attr-defined]
        with trio.fail_after(5):
            while limiter.borrowed_tokens:
                await trio.sleep(0.001)
    print({"late_max_s": round(max(late), 3), "gone_max_s": round(max(gone), 3)})
    assert max(late) < 1.5


async def test_clients_that_leave_leave_nothing(url: str) -> None:
    app = app_of(url, "select id, pg_sleep(0.002) from t where id <= :x", {"threads": 4})
    idle = app_of(
        url, "select count(*) as n from pg_stat_activity where state like 'idle in%'", one=True
    )

    async def one(number: int) -> None:
        with trio.move_on_after(number % 7 * 0.004), contextlib.suppress(GatewayError):
            await app.call(request(x=number % 5), timeout_s=2)

    async with app.running(), idle.running():
        for _ in range(5):
            async with trio.open_nursery() as nursery:
                for number in range(40):
                    nursery.start_soon(one, number)
        with trio.fail_after(10):
            while (await idle.call(request())).value["n"]:
                await trio.sleep(0.01)
        assert len((await app.call(request(x=5))).value) == 5
