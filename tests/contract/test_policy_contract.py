"""What every policy promises, whatever it guards against.

A new policy needs an entry in `WRITTEN`: a value of its key under which it lets calls pass.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gateway.config.problems import Location, Origins, Problems
from gateway.core.adapter import Environment
from gateway.core.errors import ERRORS, DeadlineExceeded, GatewayError, Skipped
from gateway.core.messages import Partial, Progress, Reply, Request
from gateway.core.service import CallFacts, Policy, discard, guard
from gateway.policies import POLICIES
from gateway.policies.timeout import Timeout
from gateway.testing import Cancellable, ScriptedService, cancel_at_every_checkpoint
from tests.apps import request

WRITTEN: dict[str, Any] = {
    "timeout": "5s",
    "retry": {"attempts": 2},
    "hedge": {"after": "10s"},
    "breaker": {},
    "limit": {"concurrency": 100},
    "rate": "100/s",
    "cache": {"ttl": "1ms"},
    "coalesce": True,
    "fault": {"abort": "unreachable", "abort_share": "0.000001%"},
}

EVERY = pytest.mark.parametrize("key", WRITTEN)


@contextlib.asynccontextmanager
async def made(key: str) -> AsyncIterator[Policy]:
    """The policy of this key, in an app that is open."""
    kind = POLICIES[key]
    place = Problems(Origins(Location("a test", None, Path()))).place((key,))
    environment = Environment(service="s", record=lambda _event: None)
    facts = CallFacts(name="c", idempotent=True, read_only=True, identity="get")
    policy = kind.create(kind.codec.decode(WRITTEN[key], place), environment)(facts)
    assert policy is not None
    async with environment.background.open():
        yield policy


def test_every_policy_keeps_the_contract() -> None:
    assert set(WRITTEN) == set(POLICIES)


@EVERY
async def test_request_partials_and_reply_pass_unchanged(
    autojump_clock: MockClock, key: str
) -> None:
    seen: list[Partial] = []

    async def emit(partial: Partial) -> None:
        seen.append(partial)

    note = Progress(1)
    inner = ScriptedService().reply({"n": 1}, after_s=1, emit=(note,))
    asked = request(x=1)
    async with made(key) as policy:
        reply = await guard(inner, [policy])(asked, emit)
    assert reply.value == {"n": 1}
    assert seen == [note]
    assert inner.requests == [asked]


@EVERY
@pytest.mark.parametrize(
    "error",
    [error("no") for error in ERRORS if error is not Skipped] + [ValueError("a bug")],
    ids=lambda error: type(error).__name__,
)
async def test_a_failure_passes_bare(autojump_clock: MockClock, key: str, error: Exception) -> None:
    inner = ScriptedService().fail(error, after_s=1)
    async with made(key) as policy:
        with pytest.raises(type(error), match=str(error)) as caught:
            await policy(request(), discard, inner)
    if isinstance(error, GatewayError):
        assert isinstance(caught.value, GatewayError)
        assert caught.value.code == error.code
    else:
        assert caught.value is error


@EVERY
async def test_a_nearer_deadline_holds_and_is_not_taken_for_a_failure(
    autojump_clock: MockClock, key: str
) -> None:
    inner = ScriptedService().hang()
    async with made(key) as policy:
        with trio.move_on_after(1) as scope:
            await policy(request(), discard, inner)
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(1, abs=1e-9)
    assert (inner.active, inner.cancelled) == (0, 1)


@EVERY
async def test_no_deadline_is_ever_lengthened(autojump_clock: MockClock, key: str) -> None:
    deadlines: list[float] = []

    async def inner(_request: Request, _emit: Any, /) -> Reply:
        await trio.lowlevel.checkpoint()
        deadlines.append(trio.current_effective_deadline())
        return Reply(1)

    async with made(key) as policy:
        with trio.move_on_after(2):
            await policy(request(), discard, inner)
    assert max(deadlines) <= 2


@EVERY
@pytest.mark.parametrize(
    "inner",
    [
        lambda: ScriptedService().reply(1, after_s=1),
        lambda: ScriptedService().fail(DeadlineExceeded("x"), after_s=1),
        lambda: ScriptedService().hang(),
    ],
    ids=["replies", "fails", "hangs"],
)
def test_cancelled_anywhere_it_leaves_nothing(key: str, inner: Any) -> None:
    async def scenario(cancellable: Cancellable) -> None:
        service = inner()

        async def call() -> None:
            try:
                await guarded(request(), discard)
            except GatewayError as error:
                assert error.code == "deadline_exceeded"  # noqa: PT017 - others are bugs

        async with made(key) as policy:
            guarded = guard(service, [Timeout(10), policy])  # whatever hangs, hangs for so long
            await cancellable(call)
            assert service.active == 0

    assert cancel_at_every_checkpoint(scenario) > 1


@EVERY
async def test_it_may_be_used_by_many_at_once(autojump_clock: MockClock, key: str) -> None:
    inner = ScriptedService().reply(lambda asked: asked.arguments["n"], after_s=1)
    got: list[Any] = []

    async def one(number: int) -> None:
        reply = await guarded(request(n=number), discard)
        got.append((number, reply.value))

    async with made(key) as policy:
        guarded = guard(inner, [policy])
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(one, number)
    assert sorted(got) == [(number, number) for number in range(20)]
