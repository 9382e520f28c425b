"""Limits: places, the line for them, and what happens under more than there is room for."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from gateway.core.errors import BadReply, DeadlineExceeded, GatewayError, Overloaded, Unreachable
from gateway.core.messages import Progress, Reply, Request
from gateway.core.service import Emit, discard
from gateway.policies.limit import Limit
from gateway.telemetry.events import LimitChanged, Refused
from gateway.testing import ScriptedService
from tests.apps import request
from tests.policies.stacks import Stack, asked, begun, outcomes_of, stacked


def limit_of(stack: Stack) -> Limit:
    (limit,) = stack.policies
    assert isinstance(limit, Limit)
    return limit


class Server:
    """A service that does `places` calls at once; the others wait in it."""

    def __init__(self, places: int, takes_s: float, seed: int = 1) -> None:
        self.limiter = trio.CapacityLimiter(places)
        self.takes_s = takes_s
        self.chance = random.Random(seed)
        self.done = 0

    async def __call__(self, _request: Request, _emit: Emit, /) -> Reply:
        async with self.limiter:
            await trio.sleep(self.takes_s * self.chance.uniform(0.8, 1.2))
        self.done += 1
        return Reply(1)


async def test_so_many_at_once_and_the_others_in_the_order_they_came(
    autojump_clock: MockClock,
) -> None:
    most = 0
    order: list[int] = []

    def ended(asked: Request) -> int:
        nonlocal most
        most = max(most, inner.active)
        number: int = asked.arguments["n"]
        return number

    async def call(number: int) -> None:
        await trio.sleep(number * 1e-6)
        order.append((await service(request(n=number), discard)).value)

    inner = ScriptedService().reply(ended, after_s=0.01)

    async with stacked(limit={"concurrency": 3}) as stack:
        service = stack.around(inner)
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(call, number)
        assert (limit_of(stack).taken, limit_of(stack).waiting) == (0, 0)
    assert most == 3
    assert order == list(range(30))


async def test_a_place_is_held_for_the_whole_stream(autojump_clock: MockClock) -> None:
    async def slowly(_partial: Any) -> None:
        await trio.sleep(1)

    inner = ScriptedService().reply(1, emit=(Progress(1), Progress(2), Progress(3)))
    async with stacked(limit={"concurrency": 1, "queue_timeout": "10s"}) as stack:
        service = stack.around(inner)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service, request(), slowly)
            await trio.sleep(0.1)
            await service(request(), discard)
            assert trio.current_time() == pytest.approx(3)


@pytest.mark.parametrize(
    ("keys", "told", "took_s"),
    [
        ({"queue": 0}, "with 0 in line", 0),
        ({"queue_timeout": "200ms"}, "for 200ms", 0.2),
    ],
)
async def test_who_has_no_place_in_time_is_refused(
    autojump_clock: MockClock, keys: dict[str, Any], told: str, took_s: float
) -> None:
    inner = ScriptedService().hang()
    async with stacked(limit={"concurrency": 1, **keys}) as stack, trio.open_nursery() as nursery:
        service = stack.around(inner)
        nursery.start_soon(service, request(), discard)
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
        with pytest.raises(Overloaded, match=f"all 1 places .* {told}") as caught:
            await service(request(), discard)
        assert trio.current_time() - start == pytest.approx(took_s)
        assert caught.value.retry_after_s == 1
        assert stack.events.of(Refused) == [Refused(service="s", by="limit")]
        assert limit_of(stack).waiting == 0
        nursery.cancel_scope.cancel()


async def test_who_cannot_have_one_before_its_deadline_is_refused_at_once(
    autojump_clock: MockClock,
) -> None:
    inner = ScriptedService().reply(1, after_s=1)
    async with stacked(limit={"concurrency": 1, "queue_timeout": "10s"}) as stack:
        service = stack.around(inner)
        for _ in range(20):
            await service(request(), discard)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service, request(), discard)
            await trio.testing.wait_all_tasks_blocked()
            start = trio.current_time()
            with trio.move_on_after(0.5), pytest.raises(Overloaded):
                await service(request(), discard)
            assert trio.current_time() == start
            with trio.fail_after(2.5):
                await service(request(), discard)


async def test_without_any_time_left_it_is_cancelled_and_not_refused() -> None:
    async with stacked(limit={"concurrency": 1}) as stack, trio.open_nursery() as nursery:
        service = stack.around(ScriptedService().hang())
        nursery.start_soon(service, request(), discard)
        await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope(deadline=-float("inf")) as scope:
            await service(request(), discard)
        assert scope.cancelled_caught
        assert stack.events.of(Refused) == []
        nursery.cancel_scope.cancel()


async def test_the_higher_priority_goes_before(autojump_clock: MockClock) -> None:
    order: list[str] = []
    inner = ScriptedService().reply(1, after_s=0.01)

    async def call(priority: str) -> None:
        await service(asked(priority), discard)
        order.append(priority)

    async with stacked(limit={"concurrency": 1}) as stack:
        service = stack.around(inner)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, "normal")
            for priority in ("low", "normal", "high", "low", "high"):
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(call, priority)
    assert order == ["normal", "high", "high", "normal", "low", "low"]


async def test_in_a_full_line_the_newest_of_the_lowest_makes_room(
    autojump_clock: MockClock,
) -> None:
    ended: list[tuple[int, str]] = []

    async def call(number: int, priority: str) -> None:
        try:
            await service(asked(priority), discard)
        except Overloaded:
            ended.append((number, "refused"))
        else:
            ended.append((number, "ok"))

    async with stacked(limit={"concurrency": 1, "queue": 2}) as stack:
        service = stack.around(ScriptedService().reply(1, after_s=0.05))
        async with trio.open_nursery() as nursery:
            for number, priority in enumerate(("low", "low", "low", "normal", "low", "high")):
                nursery.start_soon(call, number, priority)
                await trio.testing.wait_all_tasks_blocked(0.0001)
    assert ended == [
        (2, "refused"),  # by the normal one
        (4, "refused"),  # nobody is below it
        (1, "refused"),  # by the high one
        (0, "ok"),
        (5, "ok"),
        (3, "ok"),
    ]


async def test_three_times_what_it_can_do_loses_nothing_of_what_it_can(
    autojump_clock: MockClock,
) -> None:
    server = Server(20, 0.05)  # 400 a second
    refused_s: list[float] = []
    codes: dict[str, Counter[str]] = {"high": Counter(), "normal": Counter(), "low": Counter()}
    chance = random.Random(2)

    async def call(_number: int) -> None:
        priority = chance.choices(("high", "normal", "low"), (1, 8, 1))[0]
        start, code = trio.current_time(), "late"
        with trio.move_on_after(1):
            try:
                await service(asked(priority), discard)
                code = "ok"
            except Overloaded as error:
                code = error.code
                refused_s.append(trio.current_time() - start)
        if start > 1:
            codes[priority][code] += 1

    async with stacked(limit={"concurrency": 20}) as stack:
        service = stack.around(server)
        await outcomes_of(12_000, 1 / 1200, call)
        assert (limit_of(stack).taken, limit_of(stack).waiting) == (0, 0)
    assert server.done >= 0.9 * 400 * 10
    assert statistics.median(refused_s) <= 0.01
    assert codes["high"]["ok"] / codes["high"].total() > 0.99
    assert codes["low"]["ok"] / codes["low"].total() < 0.02
    assert sum(found["late"] for found in codes.values()) == 0


async def test_a_burst_is_no_overload(autojump_clock: MockClock) -> None:
    async with stacked(limit={"concurrency": 10, "queue": 100}) as stack:
        service = stack.around(ScriptedService().reply(1, after_s=0.03))
        for _ in range(5):
            ended = await outcomes_of(100, 0, lambda _: service(request(), discard))
            assert {code for _, code in ended} == {"ok"}
            await trio.sleep(0.1)


@settings(max_examples=60, deadline=None)
@given(
    places=st.integers(1, 5),
    queue=st.integers(0, 5),
    calls=st.lists(
        st.tuples(
            st.sampled_from(("high", "normal", "low")),
            st.integers(0, 30),
            st.integers(1, 200),
            st.integers(1, 300),
        ),
        max_size=60,
    ),
)
def test_every_place_comes_back_and_none_is_taken_twice(
    places: int, queue: int, calls: list[tuple[str, int, int, int]]
) -> None:
    async def main() -> None:
        active = 0

        async def inner(asked: Request, _emit: Emit, /) -> Reply:
            nonlocal active
            active += 1
            # What is begun gives its place back at once, and the task in `Prompt` ends after that.
            assert (active if begun.get() is None else limit_of(stack).taken) <= places
            assert limit_of(stack).waiting <= queue
            try:
                await trio.sleep(int(asked.context.principal) / 1000)
            finally:
                active -= 1
            return Reply(1)

        async def call(priority: str, takes_ms: int, leaves_ms: int) -> None:
            with trio.move_on_after(leaves_ms / 1000):
                try:
                    await service(asked(priority, principal=str(takes_ms)), discard)
                except GatewayError as error:
                    assert error.code == "overloaded"  # noqa: PT017 - or there is none

        keys = {"concurrency": places, "queue": queue}
        async with stacked(limit=keys) as stack:
            service = stack.around(inner)
            async with trio.open_nursery() as nursery:
                for priority, gap, takes_ms, leaves_ms in calls:
                    nursery.start_soon(call, priority, takes_ms, leaves_ms)
                    await trio.sleep(gap / 1000)
            assert (limit_of(stack).taken, limit_of(stack).waiting) == (0, 0)

    trio.run(main, clock=MockClock(autojump_threshold=0))


# ---------------------------------------------------------------- adaptive


def limits(stack: Stack) -> list[int]:
    return [event.concurrency for event in stack.events.of(LimitChanged)]


async def flooded(stack: Stack, server: Server, seconds: float, per_s: int = 1200) -> float:
    """More than it can do for so long; how many it did a second."""
    before = server.done
    service = stack.around(server)
    await outcomes_of(int(seconds * per_s), 1 / per_s, lambda _: service(request(), discard))
    return (server.done - before) / seconds


async def average(stack: Stack, server: Server, seconds: int) -> float:
    """The limit on average over so long, more being asked than can be done."""
    seen = []
    for _ in range(seconds * 2):
        await flooded(stack, server, 0.5)
        seen.append(limits(stack)[-1])
    return sum(seen) / len(seen)


async def test_adaptive_finds_the_capacity_and_follows_it(autojump_clock: MockClock) -> None:
    server = Server(20, 0.05)
    async with stacked(limit={"concurrency": "adaptive"}) as stack:
        await flooded(stack, server, 8)
        assert await average(stack, server, 10) == pytest.approx(20, rel=0.2)
        assert await flooded(stack, server, 4) >= 0.9 * 400
        server.limiter.total_tokens = 10
        await flooded(stack, server, 12)
        assert await average(stack, server, 10) == pytest.approx(10, rel=0.2)
        assert await flooded(stack, server, 3) >= 0.9 * 200
        server.limiter.total_tokens = 20
        await flooded(stack, server, 12)
        assert await flooded(stack, server, 4) >= 0.85 * 400


async def test_adaptive_survives_a_service_that_becomes_slower_by_itself(
    autojump_clock: MockClock,
) -> None:
    server = Server(20, 0.05)
    async with stacked(limit={"concurrency": "adaptive"}) as stack:
        await flooded(stack, server, 8)
        server.takes_s = 0.15
        await flooded(stack, server, 25, per_s=600)
        assert await flooded(stack, server, 5, per_s=600) >= 0.8 * 20 / 0.15


@pytest.mark.parametrize(
    ("error", "falls"),
    [
        (DeadlineExceeded("x"), True),
        (BadReply("x", service_status=503), True),
        (Unreachable("x"), False),
        (BadReply("x", service_status=500), False),
    ],
    ids=repr,
)
async def test_adaptive_under_failures_alone(
    autojump_clock: MockClock, error: GatewayError, falls: bool
) -> None:
    async with stacked(limit={"concurrency": "adaptive"}) as stack:
        service = stack.around(ScriptedService().fail(error, after_s=0.1))
        await outcomes_of(1000, 0.01, lambda _: service(request(), discard))
        if falls:
            assert limits(stack)[-1] < 5
            assert min(limits(stack)) >= 1
        else:
            assert limits(stack) == []


async def test_those_who_could_be_served_without_lower_ones_are(autojump_clock: MockClock) -> None:
    chance = random.Random(5)
    answered = {"normal": 0, "low": 0}
    refused = {"normal": 0, "low": 0}

    async def call(priority: str) -> None:
        try:
            await service(asked(priority), discard)
            answered[priority] += 1
        except Overloaded:
            refused[priority] += 1

    inner = ScriptedService().reply(7, after_s=0.2)
    async with stacked(limit={"concurrency": 10}) as stack:
        service = stack.around(inner)
        async with trio.open_nursery() as nursery:
            for _ in range(3000):  # three times what it can do, of which the half is normal
                await trio.sleep(chance.expovariate(150))
                nursery.start_soon(call, "normal" if chance.random() < 1 / 6 else "low")
    assert refused["normal"] <= 0.005 * answered["normal"]
    assert refused["low"] > 1500
    assert sum(answered.values()) > 0.95 * 1000
