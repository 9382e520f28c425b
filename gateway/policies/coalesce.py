"""Coalescing: identical calls under way at the same time share one flight."""

from __future__ import annotations

from collections.abc import Callable

import trio

from gateway.core.adapter import Environment
from gateway.core.begun import Begun
from gateway.core.freshness import Asked
from gateway.core.messages import Reply, Request
from gateway.core.service import Beginnable, CallFacts, Emit, Service
from gateway.policies.flights import Flight, Flights, Lead, Led
from gateway.policies.keys import Keys, Vary
from gateway.policies.observed import Observed, observed
from gateway.telemetry.events import Coalesced

__all__ = ["Coalesce", "create"]


class Coalesce:
    """Makes identical calls under way at the same time once, and gives all who wait the reply.

    The flight belongs to no caller: the one that began it may leave. It goes on while one waiter
    is left, has the latest of their deadlines, and is cancelled with the last of them. A failure
    is shared; cancellation is not. Once a flight has emitted anything it takes nobody more. A reply
    that its service made for one request alone answers one of them; the others ask for themselves.

    Only calls that change nothing.

    Args:
        environment: The service's.
        flights: Those under way, by what is asked.
        keys: What is asked.
        call: The call's name.

    Source: RFC 9111, sections 4 and 5.2.2.5, for whom a reply may answer.
    """

    def __init__(
        self,
        environment: Environment,
        flights: Flights,
        keys: Keys,
        call: str,
    ) -> None:
        self._environment = environment
        self._flights = flights
        self._keys = keys
        self._call = call

    async def __call__(self, request: Request, emit: Emit, inner: Service, /) -> Reply:
        """Take a seat in the flight of such calls, or begin one."""
        key = self._keys.of(request)
        if key is None:
            return await inner(request, emit)
        flight = self._flight(key)
        # Of waiters with different deadlines the last one's holds.
        until = trio.current_effective_deadline()
        if flight is None:
            flight = Flight(request, inner, self._flights, key, until)
            flight.begin(self._environment.background)
        else:
            flight.extend(until)
            environment = self._environment
            environment.record(Coalesced(service=environment.service, call=self._call))
        reply = await flight.join(emit)
        return await inner(request, emit) if reply is None else reply

    def begin(
        self, inner: Beginnable, request: Request, until: float, now: float, /
    ) -> Begun | None:
        """Begin a flight; a seat in one has to be waited for."""
        key = self._keys.of(request)
        if key is None:
            return inner.begin(request, until, now)
        if key in self._flights:
            return None
        begun = inner.begin(request, until, now)
        if begun is None:
            return None
        call = observed(begun, self._ended, (request, key, until), self._goes_on)
        self._flights[key] = call
        return call

    def _ended(
        self, lead: Lead, _reply: Reply | None, _error: BaseException | None, _now: float
    ) -> None:
        """Take note that a call ended which nobody shared."""
        _, key, _ = lead
        del self._flights[key]

    def _goes_on(self, begun: Begun, lead: Lead, heard: bool) -> Begun:
        return Led(begun, lead, self._environment.background, self._flights, heard=heard)

    def _flight(self, key: bytes) -> Flight | None:
        """The flight of such calls, if there is one; a call that nobody shares yet becomes one."""
        found = self._flights.get(key)
        if isinstance(found, Observed):
            found.nest()
            led = self._flights[key]
            assert isinstance(led, Led)  # noqa: S101 - it stands in its place
            return led.shared()
        return found


def create(shares: bool, environment: Environment) -> Callable[[CallFacts], Coalesce | None]:
    """The service's `coalesce`; what is asked is the same for all of its calls that are the same."""
    flights: Flights = {}
    environment.shared(Asked).shared = shares

    def policy(call: CallFacts) -> Coalesce | None:
        keys = environment.shared(Vary).keys_for(call)
        if not shares or keys is None:
            return None
        return Coalesce(environment, flights, keys, call.name)

    return policy
