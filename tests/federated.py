"""MCP servers behind a gateway, scripted: what they list and what they answer."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from gateway.access.sight import May
from gateway.app import Gateway, create_app
from gateway.core.adapter import Environment, Kind
from gateway.core.federation import Listed, ListName
from gateway.core.messages import Context
from gateway.core.service import Emit, Service
from tests.apps import Events

__all__ = ["FakeServer", "behind", "named", "prompt", "resource", "template"]

Answer = Callable[[str, Mapping[str, Any], Emit], Awaitable[dict[str, Any]]]


def named(*names: str, **more: Any) -> tuple[dict[str, Any], ...]:
    """Tools of these names."""
    return tuple({"name": name, "inputSchema": {"type": "object"}, **more} for name in names)


def prompt(name: str) -> dict[str, Any]:
    return {"name": name, "arguments": [{"name": "text", "required": True}]}


def resource(uri: str) -> dict[str, Any]:
    return {"uri": uri, "name": uri}


def template(uri: str) -> dict[str, Any]:
    return {"uriTemplate": uri, "name": uri}


@attrs.define
class FakeServer:
    """A server: `lists` by name, `why` it has none, `answer` to what it is asked."""

    lists: dict[ListName, tuple[Mapping[str, Any], ...]] = attrs.field(factory=dict)
    why: str = ""
    answer: Answer | None = None
    name: str = ""
    asked: list[tuple[str, Mapping[str, Any], Context]] = attrs.field(factory=list)
    cancelled: int = 0
    tells: tuple[str, ...] = ()
    listeners: list[Callable[[ListName], None]] = attrs.field(factory=list)
    watched: list[tuple[str, Callable[[], None]]] = attrs.field(factory=list)
    began: trio.Event = attrs.field(factory=trio.Event)

    def listed(self, name: ListName, /) -> Listed:
        return Listed(items=self.lists.get(name, ()), age_s=1, error=self.why)

    @contextlib.contextmanager
    def listening(self, hear: Callable[[ListName], None], /) -> Iterator[None]:
        self.listeners.append(hear)
        try:
            yield
        finally:
            self.listeners.remove(hear)

    def watching(
        self, uri: str, hear: Callable[[], None], /
    ) -> contextlib.AbstractContextManager[None] | None:
        return self._watching(uri, hear) if uri in self.tells else None

    @contextlib.contextmanager
    def _watching(self, uri: str, hear: Callable[[], None]) -> Iterator[None]:
        self.watched.append((uri, hear))
        yield
        self.watched.remove((uri, hear))

    async def ask(
        self, method: str, params: Mapping[str, Any], context: Context, emit: Emit, /
    ) -> dict[str, Any]:
        self.asked.append((method, params, context))
        self.began.set()
        try:
            await trio.lowlevel.checkpoint()
            if self.answer is None:
                return {"content": [{"type": "text", "text": self.name}], "x-unknown": {"kept": 1}}
            return await self.answer(method, params, emit)
        except trio.Cancelled:
            self.cancelled += 1
            raise

    def bind(self, _call: Any, /) -> Service:
        raise AssertionError("no plan calls it")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        yield


@attrs.frozen
class _Nothing:
    pass


@asynccontextmanager
async def behind(
    servers: Mapping[str, FakeServer],
    *,
    events: Events | None = None,
    takes_over: bool = False,
    instead: Mapping[str, Service] | None = None,
    may: May | None = None,
    **config: Any,
) -> AsyncGenerator[Gateway]:
    """An open gateway before these servers."""

    def create(_settings: Any, environment: Environment) -> FakeServer:
        server = servers[environment.service]
        server.name = environment.service
        return server

    services = {name: {"kind": "fake"} for name in servers}
    for name, keys in config.pop("services", {}).items():
        services[name] = services.get(name, {}) | keys
    app = create_app(
        {"server": {"allowed_hosts": ["localhost"]}, "services": services, **config},
        adapters={"fake": Kind(settings=_Nothing, call=_Nothing, create=create)},
        services=instead,
        may=may,
        listeners=[] if events is None else [events.append],
    )
    app.takes_over = takes_over
    async with app.running():
        yield app
