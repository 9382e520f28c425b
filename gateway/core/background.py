"""What belongs to several requests, or to none: it runs in a nursery of the app's."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from gateway.core.errors import Overloaded

__all__ = ["Background"]


class Background:
    """The app's nursery for flights that several requests share, refreshes and the like.

    Whoever starts work here bounds it: how much of it there is, and how long it takes.
    """

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None
        self._kept: list[Callable[[], Awaitable[None]]] = []

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Take work; leaving the context cancels what is still under way, and waits for its end."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for work in self._kept:
                nursery.start_soon(work)
            try:
                yield
            finally:
                self._nursery = None
                nursery.cancel_scope.cancel()

    def keep(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work` whenever the gateway is open: from its opening on, until it is cancelled.

        Args:
            work: Never fails, nor ends by itself.
        """
        self._kept.append(work)

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work` from the next turn of the loop on.

        Args:
            work: Never fails: whoever waits for it is told in another way.

        Raises:
            Overloaded: The gateway is closing.
        """
        if self._nursery is None:
            raise Overloaded("not called: the gateway is closing", retry_after_s=1)
        self._nursery.start_soon(work)
