"""Hedges: the first answer counts, the others end, and all of them are paid for."""

from __future__ import annotations

import gc
import random
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gateway.core.errors import Overloaded, Unreachable
from gateway.core.messages import Partial, Progress, Reply, Request
from gateway.core.service import Emit, discard
from gateway.policies.race import Race
from gateway.telemetry.events import Hedged
from gateway.testing import ScriptedService
from tests.apps import request
from tests.policies.stacks import WRITE, Stack, outcomes_of, stacked


def races() -> int:
    gc.collect()
    return sum(isinstance(one, Race) for one in gc.get_objects())


def won(stack: Stack) -> list[bool]:
    return [event.won for event in stack.events.of(Hedged)]


@pytest.mark.parametrize(
    ("script", "value", "took_s", "hedges"),
    [
        (((0.05, 1), (0.05, 2)), 1, 0.05, []),
        (((5, 1), (0.2, 2)), 2, 0.3, [True]),
        (((0.25, 1), (5, 2)), 1, 0.25, [False]),
        (((0.2, None), (0.3, 2)), 2, 0.4, [True]),  # a failure counts only if none is left
        (((5, 1), (0.1, None)), 1, 5, [False]),
        (((0.05, None), (0.1, 2)), None, 0.05, []),
        (((0.3, None), (0.1, None)), None, 0.3, [False]),
        (((0.2, None), (0.3, None)), None, 0.4, [False]),
    ],
)
async def test_the_first_reply_counts(
    autojump_clock: MockClock,
    script: tuple[tuple[float, int | None], ...],
    value: int | None,
    took_s: float,
    hedges: list[bool],
) -> None:
    inner = ScriptedService()
    for number, (after_s, given) in enumerate(script):
        if given is None:
            inner.fail(Unreachable(f"attempt {number}"), after_s=after_s)
        else:
            inner.reply(given, after_s=after_s)
    async with stacked(hedge={"after": "100ms"}) as stack:
        service = stack.around(inner)
        if value is None:
            with pytest.raises(Unreachable, match="attempt 0"):
                await service(request(), discard)
        else:
            assert (await service(request(), discard)).value == value
        assert trio.current_time() == pytest.approx(took_s)
        assert inner.active == 0
        assert len(inner.requests) == 1 + len(hedges)
    assert won(stack) == hedges


async def test_it_may_be_made_more_than_once_more(autojump_clock: MockClock) -> None:
    inner = ScriptedService().hang().hang().reply(3, after_s=0.01)
    async with stacked(hedge={"after": "100ms", "max": 2}) as stack:
        assert (await stack.around(inner)(request(), discard)).value == 3
    assert trio.current_time() == pytest.approx(0.21)
    assert won(stack) == [False, True]
    assert inner.active == 0


async def test_a_write_is_never_hedged() -> None:
    async with stacked(WRITE, hedge={}) as stack:
        assert stack.policies == ()


async def test_a_percentile_is_learnt_first(autojump_clock: MockClock) -> None:
    inner = ScriptedService()
    for _ in range(19):
        inner.reply(1, after_s=0.1)
    inner.reply(1, after_s=3).reply(1, after_s=3).reply(2, after_s=0.1)
    async with stacked(hedge={"after": "p90"}) as stack:
        service = stack.around(inner)
        for _ in range(20):
            await service(request(), discard)
        assert won(stack) == []  # fewer than twenty tell nothing
        start = trio.current_time()
        assert (await service(request(), discard)).value == 2
    assert trio.current_time() - start == pytest.approx(0.2)


async def test_clients_that_leave_early_make_nothing_look_fast(autojump_clock: MockClock) -> None:
    inner = ScriptedService().reply(1, after_s=1.5).reply(1, after_s=1)
    async with stacked(hedge={"after": "p99"}) as stack:
        service = stack.around(inner)
        for _ in range(20):
            await service(request(), discard)
        for _ in range(200):
            with trio.move_on_after(0.01):
                await service(request(), discard)
        await service(request(), discard)
    assert len(inner.requests) == 221


async def test_one_that_could_not_finish_is_not_made(autojump_clock: MockClock) -> None:
    inner = ScriptedService().reply(1, after_s=1)
    async with stacked(hedge={"after": "p50"}) as stack:
        service = stack.around(inner)
        for _ in range(20):
            await service(request(), discard)
        slow = ScriptedService().hang()
        with trio.move_on_after(1.9):
            await stack.around(slow)(request(), discard)
        assert len(slow.requests) == 1
        with trio.move_on_after(2.1):
            await stack.around(slow)(request(), discard)
        assert len(slow.requests) == 3
        assert slow.active == 0


@pytest.mark.parametrize(
    ("keys", "most_per_s"),
    [
        ({}, 21),  # without retries hedges are counted by themselves
        ({"retry": {"budget": "10%"}}, 11),
        ({"retry": {"budget": "50%"}}, 51),
    ],
)
async def test_hedges_are_paid_from_the_budget(
    autojump_clock: MockClock, keys: dict[str, Any], most_per_s: int
) -> None:
    inner = ScriptedService().reply(1, after_s=1)
    async with stacked(hedge={"after": "100ms"}, **keys) as stack:
        service = stack.around(inner)
        await outcomes_of(100, 0.01, lambda _: service(request(), discard))
        before = len(inner.requests)
        await outcomes_of(500, 0.01, lambda _: service(request(), discard))
    extra = len(inner.requests) - before - 500
    assert most_per_s * 4 < extra <= most_per_s * 6 + 10


async def test_one_in_a_hundred_that_hangs_is_cut_from_p99(autojump_clock: MockClock) -> None:
    chance = random.Random(5)
    made = 0

    async def tailed(_request: Request, _emit: Emit, /) -> Reply:
        nonlocal made
        made += 1
        await trio.sleep(2 if made % 79 == 0 else chance.uniform(0.01, 0.03))
        return Reply(made)

    async def p99(**keys: Any) -> tuple[float, float]:
        nonlocal made
        made = 0
        async with stacked(**keys) as stack:
            service = stack.around(tailed)
            ended = await outcomes_of(4000, 0.005, lambda _: service(request(), discard))
        return sorted(took for took, _ in ended)[3960], made / 4000 - 1

    plain, _ = await p99()
    hedged, extra = await p99(hedge={"after": "p98"})
    assert plain / hedged > 5
    assert extra <= 0.03


async def test_the_first_to_emit_has_won(autojump_clock: MockClock) -> None:
    seen: list[Partial] = []

    async def emit(partial: Partial) -> None:
        seen.append(partial)

    made = 0

    async def inner(_request: Request, emit: Emit, /) -> Reply:
        nonlocal made
        made += 1
        number = made
        await trio.sleep(0.5 if number == 1 else 0.05)
        await emit(Progress(number))
        await trio.sleep(5)
        return Reply(number)

    async with stacked(hedge={"after": "100ms", "max": 5}) as stack:
        assert (await stack.around(inner)(request(), emit)).value == 2
    assert seen == [Progress(2)]
    assert trio.current_time() == pytest.approx(5.15)
    assert made == 2


async def test_after_it_emitted_a_failure_is_the_answer(autojump_clock: MockClock) -> None:
    made = 0

    async def inner(_request: Request, emit: Emit, /) -> Reply:
        nonlocal made
        made += 1
        number = made
        if number == 1:
            await trio.sleep_forever()
        await emit(Progress(number))
        raise Unreachable("in the middle")

    async with stacked(hedge={"after": "100ms"}) as stack:
        with pytest.raises(Unreachable, match="in the middle"):
            await stack.around(inner)(request(), discard)
    assert won(stack) == [True]


async def test_what_is_no_failure_of_ours_ends_the_call_and_not_the_app(
    autojump_clock: MockClock,
) -> None:
    made = 0

    async def inner(_request: Request, emit: Emit, /) -> Reply:
        nonlocal made
        made += 1
        if made == 1:
            await trio.sleep_forever()
        await emit(Progress(1))
        raise SystemExit(3)

    async with stacked(hedge={"after": "100ms"}) as stack:
        with pytest.raises(SystemExit):
            await stack.around(inner)(request(), discard)
        assert (await stack.around(ScriptedService().reply(1))(request(), discard)).value == 1


async def test_a_group_left_after_a_cancellation_ends_nothing(autojump_clock: MockClock) -> None:
    made = 0

    async def inner(_request: Request, _emit: Emit, /) -> Reply:
        nonlocal made
        made += 1
        if made == 1:
            await trio.sleep(0.3)
            return Reply(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("a bug in the clean-up")

    async with stacked(hedge={"after": "100ms"}) as stack:
        service = stack.around(inner)
        assert (await service(request(), discard)).value == 1
        await trio.testing.wait_all_tasks_blocked()
    assert won(stack) == [False]


async def test_one_cut_off_by_the_gateways_closing_leaves_nobody_waiting(
    autojump_clock: MockClock,
) -> None:
    codes: list[str] = []

    async def inner(_request: Request, emit: Emit, /) -> Reply:
        if trio.current_time() > 0.05:
            await emit(Progress(1))  # the hedge has won, and hangs
        return await ScriptedService().hang()(_request, emit)

    async with trio.open_nursery() as nursery:  # noqa: SIM117 - the app closes first
        async with stacked(hedge={"after": "100ms"}) as stack:
            service = stack.around(inner)

            async def call() -> None:
                try:
                    await service(request(), discard)
                except Overloaded as error:
                    codes.append(error.code)

            nursery.start_soon(call)
            await trio.sleep(1)
    assert codes == ["overloaded"]


async def test_calls_that_have_ended_are_forgotten(autojump_clock: MockClock) -> None:
    inner = ScriptedService().reply(1, after_s=0.01)
    async with stacked(hedge={"after": "1h"}) as stack:
        service = stack.around(inner)
        before = races()
        await outcomes_of(200, 0.001, lambda _: service(request(), discard))
        assert races() <= before


async def test_what_is_due_earlier_is_not_held_up_by_what_is_due_later(
    autojump_clock: MockClock,
) -> None:
    inner = ScriptedService()
    for _ in range(20):
        inner.reply(1, after_s=1)
    async with stacked(hedge={"after": "p95"}, retry={"budget": "100%"}) as stack:
        service = stack.around(inner)
        for _ in range(20):
            await service(request(), discard)
        slow = stack.around(ScriptedService().hang())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(slow, request(), discard)  # due in a second
            fast = stack.around(ScriptedService().reply(1, after_s=0.001))
            for _ in range(600):  # so that the percentile falls
                await fast(request(), discard)
            late = ScriptedService().hang().reply(2, after_s=0.001)
            start = trio.current_time()
            reply = await stack.around(late)(request(), discard)
            assert reply.value == 2
            assert trio.current_time() - start < 0.1
            nursery.cancel_scope.cancel()


async def test_many_at_once_leave_nothing(autojump_clock: MockClock) -> None:
    chance = random.Random(3)
    active = 0

    async def inner(_request: Request, _emit: Emit, /) -> Reply:
        nonlocal active
        active += 1
        try:
            await trio.sleep(chance.choice([0.01, 0.5, 5]))
            if chance.random() < 0.3:
                raise Unreachable("x")
            return Reply(1)
        finally:
            active -= 1

    async with stacked(hedge={"after": "50ms", "max": 3}) as stack:
        service = stack.around(inner)

        async def call(_number: int) -> None:
            with trio.move_on_after(chance.uniform(0, 3)):
                await service(request(), discard)

        before = trio.lowlevel.current_statistics().tasks_living
        await outcomes_of(1000, 0.002, call)
        assert active == 0
        assert trio.lowlevel.current_statistics().tasks_living == before
    assert True in won(stack)
