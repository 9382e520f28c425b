"""The breaker: closed, open, half open, and one probe at a time."""

from __future__ import annotations

import contextlib
import itertools

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from gateway.core.errors import (
    BadReply,
    DeadlineExceeded,
    GatewayError,
    NotCalled,
    Overloaded,
    Rejected,
    Unreachable,
)
from gateway.core.messages import Reply, Request
from gateway.core.service import Emit, Service, discard
from gateway.telemetry.events import BreakerChanged, Refused
from gateway.testing import ScriptedService
from tests.apps import request
from tests.policies.stacks import Stack, stacked

KEYS = {"failures": "50%", "of": 4, "window": "10s", "open": "5s"}


def states(stack: Stack) -> list[str]:
    return [event.state for event in stack.events.of(BreakerChanged)]


async def code_of(service: Service) -> str:
    try:
        await service(request(), discard)
    except GatewayError as error:
        return error.code
    return "ok"


async def opened(stack: Stack) -> None:
    down = stack.around(ScriptedService().fail(Unreachable("x")))
    for _ in range(4):
        assert await code_of(down) == "unreachable"


@pytest.mark.parametrize(
    ("error", "opens"),
    [
        (Unreachable("x"), True),
        (BadReply("x"), True),
        (BadReply("x", service_status=500), True),
        (DeadlineExceeded("its own timeout"), True),
        (NotCalled("too late"), False),
        (Rejected("x", service_status=404), False),
        (Rejected("x", service_status=429), False),
        (Overloaded("a limit behind it"), False),
        (ValueError("a bug"), True),
    ],
    ids=repr,
)
async def test_what_is_a_failure(autojump_clock: MockClock, error: Exception, opens: bool) -> None:
    inner = ScriptedService().fail(error)
    async with stacked(breaker=KEYS) as stack:
        for _ in range(4):
            with pytest.raises(type(error)):
                await stack.around(inner)(request(), discard)
        assert states(stack) == (["open"] if opens else [])


@pytest.mark.parametrize(
    ("script", "open_after"),
    [
        ("FFF", None),  # too few to tell
        ("FFFF", 4),
        ("OOFF", 4),
        ("OOOF", None),
        ("OOOFF", None),  # two of five
        ("OOOFFF", 6),
        ("FFFO", 4),  # the fourth makes it enough, whatever it was
    ],
)
async def test_it_opens_from_its_share_of_at_least_so_many(
    autojump_clock: MockClock, script: str, open_after: int | None
) -> None:
    inner = ScriptedService()
    for letter in script:
        inner.reply(1) if letter == "O" else inner.fail(Unreachable("x"))
    async with stacked(breaker=KEYS) as stack:
        for _ in script:
            await code_of(stack.around(inner))
        assert states(stack) == ([] if open_after is None else ["open"])


async def test_the_window_slides(autojump_clock: MockClock) -> None:
    down = ScriptedService().fail(Unreachable("x"))
    async with stacked(breaker=KEYS) as stack:
        for wait_s in (0, 6, 6, 6, 6):  # never more than two within ten seconds
            await trio.sleep(wait_s)
            await code_of(stack.around(down))
        assert states(stack) == []
        await trio.sleep(1000)
        await opened(stack)
        assert states(stack) == ["open"]


async def test_open_it_refuses_at_once_and_says_when_to_come_again(
    autojump_clock: MockClock,
) -> None:
    inner = ScriptedService()
    async with stacked(breaker=KEYS) as stack:
        await opened(stack)
        await trio.sleep(2)
        with pytest.raises(Overloaded, match="its breaker is open, since 50% or more") as caught:
            await stack.around(inner)(request(), discard)
        assert caught.value.retry_after_s == pytest.approx(3)
        assert inner.requests == []
        assert stack.events.of(Refused) == [Refused(service="s", by="breaker")]


async def test_half_open_it_lets_exactly_one_through(autojump_clock: MockClock) -> None:
    inner = ScriptedService().reply(1, after_s=1)
    codes: list[str] = []

    async def call() -> None:
        codes.append(await code_of(stack.around(inner)))

    async with stacked(breaker=KEYS) as stack:
        await opened(stack)
        await trio.sleep(5)
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(call)
        assert len(inner.requests) == 1
        assert sorted(codes) == ["ok"] + ["overloaded"] * 99
        assert states(stack) == ["open", "half_open", "closed"]
        assert await code_of(stack.around(inner)) == "ok"


@pytest.mark.parametrize(("fails", "codes"), [(False, "ok"), (True, "overloaded")])
async def test_calls_of_its_own_request_wait_for_the_probe(
    autojump_clock: MockClock, fails: bool, codes: str
) -> None:
    inner = ScriptedService()
    inner.fail(Unreachable("x"), after_s=1) if fails else inner.reply(1, after_s=1)
    one, found = request(), []

    async def call(number: int) -> None:
        await trio.sleep(number / 1000)
        try:
            await stack.around(inner)(one, discard)
        except GatewayError as error:
            found.append(error.code)
        else:
            found.append("ok")

    async with stacked(breaker=KEYS) as stack:
        await opened(stack)
        await trio.sleep(5)
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(call, number)
            await trio.sleep(0.5)
            assert len(inner.requests) == 1
            assert await code_of(stack.around(inner)) == "overloaded"  # another request's
    assert found == ["unreachable" if fails else "ok", codes, codes]


async def test_a_probe_that_fails_opens_it_again_for_its_whole_time(
    autojump_clock: MockClock,
) -> None:
    down = ScriptedService().fail(Unreachable("x"), after_s=1)
    async with stacked(breaker=KEYS) as stack:
        await opened(stack)
        await trio.sleep(5)
        assert await code_of(stack.around(down)) == "unreachable"
        await trio.sleep(4.9)
        assert await code_of(stack.around(down)) == "overloaded"
        await trio.sleep(0.1)
        assert await code_of(stack.around(ScriptedService())) == "ok"
        assert states(stack) == ["open", "half_open", "open", "half_open", "closed"]


async def test_after_a_probe_that_was_cancelled_the_next_one_probes(
    autojump_clock: MockClock,
) -> None:
    hangs = ScriptedService().hang()
    async with stacked(breaker=KEYS) as stack:
        await opened(stack)
        await trio.sleep(5)
        for _ in range(3):
            with trio.move_on_after(1):
                await stack.around(hangs)(request(), discard)
        assert len(hangs.requests) == 3
        assert await code_of(stack.around(ScriptedService())) == "ok"
        assert states(stack) == ["open", "half_open", "closed"]


async def test_what_is_cancelled_counts_for_nothing(autojump_clock: MockClock) -> None:
    hangs = ScriptedService().hang()
    async with stacked(breaker=KEYS) as stack:
        for _ in range(50):
            with trio.move_on_after(0.01):
                await stack.around(hangs)(request(), discard)
        assert states(stack) == []
        await opened(stack)
        assert states(stack) == ["open"]


async def test_what_began_before_it_opened_tells_nothing_after_it_closed(
    autojump_clock: MockClock,
) -> None:
    old = ScriptedService().fail(Unreachable("of the old time"), after_s=8)
    async with stacked(breaker=KEYS) as stack, trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(code_of, stack.around(old))
        await trio.sleep(1)
        await opened(stack)
        await trio.sleep(5)
        assert await code_of(stack.around(ScriptedService())) == "ok"
        await trio.sleep(5)
        assert old.completed == 10
        assert states(stack) == ["open", "half_open", "closed"]


@settings(max_examples=60, deadline=None)
@given(
    script=st.lists(
        st.tuples(st.sampled_from("OFCR"), st.floats(0, 3), st.floats(0, 2)), max_size=60
    )
)
def test_its_states_follow_one_another_as_they_may(
    script: list[tuple[str, float, float]],
) -> None:
    may = {"closed": {"open"}, "open": {"half_open"}, "half_open": {"open", "closed"}}
    probes = 0

    async def main() -> None:
        async def inner(asked: Request, _emit: Emit, /) -> Reply:
            nonlocal probes
            kind, took_s = asked.arguments["how"]
            half_open = bool(states(stack)) and states(stack)[-1] == "half_open"
            probes += half_open
            assert probes <= 1
            try:
                await trio.sleep(took_s)
            finally:
                probes -= half_open
            if kind == "F":
                raise Unreachable("x")
            if kind == "R":
                raise Rejected("x", service_status=404)
            return Reply(1)

        async def call(kind: str, took_s: float) -> None:
            with trio.move_on_after(took_s / 2 if kind == "C" else 100):
                with contextlib.suppress(GatewayError):
                    await stack.around(inner)(request(how=(kind, took_s)), discard)

        async with stacked(breaker=KEYS) as stack, trio.open_nursery() as nursery:
            for kind, gap_s, took_s in script:
                nursery.start_soon(call, kind, took_s)
                await trio.sleep(gap_s)
        told = ["closed", *states(stack)]
        assert all(after in may[before] for before, after in itertools.pairwise(told))

    trio.run(main, clock=MockClock(autojump_threshold=0))
