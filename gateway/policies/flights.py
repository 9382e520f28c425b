"""Flights: calls that several wait for, and which go on while one of them does."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import TypeAlias

import trio

from gateway.core.background import Background
from gateway.core.begun import Begun, finished, told
from gateway.core.errors import GatewayError, Overloaded
from gateway.core.messages import Partial, Reply, Request
from gateway.core.service import Emit, Service, discard
from gateway.policies.apart import Outcome, made_apart
from gateway.policies.observed import Observed
from gateway.policies.seat import Seat

__all__ = ["Flight", "Flights", "Lead", "Led"]

Lead: TypeAlias = tuple[Request, bytes, float]
"""Of a call: what is asked, its key, and the deadline of who leads it."""

Flights: TypeAlias = "dict[bytes, Flight | Observed]"
"""Those that take others, by what is asked; calls that nobody shares yet among them."""


class _Rest:
    """A `Service` that gives the reply to what was begun, once."""

    __slots__ = ("_begun",)

    def __init__(self, begun: Begun) -> None:
        self._begun = begun

    async def __call__(self, _request: Request, _emit: Emit, /) -> Reply:
        return await finished(self._begun)


class Flight:
    """One call, and those who wait for it.

    Args:
        request: What is asked.
        inner: Who is asked.
        flights: Where it stands while it takes others.
        key: Under what.
        until: The deadline of who begins it.
        led: As below.

    Attributes:
        led: Whether who began it makes the call, in a task of its own and not of the flight's.
    """

    __slots__ = (
        "_alone",
        "_emitted",
        "_ended",
        "_first",
        "_flights",
        "_inner",
        "_key",
        "_outcome",
        "_over",
        "_request",
        "_scope",
        "_seats",
        "_traceback",
        "led",
    )

    def __init__(
        self,
        request: Request,
        inner: Service,
        flights: Flights,
        key: bytes,
        until: float,
        *,
        led: bool = False,
    ) -> None:
        self._request = request
        self._inner = inner
        self._flights = flights
        self._key = key
        self._seats: dict[Seat, None] = {}  # in the order in which they were taken
        self.led = led
        self._over = False
        self._emitted = False
        self._alone = False
        self._first: Seat | None = None
        self._scope = trio.CancelScope(deadline=until)
        self._outcome: Outcome = None
        self._traceback: TracebackType | None = None
        self._ended: trio.Event | None = None

    def begin(self, background: Background) -> None:
        """Begin; somebody is to `join` at once.

        Raises:
            Overloaded: The gateway is closing.
        """
        background.start(self._fly)
        self._flights[self._key] = self

    def _close(self) -> None:
        """Take nobody more."""
        if self._flights.get(self._key) is self:
            del self._flights[self._key]

    async def _fly(self) -> None:
        try:
            self._outcome = await made_apart(self._inner, self._request, self._emit, self._scope)
        finally:
            self.end(self._outcome)
            if self._ended is not None:
                self._ended.set()

    def end(self, outcome: Outcome) -> None:
        """Have all who wait know how it ended.

        What answers one alone is for who leads it, else for the first of those who wait. What has
        been emitted went to all of them: then all of it does.
        """
        self._outcome = outcome
        self._alone = _is_alone(outcome) and not self._emitted
        if not self.led:
            self._first = next(iter(self._seats), None)
        if isinstance(outcome, BaseException):
            self._traceback = outcome.__traceback__
        self._close()
        self._over = True
        for seat in self._seats:
            seat.wake()
        self._forget()

    def _forget(self) -> None:
        """Keep nothing that nobody asks for any more: a failure has in its traceback who keeps it."""
        if not self._seats:
            self._outcome = self._traceback = None

    async def _emit(self, item: Partial, /) -> None:
        """Pass `item` on to all; the slowest of them holds the flight back."""
        self._close()
        self._emitted = True
        for seat in tuple(self._seats):
            await seat.take(item)

    def extend(self, until: float) -> None:
        """Let it take until then, if it may not already."""
        if until > self._scope.deadline:  # noqa: PLR1730 - to move one costs more than to look at it
            self._scope.deadline = until

    async def join(self, emit: Emit) -> Reply | None:
        """Wait for the reply; `None` if it answers another alone.

        Raises:
            BaseException: What the call raised.
            Overloaded: The gateway closed before.
        """
        seat = Seat(emit)
        self._seats[seat] = None
        return await self._reply_for(seat)

    async def rejoin(self) -> Reply:
        """As `join`, for who led it: before all others."""
        seat = Seat(discard)
        self._seats = {seat: None, **self._seats}
        reply = await self._reply_for(seat)
        assert reply is not None  # noqa: S101 - who is the first is answered
        return reply

    async def _reply_for(self, seat: Seat) -> Reply | None:
        try:
            while not self._over:
                await seat.pass_on()
            await seat.pass_on(wait=False)
        finally:
            del self._seats[seat]
            seat.leave()
            if not self._seats and not self._over and not self.led:
                self._close()
                self._scope.cancel()
                self._ended = trio.Event()
                with trio.CancelScope(shield=True):  # nothing is left behind
                    await self._ended.wait()
        try:
            match self._outcome:
                case Reply():
                    return None if self._alone and seat is not self._first else self._outcome
                case GatewayError():
                    raise self._outcome.blamed()  # a copy: each has a traceback of its own
                case None:
                    await trio.lowlevel.checkpoint_if_cancelled()
                    raise Overloaded("not answered: the gateway is closing", retry_after_s=1)
                case BaseException():
                    raise self._outcome.with_traceback(self._traceback)  # not that of those before
        finally:
            self._forget()

    @property
    def is_waited_for(self) -> bool:
        """Whether anybody does, beside who leads it."""
        return bool(self._seats)

    def go_on(self, background: Background) -> None:
        """Go on in a task of its own; nobody leads it any more.

        Raises:
            Overloaded: The gateway is closing; those who wait are told.
        """
        self.led = False
        try:
            background.start(self._fly)
        except Overloaded as error:
            self.end(error)
            raise


def _is_alone(outcome: Outcome) -> bool:
    said = outcome.freshness if isinstance(outcome, Reply) else None
    return said is not None and said.alone


class Led(Observed):
    """A flight that who began it makes alone, without a task; a `Begun`.

    Most have no other passenger: a `Flight` is made of it for the first one. It gets a task of its
    own when there is more to wait for than a reply that comes whole, or when who leads it leaves
    others behind.

    Args:
        begun: The call.
        lead: What is asked, under what it stands, and the deadline of who leads it.
        background: Where it goes on.
        flights: Where it stands.
        heard: Whether somebody listens already.
    """

    __slots__ = (
        *("_background", "_flight", "_flights", "_handed_on", "_key", "_leads", "_request"),
        "_until",
    )

    def __init__(
        self, begun: Begun, lead: Lead, background: Background, flights: Flights, *, heard: bool
    ) -> None:
        super().__init__(begun)
        self._request, self._key, self._until = lead
        self._background = background
        self._flights = flights
        self._flight: Flight | None = None
        self._heard = heard
        self._handed_on = False
        self._leads = True
        flights[self._key] = self

    def shared(self) -> Flight:
        """What others take a seat in, from now on."""
        rest, key = _Rest(self._begun), self._key
        flight = Flight(self._request, rest, self._flights, key, self._until, led=True)
        self._flight = self._flights[key] = flight
        return flight

    async def _finish(self) -> Reply:
        if not self._heard:
            self._heard = True
            await told(self._begun)
            reply = self._begun.take()
            if reply is not None:
                return reply
        return await self._hand_on(self._flight or self.shared()).rejoin()

    def _end(self, reply: Reply | None, error: BaseException | None) -> None:
        if self._leads:
            self._leads = False
            if self._flight is None:
                del self._flights[self._key]
            else:
                self._flight.end(reply if error is None else error)
                self._flight.led = False
        super()._end(reply, error)

    def _hand_on(self, flight: Flight) -> Flight:
        self._leads = False
        flight.go_on(self._background)
        self._handed_on = True
        return flight

    def close(self) -> None:
        """As `Begun`."""
        flight = self._flight
        if self._leads and flight is not None and flight.is_waited_for:
            with contextlib.suppress(Overloaded):
                self._hand_on(flight)
        self._end(None, None)
        if not self._handed_on:
            self._begun.close()
