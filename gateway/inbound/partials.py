"""Partial output over HTTP: one event for each piece, branch, note and log message.

Source: docs/reference/inbound-http.md, "Event streams".
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.core.content import plain
from gateway.core.errors import BadReply, GatewayError
from gateway.core.messages import Branch, Chunk, Log, Partial, Progress, Reply
from gateway.net.events import Put, event
from gateway.plan.plan import Plan

__all__ = ["Telling", "the_answer", "the_error"]

_encode = msgspec.json.Encoder(enc_hook=plain).encode


class Telling:
    """The `Emit` of one request whose client takes an event stream.

    Values are told only of calls that the answer has whole: what a tool's `output` leaves out, or
    looks into, is not for clients.

    Args:
        plan: The tool's.
        put: Takes events.
    """

    __slots__ = ("_plan", "_put")

    def __init__(self, plan: Plan, put: Put) -> None:
        self._plan = plan
        self._put = put

    async def __call__(self, item: Partial, /) -> None:
        """Tell the client.

        Raises:
            BadReply: It has no JSON form.
        """
        match item:
            case Chunk(call=call):
                if call in self._plan.told:
                    piece = {"call": call, "value": msgspec.Raw(item.encoded)}
                    await self._put(event(b"chunk", _encode(piece)))
            case Branch():
                if not self._is_the_end(item):
                    await self._put(event(b"branch", _json(self._branch(item))))
            case Progress(call=call, progress=progress, total=total, message=message):
                note = {"call": call, "progress": progress, "total": total, "message": message}
                await self._put(event(b"progress", _json(_given(note))))
            case Log(call=call, level=level, data=data, logger=logger):
                said = {"call": call, "level": level, "logger": logger}
                await self._put(event(b"log", _json({**_given(said), "data": data})))

    def _is_the_end(self, branch: Branch) -> bool:
        """Whether the answer or the failure that follows says all of it."""
        plan = self._plan
        if len(plan.nodes) == 1:
            return True
        fails = branch.outcome in {"timeout", "error"}
        return fails and plan.quorum is None and not plan.by_name[branch.call].optional

    def _branch(self, branch: Branch) -> dict[str, Any]:
        told = {"call": branch.call, "service": branch.service, "outcome": branch.outcome}
        if branch.error is not None:
            return {**told, "problem": branch.error.problem()}
        return {**told, "value": branch.value} if branch.call in self._plan.told else told


def the_answer(reply: Reply) -> bytes:
    """The last of a request's events, where it has an answer: before it, what is missing."""
    answer = event(b"answer", reply.encoded)
    if not reply.missing:
        return answer
    return event(b"partial", _json([error.problem() for error in reply.missing])) + answer


def the_error(error: GatewayError, request_id: str) -> bytes:
    """The last of a request's events, where it has failed."""
    return event(b"error", _json(error.problem(request_id)))


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _json(value: Any) -> bytes:
    try:
        return _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadReply(f"what came on the way has no JSON form: {error}") from error
