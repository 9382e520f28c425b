"""The scopes of what is done for clients, and the end that a drain sets to all of them."""

from __future__ import annotations

import math
from types import TracebackType

import trio

__all__ = ["Root", "Roots"]


class Roots:
    """What is under way, counted, and reached by a drain.

    Attributes:
        drain_deadline: The instant at which nothing goes on any more; inf without a drain.
    """

    def __init__(self) -> None:
        self.scopes: set[trio.CancelScope] = set()
        self.drain_deadline = math.inf

    def __len__(self) -> int:
        return len(self.scopes)

    def within(self, timeout_s: float) -> Root:
        """A scope of so many seconds; the end of a drain comes first if it is nearer."""
        deadline = min(trio.current_time() + timeout_s, self.drain_deadline)
        return Root(self.scopes, trio.CancelScope(deadline=deadline))

    def prolong(self, scope: trio.CancelScope, timeout_s: float) -> None:
        """Give a scope of `within` so many seconds from now; the end of a drain comes first."""
        scope.deadline = min(trio.current_time() + timeout_s, self.drain_deadline)

    def drain(self, deadline: float) -> None:
        """Let nothing, here or still to come, go on beyond `deadline`."""
        self.drain_deadline = min(self.drain_deadline, deadline)
        for scope in self.scopes:
            scope.deadline = min(scope.deadline, deadline)


class Root:
    """A cancel scope, counted while it is open: `with roots.within(2) as scope`.

    A class, for every request enters one: a generator would cost twice as much.
    """

    __slots__ = ("_among", "_scope")

    def __init__(self, among: set[trio.CancelScope], scope: trio.CancelScope) -> None:
        self._among = among
        self._scope = scope

    def __enter__(self) -> trio.CancelScope:
        self._among.add(self._scope)
        return self._scope.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self._among.discard(self._scope)
        return self._scope.__exit__(kind, error, trace)
