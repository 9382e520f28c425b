"""Coalescing: identical calls under way at the same time share one flight."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType

import trio

from gateway.core.adapter import Environment
from gateway.core.background import Background
from gateway.core.errors import GatewayError, Overloaded
from gateway.core.messages import Partial, Reply, Request
from gateway.core.service import CallFacts, Emit, Service
from gateway.policies.apart import Outcome, made_apart
from gateway.policies.keys import Keys, Vary, keys_for
from gateway.telemetry.events import Coalesced

__all__ = ["Coalesce", "create"]

_AHEAD = 64
"""Partials that may wait for one who is slow to take them."""


class Coalesce:
    """Makes identical calls under way at the same time once, and gives all who wait the reply.

    The flight belongs to no caller: the one that began it may leave. It goes on while one waiter
    is left, has the latest of their deadlines, and is cancelled with the last of them. A failure
    is shared; cancellation is not. Once a flight has emitted anything it takes nobody more.

    Only calls that change nothing.

    Args:
        environment: The service's.
        flights: Those under way, by what is asked.
        keys: What is asked.
        call: The call's name.
    """

    def __init__(
        self,
        environment: Environment,
        flights: dict[bytes, _Flight],
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
        flight = self._flights.get(key)
        # Of waiters with different deadlines the last one's holds.
        until = trio.current_effective_deadline()
        if flight is None:
            flight = _Flight(request, inner, self._flights, key, until)
            flight.begin(self._environment.background)
        else:
            flight.extend(until)
            environment = self._environment
            environment.record(Coalesced(service=environment.service, call=self._call))
        return await flight.join(emit)


class _Flight:
    """One call, and those who wait for it.

    Args:
        request: What is asked.
        inner: Who is asked.
        flights: Where it stands while it takes others.
        key: Under what.
        until: The deadline of who begins it.
    """

    __slots__ = (
        "_ended",
        "_flights",
        "_inner",
        "_key",
        "_outcome",
        "_over",
        "_request",
        "_scope",
        "_seats",
        "_traceback",
    )

    def __init__(
        self,
        request: Request,
        inner: Service,
        flights: dict[bytes, _Flight],
        key: bytes,
        until: float,
    ) -> None:
        self._request = request
        self._inner = inner
        self._flights = flights
        self._key = key
        self._seats: set[_Seat] = set()
        self._over = False
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
            if isinstance(self._outcome, BaseException):
                self._traceback = self._outcome.__traceback__
        finally:
            self._close()
            self._over = True
            for seat in self._seats:
                seat.wake()
            if self._ended is not None:
                self._ended.set()

    async def _emit(self, item: Partial, /) -> None:
        """Pass `item` on to all; the slowest of them holds the flight back."""
        self._close()
        for seat in tuple(self._seats):
            await seat.take(item)

    def extend(self, until: float) -> None:
        """Let it take until then, if it may not already."""
        if until > self._scope.deadline:  # noqa: PLR1730 - to move one costs more than to look at it
            self._scope.deadline = until

    async def join(self, emit: Emit) -> Reply:
        """Wait for the reply.

        Raises:
            BaseException: What the call raised.
            Overloaded: The gateway closed before.
        """
        seat = _Seat(emit)
        self._seats.add(seat)
        try:
            while not self._over:
                await seat.pass_on()
            await seat.pass_on(wait=False)
        finally:
            self._seats.discard(seat)
            seat.leave()
            if not self._seats and not self._over:
                self._close()
                self._scope.cancel()
                self._ended = trio.Event()
                with trio.CancelScope(shield=True):  # nothing is left behind
                    await self._ended.wait()
        match self._outcome:
            case Reply():
                return self._outcome
            case GatewayError():
                raise self._outcome.blamed()  # a copy: each who waits has a traceback of its own
            case None:
                await trio.lowlevel.checkpoint_if_cancelled()
                raise Overloaded("not answered: the gateway is closing", retry_after_s=1)
            case error:
                raise error.with_traceback(self._traceback)  # not that of all who waited before


class _Seat:
    """One who waits for a flight, and what has been emitted for him and is not passed on yet.

    Args:
        emit: Takes it.
    """

    __slots__ = ("_emit", "_items", "_left", "_news", "_room", "_task")

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._items: deque[Partial] = deque()
        self._news = False
        self._task: trio.lowlevel.Task | None = None
        self._room: trio.Event | None = None
        self._left = False

    def wake(self) -> None:
        """Let `pass_on` go on."""
        self._news = True
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    async def take(self, item: Partial) -> None:
        """Take `item`; wait while there are too many."""
        while len(self._items) >= _AHEAD and not self._left:
            self._room = trio.Event()
            await self._room.wait()
        self._items.append(item)
        self.wake()

    async def pass_on(self, *, wait: bool = True) -> None:
        """Pass on what there is; with `wait`, once there is something or the flight is over."""
        if wait and not self._news:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        self._news = False
        while self._items:
            await self._emit(self._items.popleft())
            self._make_room()

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _make_room(self) -> None:
        if self._room is not None:
            self._room.set()

    def leave(self) -> None:
        """Hold nobody back any more."""
        self._left = True
        self._make_room()


def create(shares: bool, environment: Environment) -> Callable[[CallFacts], Coalesce | None]:
    """The service's `coalesce`; what is asked is the same for all of its calls that are the same."""
    flights: dict[bytes, _Flight] = {}

    def policy(call: CallFacts) -> Coalesce | None:
        keys = keys_for(call, by_principal=environment.shared(Vary).by_principal)
        if not shares or keys is None:
            return None
        return Coalesce(environment, flights, keys, call.name)

    return policy
