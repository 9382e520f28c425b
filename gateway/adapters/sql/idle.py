"""Connections that wait for the next call, shared by threads."""

from __future__ import annotations

import threading
from typing import Generic, Protocol, TypeVar

from gateway.core.errors import Unreachable

__all__ = ["Idle"]


class Closable(Protocol):
    """A connection."""

    def close(self) -> None:
        """Close it."""
        ...


C = TypeVar("C", bound=Closable)


class Idle(Generic[C]):
    """The connections of one database that nobody uses: the one last used is used first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: list[C] = []
        self._closed = True

    def open(self) -> None:
        """Keep connections from here on."""
        self._closed = False

    def take(self) -> C | None:
        """One that was kept, if there is one.

        Raises:
            Unreachable: The database is not open.
        """
        with self._lock:
            if self._closed:
                raise Unreachable("it is not open")
            return self._connections.pop() if self._connections else None

    def keep(self, connection: C, *, clean: bool) -> None:
        """Keep a connection, or close it.

        Args:
            connection: One that nobody uses.
            clean: Whether another call may use it.
        """
        with self._lock:
            if clean and not self._closed:
                self._connections.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close those that are kept; none is kept from here on."""
        with self._lock:
            self._closed = True
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.close()
