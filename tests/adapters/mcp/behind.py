"""The adapter before a server in memory, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs

from gateway.adapters.mcp import McpAdapter, McpCall, McpSettings
from gateway.core.adapter import Environment
from gateway.core.messages import Context, Request
from gateway.core.service import discard
from tests.network import Network, network

__all__ = ["Behind", "behind", "settings"]

URL = "http://api.test/mcp"


@attrs.frozen
class Behind:
    """An open adapter, and what it is in front of."""

    adapter: McpAdapter
    server: Any
    net: Network

    async def call(
        self, tool: str = "x", arguments: Any = None, emit: Any = discard, **context: Any
    ) -> Any:
        """What a plan sees of a call."""
        service = self.adapter.bind(McpCall(tool=tool))
        asked = Request("a", {"arguments": arguments or {}}, Context(request_id="r", **context))
        return (await service(asked, emit)).value

    async def ask(self, method: str, emit: Any = discard, peer: Any = None, **params: Any) -> Any:
        """What a client is given as it is."""
        context = Context(request_id="r", peer=peer)
        return await self.adapter.ask(method, params, context, emit)

    def names(self, name: Any = "tools") -> list[str]:
        return [item["name"] for item in self.adapter.listed(name).items]


def settings(**keys: Any) -> McpSettings:
    return McpSettings(**{"url": URL, "allow_private": True, **keys})


@asynccontextmanager
async def behind(
    server: Callable[..., Any] | OSError | None, **keys: Any
) -> AsyncGenerator[Behind]:
    """An adapter before `server`: what serves connections, refuses them, or swallows them."""
    async with network() as net:
        net.name("api.test", "10.0.0.1")
        net.serve("10.0.0.1", 80, server)
        adapter = McpAdapter(settings(**keys), Environment(service="s", record=_nowhere))
        async with adapter.open():
            yield Behind(adapter, server, net)
        assert not net.open


def _nowhere(_event: Any) -> None: ...
