"""A gateway with one proxy, a service behind it and clients before it, all in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
import trio.testing

from gateway.app import Gateway, create_app
from gateway.server.bounds import ConnectionConfig
from gateway.server.connection import Connection, Shared
from gateway.testing import InMemoryClient
from tests.apps import Events
from tests.network import Handler, Network, network

__all__ = ["Bench", "Client", "bench", "config_of"]


def config_of(
    proxy: Mapping[str, Any] | None = None,
    of_service: Mapping[str, Any] | None = None,
    server: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The proxy `p` below `/files/` to the service `s`, and further keys of each."""
    service = {"kind": "http", "url": "http://api.test/api", "allow_private": True}
    return {
        "server": {"allowed_hosts": ["gw.test", "localhost"], **(server or {})},
        "services": {"s": {**service, **(of_service or {})}},
        "proxies": {"p": {"path": "/files/", "service": "s", **(proxy or {})}},
    }


class Client:
    """The other end of a connection to our own server."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._heard = b""

    async def say(self, text: str | bytes) -> None:
        """Send bytes, or text whose line ends become CR LF."""
        raw = text if isinstance(text, bytes) else text.replace("\n", "\r\n").encode("latin-1")
        await self.stream.send_all(raw)

    async def get(self, path: str = "/files/x", *headers: str, method: str = "GET") -> None:
        """Send a request without a body."""
        lines = [f"{method} {path} HTTP/1.1", "host: gw.test", *headers]
        await self.say("\n".join([*lines, "", ""]))

    async def hear(self, until: bytes) -> bytes:
        """What comes up to and with `until`; what comes after is kept."""
        while until not in self._heard:
            piece = await self.stream.receive_some()
            assert piece, f"the connection ended after {self._heard!r}"
            self._heard += piece
        heard, _, self._heard = self._heard.partition(until)
        return heard + until

    async def hear_all(self) -> bytes:
        """Everything until the connection ends."""
        try:
            while piece := await self.stream.receive_some():
                self._heard += piece
        except trio.BrokenResourceError:
            pass
        heard, self._heard = self._heard, b""
        return heard

    async def leave(self) -> None:
        await self.stream.aclose()


@attrs.frozen
class Bench:
    """An open gateway and all that a test asks it."""

    app: Gateway
    net: Network
    events: Events
    asgi: InMemoryClient
    _nursery: trio.Nursery

    def client(self) -> Client:
        """A connection to our own server."""
        ours, theirs = trio.testing.memory_stream_pair()
        bounds = ConnectionConfig(
            header_timeout=5,
            body_timeout=10,
            send_timeout=10,
            keep_alive=75,
            max_headers=32 << 10,
            max_message=1000,
        )
        connection = Connection(self.app, Shared.of(bounds), ours)
        self._nursery.start_soon(connection.run)
        return Client(theirs)

    @property
    def pool(self) -> Any:
        return self.app._built.adapters["s"].http1.pool  # type: ignore[attr-defined]


@asynccontextmanager
async def bench(
    service: Handler | OSError | None,
    proxy: Mapping[str, Any] | None = None,
    *,
    of_service: Mapping[str, Any] | None = None,
    server: Mapping[str, Any] | None = None,
) -> AsyncGenerator[Bench]:
    """`config_of(…)` before `service`; nothing may be left of it."""
    events = Events()
    app = create_app(config_of(proxy, of_service, server), listeners=[events.append])
    async with network() as net, app.running(), trio.open_nursery() as nursery:
        net.name("api.test", "10.0.0.1")
        net.serve("10.0.0.1", 80, service)
        made = Bench(app, net, events, InMemoryClient(app), nursery)
        yield made
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
        assert (made.pool.taken, made.pool.waiting) == (0, 0)
        events.assert_balanced()
