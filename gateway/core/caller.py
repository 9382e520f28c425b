"""Whoever called a tool, as a Python function below it sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.errors import CannotAsk
from gateway.core.messages import Log, Progress
from gateway.core.peer import ASKABLE, Peer
from gateway.core.service import Emit

__all__ = ["Caller"]


class Caller:
    """Who waits for the answer: it can be told how things go, and perhaps be asked something.

    Its methods are the loop's: a function in a thread calls them by `trio.from_thread.run`.

    Args:
        peer: Who is asked; `None` if nobody can be.
        emit: Where notes go; they are dropped where nobody wants them.
    """

    __slots__ = ("_emit", "_peer")

    def __init__(self, peer: Peer | None, emit: Emit) -> None:
        self._peer = peer
        self._emit = emit

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """What it can be asked for, as MCP's `ClientCapabilities`; empty over plain HTTP."""
        return {} if self._peer is None else self._peer.capabilities

    async def progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Tell how far things are.

        Args:
            progress: How much is done, growing.
            total: How much there is, in the same unit; `None` if unknown.
            message: One line for a person.
        """
        await self._emit(Progress(progress, total, message))

    async def log(self, level: str, data: Any, logger: str | None = None) -> None:
        """Tell what a log would be told; it reaches clients that asked for this level.

        Args:
            level: `debug`, `info`, `notice`, `warning`, `error`, `critical`, `alert` or
                `emergency`.
            data: Any JSON value.
            logger: Whose message it is.
        """
        await self._emit(Log(level, data, logger))

    async def ask(
        self, method: str, params: Mapping[str, Any], *, key: str | None = None
    ) -> Mapping[str, Any]:
        """Ask the client something, and wait for its answer.

        Where the protocol has no way back while a call runs (MCP 2026-07-28), the call ends here;
        once the client has the answer, it runs again from its beginning, and this returns. So do
        before it nothing that must not be done twice.

        Args:
            method: `elicitation/create`, `sampling/createMessage` or `roots/list`.
            params: As MCP has them for `method`.
            key: What the question is called; no two questions of one request share it. `None` has
                a name made of what is asked.

        Returns:
            The result as the client gave it: what came from outside, to be checked.

        Raises:
            CannotAsk: The client has not the capability, or does not speak MCP.
            JsonRpcError: It refused.
        """
        capability = ASKABLE[method]
        if self._peer is None or capability not in self._peer.capabilities:
            raise CannotAsk(f"this needs a client with {capability}", capability=capability)
        return await self._peer(method, params, key=key)
