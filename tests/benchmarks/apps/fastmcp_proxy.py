"""Peer: FastMCP's proxy before an MCP server, stateless, with JSON answers."""

from __future__ import annotations

import os

from fastmcp.server import create_proxy

__all__ = ["app"]

server = create_proxy(os.environ["TOOLS"], name="proxy")
app = server.http_app(path="/mcp", stateless_http=True, json_response=True)
