"""Policies for tests, as the gateway makes them: from the text of their keys, in their order."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncGenerator, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import attrs
import trio

from gateway.build import _ORDER
from gateway.config.problems import Location, Origins, Problems
from gateway.core.adapter import Environment
from gateway.core.background import Background
from gateway.core.begun import begin_of, told
from gateway.core.errors import GatewayError
from gateway.core.messages import Context, Reply, Request
from gateway.core.service import CallFacts, Emit, Policy, Service, discard, guard
from gateway.policies import POLICIES
from tests.apps import Events

__all__ = ["READ", "WRITE", "Stack", "asked", "begun", "outcomes_of", "stacked"]

READ = CallFacts(name="c", idempotent=True, read_only=True, identity="get")
WRITE = CallFacts(name="c", idempotent=False, read_only=False, identity="post")


@attrs.frozen
class Stack:
    """The policies of one service, which is open.

    Args:
        policies: Of one call, outermost first.
        of: Those of another call.
        events: What was told.
        background: Where flights and hedges run.
    """

    policies: tuple[Policy, ...]
    of: Callable[[CallFacts], tuple[Policy, ...]]
    events: Events
    background: Background

    def around(self, service: Service, facts: CallFacts | None = None) -> Service:
        """`service`, guarded; its calls are begun where `begun` says so."""
        made = begun.get()
        policies = self.policies if facts is None else self.of(facts)
        if made is None:
            return guard(service, policies)
        return _Beginning(guard(made(service), policies))


begun: ContextVar[Callable[[Service], Service] | None] = ContextVar("begun", default=None)
"""What a service is made into whose calls are to be begun; `None` where they are to be made."""


class _Beginning:
    """Begins its calls if it can, as a plan does."""

    def __init__(self, service: Service) -> None:
        self._service = service
        begin = begin_of(service)
        assert begin is not None, "every policy has a way to begin calls"
        self._begin = begin

    async def __call__(self, request: Request, emit: Emit, /) -> Reply:
        going = None
        if emit is discard:
            going = self._begin(request, trio.current_effective_deadline(), trio.current_time())
        if going is None:
            return await self._service(request, emit)
        try:
            await told(going)
            reply = going.take()
            return await going.finish() if reply is None else reply
        finally:
            going.close()
            with trio.CancelScope(shield=True):  # the task in `Prompt` ends within two turns
                for _ in range(2):
                    await trio.lowlevel.checkpoint()


@contextlib.asynccontextmanager
async def stacked(
    facts: CallFacts = READ, /, *, seed: int = 1, **written: Any
) -> AsyncGenerator[Stack]:
    """An open stack of the policies whose keys are given."""
    events = Events()
    environment = Environment(service="s", record=events.append, random=random.Random(seed))
    problems = Problems(Origins(Location("a test", None, Path())))
    makers = {
        key: POLICIES[key].create(
            POLICIES[key].codec.decode(value, problems.place((key,))), environment
        )
        for key, value in written.items()
    }

    def of(facts: CallFacts) -> tuple[Policy, ...]:
        made = [makers[key](facts) for key in _ORDER if key in makers]
        return tuple(policy for policy in made if policy is not None)

    async with environment.background.open():
        yield Stack(of(facts), of, events, environment.background)


def asked(priority: Any = "normal", /, **context: Any) -> Request:
    """A request like every other, but for its context."""
    return Request("c", {}, Context(request_id="r", priority=priority, **context))


async def outcomes_of(
    calls: int, every_s: float, call: Callable[[int], Any]
) -> list[tuple[float, str]]:
    """Make so many calls, one every so often; of each how long it took, and its code or `ok`."""
    ended: list[tuple[float, str]] = []

    async def one(number: int) -> None:
        start = trio.current_time()
        code = "ok"
        try:
            await call(number)
        except GatewayError as error:
            code = error.code
        ended.append((trio.current_time() - start, code))

    async with trio.open_nursery() as nursery:
        for number in range(calls):
            nursery.start_soon(one, number)
            if every_s:
                await trio.sleep(every_s)
    return ended
