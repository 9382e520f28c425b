"""`tools/list`: every tool, a page at a time.

Source: MCP 2025-11-25 and 2026-07-28, Tools, "Listing Tools"; Pagination.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.inbound.mcp.jsonrpc import INVALID_PARAMS, ProtocolError

if TYPE_CHECKING:
    from gateway.inbound.front import Front
    from gateway.plan.tool import Tool

__all__ = ["PAGE", "Catalog"]

PAGE: Final = 100
"""Tools a page."""


class Catalog:
    """The pages of `tools/list`, each tool encoded once.

    Args:
        front: Whose tools.
    """

    def __init__(self, front: Front) -> None:
        self._front = front
        self._listed: Mapping[str, Tool] | None = None
        self._pages: dict[str | None, dict[str, Any]] = {}

    def page(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """One page.

        Args:
            params: Of the request; `cursor` as a former page's `nextCursor` gave it.

        Returns:
            `tools`, in the file's order, and `nextCursor` unless it is the last page.

        Raises:
            ProtocolError: The cursor is none of ours.
        """
        tools = self._front.tools
        if tools is not self._listed:
            self._pages, self._listed = _pages(tools), tools
        cursor = params.get("cursor")
        page = self._pages.get(cursor) if cursor is None or isinstance(cursor, str) else None
        if page is None:
            raise ProtocolError(INVALID_PARAMS, "Invalid params: cursor: not one of this list")
        return page


def _pages(tools: Mapping[str, Tool]) -> dict[str | None, dict[str, Any]]:
    entries = [msgspec.Raw(msgspec.json.encode(_entry(tool))) for tool in tools.values()]
    chunks = [entries[start : start + PAGE] for start in range(0, len(entries), PAGE)] or [[]]
    pages: dict[str | None, dict[str, Any]] = {}
    for number, chunk in enumerate(chunks):
        page: dict[str, Any] = {"tools": chunk}
        if number + 1 < len(chunks):
            page["nextCursor"] = _cursor(number + 1)
        pages[_cursor(number) if number else None] = page
    return pages


def _cursor(number: int) -> str:
    return urlsafe_b64encode(f"page:{number}".encode()).decode()


def _entry(tool: Tool) -> dict[str, Any]:
    hints = {"readOnlyHint": tool.read_only, "idempotentHint": tool.idempotent}
    if not tool.read_only:
        # Where nothing says that a change only adds: the protocol's own default, written out.
        hints["destructiveHint"] = tool.destructive is not False
    if tool.open_world is not None:
        hints["openWorldHint"] = tool.open_world
    entry: dict[str, Any] = {"name": tool.name}
    if tool.title:
        entry["title"] = tool.title
    entry |= {"description": tool.description, "inputSchema": tool.input_schema}
    if tool.answers is not None:
        entry["outputSchema"] = tool.answers.schema
    return {**entry, "annotations": hints}
