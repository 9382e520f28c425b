"""The gateway's own life, from opening to closed again, and the ends of what it does meanwhile."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal

import trio

from gateway.core.alarms import Alarms, alarms
from gateway.core.errors import Overloaded
from gateway.plan.flight import Ends, Flight
from gateway.plan.root import Root

__all__ = ["Lifespan"]

logger = logging.getLogger(__name__)


class Lifespan:
    """When the gateway is open, and what is under way: requests, commits, who waits for news.

    Args:
        opened: Opens all services; leaving its context closes them.
        drain_s: Seconds that what is under way may take once it closes.
        opening_s: Seconds that a request waits for it to be open.

    Attributes:
        commits: The nursery in which committed calls outlive their client; `None` while it is not
            open.
    """

    def __init__(
        self,
        opened: Callable[[], AbstractAsyncContextManager[None]],
        *,
        drain_s: float,
        opening_s: float,
    ) -> None:
        self._open_services = opened
        self._drain_s = drain_s
        self._opening_s = opening_s
        self._state: Literal["closed", "opening", "open", "closing"] = "closed"
        self._settled = trio.Event()
        self._driven = False
        self.commits: trio.Nursery | None = None
        self._alarms = Alarms()
        self._roots: set[Ends] = set()
        self._waiting: set[Ends] = set()
        self._drain_deadline = math.inf

    @property
    def is_open(self) -> bool:
        """Whether all services are open; a drain may have begun."""
        return self._state == "open"

    @property
    def ready(self) -> bool:
        """Whether requests are welcome: everything is open, and no drain has begun."""
        return self._state == "open" and self._drain_deadline == math.inf

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return len(self._roots)

    def within(self, timeout_s: float) -> Root:
        """A scope for what is in flight for a client: a drain and the client's leaving reach it."""
        return Root(self._roots, min(trio.current_time() + timeout_s, self._drain_deadline))

    def flight(self, until: float) -> Flight:
        """As `within`, for calls that are begun and waited for in one task; only while it is open.

        Args:
            until: The end of their budget, on Trio's clock.
        """
        return Flight(self._roots, self._alarms, min(until, self._drain_deadline))

    def waiting(self) -> Root:
        """A scope for what only waits for news: the client's leaving ends it, a drain at once."""
        return Root(self._waiting, math.inf if self._drain_deadline == math.inf else -math.inf)

    def prolong(self, scope: trio.CancelScope, timeout_s: float) -> None:
        """Give a scope of `within` so many seconds from now; the end of a drain comes first."""
        scope.deadline = min(trio.current_time() + timeout_s, self._drain_deadline)

    def begin_drain(self, seconds: float) -> None:
        """As `Gateway.begin_drain`."""
        deadline = trio.current_time() + seconds
        self._drain_deadline = min(self._drain_deadline, deadline)
        scopes: list[Ends] = [*self._roots]
        if self.commits is not None:
            scopes.append(self.commits.cancel_scope)
        for scope in scopes:
            scope.deadline = min(scope.deadline, deadline)
        for scope in self._waiting:
            scope.cancel()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """As `Gateway.running`, on Trio."""
        self._begin()
        self._driven = True
        async with self._opened():
            yield

    def _begin(self) -> None:
        if self._state != "closed":
            raise RuntimeError(f"the gateway is {self._state}: `running` is entered once at a time")
        self._state, self._settled = "opening", trio.Event()
        self._drain_deadline = math.inf

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        """From opening, which has begun, over open and closing to closed."""
        failure: Exception | None = None
        self._alarms = alarms()
        try:
            async with self._open_services():
                closing = trio.Event()
                async with trio.open_nursery() as nursery:
                    self.commits = await nursery.start(_hold_commits, closing)
                    self._state = "open"
                    self._settled.set()
                    try:
                        yield
                    except Exception as error:  # noqa: BLE001 - carried out of the nursery, so that it stays bare
                        failure = error
                    finally:
                        self._state = "closing"
                        self.begin_drain(self._drain_s)
                        self.commits = None
                        closing.set()
        finally:
            self._state = "closed"
            self._settled.set()
        if failure is not None:
            raise failure

    async def welcome(self) -> None:
        """Let a request in, opening the gateway for the first one where no host told us to.

        Raises:
            Overloaded: The gateway is closing, is closed, or could not be opened.
        """
        if self._state == "closed" and not self._driven:
            logger.warning(
                "opened by the first request: the host forwards no lifespan; "
                "give it lifespan=app.lifespan to open and close in order"
            )
            self._begin()
            trio.lowlevel.spawn_system_task(self._hold_open)
        if self._state == "opening":
            with trio.move_on_after(self._opening_s):
                await self._settled.wait()
        self.check_not_closing()
        if self._state != "open":
            raise Overloaded("the gateway is not open; its log says why", retry_after_s=1)

    def check_not_closing(self) -> None:
        """Refuse what comes while the gateway closes.

        Raises:
            Overloaded: It does.
        """
        if self._state == "closing":
            raise Overloaded("the gateway is closing", retry_after_s=1)

    async def _hold_open(self) -> None:
        try:
            async with self._opened():
                await trio.sleep_forever()
        except Exception:
            logger.exception("the gateway could not be opened")


async def _hold_commits(
    closing: trio.Event, *, task_status: trio.TaskStatus[trio.Nursery] = trio.TASK_STATUS_IGNORED
) -> None:
    """Hold a nursery for commits; a drain that cuts them must not cut its host too."""
    async with trio.open_nursery() as commits:
        task_status.started(commits)
        await closing.wait()
