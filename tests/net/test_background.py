"""Tasks beside everything else: they end with their context, whatever ends that."""

from __future__ import annotations

import math

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway.net.background import detached_nursery, in_the_background


async def test_its_tasks_are_waited_for(autojump_clock: MockClock) -> None:
    async with detached_nursery() as nursery:
        nursery.start_soon(trio.sleep, 5)
    assert trio.current_time() == 5


async def test_no_scope_around_it_lies_above_its_tasks(autojump_clock: MockClock) -> None:
    deadlines: list[float] = []

    async def look() -> None:
        deadlines.append(trio.current_effective_deadline())

    with trio.move_on_after(1):
        async with detached_nursery() as nursery:
            nursery.start_soon(look)
            nursery.cancel_scope.deadline = 7
            nursery.start_soon(look)
    assert deadlines == [7, 7]
    assert math.isinf(trio.current_effective_deadline())


async def test_a_cancellation_around_it_ends_its_tasks(autojump_clock: MockClock) -> None:
    ended: list[float] = []

    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    for within in (True, False):  # while the context lasts, and while its tasks are waited for
        start = trio.current_time()
        with trio.move_on_after(1) as scope:
            async with detached_nursery() as nursery:
                nursery.start_soon(work)
                if within:
                    await trio.sleep_forever()
        assert scope.cancelled_caught
        assert ended.pop() == start + 1


async def test_an_exception_in_the_context_ends_its_tasks_first() -> None:
    ended = trio.Event()

    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async def enter_and_fail() -> None:
        async with detached_nursery() as nursery:
            nursery.start_soon(work)
            await wait_all_tasks_blocked()
            raise KeyError

    with pytest.raises(KeyError):
        await enter_and_fail()
    assert ended.is_set()


async def test_a_task_that_fails_ends_the_context() -> None:
    async def fail() -> None:
        raise KeyError

    async def enter() -> None:
        async with detached_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fail)
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await enter()
    assert caught.value.subgroup(KeyError) is not None


async def test_its_own_scope_ends_its_tasks_alone() -> None:
    async with detached_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        nursery.cancel_scope.cancel()
    assert not trio.current_effective_deadline() < 0


# ------------------------------------------------------------------ in the background


async def test_work_ends_with_its_context(autojump_clock: MockClock) -> None:
    ended: list[float] = []

    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)
            ended.append(trio.current_time())

    with trio.move_on_after(1) as scope:
        async with in_the_background(work, "it"):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert ended == [3] == [trio.current_time()]


async def test_work_that_fails_is_told_and_ends_nothing_else(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        raise RuntimeError("a bug")

    async with in_the_background(work, "it"):
        await trio.sleep(1)
    assert trio.current_time() == 1
    assert "it failed, and is not there any more" in caplog.text
