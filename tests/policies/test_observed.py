from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from gateway.core.begun import Begun, begin_of
from gateway.core.errors import BadReply, DeadlineExceeded, Overloaded, Unreachable
from gateway.core.messages import Reply, Request
from gateway.core.service import Emit, discard, guard
from gateway.policies.flights import Flight, Led
from gateway.policies.observed import Observed, observed
from tests.policies.stacks import asked, stacked

pytestmark = pytest.mark.called  # once: they begin their calls themselves


class Call:
    """A `Begun` that has what it is given: replies, failures, or nothing yet."""

    deadline = math.inf

    def __init__(self, *outcomes: Reply | Exception | None) -> None:
        self.outcomes = list(outcomes)
        self.closed = 0
        self.heard = 0

    def listen(self, tell: Callable[[], None], /) -> None:
        self.heard += 1
        tell()

    def take(self) -> Reply | None:
        if isinstance(self.outcomes[0], Exception):
            raise self.outcomes.pop(0)  # no name for it: a cycle
        return self.outcomes.pop(0)

    async def finish(self) -> Reply:
        await trio.lowlevel.checkpoint()
        reply = self.take()
        assert reply is not None
        return reply

    def close(self) -> None:
        self.closed += 1


class Told:
    """Policies that take note of how a call ends, by name."""

    def __init__(self, *, keeps: bool = True) -> None:
        self.of: list[tuple[str, Any]] = []
        self.keeps = keeps

    def __call__(
        self, name: str, reply: Reply | None, error: BaseException | None, _now: float
    ) -> None:
        if self.keeps:
            self.of.append((name, error if reply is None else reply.value))


class GoesOn:
    """A policy that goes on with a call that failed or does not come whole, as retries do."""

    def __init__(self, begun: Begun, name: str, told: Told) -> None:
        self.begun, self.name, self.told = begun, name, told
        self.deadline = begun.deadline
        self.listen = begun.listen

    def take(self) -> Reply | None:
        try:
            reply = self.begun.take()
        except BadReply as error:
            self.told.of.append((f"{self.name} saw", error))
            return None
        if reply is not None:
            self.told.of.append((f"{self.name} took", reply.value))
        return reply

    async def finish(self) -> Reply:
        await trio.lowlevel.checkpoint()
        self.begun.close()
        self.told.of.append((f"{self.name} went on", None))
        return Reply("another")

    def close(self) -> None:
        self.begun.close()


def stack(call: Begun, told: Told, **timeout: Any) -> tuple[Observed, list[bool]]:
    """Three policies around `call`: one in the middle may go on with it."""
    heard: list[bool] = []

    def goes_on(begun: Begun, name: str, was_heard: bool) -> Begun:
        heard.append(was_heard)
        return GoesOn(begun, name, told)

    made = observed(Observed(call, **timeout), told, "inner")
    made = observed(made, told, "middle", goes_on, at=50)
    assert observed(made, told, "outer") is made, "one object for all of them"
    return made, heard


async def test_a_reply_that_comes_whole_goes_past_all_of_them() -> None:
    told = Told()
    made, heard = stack(Call(Reply(1)), told)
    assert made.take() == Reply(1)
    assert told.of == [("inner", 1), ("middle", 1), ("outer", 1)]
    made.close()
    assert len(told.of) == 3
    assert not heard


def test_its_time_is_the_nearest() -> None:
    assert stack(Call(), Told())[0].deadline == 50
    assert stack(Call(), Told(), deadline=20)[0].deadline == 20
    assert stack(Call(), Told(), deadline=70)[0].deadline == 50


@pytest.mark.parametrize("listens", [False, True])
async def test_one_goes_on_with_a_failure(listens: bool) -> None:
    told, failure = Told(), BadReply("nonsense")
    call = Call(failure)
    made, heard = stack(call, told)
    if listens:
        made.listen(lambda: None)
    assert made.take() is None
    # Those before it know that an attempt failed, those after it nothing yet.
    assert told.of == [("inner", failure), ("middle saw", failure)]
    assert await made.finish() == Reply("another")
    assert told.of[2:] == [("middle went on", None), ("outer", "another")]
    made.close()
    assert len(told.of) == 4
    assert call.closed
    assert heard == [listens]


async def test_what_none_goes_on_with_is_raised_and_told_once() -> None:
    told, failure = Told(), RuntimeError("a bug")
    call = Call(failure)
    made, _ = stack(call, told)
    with pytest.raises(RuntimeError, match="a bug"):
        made.take()
    assert told.of == [("inner", failure), ("outer", failure)]
    made.close()
    assert len(told.of) == 2
    assert call.closed


async def test_a_reply_that_has_to_be_waited_for_is_for_who_goes_on() -> None:
    told = Told()
    call = Call(None, Reply(1))
    made, _ = stack(call, told)
    assert made.take() is None
    assert await made.finish() == Reply("another")
    assert told.of == [("inner", None), ("middle went on", None), ("outer", "another")]


async def test_they_stand_apart_while_it_is_under_way_and_nothing_is_lost() -> None:
    told = Told()
    call = Call(Reply(1))
    made, heard = stack(call, told)
    made.listen(lambda: None)
    made.nest()
    made.nest()
    assert made.take() == Reply(1)
    assert told.of == [("inner", 1), ("middle took", 1), ("outer", 1)]
    assert call.heard == 1
    assert heard == [True]


@pytest.mark.parametrize("apart", [False, True])
async def test_one_that_is_closed_was_cut_off(apart: bool) -> None:
    told = Told()
    call = Call()
    made, _ = stack(call, told)
    if apart:
        made.nest()
    made.close()
    made.close()
    assert told.of == [
        (name, None) for name in ("inner", "middle", "outer") if not apart or name != "middle"
    ]
    assert call.closed


async def test_a_time_that_is_over_is_a_failure_of_the_innermost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told, failure = Told(), DeadlineExceeded("late")
    end = trio.current_time() + 1
    made, _ = stack(Call(None, None), told, deadline=end, over=lambda: failure)
    assert made.take() is None
    assert not told.of
    await trio.sleep(1)
    with pytest.raises(DeadlineExceeded):
        made.take()
    assert told.of == [("inner", failure), ("outer", failure)]


async def test_a_failure_leaves_no_cycle() -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            made, _ = stack(Call(RuntimeError("a bug")), Told(keeps=False))
            with contextlib.suppress(RuntimeError):
                made.take()
            made.close()
            del made
        assert gc.collect() == 0
    finally:
        gc.enable()


class Fails:
    """A service each of whose calls fails at the first look; nothing that is ours holds how."""

    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    async def __call__(self, _request: Request, _emit: Emit, /) -> Reply:
        await trio.lowlevel.checkpoint()
        raise self.error("x")

    def begin(self, _request: Request, _until: float, _now: float) -> Begun:
        return Call(self.error("x"))


def kept() -> int:
    """How many there are of what stands around calls; other tests may have left some."""
    kinds = {Observed, Call, Flight, Led}
    return sum(type(one) in kinds for one in gc.get_objects())


@pytest.mark.parametrize("error", [Unreachable, RuntimeError])
@pytest.mark.parametrize("joined", [False, True])
async def test_neither_does_one_of_all_of_them(
    autojump_clock: trio.testing.MockClock, error: type[Exception], joined: bool
) -> None:
    async with stacked(
        coalesce=True, retry={}, hedge={"after": "1s"}, breaker={}, limit={"concurrency": 9}
    ) as stack:
        service = guard(Fails(error), stack.policies)
        begin = begin_of(service)
        assert begin is not None

        async def join() -> None:
            with contextlib.suppress(Unreachable, RuntimeError, Overloaded):
                await service(asked(), discard)

        async def one() -> None:
            async with trio.open_nursery() as nursery:
                begun = begin(asked(), math.inf, trio.current_time())
                assert begun is not None
                if joined:
                    nursery.start_soon(join)
                    await trio.testing.wait_all_tasks_blocked()
                with contextlib.suppress(RuntimeError):
                    begun.take()  # of what may pass nothing; closed then, and not finished
                begun.close()
                del begun

        await one()
        stack.events.clear()
        gc.collect()
        gc.disable()
        try:
            before = kept()
            for _ in range(5):
                await one()
            stack.events.clear()
            assert kept() == before
        finally:
            gc.enable()
