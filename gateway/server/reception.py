"""Accepts connections, counts them, turns away what is too many."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import trio

from gateway.server.connection import Connection, Shared
from gateway.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gateway.net.asgi import ASGIApp
    from gateway.server.bounds import ConnectionConfig
    from gateway.server.draining import Reason

__all__ = ["Accepts", "Reception"]

_PAUSE_S = 0.1
"""After an accept that failed, mostly for want of file descriptors: time for some to come free."""


class Accepts(Protocol):
    """Where connections come in, such as a `Door`."""

    async def accept(self) -> socket.socket | trio.abc.Stream:
        """The next connection.

        Raises:
            OSError: None can be accepted at the moment.
        """
        ...


class Reception:
    """Accepts connections for one application.

    Args:
        app: What answers requests.
        config: The bounds of each connection.
        max_connections: How many are open at once; further ones are closed as they come.
        draining: Whether clients are told to go.
    """

    def __init__(
        self,
        app: ASGIApp,
        config: ConnectionConfig,
        *,
        max_connections: int,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._app = app
        self._shared = Shared.of(config, draining)
        self._max_connections = max_connections
        self._log = logger("gateway.server")
        self._open: set[Connection] = set()
        self._dismissed: Reason | None = None

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._open)

    @asynccontextmanager
    async def attended(self) -> AsyncIterator[None]:
        """Keep the connections' time, and see their clients leave, within this context."""
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._shared.run)
            try:
                yield
            except Exception as error:  # noqa: BLE001 - carried out of the nursery, so it stays bare
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def accept(self, door: Accepts, connections: trio.Nursery) -> None:
        """Accept connections until cancelled; nothing that comes in ends it.

        Args:
            door: Where they come in.
            connections: Where each connection's task runs.
        """
        while True:
            try:
                accepted = await door.accept()
            except OSError as error:
                self._log.warning("cannot accept", error=str(error))
                await trio.sleep(_PAUSE_S)
            else:
                connections.start_soon(self.receive, accepted)

    async def receive(self, accepted: socket.socket | trio.abc.Stream) -> None:
        """Serve one connection until it ends; only cancellation and interrupts are raised."""
        if len(self._open) >= self._max_connections:
            self._log.debug("too many connections", open=len(self._open))
            await _drop(accepted)
            return
        try:
            connection = Connection(self._app, self._shared, accepted)
        except OSError as error:  # the system watches too many sockets
            self._log.warning("cannot serve a connection", error=str(error))
            await _drop(accepted)
            return
        self._open.add(connection)
        try:
            if self._dismissed is not None:
                connection.dismiss(self._dismissed)
            await connection.run()
        finally:
            self._open.discard(connection)

    def dismiss(self, reason: Reason) -> None:
        """Close idle connections now, and every other one after the answers it is in.

        Args:
            reason: What the clients of WebSockets are told.
        """
        self._dismissed = reason
        for connection in self._open:
            connection.dismiss(reason)


async def _drop(accepted: socket.socket | trio.abc.Stream) -> None:
    if isinstance(accepted, socket.socket):
        accepted.close()
    else:
        await trio.aclose_forcefully(accepted)
