"""The attempts of one call that are made at once, of which the first reply counts."""

from __future__ import annotations

from functools import partial

import trio

from gateway.core.background import Background
from gateway.core.begun import Begun, finished
from gateway.core.errors import Overloaded
from gateway.core.messages import Partial, Reply, Request
from gateway.core.service import Emit, Service
from gateway.policies.apart import Outcome, made_apart

__all__ = ["Race"]


class Race:
    """The attempts of one call.

    Args:
        request: What each of them asks.
        emit: Takes what is emitted; the attempt that emits first has won.
        inner: What is called.
        begun: The first attempt, if it was begun already.

    Attributes:
        until: When nobody waits for the call any more, on Trio's clock.
    """

    __slots__ = (
        "_begun",
        "_chosen",
        "_emit",
        "_hedges",
        "_inner",
        "_moved",
        "_outcome",
        "_over",
        "_primary",
        "_request",
        "_running",
        "_task",
        "until",
    )

    def __init__(
        self, request: Request, emit: Emit, inner: Service, begun: Begun | None = None
    ) -> None:
        self._request = request
        self._begun = begun
        self._emit = emit
        self._inner = inner
        self.until = trio.current_effective_deadline()
        self._task = trio.lowlevel.current_task()
        self._primary = trio.CancelScope()
        self._hedges: list[trio.CancelScope] = []
        self._running = 0
        self._chosen: trio.CancelScope | None = None
        self._outcome: Outcome = None
        self._moved = trio.Event()
        self._over = False

    @property
    def hedges(self) -> list[bool]:
        """Of each hedge, whether it won."""
        return [scope is self._chosen for scope in self._hedges]

    @property
    def decided(self) -> bool:
        """Whether one more attempt makes no sense."""
        return self._over or self._chosen is not None

    async def run(self) -> Reply:
        """Make the first attempt; what the first reply of any is, else how the first one failed."""
        failure: BaseException | None = None
        with self._primary:
            try:
                if self._begun is not None:
                    reply = await finished(self._begun)
                else:
                    reply = await self._inner(self._request, _Claiming(self, self._primary))
            except Exception as error:
                if not self._running:
                    raise
                failure = error
            else:
                if self._chosen in {None, self._primary}:
                    return reply
        while self._outcome is None and self._running:
            await self._moved.wait()
        outcome = self._outcome
        if isinstance(outcome, Reply):
            return outcome
        # One that had won and brought nothing was cut off: the gateway is closing.
        raise outcome or failure or Overloaded("not answered: the gateway is closing")

    def hedge(self, background: Background) -> None:
        """Start one more attempt.

        Raises:
            Overloaded: The gateway is closing.
        """
        scope = trio.CancelScope(deadline=self.until)
        # In the caller's context: log lines and what Python functions ask for are the request's.
        self._task.context.copy().run(background.start, partial(self._attempt, scope))
        self._hedges.append(scope)
        self._running += 1

    async def _attempt(self, scope: trio.CancelScope) -> None:
        try:
            claiming = _Claiming(self, scope)
            outcome = await made_apart(self._inner, self._request, claiming, scope)
            # How one fails counts only if it had won before.
            if outcome is not None and (
                self.choose(scope) if isinstance(outcome, Reply) else self._chosen is scope
            ):
                self._outcome = outcome
        finally:
            self._running -= 1
            self._moved.set()
            self._moved = trio.Event()

    def choose(self, scope: trio.CancelScope) -> bool:
        """Whether the attempt in `scope` is the one that counts; the others are cancelled then."""
        if self._chosen is None:
            self._chosen = scope
            for other in (self._primary, *self._hedges):
                if other is not scope:
                    other.cancel()
        return self._chosen is scope

    async def emit(self, scope: trio.CancelScope, item: Partial) -> None:
        """Pass on what the attempt in `scope` emits, unless another is the one that counts."""
        if not self.choose(scope):
            await trio.sleep_forever()  # it was cancelled
        await self._emit(item)

    def end(self) -> bool:
        """Have every hedge end; whether that is to be waited for."""
        self._over = True
        for scope in self._hedges:
            scope.cancel()
        return bool(self._running)

    async def ended(self) -> None:
        """Wait until every hedge has ended."""
        while self._running:
            await self._moved.wait()


class _Claiming:
    """One attempt's `Emit`."""

    __slots__ = ("_race", "_scope")

    def __init__(self, race: Race, scope: trio.CancelScope) -> None:
        self._race = race
        self._scope = scope

    async def __call__(self, item: Partial, /) -> None:
        await self._race.emit(self._scope, item)
