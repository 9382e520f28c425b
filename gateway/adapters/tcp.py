"""`kind = "tcp"`: a peer that is sent one message and answers with one, over TCP or TLS.

Source: RFC 863 to 865 and their like for lines and until-close; lengths in network byte order.
"""

from __future__ import annotations

import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Literal

import attrs
import msgspec
import trio

from gateway.config import fields
from gateway.core.adapter import Environment, Kind
from gateway.core.errors import BadReply, InvalidArguments, Unreachable
from gateway.core.messages import Reply, Request
from gateway.core.service import Emit, Service
from gateway.net.dial import Dialer
from gateway.net.guard import AddressGuard
from gateway.net.json_text import decode_json
from gateway.net.messages import Origin
from gateway.net.wire import Unsent, Wire

__all__ = ["KIND", "TcpAdapter", "TcpCall", "TcpSettings"]


@attrs.frozen(slots=True, kw_only=True)
class TcpSettings:
    """`[services.NAME]` with `kind = "tcp"`."""

    address: str = fields.address(doc="Where the peer listens.")
    framing: Literal["line", "length", "fixed", "close"] = fields.one_of(
        "line",
        "length",
        "fixed",
        "close",
        default="line",
        doc=(
            "Where a message ends: with its line; after as many bytes as a prefix says; after "
            "`size` bytes; a reply with its connection, a request as it is."
        ),
    )
    prefix: int = fields.one_of(
        1, 2, 4, 8, default=4, doc="Bytes of the prefix, in network byte order, with `length`."
    )
    size: int | None = fields.integer(
        default=None, minimum=1, maximum=16 * 2**20, doc="Bytes of a message, with `fixed`."
    )
    encoding: str = fields.encoding(default="utf-8", doc="Of text on the wire.")
    tls: bool = fields.boolean(default=False, doc="Whether TLS is spoken.")
    reuse: bool = fields.boolean(
        default=False, doc="Whether a connection serves one call after the other, or one alone."
    )
    max_connections: int = fields.integer(
        default=10, minimum=1, doc="Connections at once; further calls wait."
    )
    max_reply: int = fields.size(default="1MiB", doc="Largest reply.")
    allow_private: bool = fields.boolean(
        default=False,
        doc="Whether private addresses may be connected to; loopback written out in `address` may.",
    )


@attrs.frozen(slots=True, kw_only=True)
class TcpCall:
    """The keys of a call to a TCP peer."""

    send: Any = fields.template_value(
        default="", doc="What is sent: text as it is, any other value as JSON."
    )
    output: Literal["text", "json"] = fields.one_of(
        "text", "json", default="text", doc="What the reply is."
    )


class TcpAdapter:
    """One TCP peer."""

    def __init__(self, settings: TcpSettings, environment: Environment) -> None:
        problem = _problem_of(settings)
        if problem is not None:
            raise ValueError(problem)
        self._settings = settings
        self._environment = environment
        host, _, port = settings.address.rpartition(":")
        host = host.strip("[]").lower()
        self._origin = Origin("https" if settings.tls else "http", host, int(port))
        self._dialer: Dialer | None = None
        self._places = trio.CapacityLimiter(settings.max_connections)
        self._idle: deque[Wire] = deque()

    @property
    def taken(self) -> int:
        """Connections in use."""
        return self._places.borrowed_tokens

    def bind(self, call: TcpCall, /) -> Service:
        """The `Service` of `call`: sends one message, and gives the one that comes back."""

        async def exchange(request: Request, _emit: Emit, /) -> Reply:
            message = self._message(request.arguments.get("send", call.send))
            # Not the task's own: a task may have several calls under way.
            place = object()
            await self._places.acquire_on_behalf_of(place)
            try:
                raw = await self._exchange(message)
            finally:
                self._places.release_on_behalf_of(place)
            return Reply(self._value(raw, call.output))

        return exchange

    def _message(self, value: Any) -> bytes:
        """A message as it goes out.

        Raises:
            InvalidArguments: It is none, or would be several.
        """
        settings = self._settings
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        try:
            data = text.encode(settings.encoding)
        except UnicodeEncodeError as error:
            raise InvalidArguments(
                f"not called: what is to be sent is no {settings.encoding}: {error.reason}"
            ) from error
        match settings.framing:
            case "line":
                if "\n" in text or "\r" in text:
                    raise InvalidArguments("not called: what is to be sent is more than one line")
                return data + "\n".encode(settings.encoding)
            case "length":
                if len(data) >= 1 << 8 * settings.prefix:
                    raise InvalidArguments("not called: what is to be sent is too long")
                return len(data).to_bytes(settings.prefix, "big") + data
            case "fixed":
                if len(data) != settings.size:
                    raise InvalidArguments(
                        f"not called: what is to be sent has {len(data)} bytes, not {settings.size}"
                    )
        return data

    async def _exchange(self, message: bytes) -> bytes:
        """Send a message; the reply, without what frames it."""
        wire = self._warm()
        if wire is not None:
            try:
                return await self._over(wire, message)
            except Unsent:
                pass  # it was closed just then, and nothing went out
        if self._dialer is None:
            raise Unreachable(f"{self._environment.service} is not open")
        return await self._over(await self._dialer.connect(self._origin), message)

    def _warm(self) -> Wire | None:
        """A connection that served before and is still good."""
        while self._idle:
            wire = self._idle.pop()
            if not wire.is_stale():
                return wire
            wire.close()
        return None

    async def _over(self, wire: Wire, message: bytes) -> bytes:
        whole = False
        try:
            if message:
                await wire.send(message)
            reply, whole = await self._read(wire)
            return reply
        finally:
            if whole and self._settings.reuse:
                self._idle.append(wire)
            else:
                wire.close()

    async def _read(self, wire: Wire) -> tuple[bytes, bool]:
        """A reply, and whether the connection may serve another call."""
        settings = self._settings
        data = bytearray()
        while True:
            end, skip = self._end(data)
            if end is not None:
                # What comes behind a reply belongs to nobody: the connection ends with it.
                return bytes(data[skip[0] : end]), len(data) == end + skip[1]
            if len(data) > settings.max_reply + 8:
                raise BadReply(f"the reply is over {settings.max_reply} bytes")
            piece = await wire.receive()
            if not piece:
                if settings.framing == "close":
                    return bytes(data), False
                raise Unreachable("the connection ended before the reply did")
            data += piece

    def _end(self, data: bytearray) -> tuple[int | None, tuple[int, int]]:
        """Where a reply ends in `data`, and the bytes before and behind it that frame it."""
        settings = self._settings
        match settings.framing:
            case "line":
                newline = "\n".encode(settings.encoding)
                end = data.find(newline)
                return (None if end < 0 else end), (0, len(newline))
            case "fixed":
                size = settings.size or 0
                return (size if len(data) >= size else None), (0, 0)
            case "length":
                if len(data) < settings.prefix:
                    return None, (0, 0)
                size = int.from_bytes(data[: settings.prefix], "big")
                if size > settings.max_reply:
                    raise BadReply(f"the reply is over {settings.max_reply} bytes")
                end = settings.prefix + size
                return (end if len(data) >= end else None), (settings.prefix, 0)
        return None, (0, 0)

    def _value(self, raw: bytes, output: Literal["text", "json"]) -> Any:
        if len(raw) > self._settings.max_reply:
            raise BadReply(f"the reply is over {self._settings.max_reply} bytes")
        try:
            text = raw.decode(self._settings.encoding)
        except UnicodeDecodeError as error:
            raise BadReply(f"the reply is no {self._settings.encoding} text") from error
        if output == "text":
            return text.removesuffix("\r") if self._settings.framing == "line" else text
        try:
            return decode_json(text.encode())
        except ValueError as error:
            raise BadReply(f"the reply is not JSON: {error}") from error

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Be ready to connect; leaving closes what is open."""
        settings, origin = self._settings, self._origin
        guard = AddressGuard.of([origin], self._environment, allow_private=settings.allow_private)
        self._dialer = Dialer(guard, ssl.create_default_context() if settings.tls else None)
        try:
            yield
        finally:
            self._dialer = None
            while self._idle:
                self._idle.pop().close()


def _problem_of(settings: TcpSettings) -> str | None:
    if (settings.size is not None) != (settings.framing == "fixed"):
        return 'size: goes with framing = "fixed", and that with it'
    if settings.reuse and settings.framing == "close":
        return 'reuse: with framing = "close" a connection serves one call alone'
    return None


KIND = Kind(settings=TcpSettings, call=TcpCall, create=TcpAdapter)
"""How `tcp` is declared."""
