"""Calls that were begun, with what policies do at their end, and with a time of their own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import trio

from gateway.core.begun import Begun
from gateway.core.errors import GatewayError
from gateway.core.messages import Reply

__all__ = ["Ended", "GoesOn", "Observed", "observed"]

Ended: TypeAlias = Callable[[Any, Reply | None, BaseException | None, float], None]
"""Told how a call ended.

What was given with it; the call's reply, or what it raised, neither if it was cut off; and when that
was, on Trio's clock. Never raises.
"""

GoesOn: TypeAlias = Callable[[Begun, Any, bool], Begun]
"""What goes on with a call whose reply does not come whole, or which failed.

From the call as those before it see it, what was given with it, and whether somebody listens already.
"""


class Observed:
    """A `Begun` with the policies that want to know how it ends, the innermost first.

    One object for all of them, where each had one of its own: a reply that comes whole goes past
    them in one loop. Only where it does not, and one of them may go on with it, they stand one
    around another.

    Args:
        begun: The call.
        deadline: When it fails, on Trio's clock; may be inf.
        over: What it fails with then.

    Attributes:
        deadline: As `Begun`.
        around: The policies: what is called, with what, and what goes on with it.
        may_go_on: Whether one of them goes on with it if its reply does not come whole.
    """

    __slots__ = ("_begun", "_heard", "_limit", "_over", "around", "deadline", "may_go_on")

    def __init__(
        self,
        begun: Begun,
        deadline: float = math.inf,
        over: Callable[[], GatewayError] | None = None,
    ) -> None:
        self._begun = begun
        self._limit = deadline
        self._over = over
        self.around: list[tuple[Ended, Any, GoesOn | None]] = []
        self.may_go_on = False
        self._heard = False
        self.deadline = min(begun.deadline, deadline)

    def listen(self, tell: Callable[[], None], /) -> None:
        """As `Begun`."""
        self._heard = True
        self._begun.listen(tell)

    def take(self) -> Reply | None:
        """As `Begun`."""
        try:
            reply = self._begun.take()
            if reply is None:
                self._check_time()
                return None
        except BaseException as error:
            if self.may_go_on:
                self._begun = _Failed(self._begun, error)
                self.nest()
                return self._begun.take()
            self._end(None, error)
            raise
        self._end(reply, None)
        return reply

    def _check_time(self) -> None:
        if self._over is not None and trio.current_time() >= self._limit:
            raise self._over()

    async def finish(self) -> Reply:
        """As `Begun`."""
        self.nest()
        try:
            reply = await self._finish()
        except Exception as error:
            self._end(None, error)
            raise
        self._end(reply, None)
        return reply

    async def _finish(self) -> Reply:
        if self._over is None:
            return await self._begun.finish()
        with trio.CancelScope(deadline=self._limit):
            return await self._begun.finish()
        raise self._over()

    def nest(self) -> None:
        """Have the policies stand one around another, if one of them may go on with it.

        At any time, once or more often: who listens to it goes on listening.
        """
        if not self.may_go_on:
            return
        made: Begun = Observed(self._begun, self._limit, self._over)
        for ended, what, goes_on in self.around:
            if goes_on is None:
                made = observed(made, ended, what)
            else:
                made = goes_on(made, what, self._heard)
        self._begun, self.around, self.may_go_on = made, [], False
        self._limit, self._over = math.inf, None

    def _end(self, reply: Reply | None, error: BaseException | None) -> None:
        around = self.around
        if around:
            self.around = []
            now = trio.current_time()
            for ended, what, _ in around:
                ended(what, reply, error, now)

    def close(self) -> None:
        """As `Begun`."""
        self._begun.close()
        self._end(None, None)


class _Failed:
    """A `Begun` of which it is known already how it failed.

    Args:
        begun: The call.
        error: What it raised.
    """

    deadline = math.inf

    __slots__ = ("_error", "close", "listen")

    def __init__(self, begun: Begun, error: BaseException) -> None:
        self._error: BaseException | None = error
        self.close = begun.close
        self.listen = begun.listen

    def take(self) -> Reply | None:
        error, self._error = self._error, None
        try:
            raise error or trio.ClosedResourceError("how it failed was told already")
        finally:
            del error  # its traceback has this frame

    async def finish(self) -> Reply:
        await trio.lowlevel.checkpoint()
        reply = self.take()
        assert reply is not None  # noqa: S101 - it has raised
        return reply


def observed(
    begun: Begun, ended: Ended, what: Any, goes_on: GoesOn | None = None, at: float = math.inf
) -> Observed:
    """`begun`, with one more policy around it.

    Args:
        begun: The call.
        ended: Called with `what` when it ends, after those that are called already; if the policy
            `goes_on`, only where the reply comes whole, or nothing of it does before it is closed.
        what: For both.
        goes_on: What goes on with it else: its result stands in the place of what it is given.
        at: When there is something to go on with at the latest, on Trio's clock.
    """
    call = begun if isinstance(begun, Observed) else Observed(begun)
    call.around.append((ended, what, goes_on))
    if goes_on is not None:
        call.may_go_on = True
        if at < call.deadline:  # noqa: PLR1730 - on every request's way
            call.deadline = at
    return call
