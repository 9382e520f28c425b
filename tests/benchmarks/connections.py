"""Many open connections to one process: what each costs idle and busy, and who is kept waiting."""

from __future__ import annotations

import time
from collections.abc import Sequence

import attrs

from tests.benchmarks.crowd import Outcome, crowd
from tests.benchmarks.measure import Bench, Running, started
from tests.benchmarks.processes import await_quiet, memory_bytes
from tests.benchmarks.scenarios import Ask
from tests.benchmarks.subjects import SERVER, US

__all__ = ["CROWDED", "HANDLER_S", "Held", "hold"]

CROWDED = (SERVER, US, "uvicorn-hello", "hypercorn-hello")
"""The keys of those that take part, us first."""

HANDLER_S = 1.0
_TAKEN_PER_S = 1250
"""Requests that the slowest subject takes in at least: they are held until all are in flight."""

_CALM_S = 0.3
_ACTIVE_SHARE = 0.1
_FIRST_SHARE = 0.02


@attrs.frozen(slots=True, kw_only=True)
class Held:
    """One subject with many connections.

    Args:
        key: Whose.
        count: How many connections.
        idle_bytes: Memory of its processes for each, each having had one answer.
        busy_bytes: For each, with a request in flight on all of them.
        burst: A request to a handler of `HANDLER_S`, on all connections at once.
        steady: A tenth of the connections with a request to that handler in flight, at any time;
            latencies are what came on top of the handler's.
        failed: Requests that failed, of all that were sent.
        asked: All that were sent.
    """

    key: str
    count: int
    idle_bytes: float
    busy_bytes: float
    burst: Outcome
    steady: Outcome
    failed: int
    asked: int


def hold(key: str, at: Bench, count: int, seconds: float) -> Held:
    """Open `count` connections to a subject; see their memory, idle and busy, and their latency.

    Args:
        key: The subject's.
        at: Where.
        count: Connections.
        seconds: How long the steady load lasts.

    Raises:
        RuntimeError: The subject does not start.
    """
    held_s = 2.0 + count / _TAKEN_PER_S
    hello, wait, held = Ask("/constant"), Ask(f"/wait/{HANDLER_S:g}"), Ask(f"/wait/{held_s:g}")
    with started(key, hello, at) as subject:
        _warm_up(subject, at, max(1, int(count * _FIRST_SHARE)), (hello, wait))
        with crowd(subject.port, at.cores.load) as people:
            before = _memory(subject, held_s)
            opened = people.open(count, hello)
            idle = _memory(subject, held_s)
            people.begin_burst(held)
            time.sleep(_CALM_S)
            busy = _memory(subject, held_s)
            held_up = people.end_burst()
            people.begin_burst(wait)
            burst = people.end_burst()
            steady = people.steady(wait, count * _ACTIVE_SHARE / HANDLER_S, seconds)
    outcomes = (opened, held_up, burst, steady)
    return Held(
        key=key,
        count=count,
        idle_bytes=(idle - before) / count,
        busy_bytes=(busy - before) / count,
        burst=_added(burst),
        steady=_added(steady),
        failed=sum(outcome.failed for outcome in outcomes),
        asked=sum(outcome.asked for outcome in outcomes),
    )


def _warm_up(subject: Running, at: Bench, count: int, asks: Sequence[Ask]) -> None:
    """Have it do all of it once with a few: what is made once is no connection's."""
    with crowd(subject.port, at.cores.load) as people:
        people.open(count, asks[0])
        people.begin_burst(asks[1])
        people.end_burst()


def _memory(subject: Running, held_s: float) -> int:
    await_quiet(subject.process, within_s=held_s * 0.8, for_s=_CALM_S)
    return memory_bytes(subject.process)


def _added(outcome: Outcome) -> Outcome:
    """The latencies without the handler's."""
    added = {
        name: getattr(outcome, name) - HANDLER_S * 1e3 for name in ("p50_ms", "p99_ms", "max_ms")
    }
    return attrs.evolve(outcome, **added)
