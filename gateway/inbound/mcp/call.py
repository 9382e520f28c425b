"""`tools/call`: the client's budget, the answer, a partial answer, a failure.

Source: MCP 2025-11-25 and 2026-07-28, Tools, "Tool Result", "Error Handling".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from gateway.core.deadline import budget_of, milliseconds
from gateway.core.errors import GatewayError, InvalidRequest, NotFound, Skipped
from gateway.core.messages import Context, Reply, Request
from gateway.core.service import Emit, discard
from gateway.inbound.mcp.jsonrpc import INVALID_PARAMS, ProtocolError, object_in

if TYPE_CHECKING:
    from gateway.inbound.front import Front

__all__ = ["BUDGET_KEY", "ToolResult", "answer", "call", "failure"]

BUDGET_KEY: Final = "gateway/timeoutMs"
"""Where a request's `_meta` may name its budget."""

_MAX_LINE: Final = 2_000
_MAX_BREACHES: Final = 20


@attrs.frozen(slots=True, kw_only=True)
class ToolResult:
    """What a call gave, before an era puts it in its own form.

    Args:
        texts: For the model to read.
        structured: The value as JSON; an object, or anything.
        is_object: Whether it is a JSON object, the only thing every revision can carry.
        error: What the call failed with; `None` if it did not.
    """

    texts: tuple[str, ...]
    structured: bytes
    is_object: bool
    error: GatewayError | None = None

    @property
    def is_error(self) -> bool:
        """Whether the call failed."""
        return self.error is not None

    @property
    def content(self) -> list[dict[str, str]]:
        """The texts as content blocks."""
        return [{"type": "text", "text": text} for text in self.texts]


async def call(
    front: Front,
    params: dict[str, Any],
    context: Context,
    emit: Emit = discard,
    *,
    spent_s: float = 0,
) -> ToolResult:
    """Call the tool that `params` name.

    Args:
        front: Whose tool.
        params: `name`, `arguments`, and a budget in `_meta`.
        context: Who asks; its headers may name a budget as well, and the smallest wins.
        emit: Where partial output goes.
        spent_s: Seconds since its arrival, which the budget has less.

    Returns:
        The answer, or the failure as the model is to see it.

    Raises:
        ProtocolError: The params are malformed, or there is no such tool.

    Cancellation: ends every call below it, commits under way aside.
    """
    name = params.get("name")
    if not isinstance(name, str):
        raise ProtocolError(INVALID_PARAMS, "Invalid params: name: expected a string")
    request = Request(name, object_in(params, "arguments"), context)
    try:
        budget_s = min(_budget_s(params, context), front.server.deadline)
        reply = await front.answer(request, emit, timeout_s=budget_s - spent_s)
    except NotFound as error:
        if error.call is None:
            raise ProtocolError(
                INVALID_PARAMS, f"Unknown tool: {name[:128]}", booked=True
            ) from None
        return failure(error, context.request_id)
    except GatewayError as error:
        return failure(error, context.request_id)
    return answer(reply)


def answer(reply: Reply) -> ToolResult:
    """A reply as a result: its value, and what is missing from it in words and in `_errors`."""
    structured = reply.encoded
    is_object = structured.startswith(b"{")
    texts: tuple[str, ...] = (structured.decode(),)
    if reply.missing:
        texts = (*texts, _bounded(_missing(reply.missing), _MAX_LINE))
    return ToolResult(texts=texts, structured=structured, is_object=is_object)


def _missing(errors: Sequence[GatewayError]) -> str:
    """What is absent, in words: what failed makes the answer partial, what was skipped does not."""
    failed = [f"{e.call} is missing ({_line(e)})" for e in errors if not isinstance(e, Skipped)]
    skipped = [f"{e.call} was skipped ({_line(e)})" for e in errors if isinstance(e, Skipped)]
    words = "; ".join((*failed, *skipped))
    return f"Partial answer: {words}." if failed else f"Complete answer, but {words}."


def failure(error: GatewayError, request_id: str) -> ToolResult:
    """A failure as a result: the problem object, and one line that a model can act on."""
    return ToolResult(
        texts=(_bounded(_line(error), _MAX_LINE),),
        structured=msgspec.json.encode(error.problem(request_id)),
        is_object=True,
        error=error,
    )


def _budget_s(params: dict[str, Any], context: Context) -> float:
    try:
        budget = budget_of(context.headers)
    except InvalidRequest as error:
        # The header is HTTP's, and so is the status: the same in every revision.
        raise ProtocolError(
            INVALID_PARAMS, f"Invalid params: {error.detail}", status=400
        ) from error
    meta = object_in(params, "_meta")
    if BUDGET_KEY not in meta:
        return budget
    try:
        return min(budget, milliseconds(meta[BUDGET_KEY], f'_meta["{BUDGET_KEY}"]'))
    except InvalidRequest as error:
        raise ProtocolError(INVALID_PARAMS, f"Invalid params: {error.detail}") from error


def _line(error: GatewayError) -> str:
    """`code: what is wrong`, on one line."""
    detail = "; ".join(_breach(breach) for breach in error.errors[:_MAX_BREACHES])
    if len(error.errors) > _MAX_BREACHES:
        detail += f"; and {len(error.errors) - _MAX_BREACHES} more"
    if error.retry_after_s is not None and math.isfinite(error.retry_after_s):
        again = f"try again in {error.retry_after_s:g} s"
        detail = f"{detail or error.shown or error.title}; {again}"
    return f"{error.code}: {' '.join((detail or error.shown or error.title).split())}"


def _breach(breach: Mapping[str, str]) -> str:
    return f"{breach['pointer'] or 'arguments'}: {breach['detail']}"


def _bounded(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
