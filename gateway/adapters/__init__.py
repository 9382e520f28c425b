"""The kinds of downstream services: one file or folder each, and this table.

To add one: a file with its settings, its call's keys and its adapter; a line here; a page in
`docs/reference/adapters/`.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.adapters import (
    bedrock_kb,
    command,
    files,
    graphql,
    http,
    mcp,
    python,
    redis,
    sql,
    tcp,
    websocket,
)
from gateway.core.adapter import Kind

__all__ = ["ADAPTERS"]

ADAPTERS: Mapping[str, Kind] = {
    "bedrock_kb": bedrock_kb.KIND,
    "command": command.KIND,
    "files": files.KIND,
    "graphql": graphql.KIND,
    "http": http.KIND,
    "mcp": mcp.KIND,
    "python": python.KIND,
    "redis": redis.KIND,
    "sql": sql.KIND,
    "tcp": tcp.KIND,
    "websocket": websocket.KIND,
}
"""Every kind of service, by the value of `kind`."""
