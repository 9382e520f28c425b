"""`kind = "mcp"`: another MCP server. Its tools in plans, and what it offers to clients as it is.

What a call gives is described in docs/reference/adapters/mcp.md.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import trio

from gateway.adapters.mcp.catalog import CHANGES, Catalog
from gateway.adapters.mcp.client import Client
from gateway.adapters.mcp.http import HttpLink
from gateway.adapters.mcp.link import Link
from gateway.adapters.mcp.messages import Told
from gateway.adapters.mcp.offer import Names
from gateway.adapters.mcp.program import ProgramLink
from gateway.adapters.mcp.results import Errors, value_of
from gateway.adapters.mcp.said import Said
from gateway.adapters.mcp.settings import McpCall, McpSettings, problem_of
from gateway.adapters.mcp.watches import UPDATED, Watches
from gateway.config.fields import reveal
from gateway.core.adapter import Environment, Kind
from gateway.core.errors import NotFound
from gateway.core.federation import Listed, ListName
from gateway.core.mcp import HEADER_MISMATCH
from gateway.core.messages import Context, Reply, Request
from gateway.core.peer import JsonRpcError
from gateway.core.service import Emit, Service
from gateway.net.background import in_the_background
from gateway.net.credentials import secrets_of_url
from gateway.net.process import inherited, spawn

__all__ = ["KIND", "McpAdapter"]

_OPENING_S = 0.25
"""Seconds that opening waits for a server: one that is there is listed by the first request.

Not for a program: it takes longer to start than anybody should wait.
"""

_MAX_SAID = 10_000


class McpAdapter:
    """One MCP server.

    Attributes:
        name: The service's name.
    """

    def __init__(self, settings: McpSettings, environment: Environment) -> None:
        problem = problem_of(settings)
        if problem is not None:
            raise ValueError(problem)
        self.name = environment.service
        secrets = (
            *settings.headers.values(),
            *settings.environment.values(),
            *secrets_of_url(settings.url or ""),
        )
        self._errors = Errors(self.name, secrets)
        self._say = Said(self.name, self._errors)
        self._opening_s = 0 if settings.program else _OPENING_S
        self._link = self._linked(settings, environment)
        self._client = Client(self.name, self._link, self._errors, self._hear)
        names = Names(
            prefix=settings.prefix,
            allow=settings.allow,
            deny=settings.deny,
            rename=settings.rename,
        )
        self._catalog = Catalog(self.name, self._client, self._errors, names)
        self._watches = Watches(self.name, self._client)

    def _linked(self, settings: McpSettings, environment: Environment) -> Link:
        if settings.url is not None:
            link = HttpLink(settings, environment)
            if link.tokens is not None:
                self._errors.hide = link.tokens.hide
            return link
        own = {name: reveal(value) for name, value in settings.environment.items()}
        directory = environment.directory / (settings.directory or "")
        start = partial(spawn, settings.program, directory, {**inherited(os.environ), **own})
        return ProgramLink(self.name, start, settings.max_reply, self._say, self._came)

    def bind(self, call: McpCall, /) -> Service:
        """The `Service` of `call`: its value is what the tool's result holds."""
        tool = call.tool

        async def invoke(request: Request, emit: Emit, /) -> Reply:
            arguments = request.arguments.get("arguments") or {}
            try:
                result = await self._call(tool, {"arguments": arguments}, request.context, emit)
            except JsonRpcError as error:
                raise self._errors.of_error(error) from error
            return Reply(value_of(result, self._errors))

        return invoke

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Reach for the server, in the background: whether it is there keeps nothing waiting.

        Leaving ends what is under way, the session and the program, within seconds.

        Cancellation: a program is killed at once, and all of its group.
        """
        async with in_the_background(self._keep, self.name, self._client.hurry):
            with trio.move_on_after(self._opening_s):
                await self._catalog.tried.wait()
            yield

    async def _keep(self) -> None:
        async with self._client.open(), trio.open_nursery() as nursery:
            nursery.start_soon(self._watches.keep)
            await self._catalog.keep()

    # What is offered to clients as it is: `Federated`.

    def listed(self, name: ListName, /) -> Listed:
        """As `Federated`."""
        return self._catalog.listed(name)

    def listening(self, hear: Callable[[ListName], None], /) -> AbstractContextManager[None]:
        """As `Federated`."""
        return self._catalog.listening(hear)

    def watching(
        self, uri: str, hear: Callable[[], None], /
    ) -> AbstractContextManager[None] | None:
        """As `Federated`."""
        return None if self._catalog.hides("resources", uri) else self._watches.watching(uri, hear)

    async def ask(
        self, method: str, params: Mapping[str, Any], context: Context, emit: Emit, /
    ) -> dict[str, Any]:
        """As `Federated`."""
        in_rounds = context.peer is not None and context.peer.in_rounds
        match method:
            case "tools/call":
                own = self._catalog.own_name("tools", str(params.get("name")))
                return await self._call(own, params, context, emit, as_it_comes=in_rounds)
            case "prompts/get":
                own = self._catalog.own_name("prompts", str(params.get("name")))
                params = {**params, "name": own}
            case "resources/read":
                uri = str(params.get("uri"))
                if self._catalog.hides("resources", uri):
                    raise NotFound(f"{self.name} offers no resource {uri[:128]!r}")
            case "completion/complete":
                params = self._with_own_reference(params)
        return await self._client.ask(
            method, params, context=context, emit=emit, as_it_comes=in_rounds
        )

    def _with_own_reference(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        reference = params.get("ref")
        if not isinstance(reference, dict) or reference.get("type") != "ref/prompt":
            return params
        own = self._catalog.own_name("prompts", str(reference.get("name")))
        return {**params, "ref": {**reference, "name": own}}

    async def _call(
        self,
        tool: str,
        params: Mapping[str, Any],
        context: Context,
        emit: Emit,
        *,
        as_it_comes: bool = False,
    ) -> dict[str, Any]:
        """Call a tool by the server's own name for it."""
        arguments = params.get("arguments")
        parameters = self._catalog.parameters(tool)
        headers = (
            parameters.headers(arguments) if parameters and isinstance(arguments, dict) else ()
        )
        try:
            return await self._client.ask(
                "tools/call",
                {**params, "name": tool},
                context=context,
                emit=emit,
                headers=headers,
                as_it_comes=as_it_comes,
            )
        except JsonRpcError as error:
            if error.code == HEADER_MISMATCH:  # its schema is another one by now
                self._catalog.expire()
            raise

    # What the server says by itself.

    def _hear(self, told: Told) -> None:
        if told.method in CHANGES:
            self._catalog.expire(CHANGES[told.method])
        elif told.method == UPDATED:
            self._watches.hear(told.params.get("uri"))
        elif told.method == "notifications/message":
            level, data = (str(told.params.get(key))[:_MAX_SAID] for key in ("level", "data"))
            self._say(f"{level}: {data}")

    def _came(self) -> None:
        if self._link.life > 1:  # the first one is waited for
            self._catalog.expire()


def _check(call: McpCall) -> list[tuple[str, str]]:
    return [] if call.tool else [("tool", "expected the name of a tool")]


KIND = Kind(
    settings=McpSettings,
    call=McpCall,
    create=McpAdapter,
    check=_check,
    inputs_key="arguments",
)
"""How `mcp` is declared."""
