"""`tools/call`: the client's budget, the answer, a partial answer, a failure.

Source: MCP 2025-11-25 and 2026-07-28, Tools, "Tool Result", "Error Handling".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.core.content import Content
from gateway.core.deadline import budget_of, milliseconds
from gateway.core.errors import (
    GatewayError,
    InvalidArguments,
    InvalidRequest,
    NotFound,
    Skipped,
    Unreachable,
)
from gateway.core.mcp import BUDGET_KEY, INVALID_PARAMS
from gateway.core.messages import Context, Reply, Request
from gateway.core.service import Emit, discard
from gateway.inbound.mcp.jsonrpc import ProtocolError, object_in
from gateway.inbound.mcp.passed import pass_on
from gateway.inbound.mcp.search import (
    CALL_TOOL,
    FOUND,
    MOST_FOUND,
    SEARCH_TOOLS,
    found_in,
)

if TYPE_CHECKING:
    from gateway.inbound.front import Front
    from gateway.inbound.mcp.catalog import Catalog

__all__ = ["ToolResult", "answer", "bounded", "budget_of_call", "call", "failure"]

_MAX_LINE: Final = 2_000
_MAX_BREACHES: Final = 20


class TextBlock(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Text for the model to read."""

    text: str


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a call gave, before an era puts it in its own form.

    Args:
        texts: For the model to read, after `blocks`.
        structured: The value as JSON; an object, or anything. Empty if the blocks say it all.
        is_object: Whether it is a JSON object, the only thing every revision can carry.
        error: What the call failed with; `None` if it did not.
        blocks: Content blocks, as JSON.
    """

    texts: tuple[str, ...]
    structured: bytes
    is_object: bool
    error: GatewayError | None = None
    blocks: tuple[msgspec.Raw, ...] = ()

    @property
    def is_error(self) -> bool:
        """Whether the call failed."""
        return self.error is not None

    @property
    def content(self) -> list[msgspec.Raw | TextBlock]:
        """All that is to be shown, as content blocks."""
        return [*self.blocks, *map(TextBlock, self.texts)]


async def call(
    front: Front,
    catalog: Catalog,
    params: dict[str, Any],
    context: Context,
    emit: Emit = discard,
    *,
    spent_s: float = 0,
) -> ToolResult | dict[str, Any]:
    """Call the tool that `params` name.

    Args:
        front: Whose tool.
        catalog: Who offers it.
        params: `name`, `arguments`, and a budget in `_meta`.
        context: Who asks; its headers may name a budget as well, and the smallest wins.
        emit: Where partial output goes: what our own calls tell, and another server's progress.
        spent_s: Seconds since its arrival, which the budget has less.

    Returns:
        The answer, or the failure as the model is to see it; another server's result as it came.

    Raises:
        ProtocolError: The params are malformed, or there is no such tool; or another server's own
            error.

    Cancellation: ends every call below it, commits under way aside.
    """
    name = params.get("name")
    if not isinstance(name, str):
        raise ProtocolError(INVALID_PARAMS, "Invalid params: name: expected a string")
    arguments = object_in(params, "arguments")
    timeout_s = budget_of_call(front, params, context) - spent_s
    try:
        if catalog.is_searched and name == SEARCH_TOOLS:
            return await _search(front, catalog, arguments, context)
        if not (catalog.is_searched and name == CALL_TOOL):
            return await _call(front, catalog, params, context, emit, timeout_s=timeout_s)
        inner = _named_in(front, arguments, context)
        try:
            return await _call(
                front, catalog, {**params, **inner}, context, emit, timeout_s=timeout_s
            )
        except _UnknownToolError:
            shown = inner["name"][:128]
            told = NotFound(f"there is no tool {shown!r}: {SEARCH_TOOLS} gives the names there are")
            return failure(told, context.request_id)
    except GatewayError as error:
        return failure(error, context.request_id)


class _UnknownToolError(ProtocolError):
    """There is no tool of that name."""

    def __init__(self, name: str, *, booked: bool) -> None:
        super().__init__(INVALID_PARAMS, f"Unknown tool: {name[:128]}", booked=booked)


async def _call(
    front: Front,
    catalog: Catalog,
    params: dict[str, Any],
    context: Context,
    emit: Emit,
    *,
    timeout_s: float,
) -> ToolResult | dict[str, Any]:
    name = params["name"]
    entry = None if name in front.tools else catalog.find("tools", name, context)
    try:
        if entry is not None and entry.server:
            return await pass_on(
                front, entry.server, "tools/call", params, context, timeout_s=timeout_s, emit=emit
            )
        if name not in front.tools and (unlisted := catalog.unlisted("tools")):
            why = f"whether there is a tool {name[:128]!r} is not known: {'; '.join(unlisted)}"
            raise _booked(front, Unreachable(why), context)
        request = Request(name, object_in(params, "arguments"), context)
        return answer(await front.answer(request, emit, timeout_s=timeout_s))
    except NotFound as error:
        if error.call is None:
            raise _UnknownToolError(name, booked=True) from None
        raise


async def _search(
    front: Front, catalog: Catalog, arguments: dict[str, Any], context: Context
) -> ToolResult:
    query, limit = arguments.get("query"), arguments.get("limit", FOUND)
    if not isinstance(query, str):
        error = _breach_of("/query", "expected words that say what is to be done")
        raise _booked(front, error, context)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MOST_FOUND:
        error = _breach_of("/limit", f"expected an integer from 1 to {MOST_FOUND}")
        raise _booked(front, error, context)
    found = msgspec.json.encode(found_in(await catalog.search(query, limit, context)))
    return ToolResult(texts=(found.decode(),), structured=found, is_object=True)


def _named_in(front: Front, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
    """The call that a call of `call_tool` is for."""
    name, inner = arguments.get("name"), arguments.get("arguments")
    if not isinstance(name, str):
        error = _breach_of("/name", f"expected a tool's name, as {SEARCH_TOOLS} gave it")
        raise _booked(front, error, context)
    if not isinstance(inner, dict | None):
        error = _breach_of("/arguments", "expected an object, as the tool's inputSchema has it")
        raise _booked(front, error, context)
    return {"name": name, "arguments": inner or {}}


def _breach_of(pointer: str, detail: str) -> InvalidArguments:
    return InvalidArguments(
        f"the arguments break the tool's input schema: {pointer}: {detail}",
        errors=({"pointer": pointer, "detail": detail},),
    )


def _booked(front: Front, error: GatewayError, context: Context) -> GatewayError:
    """`error`, which telemetry is told of: nothing was called that would."""
    front.refuse(context, error, duration_s=0)
    return error


def answer(reply: Reply) -> ToolResult:
    """A reply as a result: its value, and what is missing from it in words and in `_errors`."""
    structured, content = reply.encoded, reply.value
    texts: tuple[str, ...] = ()
    blocks: tuple[msgspec.Raw, ...] = ()
    if isinstance(content, Content):
        blocks = content.blocks
        structured = structured if content.structured else b""
    else:
        texts = (structured.decode(),)
    if reply.missing:
        texts = (*texts, bounded(_missing(reply.missing), _MAX_LINE))
    is_object = structured.startswith(b"{")
    return ToolResult(texts=texts, structured=structured, is_object=is_object, blocks=blocks)


def _missing(errors: Sequence[GatewayError]) -> str:
    """What is absent, in words: what failed makes the answer partial, what was skipped does not."""
    failed = [f"{e.call} is missing ({_line(e)})" for e in errors if not isinstance(e, Skipped)]
    skipped = [f"{e.call} was skipped ({_line(e)})" for e in errors if isinstance(e, Skipped)]
    words = "; ".join((*failed, *skipped))
    return f"Partial answer: {words}." if failed else f"Complete answer, but {words}."


def failure(error: GatewayError, request_id: str) -> ToolResult:
    """A failure as a result: the problem object, and one line that a model can act on."""
    return ToolResult(
        texts=(bounded(_line(error), _MAX_LINE),),
        structured=msgspec.json.encode(error.problem(request_id)),
        is_object=True,
        error=error,
    )


def budget_of_call(front: Front, params: dict[str, Any], context: Context) -> float:
    """The seconds that a request may take from its arrival on, by its headers, `_meta` and ours.

    Raises:
        ProtocolError: One of them is malformed.
    """
    return min(_budget_s(params, context), front.server.deadline)


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


def bounded(text: str, most: int) -> str:
    """At most so many characters of a text, an ellipsis among them where it is cut."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
