"""Accepts connections, counts them, turns away what is too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from hypercorn.trio.worker_context import WorkerContext

from gateway.server.connection import Connection
from gateway.telemetry.logs import logger

if TYPE_CHECKING:
    from gateway.net.asgi import ASGIApp
    from gateway.server.connection import ConnectionConfig

__all__ = ["Reception"]

_PAUSE_S = 0.1
"""After an accept that failed, mostly for want of file descriptors: time for some to come free."""


class Reception:
    """Accepts connections for one application.

    Args:
        app: What answers requests.
        config: The bounds of each connection.
        max_connections: How many are open at once; further ones are closed as they come.
    """

    def __init__(self, app: ASGIApp, config: ConnectionConfig, *, max_connections: int) -> None:
        self._app = app
        self._config = config
        self._context = WorkerContext(None)
        self._max_connections = max_connections
        self._log = logger("gateway.server")
        self.open = 0

    async def accept(
        self, listener: trio.abc.Listener[trio.abc.Stream], connections: trio.Nursery
    ) -> None:
        """Accept connections until cancelled; nothing that comes in ends it.

        Args:
            listener: Listening.
            connections: Where each connection's task runs.
        """
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                self._log.warning("cannot accept", error=str(error))
                await trio.sleep(_PAUSE_S)
            else:
                connections.start_soon(self.receive, stream)

    async def receive(self, stream: trio.abc.Stream) -> None:
        """Serve one connection until it ends; only cancellation and interrupts are raised."""
        if self.open >= self._max_connections:
            self._log.debug("too many connections", open=self.open)
            await trio.aclose_forcefully(stream)
            return
        self.open += 1
        try:
            await Connection(self._app, self._config, self._context, stream).run()
        finally:
            self.open -= 1

    async def dismiss(self) -> None:
        """Close idle connections now, and every other one after the answer it is in."""
        await self._context.terminated.set()
