"""JSON-RPC 2.0: messages in, answers out.

Source: https://www.jsonrpc.org/specification; MCP 2026-07-28, Overview, "Messages".
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias, TypeGuard

import msgspec

from gateway.core.errors import GatewayError, InvalidRequest, NotFound
from gateway.core.mcp import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR

__all__ = [
    "ACCEPTED",
    "Answer",
    "Message",
    "ProtocolError",
    "RequestId",
    "decode",
    "failed",
    "id_of",
    "is_id",
    "object_in",
    "read",
    "succeeded",
]

_STATUS: Final = {METHOD_NOT_FOUND: 404}
_JSON: Final = (("content-type", "application/json"),)

RequestId: TypeAlias = str | int
"""MCP narrows JSON-RPC's ids: no null, no fractions."""


class ProtocolError(Exception):
    """The message itself is at fault: answered as a JSON-RPC error, not as a tool's result.

    Args:
        code: The JSON-RPC error code.
        message: One sentence for whoever wrote the client.
        data: The error's `data` member; `None` leaves it out.
        status: The HTTP status in every revision; `None` where the era decides.
        headers: Of the HTTP answer.
        error: The failure of ours that it tells, where it is one.
        booked: Whether telemetry was told of it already.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        data: Any = None,
        status: int | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        error: GatewayError | None = None,
        booked: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.data = data
        self.status = status
        self.headers = headers
        self.booked = booked
        self._error = error

    @property
    def error(self) -> GatewayError:
        """What telemetry is told."""
        if self._error is not None:
            return self._error
        absent = self.code == METHOD_NOT_FOUND or self.status == 404
        return (NotFound if absent else InvalidRequest)(str(self))

    @property
    def modern_status(self) -> int:
        """The HTTP status where the protocol maps codes to statuses.

        Source: MCP 2026-07-28, Streamable HTTP, "Protocol Version Header", "Server Validation".
        """
        return self.status or _STATUS.get(self.code, 400)


class Message(msgspec.Struct, frozen=True):
    """A request, or a notification.

    Args:
        method: What is asked for.
        params: Its parameters; empty if there are none.
        id: What the answer is to name; `None` for a notification, which has no answer.
    """

    method: str
    params: dict[str, Any]
    id: RequestId | None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP answer.

    Args:
        status: The HTTP status.
        headers: `content-length` aside.
        body: One JSON-RPC message, or nothing.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class _Succeeded(msgspec.Struct, frozen=True):
    """The message that carries a result: a struct is encoded sooner than a dictionary."""

    id: RequestId | None
    result: Any
    jsonrpc: str = "2.0"


_encode = msgspec.json.Encoder().encode

ACCEPTED: Final = Answer(status=202)
"""The answer to whatever has no answer: notifications, and responses to nothing."""


def decode(body: bytes) -> Any:
    """The JSON value in `body`.

    Raises:
        ProtocolError: It is not JSON, or is nested deeper than we follow.
    """
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise ProtocolError(PARSE_ERROR, "Parse error: the body is nested too deep") from None
    except ValueError as error:
        raise ProtocolError(PARSE_ERROR, f"Parse error: {error}") from None


def is_id(value: Any) -> TypeGuard[RequestId]:
    """Whether `value` may be a request's id: a string or an integer."""
    return isinstance(value, str | int) and not isinstance(value, bool)


def id_of(value: Any) -> RequestId | None:
    """The id that an error about `value` is to name; `None` if it has none that may be named."""
    candidate = value.get("id") if isinstance(value, dict) else None
    return candidate if is_id(candidate) else None


def read(value: Any) -> Message | None:
    """Read one decoded message.

    Args:
        value: The decoded body, or one member of a batch.

    Returns:
        The request or notification; `None` for a response, which answers nothing we asked.

    Raises:
        ProtocolError: It is no JSON-RPC 2.0 message, or its id is one that MCP does not allow.
    """
    if not isinstance(value, dict):
        raise _invalid("expected one JSON-RPC object")
    if value.get("jsonrpc") != "2.0":
        raise _invalid('expected "jsonrpc": "2.0"')
    if "method" not in value and ("result" in value or "error" in value):
        return None
    method = value.get("method")
    if not isinstance(method, str):
        raise _invalid("method: expected a string")
    # An id that is there but null is a malformed request, not a notification.
    if "id" in value and not is_id(value["id"]):
        raise _invalid("id: expected a string or an integer")
    params = value.get("params")
    if params is not None and not isinstance(params, dict):
        raise _invalid("params: expected an object")
    return Message(method, params or {}, value.get("id"))


def object_in(params: dict[str, Any], key: str) -> dict[str, Any]:
    """The object at `key` of a request's params; an empty one if it is absent or null.

    Raises:
        ProtocolError: Something else is there.
    """
    value = params.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ProtocolError(INVALID_PARAMS, f"Invalid params: {key}: expected an object")
    return value


def succeeded(
    message_id: RequestId | None, result: Any, *, headers: tuple[tuple[str, str], ...] = ()
) -> Answer:
    """The answer that carries `result`; encoded here, once."""
    body = _encode(_Succeeded(message_id, result))
    return Answer(headers=(*_JSON, *headers) if headers else _JSON, body=body)


def failed(message_id: RequestId | None, error: ProtocolError, *, status: int) -> Answer:
    """The answer that carries `error`; its id is null where the message's could not be read."""
    shown: dict[str, Any] = {"code": error.code, "message": str(error)}
    if error.data is not None:
        shown["data"] = error.data
    body = msgspec.json.encode({"jsonrpc": "2.0", "id": message_id, "error": shown})
    return Answer(status=status, headers=(*_JSON, *error.headers), body=body)


def _invalid(why: str) -> ProtocolError:
    return ProtocolError(INVALID_REQUEST, f"Invalid request: {why}", status=400)
