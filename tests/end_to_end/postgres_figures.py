"""What `kind = "sql"` does to a real PostgreSQL, in figures.

`python -m tests.end_to_end.postgres_figures leave 2000`, `… stop 100`, `… read 10000 20`. What they said
stands in docs/reference/adapters/sql.md.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import random
import statistics
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from gateway import Gateway, create_app
from gateway.core.errors import BadReply, DeadlineExceeded
from tests.apps import request
from tests.end_to_end.postgres import postgresql
from tests.end_to_end.support import leaving, until

__all__ = ["Left", "Read", "Stopped", "app_of", "leave", "read", "stop"]

_SEED = 7
_DEADLINE_S = 0.3
_MIXED = (
    "select name from t where id = :x",
    "select id, name from t where id <= :x order by name",
    "select count(*) as n from t a, t b where a.id < b.id + :x",
    "select n, repeat('x', 200) as text from generate_series(1, 500) n where n > :x",
    "select id, pg_sleep(0.002) as slept from t where id <= :x",
)


def app_of(url: str, sql: str, service: Any = None, /, **call: Any) -> Gateway:
    """A gateway whose tool `t` runs one statement, with the inputs `x` and `y`."""
    return create_app(
        {
            "services": {"s": {"kind": "sql", "url": url, **(service or {})}},
            "tools": {
                "t": {
                    "input": {"properties": {"x": {}, "y": {}}},
                    "output": "a",
                    "calls": {"a": {"service": "s", "sql": sql, **call}},
                }
            },
        }
    )


def taken(app: Gateway) -> int:
    """Places that a service's statements hold."""
    adapter: Any = app._built.adapters["s"]
    return int(adapter._limiter.borrowed_tokens)


class _Watch:
    """What the server itself says of connections."""

    def __init__(self, url: str) -> None:
        import psycopg  # noqa: PLC0415 - an extra

        self._connection = psycopg.connect(url, autocommit=True)

    def _states(self, name: str) -> list[tuple[str, str]]:
        return self._connection.execute(
            "select state, query from pg_stat_activity where application_name = %s", [name]
        ).fetchall()

    async def states(self, name: str) -> list[tuple[str, str]]:
        """The state and the statement of each connection of an application."""
        return await trio.to_thread.run_sync(self._states, name)

    async def left(self, name: str, may_be: Callable[[str], bool]) -> list[str]:
        """The states of an application's connections, once all of them may be, or after 5 s."""
        end = trio.current_time() + 5
        while True:
            states = [state for state, _ in await self.states(name)]
            if all(map(may_be, states)) or trio.current_time() > end:
                return states
            await trio.sleep(0.01)

    def close(self) -> None:
        self._connection.close()


@asynccontextmanager
async def _watching(url: str) -> AsyncGenerator[_Watch]:
    watch = await trio.to_thread.run_sync(_Watch, url)
    try:
        yield watch
    finally:
        watch.close()


# ---------------------------------------------------------------- clients that leave


@attrs.frozen
class Left:
    """What is left after clients that left.

    Args:
        reads: How many were asked for.
        answered: How many of them were answered; the clients of the others left.
        seconds: How long it took.
        most: Connections at once, at most, as the server saw it; ten may be.
        in_transaction: Connections left idle in a transaction.
        at_work: Connections left with a statement under way.
        connections: Connections left once the gateway has closed.
        taken: Places left taken.
    """

    reads: int
    answered: int
    seconds: float
    most: int
    in_transaction: int
    at_work: int
    connections: int
    taken: int


async def leave(url: str, reads: int) -> Left:
    """Mixed reads, 50 at once over ten connections; of every two clients one leaves at any time."""
    chance = random.Random(_SEED)
    answered = most = 0
    start = time.monotonic()
    named = f"{url}?application_name=leaving"
    apps = [app_of(named, sql, {"threads": 2}) for sql in _MIXED]
    waiting = [(chance.choice(apps), chance.random()) for _ in range(reads)]

    async def ask() -> None:
        nonlocal answered
        while waiting:
            app, dice = waiting.pop()
            asked = partial(app.call, request(x=int(dice * 20)), timeout_s=30)
            if await leaving(asked, dice * 0.06 if dice < 0.5 else math.inf):
                answered += 1

    async def look() -> None:
        nonlocal most
        while True:
            most = max(most, len(await watch.states("leaving")))
            await trio.sleep(0.02)

    async with _watching(url) as watch, contextlib.AsyncExitStack() as stack:
        for app in apps:
            await stack.enter_async_context(app.running())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            async with trio.open_nursery() as clients:
                for _ in range(50):
                    clients.start_soon(ask)
            seconds = time.monotonic() - start
            with contextlib.suppress(trio.TooSlowError):
                await until(lambda: not any(map(taken, apps)))
            nursery.cancel_scope.cancel()
        states = await watch.left("leaving", lambda state: state == "idle")
        held = sum(map(taken, apps))
        await stack.aclose()
        return Left(
            reads=reads,
            answered=answered,
            seconds=round(seconds, 1),
            most=most,
            in_transaction=sum(state.startswith("idle in") for state in states),
            at_work=states.count("active"),
            connections=len(await watch.left("leaving", lambda _: False)),
            taken=held,
        )


# ---------------------------------------------------------------- statements that are stopped


@attrs.frozen
class Stopped:
    """Statements of 30 s under a deadline of 300 ms.

    Args:
        times: How many.
        told: How many were told `deadline_exceeded`.
        late_ms: After the deadline, the median and the latest.
        gone_ms: After that the server had the statement no more, the median and the latest.
        taken: Places left taken.
    """

    times: int
    told: int
    late_ms: tuple[float, float]
    gone_ms: tuple[float, float]
    taken: int


async def stop(url: str, times: int) -> Stopped:
    """Ask for `select pg_sleep(30)` with 300 ms, again and again."""
    app = app_of(f"{url}?application_name=stopped", "select pg_sleep(30)", {"threads": 2})
    late: list[float] = []
    gone: list[float] = []
    told = 0
    async with app.running(), _watching(url) as watch:
        for _ in range(times):
            start = time.monotonic()
            try:
                await app.call(request(), timeout_s=_DEADLINE_S)
            except DeadlineExceeded:
                told += 1
            late.append(time.monotonic() - start - _DEADLINE_S)
            with trio.fail_after(20):
                while any(state == "active" for state, _ in await watch.states("stopped")):
                    await trio.sleep(0.002)
            gone.append(time.monotonic() - start - _DEADLINE_S - late[-1])
        await until(lambda: not taken(app))
        return Stopped(times, told, _median_and_most(late), _median_and_most(gone), taken(app))


def _median_and_most(seconds: list[float]) -> tuple[float, float]:
    return round(statistics.median(seconds) * 1000, 1), round(max(seconds) * 1000, 1)


# ---------------------------------------------------------------- many rows


@attrs.frozen
class Read:
    """Large replies.

    Args:
        rows: Of a statement that is read to its end.
        columns: Of each row, 20 characters each.
        whole_ms: How long that took, at the median.
        whole_mib: What the process had grown by at most, in thirty of these after the first three.
        refused: How many of thirty statements of a hundred times the rows were refused, for being
            over a tenth of them.
        refused_ms: How long that took, at the median.
        refused_mib: What the process had grown by at most.
        of_bytes: How many were, for being over a tenth of the bytes.
    """

    rows: int
    columns: int
    whole_ms: float
    whole_mib: float
    refused: int
    refused_ms: float
    refused_mib: float
    of_bytes: int


async def read(url: str, rows: int, columns: int, times: int = 30) -> Read:
    """Read many rows: all of them, and of far more than may be."""
    listed = ", ".join(f"lpad(n::text, 20, '0') as column_{at}" for at in range(columns))
    whole = f"select {listed} from generate_series(1, {rows}) n"
    endless = f"select {listed} from generate_series(1, {rows * 100}) n"
    size = rows * columns * 20
    room = {"max_rows": rows * 100, "max_reply": f"{size * 400}B"}

    async def repeated(sql: str, bounds: dict[str, Any]) -> tuple[float, float, list[str]]:
        took: list[float] = []
        refused: list[str] = []
        app = app_of(url, sql, {**room, **bounds})

        async def ask() -> None:
            start = time.monotonic()
            try:
                await app.call(request(), timeout_s=60)
            except BadReply as error:
                refused.append(error.detail)  # its traceback holds the rows
            took.append(time.monotonic() - start)

        async with app.running():
            for _ in range(3):
                await ask()
            async with trio.open_nursery() as nursery:
                sizes = [_resident_mib()]
                nursery.start_soon(_measure, sizes)
                for _ in range(times):
                    await ask()
                nursery.cancel_scope.cancel()
        return _median_and_most(took)[0], round(max(sizes) - sizes[0], 1), refused[3:]

    whole_ms, whole_mib, none = await repeated(whole, {})
    assert not none
    refused_ms, refused_mib, refused = await repeated(endless, {"max_rows": max(1, rows // 10)})
    *_, of_bytes = await repeated(endless, {"max_reply": f"{size // 10}B"})
    return Read(
        rows=rows,
        columns=columns,
        whole_ms=whole_ms,
        whole_mib=whole_mib,
        refused=sum("rows" in detail for detail in refused),
        refused_ms=refused_ms,
        refused_mib=refused_mib,
        of_bytes=sum("bytes" in detail for detail in of_bytes),
    )


async def _measure(sizes: list[float]) -> None:
    while True:
        await trio.sleep(0.002)
        sizes.append(_resident_mib())


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


# ---------------------------------------------------------------- the command


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.end_to_end.postgres_figures", description=__doc__
    )
    measures = {"leave": leave, "stop": stop, "read": read}
    parser.add_argument("what", choices=measures)
    parser.add_argument("counts", nargs="+", type=int, help="reads; times; rows and columns")
    options = parser.parse_args()
    with postgresql() as url:
        print(trio.run(measures[options.what], url, *options.counts))


if __name__ == "__main__":
    main()
