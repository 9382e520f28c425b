"""Calls that are begun, and waited for in one task: what a request's tests leave open."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from gateway.core.begun import Begun
from gateway.core.errors import DeadlineExceeded, Unreachable
from gateway.core.messages import Reply, Request
from gateway.core.service import Emit, discard, guard
from gateway.policies.timeout import Timeout
from gateway.testing import ScriptedService
from tests.apps import Prompt, driven, get, request


class Held:
    """Begun; the test says what comes."""

    deadline = math.inf

    def __init__(self) -> None:
        self.closed = 0
        self.takes: list[Reply | Exception | None] = []
        self.tell: Callable[[], None] = lambda: None

    def listen(self, tell: Callable[[], None], /) -> None:
        self.tell = tell

    def take(self) -> Reply | None:
        given = self.takes.pop(0)
        if isinstance(given, Exception):
            raise given
        self.closed += given is not None  # by itself
        return given

    async def finish(self) -> Reply:
        await trio.sleep(1)
        return Reply("finished")

    def close(self) -> None:
        self.closed += 1


class Holding:
    """A service that gives what it holds to each call that is begun."""

    def __init__(self, begun: Begun | Exception | None) -> None:
        self.begun = begun
        self.requests: list[Request] = []

    async def __call__(self, _request: Request, _emit: Emit, /) -> Reply:
        await trio.lowlevel.checkpoint()
        return Reply("called")

    def begin(self, request: Request, _until: float, _now: float, /) -> Begun | None:
        self.requests.append(request)
        if isinstance(self.begun, Exception):
            raise self.begun
        return self.begun


CALLS = {"a": get("a", "/7"), "b": get("b", optional=True), "c": get("c", optional=True)}


async def test_replies_are_taken_as_they_come_without_a_task() -> None:
    held = [Held(), Held(), Held()]
    services = dict(zip("abc", map(Holding, held), strict=True))
    tasks: list[int] = []

    async def come() -> None:
        for number in (2, 0, 1):
            await trio.testing.wait_all_tasks_blocked()
            tasks.append(trio.lowlevel.current_statistics().tasks_living)
            held[number].takes.append(Reply(number))
            held[number].tell()

    async with driven(CALLS, services) as gateway:
        before = trio.lowlevel.current_statistics().tasks_living
        async with trio.open_nursery() as nursery:
            nursery.start_soon(come)
            reply = await gateway.call()
    assert reply.value == {"a": 0, "b": 1, "c": 2}
    assert [one.closed for one in held] == [1, 1, 1]
    assert tasks == [before + 1] * 3
    assert services["a"].requests[0].arguments == {"get": "/7"}
    assert gateway.events.started == ["a", "b", "c"]
    gateway.events.assert_balanced()


async def test_what_cannot_be_begun_is_called_and_the_others_are_finished(
    autojump_clock: MockClock,
) -> None:
    held = [Held(), Held()]
    services = {"a": Holding(held[0]), "b": Holding(None), "c": Holding(held[1])}
    async with driven(CALLS, services) as gateway:
        reply = await gateway.call()
    assert reply.value == {"a": "finished", "b": "called", "c": "finished"}
    assert [one.closed for one in held] == [1, 1]
    gateway.events.assert_balanced()


@pytest.mark.parametrize("at", ["begin", "take"])
@pytest.mark.parametrize(
    ("error", "code"), [(Unreachable("gone"), "unreachable"), (KeyError("bug"), "internal")]
)
async def test_a_failure_without_waiting_is_the_branchs_own(
    at: str, error: Exception, code: str
) -> None:
    held = [Held(), Held(), Held()]
    services = dict(zip("abc", map(Holding, held), strict=True))
    held[0].takes.append(Reply(1))
    held[2].takes.append(Reply(3))
    if at == "begin":
        services["b"].begun = error
    else:
        held[1].takes.append(error)

    async def come() -> None:
        await trio.testing.wait_all_tasks_blocked()
        for one in held:
            one.tell()

    async with driven(CALLS, services) as gateway, trio.open_nursery() as nursery:
        nursery.start_soon(come)
        reply = await gateway.call()
    assert reply.value == {"a": 1, "b": None, "c": 3}
    assert [missing.code for missing in reply.missing] == [code]
    gateway.events.assert_balanced()


@pytest.mark.parametrize("ends", ["deadline", "cancellation", "failure"])
async def test_whatever_ends_the_request_closes_what_was_begun(
    autojump_clock: MockClock, ends: str
) -> None:
    held = [Held(), Held(), Held()]
    services = dict(zip("abc", map(Holding, held), strict=True))

    async def fail() -> None:
        await trio.sleep(1)
        held[0].takes.append(Unreachable("gone"))
        held[0].tell()

    async with driven(CALLS, services, deadline="2s") as gateway:
        with trio.move_on_after(1 if ends == "cancellation" else math.inf):
            async with trio.open_nursery() as nursery:
                if ends == "failure":
                    nursery.start_soon(fail)
                with pytest.raises((DeadlineExceeded, Unreachable, trio.Cancelled)):
                    await gateway.call()
    assert [one.closed for one in held] == [1, 1, 1]
    gateway.events.assert_balanced()


# ------------------------------------------------------------------ under a timeout


async def test_a_timeout_holds_for_each_call_that_was_begun(autojump_clock: MockClock) -> None:
    inner = {
        "a": ScriptedService().reply(1, after_s=0.5),
        "b": ScriptedService().hang(),
        "c": ScriptedService().reply(3, after_s=1.5),
    }
    services = {
        name: guard(Prompt(service), [Timeout(1 if name != "c" else 2)])
        for name, service in inner.items()
    }
    async with driven(CALLS, services) as gateway:
        start = trio.current_time()
        reply = await gateway.call()
        assert trio.current_time() - start == pytest.approx(1.5)
    assert reply.value == {"a": 1, "b": None, "c": 3}
    (missing,) = reply.missing
    assert (missing.code, missing.detail) == (
        "deadline_exceeded",
        "no reply within its timeout of 1s",
    )
    assert reply.branches[1].ended_s == pytest.approx(1)
    gateway.events.assert_balanced()


async def test_a_timeout_holds_for_what_is_finished(autojump_clock: MockClock) -> None:
    services = {
        name: guard(Prompt(ScriptedService().hang(), slow=True), [Timeout(1)]) for name in "abc"
    }
    async with driven(CALLS, services) as gateway:
        with pytest.raises(DeadlineExceeded, match="its timeout of 1s"):
            await gateway.call()
        assert trio.current_time() == pytest.approx(1)
    gateway.events.assert_balanced()


async def test_the_nearer_of_two_timeouts_speaks(autojump_clock: MockClock) -> None:
    for outer, inner in ((1, 2), (2, 1)):
        service = guard(Prompt(ScriptedService().hang()), [Timeout(outer), Timeout(inner)])
        begin = service.begin  # type: ignore[attr-defined] # it has one
        begun = begin(request(), math.inf, trio.current_time())
        await trio.sleep(1.01)
        with pytest.raises(DeadlineExceeded, match="its timeout of 1s"):
            begun.take()
        begun.close()


async def test_a_timeout_is_what_remains_while_the_call_is_begun(autojump_clock: MockClock) -> None:
    left: list[float] = []

    class Looking:
        async def __call__(self, _request: Request, _emit: Emit, /) -> Reply:
            raise AssertionError

        def begin(self, _request: Request, until: float, now: float, /) -> None:
            left.append(until - now)

    service = guard(Looking(), [Timeout(1)])
    assert service.begin(request(), math.inf, trio.current_time()) is None  # type: ignore[attr-defined] # it has one
    assert left == [pytest.approx(1)]


async def test_what_cannot_be_begun_below_cannot_be_above() -> None:
    class Other:
        async def __call__(self, request: Request, emit: Emit, inner: object, /) -> Reply:
            raise AssertionError

    assert guard(ScriptedService(), [Timeout(1)]).begin is None  # type: ignore[attr-defined]
    assert guard(Prompt(ScriptedService()), [Other()]).begin is None  # type: ignore[attr-defined, list-item]
    assert (await guard(ScriptedService().reply(1), [Timeout(1)])(request(), discard)).value == 1
