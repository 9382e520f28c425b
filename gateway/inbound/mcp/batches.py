"""Batches: several messages in one body, and their answers in one.

Source: MCP 2025-03-26, Overview, "Batching"; JSON-RPC 2.0, section 6.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import trio

from gateway.core.mcp import INVALID_REQUEST
from gateway.inbound.mcp import jsonrpc
from gateway.inbound.mcp.jsonrpc import Answer, ProtocolError

__all__ = ["MAX_BATCH", "check_member", "together"]

MAX_BATCH: Final = 100
"""Messages in one batch."""


async def together(values: list[Any], answer: Callable[[Any], Awaitable[Answer]]) -> Answer:
    """The answers to the messages of a batch, in their order.

    Args:
        values: The messages, decoded.
        answer: Answers one; all are under way at once.

    Raises:
        ProtocolError: It is empty, or holds too many.

    Cancellation: ends all of them.
    """
    if not 0 < len(values) <= MAX_BATCH:
        raise ProtocolError(
            INVALID_REQUEST,
            f"Invalid request: a batch holds 1 to {MAX_BATCH} messages",
            status=400,
        )
    answers: list[Answer] = [jsonrpc.ACCEPTED] * len(values)

    async def one(place: int, value: Any) -> None:
        answers[place] = await answer(value)

    async with trio.open_nursery() as nursery:
        for place, value in enumerate(values):
            nursery.start_soon(one, place, value)
    bodies = [msgspec.Raw(each.body) for each in answers if each.body]
    if not bodies:
        return jsonrpc.ACCEPTED
    return Answer(headers=(("content-type", "application/json"),), body=msgspec.json.encode(bodies))


def check_member(value: Any) -> None:
    """Check one message of a batch, which may be any but `initialize`.

    Raises:
        ProtocolError: It is that, or no message.
    """
    message = jsonrpc.read(value)
    if message is not None and message.method == "initialize":
        raise ProtocolError(INVALID_REQUEST, "Invalid request: initialize cannot be in a batch")
