"""A call is not made with less time left than it has ever taken lately."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from gateway.core.errors import DeadlineExceeded
from gateway.plan.fastest import Fastest
from gateway.testing import ScriptedService
from tests.apps import driven, get


def told(*seconds: float, at: float = 0.0) -> Fastest:
    fastest = Fastest()
    for took_s in seconds:
        fastest.add(took_s, at)
    return fastest


@pytest.mark.parametrize(
    ("successes", "left_s", "exceeds"),
    [(9, 0.1, False), (10, 0.1, True), (10, 0.5, False), (10, 0.4, True), (10, 3, False)],
)
def test_ten_successes_tell_it(successes: int, left_s: float, exceeds: bool) -> None:
    fastest = told(*[2.0] * (successes - 1), 0.5)
    assert fastest.exceeds(left_s, 1) is exceeds


def test_it_forgets() -> None:
    fastest = told(*[1.0] * 10)
    assert fastest.exceeds(0.5, 14)
    assert fastest.exceeds(0.5, 29)  # the window before still counts
    assert not fastest.exceeds(0.5, 45)
    assert not told(*[1.0] * 10).exceeds(0.5, 31)


def test_a_window_that_follows_another_remembers_it() -> None:
    fastest = told(*[1.0] * 10)
    fastest.add(3.0, 16)
    assert fastest.least_s == 1.0
    for _ in range(10):
        fastest.add(3.0, 20)
    fastest.add(3.0, 32)
    assert fastest.least_s == 3.0


async def test_with_too_little_left_the_service_is_not_asked(autojump_clock: MockClock) -> None:
    service = ScriptedService().reply(1, after_s=0.5)
    async with driven({"a": get("a")}, {"a": service}) as gateway:
        for _ in range(10):
            await gateway.call()
        with pytest.raises(
            DeadlineExceeded,
            match=r"not called: 400ms of the budget are left, and lately it has taken 500ms",
        ):
            await gateway.call(0.4)
        assert len(service.requests) == 10
        await gateway.call(0.6)
        assert gateway.events.last.outcome == "ok"


@pytest.mark.parametrize("optional", [True, False])
async def test_of_several_calls_it_is_the_one_that_is_missing(
    autojump_clock: MockClock, optional: bool
) -> None:
    slow = ScriptedService().reply(1, after_s=0.5)
    services = {"a": slow, "b": ScriptedService().reply(2, after_s=0.1)}
    async with driven({"a": get("a", optional=optional), "b": get("b")}, services) as gateway:
        for _ in range(10):
            await gateway.call()
        if not optional:
            with pytest.raises(DeadlineExceeded, match="not called") as caught:
                await gateway.call(0.4)
            assert caught.value.call == "a"
            return
        reply = await gateway.call(0.4)
        assert reply.partial_label == "a=deadline_exceeded"
        assert reply.value == {"a": None, "b": 2}
        assert len(slow.requests) == 10
