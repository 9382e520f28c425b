"""Gateways for tests: tools from a few keys, services scripted, events kept."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import attrs
import outcome
import trio

from gateway.app import Gateway, create_app
from gateway.core.begun import Begun
from gateway.core.messages import Branch, Context, Reply, Request
from gateway.core.service import Emit, Service, discard
from gateway.telemetry.events import (
    CallEnded,
    CallStarted,
    Event,
    RequestEnded,
    RequestStarted,
    ThreadAbandoned,
)
from gateway.testing import InMemoryClient, ScriptedService

__all__ = ["Driven", "Events", "Prompt", "driven", "gateway", "get", "request", "services_are"]


class Events(list[Event]):
    """Every event told, in order."""

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self if isinstance(event, kind)]

    @property
    def last(self) -> RequestEnded:
        """How the last request ended."""
        return self.of(RequestEnded)[-1]

    @property
    def ended(self) -> dict[str, Branch]:
        """How each call ended, by name; a call that ended twice fails the test."""
        branches = [event.branch for event in self.of(CallEnded)]
        assert len({branch.call for branch in branches}) == len(branches)
        return {branch.call: branch for branch in branches}

    @property
    def started(self) -> list[str]:
        return [event.call for event in self.of(CallStarted)]

    def assert_balanced(self) -> None:
        """What began has ended, once: requests, and calls that were made."""
        assert len(self.of(RequestStarted)) == len(self.of(RequestEnded))
        made = sorted(e.branch.call for e in self.of(CallEnded) if e.branch.started_s is not None)
        assert sorted(self.started) == made
        assert not self.of(ThreadAbandoned)


def get(service: str = "s", path: str = "/", **keys: Any) -> dict[str, Any]:
    """A call to an HTTP service, as the file has it."""
    return {"service": service, "get": path, **keys}


def request(name: str = "t", /, **arguments: Any) -> Request:
    return Request(name, arguments, Context(request_id="r"))


def gateway(
    calls: Mapping[str, Any],
    services: Mapping[str, Service] | None = None,
    *,
    events: Events | None = None,
    server: Mapping[str, Any] | None = None,
    of_service: Mapping[str, Mapping[str, Any]] | None = None,
    **tool: Any,
) -> Gateway:
    """A gateway with the one tool `t`, and a service for every name its calls mention.

    Args:
        calls: The tool's calls.
        services: What answers; scripted services that echo, where one is left out.
        events: Where events are kept.
        server: Keys of `[server]`.
        of_service: Further keys of services, by name.
        **tool: Further keys of the tool.
    """
    names = list(dict.fromkeys(call["service"] for call in calls.values()))
    config = {
        "server": {"allowed_hosts": ["localhost"], **(server or {})},
        "services": {
            name: {"kind": "http", "url": "http://api.test", **(of_service or {}).get(name, {})}
            for name in names
        },
        "tools": {"t": {"calls": calls, **tool}},
    }
    instead = {name: ScriptedService() for name in names} | dict(services or {})
    listeners = [] if events is None else [events.append]
    return create_app(config, services=instead, listeners=listeners)


@attrs.frozen
class Driven:
    """An open gateway and all that a test asks it."""

    app: Gateway
    client: InMemoryClient
    events: Events

    async def call(self, timeout_s: float = float("inf"), /, **arguments: Any) -> Reply:
        """Call the tool `t` as inbound protocols do."""
        return await self.app.call(request(**arguments), timeout_s=timeout_s)

    async def post(self, /, **arguments: Any) -> Any:
        """`POST /tools/t`, the whole answer."""
        return await self.client.request("POST", "/tools/t", json=arguments)


class Prompt:
    """A service whose calls can be begun: what `inner` does for one, in a task of its own.

    Args:
        inner: As above.
        slow: Whether what comes at first is never all of a reply.
    """

    def __init__(self, inner: Service, *, slow: bool = False) -> None:
        self._inner = inner
        self._slow = slow

    async def __call__(self, request: Request, emit: Emit, /) -> Reply:
        return await self._inner(request, emit)

    def begin(self, request: Request, _until: float, _now: float, /) -> Begun:
        return _Begun(self._inner, request, slow=self._slow)


class _Begun:
    deadline = math.inf

    def __init__(self, inner: Service, request: Request, *, slow: bool) -> None:
        self._inner = inner
        self._slow = slow
        self._request = request
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._tell: Callable[[], None] | None = None
        self._outcome: outcome.Outcome[Reply] | None = None
        trio.lowlevel.spawn_system_task(self._run)

    async def _run(self) -> None:
        with self._scope:
            self._outcome = await outcome.acapture(self._inner, self._request, discard)
        self._ended.set()
        if self._tell is not None:
            self._tell()

    def listen(self, tell: Callable[[], None], /) -> None:
        self._tell = tell
        if self._slow or self._ended.is_set():
            tell()

    def take(self) -> Reply | None:
        return None if self._slow or self._outcome is None else self._outcome.unwrap()

    async def finish(self) -> Reply:
        self._tell = None
        await self._ended.wait()
        assert self._outcome is not None
        return self._outcome.unwrap()

    def close(self) -> None:
        self._tell = None
        self._scope.cancel()


services_are: ContextVar[Callable[[Service], Service]] = ContextVar("services_are")
"""What the services of `driven` are made into."""


@asynccontextmanager
async def driven(
    calls: Mapping[str, Any], services: Mapping[str, Service] | None = None, **options: Any
) -> AsyncGenerator[Driven]:
    """An open `gateway(calls, services, **options)`."""
    events = Events()
    made = services_are.get(lambda service: service)
    services = {name: made(service) for name, service in (services or {}).items()}
    app = gateway(calls, services, events=events, **options)
    async with app.running():
        yield Driven(app, InMemoryClient(app), events)
