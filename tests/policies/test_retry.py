"""Retries: what may be, while it can help, and no more of them than the budget has."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from gateway.core.errors import (
    BadReply,
    DeadlineExceeded,
    GatewayError,
    Overloaded,
    Rejected,
    Unreachable,
)
from gateway.core.messages import Progress
from gateway.core.service import discard
from gateway.telemetry.events import Retried, RetryWithheld
from gateway.testing import ScriptedService
from tests.apps import request
from tests.policies.stacks import READ, WRITE, outcomes_of, stacked


@pytest.mark.parametrize(
    ("error", "on", "attempts"),
    [
        (Unreachable("x"), None, 3),
        (BadReply("x", service_status=503), None, 3),
        (BadReply("x", service_status=500), None, 1),
        (BadReply("x"), None, 3),
        (DeadlineExceeded("x"), None, 3),
        (Rejected("x", service_status=404), None, 1),
        (Rejected("x", service_status=429), [429], 3),
        (Rejected("x", service_status=429), [503], 1),
        (Rejected("x", service_status=404), ["rejected"], 3),
        (Overloaded("a limit of the gateway's own"), None, 1),
        (Overloaded("the same"), ["overloaded"], 3),
        (ValueError("a bug"), None, 1),
    ],
    ids=repr,
)
async def test_what_is_tried_again(
    autojump_clock: MockClock, error: Exception, on: list[Any] | None, attempts: int
) -> None:
    inner = ScriptedService().fail(error)
    async with stacked(retry={} if on is None else {"on": on}) as stack:
        with pytest.raises(type(error)):
            await stack.around(inner)(request(), discard)
    assert len(inner.requests) == attempts
    assert [event.attempt for event in stack.events.of(Retried)] == list(range(2, attempts + 1))


async def test_the_first_success_is_the_answer(autojump_clock: MockClock) -> None:
    inner = ScriptedService().fail(Unreachable("x")).fail(Unreachable("y")).reply(7)
    async with stacked(retry={}) as stack:
        assert (await stack.around(inner)(request(), discard)).value == 7
    assert [str(event.error) for event in stack.events.of(Retried)] == ["x", "y"]


async def test_a_write_is_never_tried_again() -> None:
    async with stacked(WRITE, retry={}) as stack:
        assert stack.policies == ()


@pytest.mark.called  # what is begun emits nothing
async def test_what_has_emitted_is_not_tried_again(autojump_clock: MockClock) -> None:
    inner = ScriptedService().reply(1, emit=(Progress(1),))

    async def fails(asked: Any, emit: Any, /) -> Any:
        await inner(asked, emit)
        raise Unreachable("broke in the middle")

    async with stacked(retry={}) as stack:
        with pytest.raises(Unreachable):
            await stack.around(fails)(request(), discard)
    assert len(inner.requests) == 1


async def test_waits_double_up_to_the_longest_and_chance_shortens_them(
    autojump_clock: MockClock,
) -> None:
    inner = ScriptedService().fail(Unreachable("x"))
    keys = {"attempts": 8, "backoff": "100ms", "max_backoff": "1s"}
    async with stacked(retry=keys) as stack:
        with pytest.raises(Unreachable):
            await stack.around(inner)(request(), discard)
    waits = [event.wait_s for event in stack.events.of(Retried)]
    longest = [0.1, 0.2, 0.4, 0.8, 1, 1, 1]
    assert all(0 <= wait <= most for wait, most in zip(waits, longest, strict=True))
    assert len(set(waits)) == 7
    assert trio.current_time() == pytest.approx(sum(waits))


@pytest.mark.parametrize(
    ("retry_after_s", "budget_s", "attempts", "took_s"),
    [(2, 5, 2, 2), (2, 2, 1, 0), (60, 5, 1, 0), (60, math.inf, 2, 60), (0, 5, 2, 0)],
)
async def test_what_the_service_asks_to_wait_is_waited_for_within_the_deadline(
    autojump_clock: MockClock, retry_after_s: float, budget_s: float, attempts: int, took_s: float
) -> None:
    inner = ScriptedService()
    inner.fail(BadReply("x", service_status=503, retry_after_s=retry_after_s))
    async with stacked(retry={"attempts": 2, "backoff": "1ms"}) as stack:
        with trio.CancelScope(deadline=trio.current_time() + budget_s), pytest.raises(BadReply):
            await stack.around(inner)(request(), discard)
    assert len(inner.requests) == attempts
    assert trio.current_time() == pytest.approx(took_s, abs=1e-3)
    why = [event.why for event in stack.events.of(RetryWithheld)]
    assert why == ([] if attempts == 2 else ["deadline"])


async def test_an_attempt_that_could_not_finish_is_not_made(autojump_clock: MockClock) -> None:
    inner = ScriptedService().reply(1, after_s=1)
    for _ in range(19):
        inner.reply(1, after_s=1)
    inner.fail(Unreachable("x"))
    async with stacked(retry={"backoff": "1ms"}) as stack:
        for _ in range(20):  # from then on the median is known
            await stack.around(inner)(request(), discard)
        with trio.move_on_after(1), pytest.raises(Unreachable):
            await stack.around(inner)(request(), discard)
        assert [event.why for event in stack.events.of(RetryWithheld)] == ["deadline"]
        with trio.move_on_after(2), pytest.raises(Unreachable):
            await stack.around(inner)(request(), discard)
        assert len(stack.events.of(Retried)) == 2


@pytest.mark.parametrize(("budget", "most_per_s"), [("20%", 40 + 1), ("5%", 10 + 1)])
async def test_an_outage_adds_no_more_than_the_budget_to_the_traffic(
    autojump_clock: MockClock, budget: str, most_per_s: int
) -> None:
    inner = ScriptedService().fail(Unreachable("x"))
    async with stacked(retry={"attempts": 4, "budget": budget, "backoff": "1ms"}) as stack:
        service = stack.around(inner)
        before = 0
        for second in range(6):
            await outcomes_of(200, 0.005, lambda _: service(request(), discard))
            extra = len(inner.requests) - 200 * (second + 1)
            most = most_per_s + (10 if second == 0 else 0)  # what had been saved up
            assert most_per_s - 2 <= extra - before <= most
            before = extra
    assert {event.why for event in stack.events.of(RetryWithheld)} == {"budget"}


async def test_without_a_budget_it_is_a_storm(autojump_clock: MockClock) -> None:
    inner = ScriptedService().fail(Unreachable("x"))
    async with stacked(retry={"attempts": 20, "budget": "none", "backoff": "1ms"}) as stack:
        service = stack.around(inner)
        await outcomes_of(400, 0.005, lambda _: service(request(), discard))
    assert len(inner.requests) == 20 * 400
    assert not stack.events.of(RetryWithheld)


async def test_little_traffic_may_be_tried_again_all_the_same(autojump_clock: MockClock) -> None:
    inner = ScriptedService().fail(Unreachable("x"))
    async with stacked(retry={"attempts": 2, "budget": "1%"}) as stack:
        service = stack.around(inner)
        await outcomes_of(60, 2, lambda _: service(request(), discard))
    assert len(inner.requests) == 120


@settings(max_examples=40, deadline=None)
@given(
    gaps_ms=st.lists(st.integers(0, 300), min_size=1, max_size=60),
    fails=st.lists(st.booleans(), min_size=1, max_size=20),
    attempts=st.integers(2, 6),
    budget=st.integers(1, 50),
)
def test_whatever_happens_retries_stay_within_the_budget(
    gaps_ms: list[int], fails: list[bool], attempts: int, budget: int
) -> None:
    async def main() -> None:
        inner = ScriptedService()
        for fail in fails:
            inner.fail(Unreachable("x")) if fail else inner.reply(1, after_s=0.01)
        keys = {"attempts": attempts, "budget": f"{budget}%", "backoff": "10ms"}
        async with stacked(READ, retry=keys) as stack:
            service = stack.around(inner)

            async def one() -> None:
                try:
                    await service(request(), discard)
                except GatewayError as error:
                    assert error.code == "unreachable"  # noqa: PT017 - or there is none

            async with trio.open_nursery() as nursery:
                for gap in gaps_ms:
                    nursery.start_soon(one)
                    await trio.sleep(gap / 1000)
            took_s = trio.current_time()
        calls = len(gaps_ms)
        retries = len(stack.events.of(Retried))
        assert len(inner.requests) == calls + retries
        assert retries <= calls * budget / 100 + took_s + 10 + 1e-6
        assert inner.active == 0

    trio.run(main, clock=MockClock(autojump_threshold=0))
