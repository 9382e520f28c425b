"""What the calls of a plan tell while they run, each under its own name."""

from __future__ import annotations

import msgspec

from gateway.core.messages import Partial
from gateway.core.service import Emit

__all__ = ["Named"]


class Named:
    """One call's `Emit`: what it is given goes on with the call's name.

    Args:
        emit: Takes it.
        call: The name.
    """

    __slots__ = ("_call", "_emit")

    def __init__(self, emit: Emit, call: str) -> None:
        self._emit = emit
        self._call = call

    async def __call__(self, item: Partial, /) -> None:
        """Pass it on."""
        await self._emit(msgspec.structs.replace(item, call=self._call))
