"""What a server asks back while it works: passed to the client that waits, or declined.

In legacy revisions it asks by requests of its own, in 2026-07-28 by a result that requires input.

Source: MCP 2025-11-25, Client Features; MCP 2026-07-28, Multi Round-Trip Requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from gateway.adapters.mcp import messages
from gateway.adapters.mcp.messages import Asked
from gateway.core.errors import BadReply, GatewayError, InvalidArguments
from gateway.core.mcp import METHOD_NOT_FOUND
from gateway.core.peer import ASKABLE, JsonRpcError, Peer

__all__ = [
    "OFFERED",
    "answered",
    "capabilities_of",
    "declined",
    "inputs",
    "requires_input",
]

OFFERED: Mapping[str, Any] = {"elicitation": {}, "sampling": {}, "roots": {}}
"""What a legacy server is told that clients can do: a session serves many, and each may differ."""

_MAX_QUESTIONS = 20
_REJECTED = -1
_INTERNAL = -32603


def capabilities_of(peer: Peer | None) -> Mapping[str, Any]:
    """What a request in 2026-07-28 says that its client can do."""
    if peer is None:
        return {}
    return {key: peer.capabilities[key] for key in OFFERED if key in peer.capabilities}


def declined(asked: Asked) -> bytes:
    """The answer where nobody can be asked.

    Source: MCP 2025-11-25, Elicitation, "Response Actions"; Sampling, "Error Handling"; Ping.
    """
    try:
        return messages.answer(asked.id, _without(asked.method))
    except JsonRpcError as error:
        return messages.failure(asked.id, error)


def _without(method: str) -> Mapping[str, Any]:
    match method:
        case "ping":
            return {}
        case "elicitation/create":
            return {"action": "decline"}
        case "roots/list":
            return {"roots": []}
        case "sampling/createMessage":
            raise JsonRpcError(_REJECTED, "There is nobody here who samples")
        case _:
            raise JsonRpcError(METHOD_NOT_FOUND, "Method not found")


async def answered(asked: Asked, peer: Peer | None) -> bytes:
    """The answer to what a server asked, from the client if it has one to give.

    Cancellation: nobody waits for the client's answer any more.
    """
    try:
        return messages.answer(asked.id, await _given(asked.method, asked.params, peer))
    except JsonRpcError as error:
        return messages.failure(asked.id, error)
    except InvalidArguments:
        return messages.failure(asked.id, JsonRpcError(_INTERNAL, "The answer is not JSON"))


async def _given(method: str, params: Mapping[str, Any], peer: Peer | None) -> Mapping[str, Any]:
    if peer is None or ASKABLE.get(method) not in capabilities_of(peer):
        return _without(method)
    try:
        return await peer(method, params)
    except GatewayError as error:
        raise JsonRpcError(_INTERNAL, error.shown or error.title) from error


def requires_input(result: Mapping[str, Any]) -> bool:
    """Whether a result is no answer yet."""
    return result.get("resultType") == "input_required"


async def inputs(result: Mapping[str, Any], peer: Peer | None) -> dict[str, Any] | None:
    """What the request is to carry in addition when it is sent again.

    Args:
        result: One that requires input.
        peer: Who gives it.

    Returns:
        `inputResponses` and `requestState`, as far as the result asks for them; `None` if there
        is nobody to give what it asks for.

    Raises:
        BadReply: It asks for nothing that can be given.
        JsonRpcError: The client refused.
    """
    further: dict[str, Any] = {}
    requests = result.get("inputRequests")
    if requests is not None:
        if peer is None:
            return None
        if not isinstance(requests, dict) or len(requests) > _MAX_QUESTIONS:
            raise BadReply("what came requires input, and does not say which")
        further["inputResponses"] = await _all_given(requests, peer)
    if "requestState" in result:
        further["requestState"] = result["requestState"]
    if not further:
        raise BadReply("what came requires input, and does not say which")
    return further


async def _all_given(requests: Mapping[str, Any], peer: Peer) -> dict[str, Mapping[str, Any]]:
    """Every answer, asked for at once: a client is to see all that it has to find out."""
    given: dict[str, Mapping[str, Any]] = {}
    errors: list[JsonRpcError] = []

    async def give(key: str, method: str, params: Mapping[str, Any]) -> None:
        try:
            given[key] = await _given(method, params, peer)
        except JsonRpcError as error:  # carried out of the nursery, so that it stays bare
            errors.append(error)
            nursery.cancel_scope.cancel()

    asked = [(key, *_asked(one)) for key, one in requests.items()]
    async with trio.open_nursery() as nursery:
        for one in asked:
            nursery.start_soon(give, *one)
    if errors:
        raise errors[0]
    return given


def _asked(request: Any) -> tuple[str, Mapping[str, Any]]:
    method = request.get("method") if isinstance(request, dict) else None
    if not isinstance(method, str) or method not in ASKABLE:
        raise BadReply("what came requires input of a kind that there is not")
    params = request.get("params")
    return method, params if isinstance(params, dict) else {}
