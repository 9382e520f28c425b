"""The MCP server behind those that federate: of the official SDK, answering with a constant."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import MCPServer

from tests.benchmarks.apps.constant import USER

__all__ = ["app"]

server = MCPServer("behind", log_level="WARNING")


@server.tool()
async def user(id: int) -> dict[str, Any]:  # noqa: A002 - the argument's name
    """Answer at once."""
    return USER


app = server.streamable_http_app(stateless_http=True, json_response=True)
