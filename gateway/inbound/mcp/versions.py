"""The revisions spoken, and which era a message belongs to.

Source: MCP 2026-07-28, "Versioning and Compatibility": an era is *modern* where every request
carries its own metadata, *legacy* where a session begins with `initialize`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.core.mcp import LEGACY, MODERN, VERSION_HEADER, VERSION_KEY

__all__ = [
    "SUPPORTED",
    "UNNAMED",
    "is_modern",
]

SUPPORTED: Final = (MODERN, *LEGACY)
"""Every revision spoken, newest first."""

UNNAMED: Final = "2025-03-26"
"""What a client speaks that names no revision: the last one that did not ask it to."""


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
