"""The rate: evenly, a second's worth at once, and nobody waits in vain."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from gateway.core.errors import GatewayError, Overloaded
from gateway.core.messages import Reply, Request
from gateway.core.service import Emit, discard
from gateway.telemetry.events import Refused
from gateway.testing import ScriptedService
from tests.apps import request
from tests.policies.stacks import outcomes_of, stacked


class Times:
    """A service that remembers when it was called."""

    def __init__(self) -> None:
        self.times: list[float] = []

    async def __call__(self, _request: Request, _emit: Emit, /) -> Reply:
        self.times.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        return Reply(1)


@pytest.mark.parametrize(
    ("rate", "burst", "interval_s"),
    [("10/s", 10, 0.1), ("1/s", 1, 1.0), ("60/m", 1, 1.0), ("1800/h", 1, 2.0)],
)
async def test_a_seconds_worth_goes_at_once_and_then_one_after_the_other(
    autojump_clock: MockClock, rate: str, burst: int, interval_s: float
) -> None:
    inner = Times()
    async with stacked(rate=rate) as stack:
        service = stack.around(inner)
        await outcomes_of(burst + 5, 0, lambda _: service(request(), discard))
    wanted = [0.0] * burst + [interval_s * n for n in range(1, 6)]
    assert inner.times == pytest.approx(wanted)


async def test_one_whose_turn_comes_too_late_is_refused_at_once(autojump_clock: MockClock) -> None:
    inner = Times()
    async with stacked(rate="1/s") as stack:
        service = stack.around(inner)
        await service(request(), discard)
        with trio.move_on_after(0.5):
            with pytest.raises(Overloaded, match="its rate of 1/s is used up") as caught:
                await service(request(), discard)
        assert trio.current_time() == 0
        assert caught.value.retry_after_s == pytest.approx(1)
        assert stack.events.of(Refused) == [Refused(service="s", by="rate")]
        with trio.move_on_after(1.5):  # what was refused took no turn
            await service(request(), discard)
    assert inner.times == [0, 1]


@pytest.mark.parametrize("leaves", [range(10), range(9, -1, -1), (3, 0, 9, 4, 1, 8, 2, 7, 5, 6)])
async def test_turns_of_those_who_leave_are_for_who_comes_next(
    autojump_clock: MockClock, leaves: tuple[int, ...]
) -> None:
    inner = Times()
    async with stacked(rate="1/s") as stack:
        service = stack.around(inner)
        await service(request(), discard)
        scopes = [trio.CancelScope() for _ in range(10)]

        async def wait(scope: trio.CancelScope) -> None:
            with scope:
                await service(request(), discard)

        async with trio.open_nursery() as nursery:
            for scope in scopes:
                nursery.start_soon(wait, scope)
                await trio.testing.wait_all_tasks_blocked()
            for number in leaves:
                scopes[number].cancel()
                await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(3.5):
            await outcomes_of(3, 0, lambda _: service(request(), discard))
    assert inner.times == pytest.approx([0, 1, 2, 3])


@settings(max_examples=60, deadline=None)
@given(
    per_s=st.integers(1, 50),
    gaps_ms=st.lists(st.integers(0, 200), min_size=1, max_size=80),
    budgets_ms=st.lists(st.integers(1, 3000), min_size=1, max_size=10),
)
def test_no_more_go_out_than_it_allows(
    per_s: int, gaps_ms: list[int], budgets_ms: list[int]
) -> None:
    async def main() -> None:
        inner = Times()
        async with stacked(rate=f"{per_s}/s") as stack:
            service = stack.around(inner)

            async def one(number: int) -> None:
                with trio.move_on_after(budgets_ms[number % len(budgets_ms)] / 1000):
                    try:
                        await service(request(), discard)
                    except GatewayError as error:
                        assert error.code == "overloaded"  # noqa: PT017 - or there is none

            async with trio.open_nursery() as nursery:
                for number, gap in enumerate(gaps_ms):
                    nursery.start_soon(one, number)
                    await trio.sleep(gap / 1000)
        times = inner.times
        for first in range(len(times)):
            for last in range(first, len(times)):
                assert last - first + 1 <= per_s + (times[last] - times[first]) * per_s + 1e-6

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_without_a_deadline_it_waits_as_long_as_it_takes(autojump_clock: MockClock) -> None:
    inner = ScriptedService()
    async with stacked(rate="2/h") as stack:
        service = stack.around(inner)
        for _ in range(3):
            await service(request(), discard)
    assert trio.current_time() == pytest.approx(3600)
