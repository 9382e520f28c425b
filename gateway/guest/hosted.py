"""When one gateway's guest starts and ends, and what happens without it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from gateway.core.errors import Overloaded
from gateway.guest.bridge import Bridge
from gateway.guest.run import Guest
from gateway.net.asgi import ASGIApp, Receive, Scope, Send

__all__ = ["Hosted"]


class Hosted:
    """A gateway as its asyncio host sees it: everything it does, it does over in Trio.

    Args:
        app: The gateway, for connections that have come to Trio.
        running: Opens and closes it there.
        turn_away: Refuses a connection here on asyncio, where there is no guest to answer it.
    """

    def __init__(
        self,
        app: ASGIApp,
        running: Callable[[], AbstractAsyncContextManager[None]],
        turn_away: Callable[[Scope, Send, Overloaded], Awaitable[None]],
    ) -> None:
        self._app = app
        self._running = running
        self._turn_away = turn_away
        self._guest: Guest | None = None
        self._driven = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start the guest and open the gateway in it; leaving closes it and ends the guest.

        Raises:
            RuntimeError: The gateway is open, here or in another event loop.
        """
        before = self._of_this_loop()
        self._guest = guest = await Guest.join()
        self._driven = True
        try:
            async with guest.entered(self._running):
                yield
        finally:
            self._guest = before
            await guest.leave()  # noqa: ASYNC102 - it is asyncio that waits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection over in Trio; where no host opens the gateway, that does.

        Raises:
            RuntimeError: The gateway is open in another event loop, or crashed under it.

        Cancellation: cancels the answering, and goes on once that has ended.
        """
        guest = self._of_this_loop()
        if guest is None and not self._driven:
            guest = self._guest = await Guest.join()
        if guest is None or guest.ended:
            error = Overloaded("the gateway is not open; its log says why", retry_after_s=1)
            await self._turn_away(scope, send, error)
            return
        bridge = Bridge(guest.loop, receive, send)
        try:
            await guest.call(self._app, scope, bridge.receive, bridge.send)
        finally:
            await bridge.close()  # noqa: ASYNC102 - it is asyncio that waits

    def _of_this_loop(self) -> Guest | None:
        guest = self._guest
        if guest is None or guest.loop is asyncio.get_running_loop():
            return guest
        if not guest.ended:
            raise RuntimeError("the gateway is open in another event loop: make one for each")
        return None
