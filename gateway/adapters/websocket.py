"""`kind = "websocket"`: one message there and one back, or a subscription.

With `correlation` all calls share one connection, and a field of each message pairs a reply with its
request. Without it each call has a connection of its own, and so has each subscription.

Source: RFC 6455.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import attrs
import msgspec
import trio

from gateway.config import fields
from gateway.config.fields import Secret, reveal
from gateway.core.adapter import Environment, Kind
from gateway.core.deadline import remaining_s
from gateway.core.errors import BadReply, GatewayError, InvalidArguments, Overloaded, Unreachable
from gateway.core.messages import Chunk, Reply, Request
from gateway.core.service import Emit, Service
from gateway.net.background import in_the_background
from gateway.net.client import ClientSettings, open_http1
from gateway.net.credentials import basic_authorization
from gateway.net.guard import AddressGuard
from gateway.net.http1 import Http1Client
from gateway.net.json_text import decode_json
from gateway.net.messages import HttpRequest, Origin
from gateway.net.refusal import refusal
from gateway.net.request import head_of
from gateway.net.websocket import Closed, Handshake, WebSocket

__all__ = ["KIND", "WebSocketAdapter", "WebSocketCall", "WebSocketSettings"]

_BUDGET_HEADER = "x-request-timeout-ms"
_FIRST_PAUSE_S = 0.5
_MOST_PAUSE_S = 30.0
_GOODBYE_S = 0.2
_NORMAL = 1000
_MARGIN_S = 0.05
"""Seconds before its deadline that a subscription ends, so that its reply is still in time."""


@attrs.frozen(slots=True, kw_only=True)
class WebSocketSettings:
    """`[services.NAME]` with `kind = "websocket"`."""

    url: str = fields.url(
        schemes=("ws", "wss"), example="wss://ticks.internal/feed", doc="Where the service is."
    )
    headers: Mapping[str, str | Secret] = fields.headers(
        default={}, doc="Sent with each handshake; values may be `env:NAME` or `file:PATH`."
    )
    subprotocols: tuple[str, ...] = fields.strings(
        default=(), doc="Subprotocols that are offered, the best first."
    )
    correlation: str | None = fields.string(
        default=None,
        doc="The field that pairs a reply with its request; then all calls share a connection.",
    )
    max_message: int = fields.size(default="1MiB", doc="Largest message.")
    max_waiting: int = fields.integer(
        default=1000, minimum=1, doc="Calls that wait for their replies at once, where they share."
    )
    max_connections: int = fields.integer(
        default=100, minimum=1, doc="Connections at once, where calls have their own."
    )
    idle: float = fields.duration(
        default="30s", doc="Silence after which the service is asked whether it is still there."
    )
    allow_private: bool = fields.boolean(
        default=False,
        doc="Whether private addresses may be connected to; loopback written out in `url` may.",
    )


@attrs.frozen(slots=True, kw_only=True)
class WebSocketCall:
    """The keys of a call to a WebSocket service."""

    send: Any = fields.template_value(
        default=None, doc="What is sent: text as it is, any other value as JSON."
    )
    subscribe: bool = fields.boolean(
        default=False, doc="Whether all that comes is the reply, each message sent on as it comes."
    )
    messages: int | None = fields.integer(
        default=None, minimum=1, maximum=100_000, doc="Of a subscription: how many end it."
    )
    lasting: float | None = fields.duration(
        default=None, doc="Of a subscription: how long it lasts; else until the deadline."
    )


def _check(call: WebSocketCall) -> list[tuple[str, str]]:
    if call.subscribe:
        return []
    if call.send is None:
        return [("send", "missing; a call without subscribe sends something")]
    return [
        (key, "goes with subscribe = true")
        for key in ("messages", "lasting")
        if getattr(call, key) is not None
    ]


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
        self._client: Http1Client | None = None
        self._shared = _Shared(self) if settings.correlation is not None else None

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
                return Reply(await self._subscribe(call, message, emit))
            if shared is not None:
                return Reply(await shared.ask(message))
            async with self.connected() as socket:
                await socket.send(_text(message))
                return Reply(_value(await _next(socket)))

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
        asked = HttpRequest("GET", self._origin, self._target, self._headers)
        head = head_of(asked, _BUDGET_HEADER).encode("latin-1") + handshake.lines
        connection = await client.begin(self._origin, "GET", head, None, upgrades=True)
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

    async def _subscribe(self, call: WebSocketCall, message: Any, emit: Emit) -> list[Any]:
        """What comes until it is enough."""
        lasts_s = min(remaining_s() - _MARGIN_S, call.lasting or float("inf"))
        most = call.messages or 100_000
        came: list[Any] = []
        size = 0
        async with self.connected() as socket:
            if message is not None:
                await socket.send(_text(message))
            with trio.move_on_after(max(0.0, lasts_s)):
                while len(came) < most:
                    try:
                        said = await socket.receive()
                    except Closed:
                        break
                    size += len(said)
                    if size > self._settings.max_message * 16:
                        raise BadReply("the subscription's messages are too much for one reply")
                    came.append(_value(said))
                    await emit(Chunk(came[-1]))
        return came

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Be ready to connect; the connection that is shared is opened beside it."""
        settings, origin = self._settings, self._origin
        guard = AddressGuard.of([origin], self._environment, allow_private=settings.allow_private)
        client_settings = ClientSettings(
            guard=guard,
            max_connections=settings.max_connections,
            max_reply_bytes=settings.max_message,
            budget_header=_BUDGET_HEADER,
            tls=origin.scheme == "https",
        )
        async with open_http1(client_settings) as self._client:
            if self._shared is None:
                yield
            else:
                async with in_the_background(self._shared.keep, self._name):
                    yield
        self._client = None


class _Waiter:
    """A call that waits for its reply."""

    __slots__ = ("answered", "error", "value")

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.value: Any = None
        self.error: GatewayError | None = None


class _Shared:
    """One connection for all calls: opened, and opened again when it is gone.

    Calls only leave what is to be sent here: a message that its call was cut short in would break
    the connection for all others.

    Args:
        adapter: Whose.
    """

    def __init__(self, adapter: WebSocketAdapter) -> None:
        self._adapter = adapter
        self._field = adapter.settings.correlation or ""
        self._numbers = itertools.count(1)
        self._waiting: dict[str, _Waiter] = {}
        self._outgoing: deque[tuple[str, str]] = deque()
        self._some = trio.Event()
        self._settled = trio.Event()
        self._why: GatewayError | None = Unreachable("it is not open")

    async def ask(self, message: Mapping[str, Any]) -> Any:
        """Send a message, and wait for the one with its number.

        Raises:
            Unreachable: There is no connection, or it broke before the reply.
            Overloaded: Too many wait already.
        """
        await self._settled.wait()
        if self._why is not None:
            raise self._why.blamed()
        if len(self._waiting) >= self._adapter.settings.max_waiting:
            raise Overloaded("too many calls wait for their replies", retry_after_s=1)
        number = next(self._numbers)
        name = str(number)
        text = _text({**message, self._field: number})
        waiter = self._waiting[name] = _Waiter()
        self._outgoing.append((name, text))
        self._some.set()
        try:
            await waiter.answered.wait()
        finally:
            self._waiting.pop(name, None)
        if waiter.error is not None:
            raise waiter.error
        return waiter.value

    async def keep(self) -> None:
        """Hold a connection, until cancelled."""
        pause_s = _FIRST_PAUSE_S
        self._settled = trio.Event()
        try:
            while True:
                try:
                    async with self._adapter.connected() as socket:
                        pause_s = _FIRST_PAUSE_S
                        self._why = None
                        self._settled.set()
                        await self._serve(socket)
                    self._lose(Unreachable("the service closed the connection"))
                except GatewayError as error:
                    self._lose(error)
                await trio.sleep(pause_s)
                pause_s = min(_MOST_PAUSE_S, pause_s * 2)
        finally:
            self._lose(Unreachable("it is not open"))

    def _lose(self, error: GatewayError) -> None:
        """Take note that there is no connection: whoever waits has waited in vain."""
        self._why = error
        self._settled.set()
        self._outgoing.clear()
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting.values():
            waiter.error = error.blamed()
            waiter.answered.set()

    async def _serve(self, socket: WebSocket) -> None:
        """All that goes to and fro, until it ends.

        Raises:
            GatewayError: The connection broke, or what came is no message.
        """
        failures: list[GatewayError] = []

        async def go_on(step: Callable[[], Awaitable[None]]) -> None:
            try:
                while True:
                    await step()
            except Closed:
                pass
            except GatewayError as error:
                failures.append(error)
            nursery.cancel_scope.cancel()

        async def read() -> None:
            self._heard(await socket.receive())

        async def write() -> None:
            await self._some.wait()
            self._some = trio.Event()
            while self._outgoing:
                name, text = self._outgoing.popleft()
                if name in self._waiting:  # else nobody wants it any more
                    await socket.send(text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_on, read)
            nursery.start_soon(go_on, write)
        if failures:
            raise failures[0]

    def _heard(self, message: str | bytes) -> None:
        """Give a message to the call it answers; one that answers none is dropped."""
        try:
            value = decode_json(message if isinstance(message, bytes) else message.encode())
        except ValueError:
            return
        if isinstance(value, dict):
            waiter = self._waiting.get(str(value.get(self._field)))
            if waiter is not None:
                waiter.value = value
                waiter.answered.set()


async def _next(socket: WebSocket) -> str | bytes:
    try:
        return await socket.receive()
    except Closed as closed:
        raise Unreachable("the service closed the connection before it replied") from closed


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError) as error:
        raise InvalidArguments(
            f"not called: what is to be sent has no JSON form: {error}"
        ) from error


def _value(message: str | bytes) -> Any:
    """A message: JSON's value if it is JSON, else its text, or base64 of what is binary."""
    raw = message.encode() if isinstance(message, str) else message
    try:
        return decode_json(raw)
    except ValueError:
        return message if isinstance(message, str) else base64.b64encode(message).decode()


KIND = Kind(
    settings=WebSocketSettings,
    call=WebSocketCall,
    create=WebSocketAdapter,
    check=_check,
)
"""How `websocket` is declared."""
