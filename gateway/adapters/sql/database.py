"""What a database has to be able to do: everything here blocks, and is called in threads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import attrs

from gateway.adapters.sql.statement import Statement

__all__ = ["Database", "Order", "Session"]


@attrs.frozen(slots=True, kw_only=True)
class Order:
    """A statement to be run.

    Args:
        statement: What.
        values: Its parameters' values, by name; JSON's types.
        write: Whether it may change something.
        max_rows: Rows that are taken at most.
        max_bytes: What their texts may amount to.
    """

    statement: Statement
    values: Mapping[str, Any]
    write: bool
    max_rows: int
    max_bytes: int


class Session(Protocol):
    """A connection, for one statement at a time."""

    def run(self, order: Order, left_s: float, /) -> list[dict[str, Any]] | int:
        """Run a statement in a transaction of its own; its rows, or how many it changed.

        Args:
            order: What.
            left_s: Seconds left of the budget; may be inf. The database ends it by then.

        Raises:
            GatewayError: It failed.
        """
        ...

    def stop(self) -> None:
        """Stop the statement under way, from any thread. It may block, for a second at most."""
        ...


class Database(Protocol):
    """A database, and its connections."""

    stop_blocks: bool
    """Whether `Session.stop` has to be called in a thread."""

    def open(self) -> None:
        """Be ready to connect.

        Raises:
            ValueError: It cannot be; the message says why.
        """
        ...

    def take(self, left_s: float, /) -> Session:
        """A connection that nobody uses.

        Args:
            left_s: Seconds that connecting may take.

        Raises:
            Unreachable: None can be had.
        """
        ...

    def give_back(self, session: Session, /) -> None:
        """Take a connection back, to be used again if it still can be."""
        ...

    def close(self) -> None:
        """Close the connections that nobody uses; the others as they come back."""
        ...
