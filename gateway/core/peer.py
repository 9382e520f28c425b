"""JSON-RPC's errors, and whoever may be asked something back while a call runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

__all__ = ["ASKABLE", "JsonRpcError", "Peer"]

ASKABLE: Final[Mapping[str, str]] = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}
"""What a client may be asked, and the capability that it needs for it."""


class JsonRpcError(Exception):
    """An error as the other side gave it: kept whole, for whoever passes it on.

    Args:
        code: JSON-RPC's, MCP's or the other side's own.
        message: One sentence.
        data: Whatever came with it; `None` if nothing did.

    Source: https://www.jsonrpc.org/specification, section 5.1.
    """

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Peer(Protocol):
    """The client that waits for an answer, where something can be asked of it meanwhile.

    Attributes:
        capabilities: What it said it can do, as MCP's `ClientCapabilities`: `sampling`,
            `elicitation`, `roots`. What is not among them is never asked.
        in_rounds: Whether it takes a result that requires input, and then makes its request again
            (2026-07-28).
    """

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """What it can do."""
        ...

    @property
    def in_rounds(self) -> bool:
        """Whether it takes a result that requires input, and then makes its request again."""
        ...

    async def __call__(
        self, method: str, params: Mapping[str, Any], /, *, key: str | None = None
    ) -> Mapping[str, Any]:
        """Ask it.

        Args:
            method: `sampling/createMessage`, `elicitation/create` or `roots/list`.
            params: As the server that asks gave them.
            key: What the question is called, where a client is told; no two questions of one
                request share it. `None` has one made of what is asked.

        Returns:
            The result, as the client gave it.

        Raises:
            JsonRpcError: It refused.
            GatewayError: It cannot be asked any more.

        Cancellation: nobody waits for its answer any more.
        """
        ...
