"""A service that does what the weather says."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

import trio

from gateway.core.errors import GatewayError
from gateway.core.messages import Reply, Request
from gateway.core.service import Emit
from gateway.policies.failures import failure_of
from gateway.simulation.weather import Conditions, Window

__all__ = ["StandIn", "Watch"]

T = TypeVar("T")

_CALM = Conditions(latencies=())


class Watch(Protocol):
    """Who is told of every attempt that reaches a service."""

    def began(self, service: str, call: str) -> Any:
        """One began; what is returned names it when it ends."""
        ...

    def ended(self, attempt: Any, outcome: str) -> None:
        """It ended: `ok`, a failure's code or status, or `cancelled`."""
        ...


class StandIn:
    """A `Service` in the place of one of the file's.

    Args:
        service: The service's name.
        calls: What each call to it meets, by the call's name.
        chance: What decides.
        watch: Who is told.
    """

    def __init__(
        self, service: str, calls: Mapping[str, Conditions], chance: random.Random, watch: Watch
    ) -> None:
        self._service = service
        self._calls = calls
        self._chance = chance
        self._watch = watch
        self._replies = {name: Reply(conditions.reply) for name, conditions in calls.items()}

    async def __call__(self, request: Request, _emit: Emit, /) -> Reply:
        """Reply, fail or hang, when its time has come."""
        attempt = self._watch.began(self._service, request.name)
        outcome = "cancelled"
        try:
            reply = await self._answer(request.name)
            outcome = "ok"
            return reply
        except GatewayError as error:
            outcome = str(error.service_status or error.code)
            raise
        finally:
            self._watch.ended(attempt, outcome)

    async def _answer(self, call: str) -> Reply:
        conditions = self._calls.get(call, _CALM)
        chance, now = self._chance, trio.current_time()
        latency = _first(conditions.latencies, now)
        seconds = 0.0 if latency is None else latency(chance)
        hang_share = _first(conditions.hangs, now)
        if hang_share is not None and chance.random() < hang_share:
            await trio.sleep_forever()
        for window, (share, failure, at_once) in conditions.failures:
            if now in window and chance.random() < share:
                await trio.sleep(0 if at_once else seconds)
                raise failure_of(failure, "a failure that the simulation asks for")
        await trio.sleep(seconds)
        return self._replies[call]


def _first(wishes: Iterable[tuple[Window, T]], now: float) -> T | None:
    """The value of the first whose time it is."""
    for window, value in wishes:
        if now in window:
            return value
    return None
