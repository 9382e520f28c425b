"""The Model Context Protocol's names, for both of its ends: revisions, keys, headers, codes.

Source: MCP 2026-07-28, Versioning; Overview, "`_meta`", "Error Codes"; Streamable HTTP.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import Final

__all__ = [
    "BUDGET_KEY",
    "CAPABILITIES_KEY",
    "CLIENT_INFO_KEY",
    "HEADER_MISMATCH",
    "INTERNAL_ERROR",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "LEGACY",
    "LOG_LEVEL_KEY",
    "METHOD_HEADER",
    "METHOD_NOT_FOUND",
    "MISSING_CAPABILITY",
    "MODERN",
    "NAMED",
    "NAME_HEADER",
    "PARAM_HEADER",
    "PARSE_ERROR",
    "RESOURCE_NOT_FOUND",
    "SESSION_HEADER",
    "UNSUPPORTED_VERSION",
    "VERSION_HEADER",
    "VERSION_KEY",
    "header_text",
    "header_value",
    "implementation",
]

MODERN: Final = "2026-07-28"
"""The revision whose requests stand alone."""

LEGACY: Final = ("2025-11-25", "2025-06-18", "2025-03-26")
"""The revisions that begin with `initialize`, newest first."""

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
"""Where a request's `_meta` names the revision (2026-07-28)."""

CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
"""Where a request's `_meta` says what its client can do (2026-07-28)."""

CLIENT_INFO_KEY: Final = "io.modelcontextprotocol/clientInfo"
"""Where a request's `_meta` says which program its client is (2026-07-28)."""

LOG_LEVEL_KEY: Final = "io.modelcontextprotocol/logLevel"
"""Where a request's `_meta` says from which level on its client is told of logs (2026-07-28)."""

BUDGET_KEY: Final = "gateway/timeoutMs"
"""Where a request's `_meta` may name its budget, in whole milliseconds: ours."""

VERSION_HEADER: Final = "mcp-protocol-version"
"""The header that names the revision."""

METHOD_HEADER: Final = "mcp-method"
"""The header that repeats the method (2026-07-28)."""

NAME_HEADER: Final = "mcp-name"
"""The header that repeats what is asked for (2026-07-28)."""

PARAM_HEADER: Final = "mcp-param-"
"""How the headers begin that repeat arguments (2026-07-28)."""

SESSION_HEADER: Final = "mcp-session-id"
"""The header that names a session (legacy)."""

NAMED: Final[Mapping[str, str]] = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
}
"""Which parameter `mcp-name` repeats, by method."""

PARSE_ERROR: Final = -32700
"""The body is not JSON, or nested too deep."""

INVALID_REQUEST: Final = -32600
"""It is no JSON-RPC 2.0 message, or HTTP itself refuses it."""

METHOD_NOT_FOUND: Final = -32601
"""There is no such method."""

INVALID_PARAMS: Final = -32602
"""The parameters are wrong, or name a tool there is not."""

INTERNAL_ERROR: Final = -32603
"""What was asked for cannot be had; the error's data says why."""

RESOURCE_NOT_FOUND: Final = -32002
"""There is no such resource (legacy)."""

HEADER_MISMATCH: Final = -32020
"""A header is missing, malformed, or not what the body says (2026-07-28)."""

MISSING_CAPABILITY: Final = -32021
"""The request needs what its client cannot do (2026-07-28)."""

UNSUPPORTED_VERSION: Final = -32022
"""The revision is not spoken (2026-07-28)."""

_PLAIN: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?|")
_ENCODED: Final = re.compile(r"=\?base64\?(.*)\?=")


def header_text(value: str) -> str:
    """`value` as a header carries it: as it is, or in base64 where it could not stand there.

    Source: MCP 2026-07-28, Streamable HTTP, "Value Encoding".
    """
    if _PLAIN.fullmatch(value) and not _ENCODED.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode('utf-8', 'replace')).decode()}?="


def header_value(text: str | None) -> str | None:
    """What a header's `text` stands for: the reverse of `header_text`.

    Returns:
        It, decoded where it is base64; `None` if it is absent or malformed.

    Source: MCP 2026-07-28, Streamable HTTP, "Value Encoding".
    """
    encoded = _ENCODED.fullmatch(text) if text is not None else None
    if encoded is None:
        return text
    try:
        return base64.b64decode(encoded[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


@cache
def implementation() -> dict[str, str]:
    """Who we are: the name and version that the other side displays."""
    try:
        version = metadata.version("trio-gateway")
    except metadata.PackageNotFoundError:  # run from a source tree that was never installed
        version = "0"
    return {"name": "gateway", "version": version}
