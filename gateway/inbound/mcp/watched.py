"""A resource that is watched for one client: a file of ours, or what a server behind us tells of.

Source: MCP 2026-07-28, Subscriptions; MCP 2025-11-25, Resources, "Subscriptions".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from gateway.inbound.mcp.files import Files

__all__ = ["LOOK_S", "Begin", "Told", "Watch", "WatchedFile"]

LOOK_S: Final = 2.0
"""Seconds between two looks at a file."""


class Watch(Protocol):
    """A resource that is watched.

    Attributes:
        every_s: Seconds after which it is to be looked at; inf where it is told.
    """

    @property
    def every_s(self) -> float:
        """Seconds after which it is to be looked at."""
        ...

    async def look(self) -> None:
        """See whether it changed since the last look."""
        ...

    def stop(self) -> None:
        """Watch it no longer."""
        ...


Begin: TypeAlias = "Callable[[str, Callable[[], None]], Watch | None]"
"""Begins to watch a URI, and tells of each change; `None` if nobody would."""


class Told:
    """One that a server tells of.

    Args:
        watching: As `Federated.watching` gave it.
    """

    every_s = math.inf

    def __init__(self, watching: AbstractContextManager[None]) -> None:
        self._stack = ExitStack()
        self._stack.enter_context(watching)

    async def look(self) -> None:
        """As `Watch`: there is nothing to be looked at."""

    def stop(self) -> None:
        """As `Watch`."""
        self._stack.close()


class WatchedFile:
    """A file.

    Args:
        path: Where it is.
        files: Look at it.
        hear: Is told of each change.
    """

    every_s = LOOK_S

    def __init__(self, path: Path, files: Files, hear: Callable[[], None]) -> None:
        self._path = path
        self._files = files
        self._hear = hear
        self._known: str | None = None

    async def look(self) -> None:
        """As `Watch`; the first look tells nothing."""
        stamp = await self._files.stamp(self._path)
        if self._known not in {None, stamp}:
            self._hear()
        self._known = stamp

    def stop(self) -> None:
        """As `Watch`: nobody looks any more."""
