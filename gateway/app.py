"""The ASGI application: lifespan, and the scope that every request runs in."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import in_trio_task

from gateway.access.proxies import TrustedProxies
from gateway.access.sight import May
from gateway.build import Built, Source, build
from gateway.config.secret import reveal
from gateway.config.settings import ServerSettings
from gateway.core.adapter import Kind
from gateway.core.errors import (
    DeadlineExceeded,
    GatewayError,
    Internal,
    NotFound,
)
from gateway.core.federation import Federated
from gateway.core.messages import Context, Reply, Request
from gateway.core.service import Emit, Service, discard
from gateway.dispatch import Dispatch
from gateway.inbound.front import TellOthers, context_of
from gateway.inbound.mcp import Mcp
from gateway.inbound.proxy import Proxies
from gateway.lifespan import Lifespan
from gateway.net.asgi import (
    ClientLeft,
    Incoming,
    Receive,
    Scope,
    Send,
    client_has_left,
)
from gateway.plan.ledger import Ledger, book_refusal
from gateway.plan.passing import Passing
from gateway.plan.root import Root
from gateway.plan.run import Run
from gateway.plan.tool import Tool
from gateway.telemetry.events import Event
from gateway.telemetry.hub import Listener, Telemetry
from gateway.telemetry.logs import RequestLog, bound
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.watchdog import Watchdog

if TYPE_CHECKING:
    from gateway.guest import Hosted

__all__ = ["Gateway", "create_app"]

logger = logging.getLogger(__name__)


def create_app(
    source: Source,
    *,
    adapters: Mapping[str, Kind] | None = None,
    services: Mapping[str, Service] | None = None,
    listeners: Iterable[Listener] = (),
    may: May | None = None,
    key: bytes | None = None,
) -> Gateway:
    """The gateway of a `gateway.toml`, as an ASGI application for servers and hosts.

    They may run on Trio or on asyncio: there the gateway runs its Trio loop inside theirs.

    Args:
        source: The file's path, or its content as a mapping.
        adapters: Further kinds of services, by the name that `kind` gives.
        services: Services by name that stand in for those of the file: fakes, simulations.
        listeners: Further listeners of telemetry events.
        may: Who may know of what, and so ask for it; without it everybody of everything.
        key: Signs what clients keep, where the file has no key for it; without it a random one.

    Raises:
        ConfigError: The configuration has mistakes; all of them, one line each.
    """
    metrics = Metrics()
    telemetry = Telemetry((metrics, RequestLog(), *listeners))
    built = build(source, record=telemetry.record, adapters=adapters, services=services)
    return Gateway(built, telemetry, metrics, may=may, key=key)


class Gateway:
    """The gateway: an ASGI application, and what inbound protocols stand before.

    Under a server that speaks the lifespan protocol it opens and closes by itself. Mounted in
    another app, whose host forwards no lifespan, give the host `lifespan=app.lifespan`; without
    it the gateway opens on its first request and closes when the loop ends.

    Args:
        built: The configuration, made into objects.
        telemetry: Where events go.
        metrics: The listener that `/metrics` shows.
        may: Who may know of what; `None` where everybody may know of everything.
        key: As `create_app` is given it.

    Attributes:
        may: As above.
        tell_others: As `Front` has it; given by whoever runs several workers.
        takes_over: Whether it opens in the place of one that served: then names of servers behind
            us that clash do not keep it from opening.
    """

    def __init__(
        self,
        built: Built,
        telemetry: Telemetry,
        metrics: Metrics,
        *,
        may: May | None = None,
        key: bytes | None = None,
    ) -> None:
        self.config = built.config
        self.may = may
        self.tell_others: TellOthers | None = None
        self.takes_over = False
        self.metrics = metrics
        self._built = built
        self._telemetry = telemetry
        server = built.config.server
        self._proxies = TrustedProxies(server.trusted_proxies)
        self._federated = {name: one.server for name, one in built.federated.items()}
        shared = built.config.state.key
        self._mcp = Mcp(
            self,
            built.config.mcp,
            built.prompts,
            built.resources,
            key=key if shared is None else reveal(shared).encode(),
            shared=shared is not None,
        )
        self._life = Lifespan(self._opened, drain_s=server.drain, opening_s=server.deadline)
        proxies = Proxies(self, built.proxies)
        self._dispatch = Dispatch(self, built.config, self._life, self._mcp, proxies)

    @property
    def server(self) -> ServerSettings:
        """The bounds of `[server]`."""
        return self.config.server

    @property
    def tools(self) -> Mapping[str, Tool]:
        """Every tool, by name, in the file's order."""
        return self._built.tools

    @property
    def federated(self) -> Mapping[str, Federated]:
        """The MCP servers whose own tools are offered as they are, by service, in the file's order."""
        return self._federated

    def context(self, incoming: Incoming, protocol: str) -> Context:
        """Who sends `incoming`: request id, address, principal, trace."""
        headers = incoming.headers
        client = self._proxies.client((incoming.scope.get("client") or ("",))[0], headers)
        return context_of(headers, protocol, client=client)

    @property
    def ready(self) -> bool:
        """Whether requests are welcome: everything is open, and no drain has begun."""
        return self._life.ready

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return self._life.in_flight

    async def call(
        self, request: Request, emit: Emit = discard, /, *, timeout_s: float = math.inf
    ) -> Reply:
        """Call the tool `request.name` under the smallest of all budgets.

        Args:
            request: The tool's name and its arguments, not validated yet.
            emit: Where partial output goes while the plan runs.
            timeout_s: The client's own budget, seconds.

        Returns:
            The answer, decoded, and `encoded` too; `missing` names what is absent from it.

        Raises:
            GatewayError: Whatever the client is to be told instead, bare.

        Cancellation: ends every call below it, commits under way aside.
        """
        return (await self.answer(request, emit, timeout_s=timeout_s)).decoded()

    async def answer(
        self, request: Request, emit: Emit = discard, /, *, timeout_s: float = math.inf
    ) -> Reply:
        """As `call`, for who sends `encoded` on: parts of the value may be JSON as it came."""
        tool = self.tools.get(request.name)
        if self.may is not None and not self.may(request.context, "tools", request.name, ""):
            tool = None
        budget_s = timeout_s if tool is None else min(timeout_s, tool.deadline_s)
        ledger = Ledger(self._telemetry, request, "" if tool is None else tool.name, budget_s)
        with bound(request), ledger:
            self._life.check_not_closing()
            if tool is None:
                raise NotFound(f"there is no tool {request.name[:100]!r}")
            try:
                arguments = tool.arguments.validate(request.arguments)
                valid = Request(request.name, arguments, request.context)
                run = Run(tool.plan, valid, self._telemetry.record, self._life.commits)
                ledger.run = run.book
                if budget_s < 0.001:
                    raise DeadlineExceeded("less than 1 ms of the budget was left on arrival")  # noqa: TRY301 - a call less
                if (refusal := tool.plan.refusal(request.context.priority)) is not None:
                    raise refusal  # noqa: TRY301 - likewise
                await run(self._life, budget_s, emit)
                if client_has_left():
                    raise ClientLeft  # noqa: TRY301 - likewise
                reply = run.book.conclude().sealed()
                if tool.answers is not None:
                    tool.answers.check(reply)
                ledger.reply = reply
            except (GatewayError, ClientLeft):
                raise
            except Exception as error:
                raise Internal("something went wrong inside the gateway") from error
            return ledger.reply

    async def ask(
        self,
        service: str,
        method: str,
        params: Mapping[str, Any],
        context: Context,
        emit: Emit = discard,
        /,
        *,
        timeout_s: float = math.inf,
    ) -> dict[str, Any]:
        """Pass a client's request on to an MCP server, under the smallest of all budgets.

        Args:
            service: One of `federated`.
            method: As `Federated.ask`.
            params: As `Federated.ask`; of a tool, its name is one that is offered.
            context: Who asks.
            emit: Where progress goes.
            timeout_s: The client's own budget, seconds.

        Returns:
            The result, as it came.

        Raises:
            JsonRpcError: The server's own.
            GatewayError: Whatever the client is to be told instead, bare.

        Cancellation: the server is told; its answer is dropped.
        """
        name = params["name"] if method == "tools/call" else method
        request = Request(name, params, context)
        budget_s = min(timeout_s, self.server.deadline)
        ledger = Ledger(self._telemetry, request, name, budget_s)
        with bound(request), ledger:
            self._life.check_not_closing()
            to = self._built.federated[service]
            passing = Passing(to, method, params, request, self._telemetry.record)
            return await passing.under(ledger, budget_s, self._life.within, emit)

    def record(self, event: Event) -> None:
        """Tell telemetry of what is no call of a tool."""
        self._telemetry.record(event)

    def refuse(self, context: Context, error: GatewayError, *, duration_s: float) -> None:
        """Tell telemetry of a request that is refused before any tool is called."""
        book_refusal(self._telemetry, context, error, duration_s=duration_s)

    def within(self, timeout_s: float) -> Root:
        """A scope for what is in flight for a client: a drain and the client's leaving reach it."""
        return self._life.within(timeout_s)

    def waiting(self) -> Root:
        """A scope for what only waits for news: the client's leaving ends it, a drain at once."""
        return self._life.waiting()

    def hear(self, message: bytes) -> None:
        """Heed what another worker tells by its `tell_others`."""
        self._mcp.hear(message)

    def prolong(self, scope: trio.CancelScope, timeout_s: float) -> None:
        """Give a scope of `within` so many seconds from now; the end of a drain comes first."""
        self._life.prolong(scope, timeout_s)

    # ------------------------------------------------------------------ lifespan

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open every service; leaving closes them and waits for commits, up to `drain`.

        It may be entered again once it was left. From the first time on no request opens the
        gateway by itself any more: whoever drives it does.

        Raises:
            ValueError: A service cannot be opened; the message says which and why.
            RuntimeError: It is entered already, or a request has opened the gateway.
        """
        if not in_trio_task():
            async with self._hosted.running():
                yield
            return
        async with self._life.running():
            yield

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        """Every service, open."""
        async with contextlib.AsyncExitStack() as stack:
            for adapter in self._built.adapters.values():
                await stack.enter_async_context(adapter.open())
            if not self.takes_over:
                self._mcp.check_names()
            await stack.enter_async_context(self._built.background.open())
            blocked_after_s = self.config.telemetry.blocked_after
            if blocked_after_s < math.inf:
                stack.enter_context(Watchdog(blocked_after_s, self._telemetry.record))
            yield

    @contextlib.asynccontextmanager
    async def lifespan(self, _host: Any = None) -> AsyncIterator[None]:
        """`running`, as Starlette and its kin take it: `Starlette(lifespan=app.lifespan)`."""
        async with self.running():
            yield

    def begin_drain(self, seconds: float) -> None:
        """Let no request, here or still to come, go on for longer than `seconds` from now.

        Each answers by then with what it has, as by any deadline. What only waits for news ends now.
        """
        self._life.begin_drain(seconds)

    # ------------------------------------------------------------------ ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection.

        Raises:
            ValueError: It is of a type that nothing here speaks.
        """
        if scope["type"] != "lifespan" and not in_trio_task():
            await self._hosted(scope, receive, send)
            return
        match scope["type"]:
            case "http" | "websocket":
                await self._dispatch(scope, receive, send)
            case "lifespan":
                await self._serve_lifespan(receive, send)
            case other:
                raise ValueError(f"ASGI connections of type {other!r} are not spoken")

    @cached_property
    def _hosted(self) -> Hosted:
        from gateway.guest import Hosted  # noqa: PLC0415 - asyncio is imported in its hosts alone

        return Hosted(self, self.running, self._dispatch.turn_away)

    async def _serve_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        started = False
        try:
            async with self.running():
                started = True
                await send({"type": "lifespan.startup.complete"})
                await receive()  # lifespan.shutdown
        except Exception as error:
            logger.exception("the gateway could not be %s", "closed" if started else "opened")
            stage = "shutdown" if started else "startup"
            await send({"type": f"lifespan.{stage}.failed", "message": str(error)})
            return
        await send({"type": "lifespan.shutdown.complete"})
