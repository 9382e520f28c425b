"""A bound on how long a service may take."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from gateway.config.units import format_duration
from gateway.core.adapter import Environment
from gateway.core.errors import DeadlineExceeded
from gateway.core.messages import Reply, Request
from gateway.core.service import Begin, Begun, CallFacts, Emit, Service

__all__ = ["Timeout", "create"]


@attrs.frozen(slots=True)
class Timeout:
    """Gives up after `timeout_s`; the budget of the request still holds if it is less.

    The same policy stands in two places: around all attempts of a call (the call's `timeout`)
    and around one attempt (the service's).

    Args:
        timeout_s: Seconds, more than 0.

    Raises:
        DeadlineExceeded: `inner` had not replied by then; it was cancelled and has ended.
    """

    timeout_s: float

    async def __call__(self, request: Request, emit: Emit, inner: Service, /) -> Reply:
        """Call `inner` under the timeout."""
        with trio.CancelScope(deadline=trio.current_time() + self.timeout_s):
            return await inner(request, emit)
        raise _over(self.timeout_s)

    def begin(self, request: Request, until: float, inner: Begin, /) -> Begun | None:
        """Begin the call under the timeout."""
        deadline = trio.current_time() + self.timeout_s
        begun = inner(request, min(until, deadline))
        return None if begun is None else _Limited(begun, deadline, self.timeout_s)


class _Limited:
    """A call that was begun, and may take until `deadline`."""

    __slots__ = ("_begun", "_timeout_s", "close", "deadline", "listen")

    def __init__(self, begun: Begun, deadline: float, timeout_s: float) -> None:
        self._begun = begun
        self._timeout_s = timeout_s
        self.deadline = min(begun.deadline, deadline)
        self.listen = begun.listen
        self.close = begun.close

    def take(self) -> Reply | None:
        """As `Begun`."""
        reply = self._begun.take()
        if reply is None and trio.current_time() >= self.deadline:
            raise _over(self._timeout_s)
        return reply

    async def finish(self) -> Reply:
        """As `Begun`."""
        with trio.CancelScope(deadline=self.deadline):
            return await self._begun.finish()
        raise _over(self._timeout_s)


def _over(timeout_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(f"no reply within its timeout of {format_duration(timeout_s)}")


def create(timeout_s: float, _environment: Environment) -> Callable[[CallFacts], Timeout]:
    """The service's `timeout`: the same for each of its calls, for they share nothing."""
    policy = Timeout(timeout_s)
    return lambda _call: policy
