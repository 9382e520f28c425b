"""JSON-RPC 2.0 as a client speaks it: messages out as bytes, messages in as what they are.

Source: https://www.jsonrpc.org/specification; MCP 2026-07-28, Overview, "Messages".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs
import msgspec

from gateway.core.errors import BadReply, InvalidArguments
from gateway.core.peer import JsonRpcError
from gateway.net.json_text import decode_json

__all__ = [
    "Asked",
    "Message",
    "Response",
    "Told",
    "answer",
    "failure",
    "notification",
    "read",
    "request",
]

_MAX_BATCH = 100
"""Messages in one batch (2025-03-26)."""


@attrs.frozen(slots=True)
class Response:
    """The answer to a request of ours.

    Args:
        id: The request's; `None` where the server could not read it.
        result: The result as it came; empty if there is an error.
        error: The error as it came.
    """

    id: Any
    result: dict[str, Any]
    error: JsonRpcError | None = None


@attrs.frozen(slots=True)
class Asked:
    """A request of the server's."""

    id: str | int
    method: str
    params: dict[str, Any]


@attrs.frozen(slots=True)
class Told:
    """A notification."""

    method: str
    params: dict[str, Any]


Message: TypeAlias = Response | Asked | Told
"""What a server sends."""


def read(data: bytes) -> list[Message]:
    """The messages in one body, event or line: one, or those of a batch.

    Raises:
        BadReply: They are none, or nested too deep.
    """
    try:
        value = decode_json(data)
    except ValueError as error:
        raise BadReply(f"what came is not JSON: {error}") from error
    if not isinstance(value, list):
        return [_message(value)]
    if len(value) > _MAX_BATCH:
        raise BadReply(f"a batch of over {_MAX_BATCH} messages")
    return [_message(one) for one in value]


def _message(value: Any) -> Message:
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        raise BadReply('what came is no JSON-RPC message: expected "jsonrpc": "2.0"')
    method = value.get("method")
    if isinstance(method, str):
        params = value.get("params")
        params = params if isinstance(params, dict) else {}
        request_id = value.get("id")
        if request_id is None:
            return Told(method, params)
        if not isinstance(request_id, str | int) or isinstance(request_id, bool):
            raise BadReply("what came is no JSON-RPC message: its id is neither text nor a number")
        return Asked(request_id, method, params)
    error = value.get("error")
    if isinstance(error, dict):
        return Response(value.get("id"), {}, _error(error))
    result = value.get("result")
    if not isinstance(result, dict):
        raise BadReply("what came is no JSON-RPC message: neither result nor error is an object")
    return Response(value.get("id"), result)


def _error(error: Mapping[str, Any]) -> JsonRpcError:
    code, message = error.get("code"), error.get("message")
    if not isinstance(code, int) or isinstance(code, bool):
        code = 0
    return JsonRpcError(code, message if isinstance(message, str) else "", error.get("data"))


def request(request_id: int, method: str, params: Mapping[str, Any]) -> bytes:
    """A request.

    Raises:
        InvalidArguments: Its parameters have no JSON form.
    """
    return _encoded({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})


def notification(method: str, params: Mapping[str, Any] | None = None) -> bytes:
    """A notification."""
    told: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params:
        told["params"] = params
    return msgspec.json.encode(told)


def answer(request_id: str | int, result: Mapping[str, Any]) -> bytes:
    """The answer to a request of the server's.

    Raises:
        InvalidArguments: The result has no JSON form.
    """
    return _encoded({"jsonrpc": "2.0", "id": request_id, "result": result})


def failure(request_id: str | int, error: JsonRpcError) -> bytes:
    """The refusal of a request of the server's."""
    shown: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        shown["data"] = error.data
    return _encoded({"jsonrpc": "2.0", "id": request_id, "error": shown})


def _encoded(message: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidArguments(f"not called: what it is asked has no JSON form: {error}") from error
