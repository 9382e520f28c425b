"""Policies for tests, as the gateway makes them: from the text of their keys, in their order."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import attrs
import trio

from gateway.build import _ORDER
from gateway.config.problems import Location, Origins, Problems
from gateway.core.adapter import Environment
from gateway.core.background import Background
from gateway.core.errors import GatewayError
from gateway.core.messages import Context, Request
from gateway.core.service import CallFacts, Policy, Service, guard
from gateway.policies import POLICIES
from tests.apps import Events

__all__ = ["READ", "WRITE", "Stack", "asked", "outcomes_of", "stacked"]

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
        """`service`, guarded."""
        return guard(service, self.policies if facts is None else self.of(facts))


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
