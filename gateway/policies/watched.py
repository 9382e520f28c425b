"""Whether anything went out: what has been emitted cannot be taken back, nor be made again."""

from __future__ import annotations

from gateway.core.messages import Partial
from gateway.core.service import Emit

__all__ = ["Watched"]


class Watched:
    """An `Emit` that knows whether it was called.

    Args:
        emit: Takes what is emitted.

    Attributes:
        emitted: Whether something was.
    """

    __slots__ = ("_emit", "emitted")

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.emitted = False

    async def __call__(self, item: Partial, /) -> None:
        """Pass it on."""
        self.emitted = True
        await self._emit(item)
