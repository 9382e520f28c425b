"""Peer: the official MCP SDK's low-level server, stateless, with JSON answers, and aiohttp."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from jsonschema import Draft202012Validator
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)

__all__ = ["app"]

_DEADLINE_S = 2
_SCHEMA = {
    "type": "object",
    "properties": {"id": {"type": "integer", "minimum": 1}},
    "required": ["id"],
}
_VALIDATOR = Draft202012Validator(_SCHEMA)


@asynccontextmanager
async def _lifespan(_server: Server[aiohttp.ClientSession]) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=200)
    async with aiohttp.ClientSession(os.environ["UPSTREAM"], connector=connector) as session:
        yield session


async def _list(
    _ctx: ServerRequestContext[Any], _params: PaginatedRequestParams | None
) -> ListToolsResult:
    return ListToolsResult(
        tools=[Tool(name="user", description="One call.", input_schema=_SCHEMA)],
        ttl_ms=0,
        cache_scope="private",
    )


async def _call(
    ctx: ServerRequestContext[aiohttp.ClientSession], params: CallToolRequestParams
) -> CallToolResult:
    arguments = params.arguments or {}
    _VALIDATOR.validate(arguments)  # nothing else does: low-level servers get what clients send
    number = arguments["id"]
    session = ctx.lifespan_context
    async with asyncio.timeout(_DEADLINE_S), session.get(f"/users/{number}") as response:
        response.raise_for_status()
        found = await response.json()
    return CallToolResult(
        content=[TextContent(type="text", text=json.dumps(found))], structured_content=found
    )


server: Server[aiohttp.ClientSession] = Server(
    "peer", lifespan=_lifespan, on_list_tools=_list, on_call_tool=_call
)
app = server.streamable_http_app(stateless_http=True, json_response=True)
