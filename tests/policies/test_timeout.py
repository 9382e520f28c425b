"""The timeout: exact, silent about what was in time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from gateway.core.errors import DeadlineExceeded, Unreachable
from gateway.core.messages import Partial, Progress, Reply, Request
from gateway.core.service import Emit, discard
from gateway.policies.timeout import Timeout
from gateway.testing import ScriptedService
from tests.apps import request


@pytest.mark.parametrize(("after_s", "in_time"), [(0, True), (0.999, True), (1.001, False)])
async def test_it_gives_up_at_its_time(
    autojump_clock: MockClock, after_s: float, in_time: bool
) -> None:
    inner = ScriptedService().reply("x", after_s=after_s)
    if in_time:
        assert (await Timeout(1)(request(), discard, inner)).value == "x"
        assert trio.current_time() == pytest.approx(after_s)
        return
    with pytest.raises(DeadlineExceeded, match=r"no reply within its timeout of 1s"):
        await Timeout(1)(request(), discard, inner)
    assert trio.current_time() == pytest.approx(1, abs=1e-9)
    assert (inner.active, inner.cancelled) == (0, 1)


async def test_a_failure_in_time_stays_itself(autojump_clock: MockClock) -> None:
    inner = ScriptedService().fail(Unreachable("x"), after_s=0.5)
    with pytest.raises(Unreachable):
        await Timeout(1)(request(), discard, inner)


async def test_of_two_the_nearer_one_speaks(autojump_clock: MockClock) -> None:
    inner = ScriptedService().hang()

    async def inside(asked: Request, emit: Emit, /) -> Reply:
        return await Timeout(1)(asked, emit, inner)

    with pytest.raises(DeadlineExceeded, match="1s"):
        await Timeout(2)(request(), discard, inside)
    assert trio.current_time() == pytest.approx(1, abs=1e-9)


async def test_the_budget_around_it_is_no_timeout_of_its_own(autojump_clock: MockClock) -> None:
    with trio.move_on_after(1) as scope:
        await Timeout(1)(request(), discard, ScriptedService().hang())
    assert scope.cancelled_caught


async def test_partials_pass_under_it(autojump_clock: MockClock) -> None:
    seen: list[Partial] = []

    async def emit(partial: Partial) -> None:
        await trio.sleep(0.4)
        seen.append(partial)

    inner = ScriptedService().reply("x", after_s=0.4, emit=(Progress(1), Progress(2)))
    with pytest.raises(DeadlineExceeded):
        await Timeout(1)(request(), emit, inner)
    assert seen == [Progress(1), Progress(2)]
