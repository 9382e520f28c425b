"""A service's rate: calls go out no closer together than it allows."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import trio

from gateway.config.units import format_duration, format_rate
from gateway.core.adapter import Environment
from gateway.core.begun import Begun
from gateway.core.errors import Overloaded
from gateway.core.messages import Reply, Request
from gateway.core.service import Beginnable, CallFacts, Emit, Service
from gateway.telemetry.events import Refused

__all__ = ["FIXED", "Rate", "create"]

_BURST_S = 1.0
"""What was not used may be used at once: up to a second's worth, one call at least."""

FIXED = {"unused, kept for": format_duration(_BURST_S)}
"""The numbers that no key sets."""


class Rate:
    """Holds calls back until their turn; one whose turn does not come before its deadline is refused.

    The generic cell rate algorithm: one number, the time at which the next call is due if all come
    evenly. A call may be ahead of it by a second's worth.

    One for all calls of a service.

    Args:
        per_s: Calls a second, above 0.
        environment: The service's.

    Raises:
        Overloaded: Its turn would not come in time; refused at once.

    Cancellation: while it waits, its turn is for whoever comes next.

    Source: ITU-T I.371, the virtual scheduling algorithm.
    """

    def __init__(self, per_s: float, environment: Environment) -> None:
        self._per_s = per_s
        self._interval_s = 1 / per_s
        self._ahead_s = max(0.0, _BURST_S - self._interval_s)
        self._environment = environment
        self._due = 0.0
        self._given_up: list[float] = []

    async def __call__(self, request: Request, emit: Emit, inner: Service, /) -> Reply:
        """Call `inner` when its turn comes."""
        now = trio.current_time()
        turn = self._turn(now)
        if turn > now:
            came = False
            try:
                await trio.sleep_until(turn)
                came = True
            finally:
                if not came:
                    heapq.heappush(self._given_up, turn)
        return await inner(request, emit)

    def begin(
        self, inner: Beginnable, request: Request, until: float, now: float, /
    ) -> Begun | None:
        """Begin the call, if its turn is now."""
        before = self._due
        due = max(before, now)
        if self._given_up or due - self._ahead_s > now:
            return None
        self._due = due + self._interval_s
        begun = inner.begin(request, until, now)
        if begun is None:
            self._due = before
        return begun

    def _turn(self, now: float) -> float:
        """When the next call may go out; the turn is taken.

        Raises:
            Overloaded: Not before its deadline.
        """
        given_up = self._given_up
        while given_up and given_up[0] <= now:
            heapq.heappop(given_up)
        due = max(self._due, now)
        turn = given_up[0] if given_up else due - self._ahead_s
        if turn > now and turn >= trio.current_effective_deadline():
            raise self._refusal(turn - now)
        if given_up:
            heapq.heappop(given_up)
        else:
            self._due = due + self._interval_s
        return turn

    def _refusal(self, wait_s: float) -> Overloaded:
        environment = self._environment
        environment.record(Refused(service=environment.service, by="rate"))
        return Overloaded(
            f"not called: its rate of {format_rate(self._per_s)} is used up for longer than the "
            "budget lasts",
            retry_after_s=wait_s,
        )


def create(per_s: float, environment: Environment) -> Callable[[CallFacts], Rate]:
    """The service's `rate`: one for all of its calls."""
    policy = Rate(per_s, environment)
    return lambda _call: policy
