"""The revisions spoken, and which era a message belongs to.

Source: MCP 2026-07-28, "Versioning and Compatibility": an era is *modern* where every request
carries its own metadata, *legacy* where a session begins with `initialize`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import Any, Final

__all__ = [
    "CAPABILITIES",
    "LEGACY",
    "MODERN",
    "SUPPORTED",
    "UNNAMED",
    "VERSION_HEADER",
    "VERSION_KEY",
    "is_modern",
    "server_info",
]

MODERN: Final = "2026-07-28"
"""The revision whose requests stand alone."""

LEGACY: Final = ("2025-11-25", "2025-06-18", "2025-03-26")
"""The revisions that begin with `initialize`, newest first."""

SUPPORTED: Final = (MODERN, *LEGACY)
"""Every revision spoken, newest first."""

UNNAMED: Final = "2025-03-26"
"""What a client speaks that names no revision: the last one that did not ask it to."""

VERSION_HEADER: Final = "mcp-protocol-version"
"""The header that names the revision."""

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
"""Where a request's `_meta` names the revision (2026-07-28)."""

CAPABILITIES: Final[Mapping[str, Any]] = {"tools": {"listChanged": False}}
"""What both eras advertise."""


@cache
def server_info() -> dict[str, str]:
    """Who we are: the name and version that clients display."""
    try:
        version = metadata.version("trio-gateway")
    except metadata.PackageNotFoundError:  # run from a source tree that was never installed
        version = "0"
    return {"name": "gateway", "version": version}


def is_modern(value: Any, headers: Mapping[str, str]) -> bool:
    """Whether a body is to be read as the modern era's.

    Args:
        value: The decoded body, not validated yet.
        headers: The client's headers, names in lower case.

    Returns:
        True if the body carries a modern envelope, or the header names no legacy revision.
        `initialize` without an envelope is always legacy: it is how that era begins, whatever
        the header says.

    Source: MCP 2026-07-28, Versioning, "Backward Compatibility".
    """
    if isinstance(value, dict):
        params = value.get("params")
        envelope = params.get("_meta") if isinstance(params, dict) else None
        if isinstance(envelope, dict) and VERSION_KEY in envelope:
            return True
        if value.get("method") == "initialize":
            return False
    version = headers.get(VERSION_HEADER)
    return version is not None and version not in LEGACY
