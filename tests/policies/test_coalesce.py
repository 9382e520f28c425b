"""Coalescing: one flight, whoever began it; it ends with the last who waits."""

from __future__ import annotations

import contextlib
import gc
import traceback
import weakref
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway.core.errors import Overloaded, Unreachable
from gateway.core.freshness import ALONE
from gateway.core.messages import Partial, Progress, Reply, Request
from gateway.core.service import Emit, discard
from gateway.telemetry.events import Coalesced, Hedged, Retried
from gateway.testing import ScriptedService
from tests.apps import request
from tests.policies.stacks import WRITE, outcomes_of, stacked


async def test_a_thousand_identical_calls_whose_leader_leaves(autojump_clock: MockClock) -> None:
    inner = ScriptedService().reply(7, after_s=1)
    answers: list[Any] = []
    leader = trio.CancelScope()

    async def call(scope: trio.CancelScope) -> None:
        with scope:
            answers.append((await service(request(), discard)).value)

    async with stacked(coalesce=True) as stack:
        service = stack.around(inner)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, leader)
            await wait_all_tasks_blocked()
            for _ in range(999):
                nursery.start_soon(call, trio.CancelScope())
            await wait_all_tasks_blocked()
            leader.cancel()
        assert trio.current_time() == pytest.approx(1)
    assert answers == [7] * 999
    assert (len(inner.requests), inner.cancelled) == (1, 0)
    assert len(stack.events.of(Coalesced)) == 999


async def test_the_last_who_leaves_cancels_it(autojump_clock: MockClock) -> None:
    inner = ScriptedService().hang()
    scopes = [trio.CancelScope() for _ in range(5)]

    async def call(scope: trio.CancelScope) -> None:
        with scope:
            await service(request(), discard)

    async with stacked(coalesce=True) as stack:
        service = stack.around(inner)
        async with trio.open_nursery() as nursery:
            for scope in scopes:
                nursery.start_soon(call, scope)
            await wait_all_tasks_blocked()
            for scope in scopes:
                assert inner.active == 1
                scope.cancel()
                await wait_all_tasks_blocked()
            assert (inner.active, inner.cancelled) == (0, 1)
        # Who comes after that begins another.
        with trio.move_on_after(1):
            await service(request(), discard)
        assert len(inner.requests) == 2


async def test_the_latest_deadline_of_those_who_wait_holds(autojump_clock: MockClock) -> None:
    inner = ScriptedService().reply(7, after_s=3)
    ended: list[tuple[float, float]] = []

    async def call(budget_s: float) -> None:
        with trio.move_on_after(budget_s):
            await service(request(), discard)
        ended.append((budget_s, trio.current_time()))

    async with stacked(coalesce=True) as stack:
        service = stack.around(inner)
        async with trio.open_nursery() as nursery:
            for budget_s in (1, 5, 2):
                nursery.start_soon(call, budget_s)
                await wait_all_tasks_blocked()
    assert ended == [(1, 1), (2, 2), (5, 3)]
    assert len(inner.requests) == 1


async def test_a_failure_is_shared(autojump_clock: MockClock) -> None:
    inner = ScriptedService().fail(Unreachable("x"), after_s=1)
    async with stacked(coalesce=True) as stack:
        ended = await outcomes_of(10, 0.01, lambda _: stack.around(inner)(request(), discard))
    assert [code for _, code in ended] == ["unreachable"] * 10
    assert len(inner.requests) == 1


class Alone:
    """Counts its replies, each of which answers one request alone, and emits nothing or so much."""

    def __init__(self, *partials: Partial) -> None:
        self.partials = partials
        self.replies = 0

    async def __call__(self, _request: Request, emit: Emit, /) -> Reply:
        await trio.sleep(1)
        for item in self.partials:
            await emit(item)
        self.replies += 1
        return Reply(self.replies, freshness=ALONE)


@pytest.mark.parametrize("stays", [True, False])
async def test_what_answers_one_alone_is_for_who_began_or_waited_longest(
    stays: bool, autojump_clock: MockClock
) -> None:
    answers: list[tuple[int, Any, float]] = []
    leader = trio.CancelScope()

    async def call(number: int, scope: trio.CancelScope) -> None:
        with scope:
            value = (await service(request(), discard)).value
            answers.append((number, value, round(trio.current_time(), 3)))

    async with stacked(coalesce=True) as stack:
        service = stack.around(Alone())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, 0, leader)
            for number in range(1, 4):
                await trio.sleep(0.1)
                nursery.start_soon(call, number, trio.CancelScope())
            await trio.sleep(0.1)
            if not stays:
                leader.cancel()
    first, *rest = answers
    assert first == (0 if stays else 1, 1, 1)
    # The others ask for themselves, all at once.
    assert sorted(number for number, *_ in rest) == list(range(1 if stays else 2, 4))
    assert sorted(value for _, value, _ in rest) == list(range(2, 5 if stays else 4))
    assert {at for *_, at in rest} == {2}


@pytest.mark.called  # what is emitted is never begun
async def test_what_was_emitted_to_all_answers_all(autojump_clock: MockClock) -> None:
    values: list[Any] = []

    async def call() -> None:
        values.append((await service(request(), discard)).value)

    async with stacked(coalesce=True) as stack:
        service = stack.around(Alone(Progress(1)))
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(call)
    assert values == [1, 1, 1]


async def test_those_who_wait_have_each_a_traceback_of_their_own(autojump_clock: MockClock) -> None:
    inner = ScriptedService().fail(ValueError("a bug"), after_s=1)
    lengths: set[int] = set()

    async def call() -> None:
        try:
            await service(request(), discard)
        except ValueError as error:
            lengths.add(len(traceback.extract_tb(error.__traceback__)))

    async with stacked(coalesce=True) as stack:
        service = stack.around(inner)
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(call)
    assert len(lengths) <= 2  # who leads the flight has a shorter one


async def test_system_exit_ends_the_calls_and_not_the_app(autojump_clock: MockClock) -> None:
    async def inner(_request: Request, _emit: Emit, /) -> Reply:
        await trio.lowlevel.checkpoint()
        raise SystemExit(3)

    async with stacked(coalesce=True) as stack:
        with pytest.raises(SystemExit):
            await stack.around(inner)(request(), discard)
        assert (await stack.around(ScriptedService().reply(1))(request(), discard)).value == 1


async def test_those_who_came_before_the_first_partial_get_them_all(
    autojump_clock: MockClock,
) -> None:
    got: list[list[Partial]] = []

    async def inner(_request: Request, emit: Emit, /) -> Reply:
        await trio.sleep(1)
        for number in range(200):
            await emit(Progress(number))
        await trio.sleep(1)
        return Reply(7)

    async def call(slow_s: float) -> None:
        seen: list[Partial] = []
        got.append(seen)

        async def emit(partial: Partial) -> None:
            await trio.sleep(slow_s)
            seen.append(partial)

        await service(request(), emit)

    async with stacked(coalesce=True) as stack:
        service = stack.around(inner)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, 0)
            nursery.start_soon(call, 0.01)
            await trio.sleep(1.5)
            nursery.start_soon(call, 0)  # too late for this flight
    assert got == [[Progress(number) for number in range(200)]] * 3
    assert len(stack.events.of(Coalesced)) == 1


async def test_one_who_leaves_while_holding_others_up_lets_them_go(
    autojump_clock: MockClock,
) -> None:
    seen: list[Partial] = []

    async def emit(partial: Partial) -> None:
        await trio.lowlevel.checkpoint()
        seen.append(partial)

    async def stuck(_partial: Partial) -> None:
        await trio.sleep_forever()

    async def inner(_request: Request, emit: Emit, /) -> Reply:
        for number in range(200):
            await emit(Progress(number))
        return Reply(7)

    async def stalls() -> None:
        with trio.move_on_after(5):
            await service(request(), stuck)

    async with stacked(coalesce=True) as stack:
        service = stack.around(inner)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stalls)
            nursery.start_soon(service, request(), emit)
    assert len(seen) == 200
    assert trio.current_time() == pytest.approx(5)


@pytest.mark.called  # who leads a flight makes it in his own task, which the gateway waits for
async def test_the_gateways_closing_ends_it(autojump_clock: MockClock) -> None:
    inner = ScriptedService().hang()
    codes: list[str] = []

    async def call() -> None:
        try:
            await service(request(), discard)
        except Overloaded as error:
            codes.append(error.detail)

    async with trio.open_nursery() as nursery:  # noqa: SIM117 - the app closes first
        async with stacked(coalesce=True) as stack:
            service = stack.around(inner)
            nursery.start_soon(call)
            await wait_all_tasks_blocked()
    assert codes == ["not answered: the gateway is closing"]
    assert inner.active == 0
    with pytest.raises(Overloaded, match="the gateway is closing"):
        await service(request(), discard)


async def test_only_what_changes_nothing_is_shared() -> None:
    async with stacked(WRITE, coalesce=True) as stack:
        assert stack.policies == ()


@settings(max_examples=60, deadline=None)
@given(
    calls=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 50), st.integers(1, 300)), max_size=40
    ),
    takes_ms=st.integers(1, 150),
)
def test_whoever_leaves_when_each_gets_the_reply_to_what_it_asked(
    calls: list[tuple[int, int, int]], takes_ms: int
) -> None:
    async def main() -> None:
        inner = ScriptedService()
        inner.reply(lambda asked: asked.arguments["key"], after_s=takes_ms / 1000)
        async with stacked(coalesce=True) as stack:
            service = stack.around(inner)

            async def call(key: int, budget_ms: int) -> None:
                with trio.move_on_after(budget_ms / 1000) as scope:
                    assert (await service(request(key=key), discard)).value == key
                # Whoever could wait for a flight of its own was answered.
                assert not scope.cancelled_caught or budget_ms <= takes_ms

            async with trio.open_nursery() as nursery:
                for key, gap_ms, budget_ms in calls:
                    nursery.start_soon(call, key, budget_ms)
                    await trio.sleep(gap_ms / 1000)
            await trio.lowlevel.checkpoint()
            assert inner.active == 0
            assert trio.lowlevel.current_statistics().tasks_living <= 6

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("leader_leaves", [False, True])
@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("fails", [False, True])
async def test_those_who_join_share_all_that_is_around_the_call(
    autojump_clock: MockClock, leader_leaves: bool, slow: bool, fails: bool
) -> None:
    """Who joins takes a seat in what until then was one object with all policies."""
    inner = ScriptedService()
    if fails:
        inner = inner.fail(Unreachable("x"), after_s=0.1)
    inner = inner.reply(7, after_s=0.5 if slow else 0.1)
    answers: list[Any] = []
    leader = trio.CancelScope()

    async def call(scope: trio.CancelScope) -> None:
        with scope:
            answers.append((await service(request(), discard)).value)

    async with stacked(
        cache={"ttl": "1h"},
        coalesce=True,
        retry={"backoff": "1ms"},
        hedge={"after": "300ms"},
        breaker={},
        limit={"concurrency": 5},
        timeout="2s",
    ) as stack:
        service = stack.around(inner)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, leader)
            await wait_all_tasks_blocked()
            for _ in range(3):
                nursery.start_soon(call, trio.CancelScope())
            await trio.sleep(0.05)
            if leader_leaves:
                leader.cancel()
        assert answers == [7] * (3 if leader_leaves else 4)
        assert len(inner.requests) == 1 + fails + slow
        assert len(stack.events.of(Retried)) == fails
        assert [hedged.won for hedged in stack.events.of(Hedged)] == [False] * slow
        await call(trio.CancelScope())
        assert len(inner.requests) == 1 + fails + slow, "it was kept"
    assert inner.cancelled == slow


@pytest.mark.called  # test_observed.py has it of what is begun
@pytest.mark.parametrize("error", [Unreachable("x"), RuntimeError("a bug")])
@pytest.mark.parametrize("joiners", [0, 1, 3])
async def test_a_failure_keeps_nobody(
    autojump_clock: MockClock, error: Exception, joiners: int
) -> None:
    """A failure's traceback holds the flight: who kept both would keep them until the collector comes."""
    kept: list[weakref.ref[Any]] = []

    async def fails(_request: Request, _emit: Emit) -> Reply:
        await trio.sleep(0.1)
        of_frame = trio.Event()  # in the traceback
        kept.append(weakref.ref(of_frame))
        raise type(error)(*error.args)

    async def call() -> None:
        with contextlib.suppress(Unreachable, RuntimeError):
            await service(request(), discard)

    async with stacked(
        coalesce=True, retry={"on": ["rejected"]}, hedge={}, limit={"concurrency": 9}
    ) as stack:
        service = stack.around(fails)
        async with trio.open_nursery() as nursery:
            for _ in range(1 + joiners):
                nursery.start_soon(call)
                await wait_all_tasks_blocked()
        gc.disable()
        try:
            kept.clear()
            async with trio.open_nursery() as nursery:
                for _ in range(1 + joiners):
                    nursery.start_soon(call)
                    await wait_all_tasks_blocked()
            for _ in range(3):  # the loop's own last task and frames
                await trio.lowlevel.checkpoint()
            assert kept
            assert not [one for one in kept if one() is not None]
        finally:
            gc.enable()
