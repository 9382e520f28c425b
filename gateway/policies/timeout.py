"""A bound on how long a service may take."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from gateway.config.units import format_duration
from gateway.core.adapter import Environment
from gateway.core.begun import Begun
from gateway.core.errors import DeadlineExceeded
from gateway.core.messages import Reply, Request
from gateway.core.service import Beginnable, CallFacts, Emit, Service
from gateway.policies.observed import Observed

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
        raise self._over()

    def begin(
        self, inner: Beginnable, request: Request, until: float, now: float, /
    ) -> Begun | None:
        """Begin the call under the timeout."""
        deadline = now + self.timeout_s
        begun = inner.begin(request, min(until, deadline), now)
        if begun is None:
            return None
        return Observed(begun, deadline, self._over)

    def _over(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"no reply within its timeout of {format_duration(self.timeout_s)}")


def create(timeout_s: float, _environment: Environment) -> Callable[[CallFacts], Timeout]:
    """The service's `timeout`: the same for each of its calls, for they share nothing."""
    policy = Timeout(timeout_s)
    return lambda _call: policy
