"""`kind = "memcached"`: values of a memcached server, by their keys.

A kind of service that is not the gateway's own, as a package of somebody else's would bring it:
docs/how-to/write-an-adapter.md goes through it.

Source: memcached, doc/protocol.txt, "Retrieval command".
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import attrs
import trio

from gateway import (
    BadReply,
    Emit,
    Environment,
    InvalidArguments,
    Kind,
    Overloaded,
    Reply,
    Request,
    Service,
    Unreachable,
    fields,
)

__all__ = ["KIND", "MemcachedAdapter", "MemcachedCall", "MemcachedSettings"]

_MAX_KEY = 250
_MAX_LINE = 512


@attrs.frozen(slots=True, kw_only=True)
class MemcachedSettings:
    """`[services.NAME]` with `kind = "memcached"`: each field is a key of the file."""

    address: str = fields.address(doc="Where the server listens.")
    max_value: int = fields.size(default="1MiB", doc="Largest value.")
    max_connections: int = fields.integer(
        default=10, minimum=1, doc="Connections at once; further calls wait."
    )


@attrs.frozen(slots=True, kw_only=True)
class MemcachedCall:
    """The keys of a call: what stands in the file, placeholders and all."""

    get: str = fields.template_text(doc="The key whose value is the reply; null if there is none.")
    output: Literal["text", "json"] = fields.one_of(
        "text", "json", default="text", doc="What the value is."
    )


class MemcachedAdapter:
    """One memcached server.

    Args:
        settings: The keys of the service, checked.
        environment: What the gateway gives to a service: its name, where its events go, chance.
    """

    def __init__(self, settings: MemcachedSettings, environment: Environment) -> None:
        self._settings = settings
        self._name = environment.service
        self._places = trio.Semaphore(settings.max_connections)

    def bind(self, call: MemcachedCall, /) -> Service:
        """The `Service` of one call of a plan; made when the file is read."""

        async def get(request: Request, _emit: Emit, /) -> Reply:
            # Placeholders are filled in by now: values stand under the names of the call's keys.
            key = _checked(request.arguments["get"])
            async with self._places:
                return Reply(_decoded(await self._get(key), call.output))

        return get

    async def _get(self, key: bytes) -> bytes | None:
        """The value of `key`, over a connection that ends with the call, however that ends."""
        host, _, port = self._settings.address.rpartition(":")
        try:
            # No timeout here, nor below: the call's deadline is a cancel scope around all of it.
            stream = await trio.open_tcp_stream(host.strip("[]"), int(port))
        except OSError as error:
            # `where` is for the log alone: clients are told who fails, not where it lives.
            raise Unreachable("cannot connect", where=self._settings.address) from error
        try:
            async with stream:
                await stream.send_all(b"get " + key + b"\r\n")
                return await _Reader(stream, self._settings.max_value).value()
        except trio.BrokenResourceError as error:
            raise Unreachable("the connection broke") from error

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Be ready to serve: there is nothing to open before the first call."""
        yield


class _Reader:
    """Reads one reply, within its bounds.

    Args:
        stream: Where it comes from.
        max_value: Largest value, bytes.
    """

    def __init__(self, stream: trio.SocketStream, max_value: int) -> None:
        self._stream = stream
        self._max_value = max_value
        self._data = bytearray()

    async def value(self) -> bytes | None:
        """The value; `None` if there is none."""
        line = await self._line()
        match line.split():
            case [b"END"]:
                return None
            case [b"VALUE", _, _, size] if size.isdigit() and len(size) < 20:
                # Before it is read: what comes from outside is bounded before it is kept.
                if int(size) > self._max_value:
                    raise BadReply(f"the value is over {self._max_value} bytes")
                return await self._block(int(size))
            case [b"SERVER_ERROR", *_]:
                raise Overloaded("the server says that it cannot")
        # What it said is not repeated: nobody knows what is in it.
        raise BadReply("what the server says is no reply to get")

    async def _line(self) -> bytes:
        while (end := self._data.find(b"\r\n")) < 0:
            if len(self._data) > _MAX_LINE:
                raise BadReply(f"a line of the reply is over {_MAX_LINE} bytes")
            await self._more()
        line = bytes(self._data[:end])
        del self._data[: end + 2]
        return line

    async def _block(self, size: int) -> bytes:
        end = b"\r\nEND\r\n"
        while len(self._data) < size + len(end):
            await self._more()
        if self._data[size:] != end:
            raise BadReply("the value is not as long as the server says")
        return bytes(self._data[:size])

    async def _more(self) -> None:
        piece = await self._stream.receive_some()
        if not piece:
            raise Unreachable("the connection ended before the reply did")
        self._data += piece


def _checked(key: str) -> bytes:
    """A key as it goes out: a space or a line end in it would make more of it than a key."""
    raw = key.encode()
    if not 0 < len(raw) <= _MAX_KEY or any(byte <= 32 or byte == 127 for byte in raw):
        raise InvalidArguments(f"not called: a key is 1 to {_MAX_KEY} bytes without spaces")
    return raw


def _decoded(raw: bytes | None, output: Literal["text", "json"]) -> Any:
    """A value in JSON's types: what a reply consists of."""
    if raw is None:
        return None
    try:
        return raw.decode() if output == "text" else json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadReply(f"the value is no {output}") from error


KIND = Kind(
    settings=MemcachedSettings,
    call=MemcachedCall,
    create=MemcachedAdapter,
    # As far as a call's keys tell: reading twice is harmless, so it may be tried again, hedged, cached.
    idempotent=lambda _call: True,
    read_only=lambda _call: True,
)
"""How it is declared: what `create_app(adapters=…)`, or an entry point, is given."""
