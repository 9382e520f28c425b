"""Functions that block, in real time: the loop goes on, callers are told in time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from gateway.app import create_app
from gateway.core.errors import DeadlineExceeded
from gateway.core.messages import Context, Request
from gateway.telemetry.events import AbandonedThreadEnded, ThreadAbandoned
from gateway.testing import InMemoryClient
from tests.adapters import functions
from tests.apps import Events
from tests.end_to_end.support import until

pytestmark = pytest.mark.end_to_end

CALLERS = 200
THREADS = 8
BLOCKED_S = 0.3
DEADLINE_S = 3.0
NAP_S = 0.005


async def measure_lag(lags: list[float]) -> None:
    """How much later than asked for a task of the loop runs, again and again."""
    while True:
        start = time.perf_counter()
        await trio.sleep(NAP_S)
        lags.append(time.perf_counter() - start - NAP_S)


def gauge(name: str, value: int) -> bytes:
    """The line of `/metrics` that says so."""
    return f'gateway_{name}{{service="f"}} {float(value)}'.encode()


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


async def test_200_callers_of_a_function_that_blocks_do_not_hold_the_loop(
    record_property: Callable[[str, Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """The bounds are wide, and what the machine stood still is allowed for; the figures are recorded."""
    events = Events()
    app = create_app(
        {
            "services": {"f": {"kind": "python", "module": functions.__name__, "threads": THREADS}},
            "tools": {
                "t": {
                    "deadline": f"{DEADLINE_S:g}s",
                    "input": {"properties": {"seconds": "number"}},
                    "calls": {
                        "r": {
                            "service": "f",
                            "function": "block",
                            "arguments": {"seconds": "{seconds}"},
                        }
                    },
                }
            },
        },
        listeners=[events.append],
    )
    lags: list[float] = []
    late: list[float] = []
    answered: list[float] = []

    async def call(seconds: float) -> None:
        start = time.perf_counter()
        answer = await InMemoryClient(app).request("POST", "/tools/t", json={"seconds": seconds})
        took = time.perf_counter() - start
        if answer.status == 200:
            answered.append(took)
        else:
            assert (answer.status, answer.json()["code"]) == (504, "deadline_exceeded")
            late.append(took - DEADLINE_S)

    async with app.running(), trio.open_nursery() as nursery:
        nursery.start_soon(measure_lag, lags)
        async with trio.open_nursery() as callers:
            # One is abandoned for certain; of the others those that the deadline finds in the middle.
            callers.start_soon(call, DEADLINE_S + 1)
            await wait_all_tasks_blocked()
            for _ in range(CALLERS - 1):
                callers.start_soon(call, BLOCKED_S)
        # More than there are threads may be abandoned in all, one after the other's end.
        abandoned = len(events.of(ThreadAbandoned))
        running = abandoned - len(events.of(AbandonedThreadEnded))
        assert abandoned > 0
        assert running <= THREADS
        assert gauge("abandoned_threads", running) in app.metrics.render()[0]
        await until(lambda: len(events.of(AbandonedThreadEnded)) == abandoned)
        text = app.metrics.render()[0]
        assert gauge("abandoned_threads", 0) in text
        assert gauge("threads_abandoned_total", abandoned) in text
        nursery.cancel_scope.cancel()

    figures = {
        "lag_p50_ms": round(percentile(lags, 50) * 1000, 2),
        "lag_p99_ms": round(percentile(lags, 99) * 1000, 2),
        "lag_max_ms": round(max(lags) * 1000, 2),
        "late_p50_ms": round(statistics.median(late) * 1000, 2),
        "late_max_ms": round(max(late) * 1000, 2),
        "answered": len(answered),
        "abandoned": abandoned,
    }
    for name, value in figures.items():
        record_property(name, value)
    with capsys.disabled():
        print(f"\n{figures}")
    assert len(answered) + len(late) == CALLERS
    assert len(answered) >= THREADS
    # A loop that a function holds lags for most of its time; a few stalls are the machine's.
    assert percentile(lags, 50) < BLOCKED_S / 4
    stall = max(lags)
    assert max(answered) < DEADLINE_S + 2 + stall
    assert statistics.median(late) < 0.5 + stall
    assert max(late) < 2 + stall


async def test_a_caller_in_line_is_told_at_its_deadline() -> None:
    """It never had a thread, and leaves none behind."""
    gate = functions.GATES["line"] = functions.Gate()
    events = Events()
    app = create_app(
        {
            "services": {"f": {"kind": "python", "module": functions.__name__, "threads": 1}},
            "tools": {
                "t": {
                    "calls": {
                        "r": {"service": "f", "function": "held", "arguments": {"gate": "line"}}
                    }
                }
            },
        },
        listeners=[events.append],
    )

    request = Request("t", {}, Context(request_id="r"))
    async with app.running():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.call, request)
            await until(lambda: gate.inside)
            start = trio.current_time()
            with pytest.raises(DeadlineExceeded):
                await app.call(request, timeout_s=0.1)
            assert 0.1 <= trio.current_time() - start < 5  # the gate would hold it for 10
            assert not events.of(ThreadAbandoned)
            nursery.cancel_scope.cancel()
        assert len(events.of(ThreadAbandoned)) == 1
        gate.opened.set()
        await until(lambda: events.of(AbandonedThreadEnded))
    assert gate.ended == 1
