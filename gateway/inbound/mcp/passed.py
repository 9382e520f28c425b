"""What goes on to a server behind us as it came, and comes back as it came.

Source: MCP 2026-07-28, Overview, "`_meta`"; Multi Round-Trip Requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.core.errors import Rejected
from gateway.core.mcp import (
    BUDGET_KEY,
    CAPABILITIES_KEY,
    CLIENT_INFO_KEY,
    MISSING_CAPABILITY,
    VERSION_KEY,
)
from gateway.core.peer import JsonRpcError
from gateway.core.service import Emit, discard
from gateway.inbound.mcp.jsonrpc import ProtocolError, object_in
from gateway.inbound.mcp.rounds import Round

if TYPE_CHECKING:
    from gateway.core.messages import Context
    from gateway.inbound.front import Front

__all__ = ["pass_on"]

_OF_ONE_HOP: Final = frozenset(
    {VERSION_KEY, CAPABILITIES_KEY, CLIENT_INFO_KEY, BUDGET_KEY, "progressToken"}
)
"""What a request's `_meta` says between its client and us alone."""


_OF_ROUNDS: Final = frozenset({"inputResponses", "requestState"})


async def pass_on(
    front: Front,
    service: str,
    method: str,
    params: dict[str, Any],
    context: Context,
    *,
    timeout_s: float,
    emit: Emit = discard,
) -> dict[str, Any]:
    """Pass a request on.

    Args:
        front: Who passes it on.
        service: Where it goes: one of `front.federated`.
        method: What is asked for.
        params: As the client sent them.
        context: Who asks.
        timeout_s: Seconds that are left of its budget.
        emit: Where progress goes.

    Returns:
        The result.

    Raises:
        ProtocolError: The server's own error.
        Rejected: It requires input, and the client's revision has no such answer.
        GatewayError: It could not be asked, or what came is no answer.

    Cancellation: the server is told; its answer is dropped.
    """
    meta = object_in(params, "_meta")
    own = {key: value for key, value in meta.items() if key not in _OF_ONE_HOP}
    rest = {key: value for key, value in params.items() if key != "_meta"}
    if isinstance(context.peer, Round):
        # What they hold is between its client and us, until a server has asked for it.
        rest = {key: value for key, value in rest.items() if key not in _OF_ROUNDS}
        rest |= context.peer.further
    asked = {**rest, "_meta": own} if own else rest
    try:
        result = await front.ask(service, method, asked, context, emit, timeout_s=timeout_s)
    except JsonRpcError as error:
        # An answer like any other: a status of ours would say that it is about this hop. What the
        # client cannot do is about this one too.
        status = 0 if error.code == MISSING_CAPABILITY else 200
        raise ProtocolError(
            error.code, error.message, data=error.data, status=status, booked=True
        ) from None
    if result.get("resultType") == "input_required" and VERSION_KEY not in meta:
        raise Rejected("it requires input that this client cannot be asked for", service=service)
    return result
