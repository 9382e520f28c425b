"""The clock jumps, and the seed decides who runs first."""

from __future__ import annotations

import math

import pytest
import trio
from trio._core import _run

from gateway.simulation.clock import JumpingClock, run


def test_an_hour_passes_at_once_and_exactly() -> None:
    async def work(clock: JumpingClock) -> list[float]:
        moments = [trio.current_time()]
        await trio.sleep(3600)
        moments.append(trio.current_time())
        with trio.move_on_after(0.25):
            await trio.sleep(1)
        moments.append(trio.current_time())
        return moments

    assert run(work, seed=1) == [0, 3600, 3600.25]


def test_time_stands_still_while_something_can_run() -> None:
    async def work(clock: JumpingClock) -> float:
        with trio.move_on_after(1):
            for _ in range(1000):
                await trio.lowlevel.checkpoint()
        return trio.current_time()

    assert run(work, seed=1) == 0


def order_of(seed: int) -> list[int]:
    """In which order ten tasks run whose time comes at once, five times over."""

    async def work(clock: JumpingClock) -> list[int]:
        order: list[int] = []

        async def one(number: int) -> None:
            for _ in range(5):
                await trio.sleep(1)
                order.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(one, number)
        return order

    return run(work, seed=seed)


def test_the_same_seed_is_the_same_schedule_and_another_another() -> None:
    assert order_of(1) == order_of(1)
    assert order_of(1) != order_of(2)


@pytest.mark.parametrize("fails", [False, True])
def test_trios_own_chance_is_put_back(fails: bool) -> None:
    before = _run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING

    async def work(clock: JumpingClock) -> None:
        if fails:
            raise ValueError("told")

    if fails:
        with pytest.raises(ValueError, match="told"):
            run(work, seed=1)
    else:
        run(work, seed=1)
    assert (_run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING) == before


def test_when_nothing_can_happen_any_more_somebody_is_told() -> None:
    async def work(clock: JumpingClock) -> bool:
        with trio.CancelScope() as scope:
            clock.when_stuck = scope.cancel
            await trio.sleep_forever()
        return scope.cancelled_caught

    assert run(work, seed=1)


def test_without_anybody_something_from_outside_is_waited_for() -> None:
    async def work(clock: JumpingClock) -> str:
        return await trio.to_thread.run_sync(lambda: "done")

    assert run(work, seed=1) == "done"
    assert JumpingClock().deadline_to_sleep_time(math.inf) == math.inf
