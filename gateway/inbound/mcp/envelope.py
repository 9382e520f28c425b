"""2026-07-28: what every request says of itself, and says again in its headers.

Source: MCP 2026-07-28, Overview, "Per-request protocol fields"; Streamable HTTP, "Server
Validation".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gateway.core.mcp import (
    CAPABILITIES_KEY,
    HEADER_MISMATCH,
    INVALID_PARAMS,
    METHOD_HEADER,
    MODERN,
    NAME_HEADER,
    NAMED,
    UNSUPPORTED_VERSION,
    VERSION_HEADER,
    VERSION_KEY,
    header_value,
)
from gateway.core.mcp_parameters import Parameters
from gateway.inbound.mcp.jsonrpc import Message, ProtocolError
from gateway.inbound.mcp.versions import SUPPORTED

if TYPE_CHECKING:
    from gateway.core.messages import Context
    from gateway.inbound.front import Front
    from gateway.inbound.mcp.catalog import Catalog
    from gateway.plan.tool import Tool

__all__ = ["Marked", "check_envelope", "check_version"]


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
    if not isinstance(meta, dict) or VERSION_KEY not in meta or CAPABILITIES_KEY not in meta:
        raise _incomplete(meta if isinstance(meta, dict) else {}, named)
    version = meta[VERSION_KEY]
    _check_header(VERSION_HEADER, named, version)
    _check_header(METHOD_HEADER, headers.get(METHOD_HEADER), message.method)
    if message.method in NAMED:
        name = message.params.get(NAMED[message.method])
        if name is not None:
            _check_header(NAME_HEADER, header_value(headers.get(NAME_HEADER)), name)
    check_version(version)
    if not isinstance(meta[CAPABILITIES_KEY], dict):
        raise ProtocolError(
            INVALID_PARAMS,
            f"Invalid params: _meta: {CAPABILITIES_KEY}: expected an object",
        )


def _incomplete(meta: Mapping[str, Any], named: str | None) -> ProtocolError:
    """What is wrong with an envelope that lacks a key."""
    absent = [key for key in (VERSION_KEY, CAPABILITIES_KEY) if key not in meta]
    # A client of a revision we do not know is told so before its envelope is judged by ours.
    if named is not None and VERSION_KEY in absent:
        check_version(named)
    return ProtocolError(
        INVALID_PARAMS, f"Invalid params: _meta: {' and '.join(absent)} must be given"
    )


def _check_header(name: str, value: str | None, body_value: Any) -> None:
    if value is None:
        raise ProtocolError(HEADER_MISMATCH, f"Header mismatch: {name} is missing or malformed")
    if value != body_value:
        raise ProtocolError(
            HEADER_MISMATCH,
            f"Header mismatch: {name} is {value[:128]!r}, the body says {repr(body_value)[:128]}",
        )


def check_version(version: str | None) -> None:
    """Refuse a revision that is not this one.

    Args:
        version: As the client named it; `None` if it did not.

    Raises:
        ProtocolError: It is another one.
    """
    if version != MODERN:
        raise ProtocolError(
            UNSUPPORTED_VERSION,
            "Unsupported protocol version",
            data={"supported": SUPPORTED, "requested": (version or "")[:128]},
        )


class Marked:
    """Which arguments of which tools headers repeat.

    Args:
        front: Whose tools.
        catalog: Those of the servers behind us.
    """

    __slots__ = ("_by_tool", "_catalog", "_front", "_known")

    def __init__(self, front: Front, catalog: Catalog) -> None:
        self._front = front
        self._catalog = catalog
        self._known: Mapping[str, Tool] | None = None
        self._by_tool: dict[str, Parameters] = {}

    def check(self, params: Mapping[str, Any], context: Context) -> None:
        """Hold a call's headers against its arguments.

        Args:
            params: The call's.
            context: Who makes it; the headers are its.

        Raises:
            ProtocolError: A header is missing, malformed, or not what the arguments say.
        """
        tools = self._front.tools
        if tools is not self._known:
            found = {name: Parameters.of(tool.input_schema) for name, tool in tools.items()}
            self._by_tool = {name: each for name, each in found.items() if each is not None}
            self._known = tools
        name = params.get("name")
        if not isinstance(name, str):
            return
        if name in tools:
            parameters = self._by_tool.get(name)
        else:
            entry = self._catalog.find("tools", name, context)
            parameters = entry.parameters if entry is not None and entry.server else None
        if parameters is None:
            return
        for header, text in parameters.texts(params.get("arguments")):
            value = context.headers.get(header)
            if text is not None or value is not None:
                _check_header(header, header_value(value), text)
