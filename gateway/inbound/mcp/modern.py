"""2026-07-28: every request stands alone, says who it is, and says so in its headers too.

Source: MCP 2026-07-28, Streamable HTTP; Versioning; Overview, "`_meta`"; Discovery; Caching.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.inbound.mcp import jsonrpc
from gateway.inbound.mcp.call import ToolResult, call
from gateway.inbound.mcp.jsonrpc import Answer, Message, ProtocolError
from gateway.inbound.mcp.library import LISTED_BY, METHODS
from gateway.inbound.mcp.versions import (
    MODERN,
    SUPPORTED,
    VERSION_HEADER,
    VERSION_KEY,
    server_info,
)

if TYPE_CHECKING:
    from gateway.core.messages import Context
    from gateway.inbound.front import Front
    from gateway.inbound.mcp.catalog import Catalog
    from gateway.inbound.mcp.library import Library

__all__ = ["Modern", "check_envelope", "header_value"]

_CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
_SERVER_INFO_KEY: Final = "io.modelcontextprotocol/serverInfo"
_NAMED: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Which parameter `mcp-name` repeats, by method."""

_ENCODED: Final = re.compile(r"=\?base64\?(.*)\?=")
_TTL_MS: Final = 60_000
"""How long clients may keep a list: there is no notice of changes, so not for long."""


class Modern:
    """The modern era.

    Args:
        front: What is called.
        catalog: What is listed.
        library: What is read.
    """

    def __init__(self, front: Front, catalog: Catalog, library: Library) -> None:
        self._front = front
        self._catalog = catalog
        self._library = library

    async def answer(self, value: Any, context: Context, *, spent_s: float = 0) -> Answer:
        """Answer one message.

        Args:
            value: The decoded body.
            context: Who asks.
            spent_s: Seconds that reading it took, which its budget has less.

        Raises:
            ProtocolError: For a JSON-RPC error instead.

        Cancellation: ends the call. In this era the client's leaving is how it cancels.
        """
        message = jsonrpc.read(value)
        if message is None:
            raise ProtocolError(
                jsonrpc.INVALID_REQUEST, "Invalid request: nothing was asked that this answers"
            )
        if message.id is None:
            # No notification has a meaning in this era, not even `notifications/cancelled`: a
            # request id alone would let one client cancel another's call.
            _check_version(context.headers.get(VERSION_HEADER))
            return jsonrpc.ACCEPTED
        check_envelope(message, context.headers)
        return jsonrpc.succeeded(message.id, await self._result(message, context, spent_s))

    async def _result(self, message: Message, context: Context, spent_s: float) -> dict[str, Any]:
        match message.method:
            case "server/discover":
                found = {"supportedVersions": SUPPORTED, "capabilities": self._catalog.capabilities}
                return _complete({**found, **_cacheable("public")})
            case method if method in LISTED_BY and self._catalog.offers(method):
                # Who may see a list is the answer to a credential: never shared between them.
                page = self._catalog.page(LISTED_BY[method], message.params, context)
                return _complete({**page, **_cacheable("private")})
            case "tools/call":
                result = await call(
                    self._front, self._catalog, message.params, context, spent_s=spent_s
                )
                return _complete(_called(result))
            case method if method in METHODS and self._catalog.offers(method):
                result = await self._library.answer(
                    method, message.params, context, spent_s=spent_s
                )
                if method == "resources/read":
                    result = {"ttlMs": 0, "cacheScope": "private", **result}
                return _complete(result)
            case method:
                raise ProtocolError(jsonrpc.METHOD_NOT_FOUND, f"Method not found: {method[:128]}")


def check_envelope(message: Message, headers: Mapping[str, str]) -> None:
    """Hold a request's `_meta` and its headers against what the revision demands.

    A header that came twice arrives here joined by a comma, and so matches nothing.

    Raises:
        ProtocolError: The first demand that is not met.

    Source: MCP 2026-07-28, Overview, "Per-request protocol fields"; Streamable HTTP, "Server
    Validation".
    """
    named = headers.get(VERSION_HEADER)
    meta = message.params.get("_meta")
    absent = [
        key
        for key in (VERSION_KEY, _CAPABILITIES_KEY)
        if not isinstance(meta, dict) or key not in meta
    ]
    if not isinstance(meta, dict) or absent:
        # A client of a revision we do not know is told so before its envelope is judged by ours.
        if named is not None and VERSION_KEY in absent:
            _check_version(named)
        raise ProtocolError(
            jsonrpc.INVALID_PARAMS, f"Invalid params: _meta: {' and '.join(absent)} must be given"
        )
    version = meta[VERSION_KEY]
    _check_header(VERSION_HEADER, named, version)
    _check_header("mcp-method", headers.get("mcp-method"), message.method)
    if message.method in _NAMED:
        name = message.params.get(_NAMED[message.method])
        if name is not None:
            _check_header("mcp-name", header_value(headers.get("mcp-name")), name)
    _check_version(version)
    if not isinstance(meta[_CAPABILITIES_KEY], dict):
        raise ProtocolError(
            jsonrpc.INVALID_PARAMS,
            f"Invalid params: _meta: {_CAPABILITIES_KEY}: expected an object",
        )


def header_value(value: str | None) -> str | None:
    """A header's value, decoded where it is base64; `None` if it is absent or malformed.

    Source: MCP 2026-07-28, Streamable HTTP, "Value Encoding".
    """
    encoded = _ENCODED.fullmatch(value) if value is not None else None
    if encoded is None:
        return value
    try:
        return base64.b64decode(encoded[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _check_header(name: str, value: str | None, body_value: Any) -> None:
    if value is None:
        raise ProtocolError(
            jsonrpc.HEADER_MISMATCH, f"Header mismatch: {name} is missing or malformed"
        )
    if value != body_value:
        raise ProtocolError(
            jsonrpc.HEADER_MISMATCH,
            f"Header mismatch: {name} is {value[:128]!r}, the body says {repr(body_value)[:128]}",
        )


def _check_version(version: str | None) -> None:
    if version != MODERN:
        raise ProtocolError(
            jsonrpc.UNSUPPORTED_VERSION,
            "Unsupported protocol version",
            data={"supported": SUPPORTED, "requested": (version or "")[:128]},
        )


def _complete(result: dict[str, Any]) -> dict[str, Any]:
    meta = result.get("_meta")
    own = meta if isinstance(meta, dict) else {}
    return {"resultType": "complete", **result, "_meta": {**own, _SERVER_INFO_KEY: server_info()}}


def _cacheable(scope: str) -> dict[str, Any]:
    return {"ttlMs": _TTL_MS, "cacheScope": scope}


def _called(result: ToolResult | dict[str, Any]) -> dict[str, Any]:
    if isinstance(result, dict):
        return result
    called: dict[str, Any] = {"content": result.content}
    if result.structured:
        called["structuredContent"] = msgspec.Raw(result.structured)
    called["isError"] = result.is_error
    return called
