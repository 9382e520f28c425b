"""A request as it is sent, and what comes until it is answered."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from gateway.adapters.mcp import questions
from gateway.adapters.mcp.link import Call, Era, Exchange, Hear
from gateway.adapters.mcp.messages import Asked, Response, Told
from gateway.core.mcp import (
    BUDGET_KEY,
    CAPABILITIES_KEY,
    CLIENT_INFO_KEY,
    LOG_LEVEL_KEY,
    VERSION_KEY,
    implementation,
)
from gateway.core.messages import Context, Log, Progress
from gateway.core.service import Emit, discard

__all__ = ["Requests"]


class Requests:
    """Makes requests and reads their answers.

    Args:
        hear: Takes each notification that is about no request.
    """

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._ids = itertools.count(1)

    def make(
        self,
        era: Era | None,
        method: str,
        params: Mapping[str, Any],
        *,
        context: Context | None = None,
        emit: Emit = discard,
        headers: tuple[tuple[str, str], ...] = (),
        left_ms: int | None = None,
    ) -> Call:
        """A request, with what `_meta` has to say about it.

        Args:
            era: What it is sent under; `None` for what agrees on it in a legacy revision.
            method: What is asked for.
            params: Its parameters; what their own `_meta` says is kept.
            context: For whom; `None` if it is for the gateway itself.
            emit: Where progress goes; `discard` asks for none.
            headers: Further ones, over HTTP in 2026-07-28.
            left_ms: What is left of the budget; `None` without one.
        """
        number = next(self._ids)
        given = params.get("_meta")
        meta = dict(given) if isinstance(given, dict) else {}
        if era is not None and era.is_modern:
            peer = None if context is None else context.peer
            meta[VERSION_KEY] = era.version
            meta[CLIENT_INFO_KEY] = implementation()
            meta[CAPABILITIES_KEY] = questions.capabilities_of(peer)
            if context is not None and context.log_level and emit is not discard:
                meta[LOG_LEVEL_KEY] = context.log_level
        else:
            headers = ()
        if context is not None:
            meta["traceparent"] = context.trace.traceparent
        if left_ms is not None:
            meta[BUDGET_KEY] = left_ms
        if emit is not discard:
            meta["progressToken"] = number
        whole = {**params, "_meta": meta} if meta else params
        return Call(number, method, whole, era, context, headers)

    async def answer(
        self, exchange: Exchange, call: Call | None, emit: Emit = discard
    ) -> dict[str, Any]:
        """The result of what was sent; what comes before it is heard, passed on or answered.

        Args:
            exchange: Where it was sent.
            call: What was sent; `None` if nothing was.
            emit: Where progress goes.

        Raises:
            JsonRpcError: The server's.
            Refused, Outdated, GatewayError: As `Exchange.receive`.
        """
        peer = None if call is None or call.context is None else call.context.peer
        while True:
            match await exchange.receive():
                case Response(error=None, result=result):
                    return result
                case Response(error=error) if error is not None:
                    raise error
                case Asked() as asked:
                    await exchange.answer(await questions.answered(asked, peer))
                case Told(method="notifications/progress", params=params):
                    if call is not None and params.get("progressToken") == call.id:
                        await _pass_on(params, emit)
                case Told() as told:
                    self._hear(told)
                    if told.method == "notifications/message" and call is not None:
                        await _log(told.params, emit)


async def _pass_on(params: Mapping[str, Any], emit: Emit) -> None:
    progress, total = (_number(params.get(key)) for key in ("progress", "total"))
    message = params.get("message")
    if progress is not None and emit is not discard:
        await emit(Progress(progress, total, message if isinstance(message, str) else None))


async def _log(params: Mapping[str, Any], emit: Emit) -> None:
    level, logger = params.get("level"), params.get("logger")
    if isinstance(level, str) and "data" in params and emit is not discard:
        await emit(Log(level, params["data"], logger if isinstance(logger, str) else None))


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
