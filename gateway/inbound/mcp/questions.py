"""What a legacy client is asked while its call runs: requests of ours on the call's own stream.

Its answer comes as a POST of its own, which the session brings to whoever waits for it.

Source: MCP 2025-11-25, Transports, "Sending Messages to the Server"; Client Features.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from gateway.core.errors import CannotAsk, Overloaded
from gateway.core.peer import ASKABLE, JsonRpcError

if TYPE_CHECKING:
    from gateway.inbound.mcp.stream import EventStream

__all__ = ["MAX_QUESTIONS", "OutOfReach", "Questioned", "Questions", "askable"]

MAX_QUESTIONS: Final = 100
"""Questions that may wait for their answers at once in one session."""


def askable(capabilities: Any) -> dict[str, Any]:
    """What a client may be asked for, of the capabilities it says it has."""
    if not capabilities or not isinstance(capabilities, dict):
        return {}
    return {
        name: capabilities[name]
        for name in ASKABLE.values()
        if isinstance(capabilities.get(name), dict)
    }


@attrs.define(slots=True, eq=False)
class _Question:
    answered: trio.Event = attrs.field(factory=trio.Event)
    result: Mapping[str, Any] | None = None
    error: JsonRpcError | None = None


class Questions:
    """The questions of one session that wait for their answers."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[str, _Question] = {}

    async def ask(
        self, stream: EventStream, method: str, params: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Ask, and wait for the answer.

        Raises:
            JsonRpcError: The client refused.
            Overloaded: Too many questions wait already.
            ClientLeft: There is nobody to ask.

        Cancellation: nobody waits any more; an answer that comes still is dropped.
        """
        if len(self._waiting) >= MAX_QUESTIONS:
            raise Overloaded("too many questions wait for the client's answers", retry_after_s=1)
        name = f"gateway-{secrets.token_hex(8)}"  # another worker may ask in this session too
        question = self._waiting[name] = _Question()
        try:
            await stream.put({"jsonrpc": "2.0", "id": name, "method": method, "params": params})
            await question.answered.wait()
        finally:
            del self._waiting[name]
        if question.result is None:
            raise question.error or JsonRpcError(-32603, "The client's answer holds nothing")
        return question.result

    def hear(self, response: Mapping[str, Any]) -> bool:
        """Take a response of the client's; whether it was one to a question that waits here."""
        name = response.get("id")
        question = self._waiting.get(name) if isinstance(name, str) else None
        if question is None:
            return False
        result, error = response.get("result"), response.get("error")
        if isinstance(result, dict):
            question.result = result
        elif isinstance(error, dict) and isinstance(error.get("code"), int):
            message = str(error.get("message", ""))
            question.error = JsonRpcError(error["code"], message, error.get("data"))
        question.answered.set()
        return True


@attrs.frozen(slots=True)
class Questioned:
    """A legacy client as a `Peer`, for one call.

    Args:
        capabilities: What it can be asked for.
        questions: Its session's.
        stream: The call's.
    """

    capabilities: Mapping[str, Any]
    _questions: Questions
    _stream: EventStream

    @property
    def in_rounds(self) -> bool:
        """It is not: it waits for one answer."""
        return False

    async def __call__(
        self,
        method: str,
        params: Mapping[str, Any],
        /,
        *,
        key: str | None = None,  # noqa: ARG002 - a `Peer`'s; in this era questions have no keys
    ) -> Mapping[str, Any]:
        """Ask it; as `Questions.ask`."""
        return await self._questions.ask(self._stream, method, params)


@attrs.frozen(slots=True)
class OutOfReach:
    """A legacy client as a `Peer` that cannot be asked: its answer may come to another gateway.

    Args:
        capabilities: What it could be asked for.
    """

    capabilities: Mapping[str, Any]

    @property
    def in_rounds(self) -> bool:
        """It is not: it is not asked at all."""
        return False

    async def __call__(
        self,
        method: str,
        _params: Mapping[str, Any],
        /,
        *,
        key: str | None = None,  # noqa: ARG002 - a `Peer`'s
    ) -> Mapping[str, Any]:
        """Ask nothing.

        Raises:
            CannotAsk: Always.
        """
        await trio.lowlevel.checkpoint()
        raise CannotAsk(
            "a client of this revision cannot be asked while [state] key is set: "
            "its answer may come to another gateway",
            capability=ASKABLE[method],
        )
