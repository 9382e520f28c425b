"""Calls that were begun, with what policies do at their end, and with a time of their own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import trio

from gateway.core.begun import Begun
from gateway.core.errors import GatewayError
from gateway.core.messages import Reply

__all__ = ["Ended", "Observed", "observed"]

Ended: TypeAlias = Callable[[Reply | None, BaseException | None, float], None]
"""Told how a call ended.

Its reply, or what it raised; neither if it was cut off; and when that was, on Trio's clock. Never
raises.
"""


class Observed:
    """A `Begun` whose end policies are told of, the innermost first.

    One object for all the policies that only want to know, where each of them had one of its own.

    Args:
        begun: The call.
        deadline: When it fails, on Trio's clock; may be inf.
        over: What it fails with then.

    Attributes:
        deadline: As `Begun`.
    """

    __slots__ = ("_begun", "_ended", "_limit", "_over", "_tell", "deadline")

    def __init__(
        self,
        begun: Begun,
        deadline: float = math.inf,
        over: Callable[[], GatewayError] | None = None,
    ) -> None:
        self._begun = begun
        self._limit = deadline
        self._over = over
        self._tell: list[Ended] = []
        self._ended = False
        self.deadline = min(begun.deadline, deadline)

    def listen(self, tell: Callable[[], None], /) -> None:
        """As `Begun`."""
        self._begun.listen(tell)

    def tell(self, ended: Ended) -> None:
        """Have `ended` called when it ends, after those that are called already."""
        self._tell.append(ended)

    def take(self) -> Reply | None:
        """As `Begun`."""
        try:
            reply = self._begun.take()
            if reply is None:
                self._check_time()
                return None
        except BaseException as error:
            self._end(None, error)
            raise
        self._end(reply, None)
        return reply

    def _check_time(self) -> None:
        if self._over is not None and trio.current_time() >= self._limit:
            raise self._over()

    async def finish(self) -> Reply:
        """As `Begun`."""
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

    def _end(self, reply: Reply | None, error: BaseException | None) -> None:
        if not self._ended:
            self._ended = True
            if self._tell:
                now = trio.current_time()
                for tell in self._tell:
                    tell(reply, error, now)

    def close(self) -> None:
        """As `Begun`."""
        self._begun.close()
        self._end(None, None)


def observed(begun: Begun) -> Observed:
    """`begun`, for one more policy to be told of its end."""
    return begun if isinstance(begun, Observed) else Observed(begun)
