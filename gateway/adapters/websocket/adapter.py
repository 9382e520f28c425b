"""A WebSocket service: connections of calls' own, and subscriptions.

Source: RFC 6455.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import trio

from gateway.adapters.websocket.settings import WebSocketCall, WebSocketSettings, check
from gateway.adapters.websocket.shared import Shared
from gateway.adapters.websocket.texts import text_of, value_of
from gateway.config.fields import reveal
from gateway.core.adapter import Environment, Kind
from gateway.core.deadline import remaining_s
from gateway.core.errors import BadReply, GatewayError, Unreachable
from gateway.core.messages import Chunk, Reply, Request
from gateway.core.service import Emit, Service
from gateway.net.authorized import bearer
from gateway.net.background import in_the_background
from gateway.net.client import ClientSettings, open_http1
from gateway.net.connection import Connection
from gateway.net.credentials import basic_authorization
from gateway.net.http1 import Http1Client
from gateway.net.messages import HttpRequest, Origin
from gateway.net.oauth2 import opened, tokens_of
from gateway.net.refusal import refusal
from gateway.net.request import head_of
from gateway.net.websocket import Closed, Handshake, WebSocket

__all__ = ["KIND", "WebSocketAdapter"]

_BUDGET_HEADER = "x-request-timeout-ms"
_GOODBYE_S = 0.2
_NORMAL = 1000
_ENDS = frozenset({1000, 1001, 1005})
"""Codes of RFC 6455, section 7.4.1, with which a service ends in order: done, going away, none said."""

_MARGIN_S = 0.05
"""Seconds before its deadline that a subscription ends, so that its reply is still in time."""


class WebSocketAdapter:
    """One WebSocket service."""

    def __init__(self, settings: WebSocketSettings, environment: Environment) -> None:
        self._name = environment.service
        self._settings = settings
        self._environment = environment
        url = "http" + settings.url.removeprefix("ws")
        self._origin = Origin.of(url)
        rest = settings.url.partition("://")[2]
        target = rest[len(rest.partition("/")[0].partition("?")[0]) :]
        self._target = target if target.startswith("/") else f"/{target}"
        self._headers = tuple(
            {
                **basic_authorization(url),
                **{name: reveal(value) for name, value in settings.headers.items()},
            }.items()
        )
        self._tokens = tokens_of(
            settings.oauth2,
            environment,
            url=url,
            written={"headers": settings.headers},
            allow_private=settings.allow_private,
            budget_header=_BUDGET_HEADER,
        )
        self._client: Http1Client | None = None
        self._shared = Shared(self) if settings.correlation is not None else None

    @property
    def settings(self) -> WebSocketSettings:
        """Its keys."""
        return self._settings

    def bind(self, call: WebSocketCall, /) -> Service:
        """The `Service` of `call`.

        Raises:
            ValueError: Messages that share a connection are objects.
        """
        shared = None if call.subscribe else self._shared
        if shared is not None and not isinstance(call.send, Mapping):
            raise ValueError(
                "send: expected a table: its field correlation pairs the reply with it"
            )

        async def exchange(request: Request, emit: Emit, /) -> Reply:
            message = request.arguments.get("send", call.send)
            if call.subscribe:
                return await self._subscribe(call, message, emit)
            if shared is not None:
                return Reply(await shared.ask(message))
            async with self.connected() as socket:
                await socket.send(text_of(message))
                return Reply(value_of(await _next(socket)))

        return exchange

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[WebSocket]:
        """A WebSocket of one's own, for as long as the context lasts.

        Raises:
            Unreachable: No connection.
            BadReply: What answers is no WebSocket.
        """
        client, settings = self._client, self._settings
        if client is None:
            raise Unreachable(f"{self._name} is not open")
        handshake = Handshake(settings.subprotocols)
        connection = await self._asked(client, handshake)
        try:
            status = connection.reply.status
            if status != 101:
                raise refusal(
                    self._name,
                    status,
                    "",
                    connection.reply.fields.get(b"retry-after", b"").decode("latin-1") or None,
                )
            handshake.check(connection.reply.headers)
            socket = WebSocket(connection, max_message=settings.max_message, idle_s=settings.idle)
            yield socket
            with trio.move_on_after(_GOODBYE_S), contextlib.suppress(GatewayError):
                await socket.close(_NORMAL)
        finally:
            client.pool.give_back(connection)

    async def _asked(self, client: Http1Client, handshake: Handshake) -> Connection:
        """A connection on which the handshake was answered; a token that is refused is replaced once.

        Raises:
            GatewayError: There is none, or no token.
        """
        tokens = self._tokens
        if tokens is None:
            return await self._ask(client, handshake, self._headers)
        token = await tokens.token()
        connection = await self._ask(client, handshake, (*self._headers, bearer(token)))
        if connection.reply.status != 401 or not tokens.distrust(token):
            return connection
        client.pool.give_back(connection)
        token = await tokens.token()
        return await self._ask(client, handshake, (*self._headers, bearer(token)))

    async def _ask(
        self, client: Http1Client, handshake: Handshake, headers: Sequence[tuple[str, str]]
    ) -> Connection:
        asked = HttpRequest("GET", self._origin, self._target, headers)
        head = head_of(asked, _BUDGET_HEADER).encode("latin-1") + handshake.lines
        return await client.begin(self._origin, "GET", head, None, upgrades=True)

    async def _subscribe(self, call: WebSocketCall, message: Any, emit: Emit) -> Reply:
        """What comes until it is enough; what came before it broke, and that it did."""
        lasts_s = min(remaining_s() - _MARGIN_S, call.lasting or float("inf"))
        most = call.messages or 100_000
        came: list[Any] = []
        broken: Unreachable | None = None
        size = 0
        async with self.connected() as socket:
            if message is not None:
                await socket.send(text_of(message))
            with trio.move_on_after(max(0.0, lasts_s)):
                while len(came) < most:
                    try:
                        said = await socket.receive()
                    except Closed as closed:
                        broken = _early(closed)
                        break
                    except Unreachable as error:
                        broken = error
                        break
                    size += len(said)
                    if size > self._settings.max_message * 16:
                        raise BadReply("the subscription's messages are too much for one reply")
                    came.append(value_of(said))
                    await emit(Chunk(came[-1]))
        if broken is not None and not came:
            raise broken
        return Reply(came, missing=() if broken is None else (broken,))

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Be ready to connect; the connection that is shared is opened beside it."""
        settings = self._settings
        client_settings = ClientSettings.of(
            [self._origin],
            self._environment,
            allow_private=settings.allow_private,
            max_connections=settings.max_connections,
            max_reply_bytes=settings.max_message,
            budget_header=_BUDGET_HEADER,
        )
        async with opened(self._tokens), open_http1(client_settings) as self._client:
            if self._shared is None:
                yield
            else:
                async with in_the_background(self._shared.keep, self._name):
                    yield
        self._client = None


async def _next(socket: WebSocket) -> str | bytes:
    try:
        return await socket.receive()
    except Closed as closed:
        raise Unreachable("the service closed the connection before it replied") from closed


def _early(closed: Closed) -> Unreachable | None:
    """What a service's closing means for a subscription: its end, unless it says that it failed."""
    if closed.code in _ENDS:
        return None
    said = f": {closed.reason}" if closed.reason else ""
    return Unreachable(f"the service ended the subscription with code {closed.code}{said}")


KIND = Kind(
    settings=WebSocketSettings,
    call=WebSocketCall,
    create=WebSocketAdapter,
    check=check,
)
"""How `websocket` is declared."""
