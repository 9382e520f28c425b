"""Peer: a server of FastMCP, stateless, with JSON answers, and aiohttp."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import aiohttp
from fastmcp import Context, FastMCP
from pydantic import Field

__all__ = ["app"]

_DEADLINE_S = 2


@asynccontextmanager
async def _lifespan(_server: FastMCP) -> AsyncIterator[dict[str, aiohttp.ClientSession]]:
    connector = aiohttp.TCPConnector(limit=200)
    async with aiohttp.ClientSession(os.environ["UPSTREAM"], connector=connector) as session:
        yield {"session": session}


server = FastMCP("peer", lifespan=_lifespan)


@server.tool
async def user(id: Annotated[int, Field(ge=1)], ctx: Context) -> dict[str, Any]:  # noqa: A002 - the argument's name
    """One call."""
    session = ctx.lifespan_context["session"]
    async with asyncio.timeout(_DEADLINE_S), session.get(f"/users/{id}") as response:
        response.raise_for_status()
        return await response.json()


app = server.http_app(path="/mcp", stateless_http=True, json_response=True)
