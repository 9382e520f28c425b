"""The request cancelled at its 1st, 2nd, 3rd … checkpoint, until it completes."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import trio
from trio.abc import Instrument
from trio.testing import MockClock

__all__ = ["Cancellable", "cancel_at_every_checkpoint"]


class Cancellable(Protocol):
    """What a scenario runs its request through."""

    async def __call__(
        self, request: Callable[[], Awaitable[Any]], /, *, settle_s: float = 0
    ) -> bool:
        """Run `request`, to be cancelled at this round's checkpoint.

        Args:
            request: What to cancel.
            settle_s: Virtual seconds that what may outlive a request gets to end by itself, a
                committed call, before tasks are counted; 0: everything must have ended at once.

        Returns:
            Whether it completed.

        Raises:
            AssertionError: A task was left behind.
        """
        ...


def cancel_at_every_checkpoint(
    scenario: Callable[[Cancellable], Awaitable[None]], *, at_most: int = 10_000
) -> int:
    """Run `scenario` in virtual time once for each point at which its request can be cancelled.

    In the first round the request is cancelled before it begins, then at its next point, and so on,
    until a round in which it completes. Points are the steps of every task, so that those between
    two tasks' steps are tried as well, and the moments when all tasks wait.

    ```python
    async def scenario(cancellable):
        app = create_app("gateway.toml", services={"crm": crm})
        async with open_client(app) as client:
            await cancellable(lambda: client.request("GET", "/customers/7"))
        assert crm.active == 0

    assert cancel_at_every_checkpoint(scenario) > 10
    ```

    Args:
        scenario: Prepares what it needs, passes its one request to the `Cancellable` it is given,
            and afterwards asserts that nothing of its own is left: permits, connections.
        at_most: Rounds after which the request is taken to be endless.

    Returns:
        How many cancellations were tried.

    Raises:
        AssertionError: A round left a task behind, or `at_most` was reached.
    """
    for point in itertools.count(1):
        canceller = _Canceller(point)
        trio.run(
            scenario,
            canceller.run,
            clock=MockClock(autojump_threshold=0),
            instruments=[canceller],
        )
        if not canceller.fired:
            return point - 1
        if point >= at_most:
            raise AssertionError(f"the request did not complete within {at_most} steps")
    raise AssertionError("unreachable")


class _Canceller(Instrument):
    """Cancels the scope of a request at a given point."""

    def __init__(self, point: int) -> None:
        self._left = point
        self._scope: trio.CancelScope | None = None
        self.fired = False

    def before_task_step(self, _task: trio.lowlevel.Task) -> None:
        self._pass()

    def after_io_wait(self, _timeout: float) -> None:
        self._pass()

    def _pass(self) -> None:
        if self._scope is None or self.fired:
            return
        self._left -= 1
        if self._left == 0:
            self.fired = True
            self._scope.cancel()

    async def run(self, request: Callable[[], Awaitable[Any]], /, *, settle_s: float = 0) -> bool:
        before = trio.lowlevel.current_statistics().tasks_living
        completed = False
        with trio.CancelScope() as self._scope:
            self._pass()
            await request()
            completed = True
        self._scope = None
        if settle_s:
            await trio.sleep(settle_s)
        left = trio.lowlevel.current_statistics().tasks_living - before
        if left > 0:
            raise AssertionError(f"{left} tasks outlived the cancelled request")
        return completed
