"""A three-way plan cancelled at every one of its checkpoints: nothing is ever left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from gateway.app import Gateway, create_app
from gateway.core.alarms import alarms
from gateway.core.errors import Unreachable
from gateway.core.messages import Chunk
from gateway.core.service import Service
from gateway.telemetry.events import ThreadAbandoned
from gateway.testing import Cancellable, InMemoryClient, ScriptedService, cancel_at_every_checkpoint
from tests.adapters import functions
from tests.apps import Events, driven, gateway, get, request
from tests.http_service import Scripted, http
from tests.network import network

THREE = {
    "a": get("a"),
    "b": get("b"),
    "c": get("c", optional=True),
    "d": get("d", "/{a.id}", optional=True),
}


def services(**scripted: ScriptedService) -> dict[str, ScriptedService]:
    made = {
        "a": ScriptedService().reply({"id": 1}, after_s=0.1, emit=(Chunk(1), Chunk(2))),
        "b": ScriptedService().reply(2, after_s=0.2),
        "c": ScriptedService().fail(Unreachable("x"), after_s=0.15),
        "d": ScriptedService().reply(4, after_s=0.3),
    }
    return made | scripted


PLANS: dict[str, tuple[Mapping[str, Any], dict[str, Any]]] = {
    "a dependent call": (THREE, {}),
    "one call": ({"a": get("a")}, {}),
    "timeouts around": (
        {name: {**call, "timeout": "1s"} for name, call in THREE.items()},
        {"of_service": {name: {"timeout": "500ms"} for name in "abcd"}},
    ),
    "timeouts that fire": ({**THREE, "b": get("b", optional=True, timeout="50ms")}, {}),
    "the first that answers": (THREE, {"wait": "first"}),
    "a deadline that fires": (
        {name: {**call, "optional": True} for name, call in THREE.items()},
        {"deadline": "120ms"},
    ),
    "a required call that fails": ({**THREE, "c": get("c")}, {}),
    "conditions": ({**THREE, "d": get("d", when="a.id == `2`")}, {}),
}


@pytest.mark.parametrize("through", ["the app", "HTTP", "events", "emit"])
@pytest.mark.parametrize(("calls", "options"), PLANS.values(), ids=PLANS)
def test_nothing_is_left(calls: Mapping[str, Any], options: dict[str, Any], through: str) -> None:
    async def scenario(cancellable: Cancellable) -> None:
        scripted = {name: one for name, one in services().items() if name in calls}
        async with driven(calls, scripted, **options) as opened:

            async def emit(_partial: Any) -> None:
                await trio.lowlevel.checkpoint()

            async def call() -> None:
                if through in {"HTTP", "events"}:
                    accept = "text/event-stream" if through == "events" else "*/*"
                    await opened.client.request("POST", "/tools/t", headers={"accept": accept})
                    return
                try:
                    await (
                        opened.app.call(request(), emit)
                        if through == "emit"
                        else opened.app.call(request())
                    )
                except Unreachable:
                    assert calls["c"] == get("c")

            await cancellable(call)
            assert opened.app.in_flight == 0
            for one in scripted.values():
                assert one.active == 0
                assert one.completed + one.cancelled == len(one.requests)
            opened.events.assert_balanced()

    assert cancel_at_every_checkpoint(scenario) >= (4 if len(calls) == 1 else 10)


@pytest.mark.parametrize("leave_after_s", [0, 0.05, 0.1, 0.25])
def test_nothing_is_left_of_a_client_that_leaves_and_is_cancelled_as_well(
    leave_after_s: float,
) -> None:
    async def scenario(cancellable: Cancellable) -> None:
        scripted = services()
        async with driven(THREE, scripted) as opened:
            await cancellable(
                lambda: opened.client.leave("POST", "/tools/t", after_s=leave_after_s)
            )
            assert all(one.active == 0 for one in scripted.values())
            opened.events.assert_balanced()

    assert cancel_at_every_checkpoint(scenario) > 10


def test_a_commit_that_began_always_ends_by_itself_and_is_told() -> None:
    calls = {**THREE, "w": {"service": "w", "post": "/", "json": "{a}", "commit": True}}
    begun = 0

    async def scenario(cancellable: Cancellable) -> None:
        nonlocal begun
        scripted = services(w=ScriptedService().reply("written", after_s=3))
        async with driven(calls, scripted) as opened:
            await cancellable(opened.call, settle_s=5)
            write = scripted["w"]
            assert (write.active, write.cancelled) == (0, 0)
            assert write.completed == len(write.requests)
            begun += write.completed
            opened.events.assert_balanced()

    rounds = cancel_at_every_checkpoint(scenario)
    assert 1 < begun < rounds  # some were cancelled before it began, some after


def test_nothing_is_left_of_http_calls() -> None:
    """Connections, and the turns of those that wait for one."""
    service_of = {"service": "s"}
    config: dict[str, Any] = {
        "services": {
            "s": {
                "kind": "http",
                "url": "http://api.test",
                "allow_private": True,
                "max_connections": 2,
                "timeout": "5s",
            }
        },
        "tools": {
            "t": {
                "calls": {
                    "a": {**service_of, "get": "/a"},
                    "b": {**service_of, "post": "/b", "json": {"x": 1}},
                    "c": {**service_of, "get": "/c"},
                    "d": {**service_of, "get": "/d/{a}"},
                }
            }
        },
    }

    async def scenario(cancellable: Cancellable) -> None:
        events = Events()
        service = Scripted(http(200, "7", after_s=0.1, content_type="application/json"))
        app = create_app(config, listeners=[events.append])
        async with network() as net:
            net.name("api.test", "10.0.0.1")
            net.serve("10.0.0.1", 80, service)
            async with app.running():
                # The service's own tasks end when they read that their connection did.
                await cancellable(lambda: app.call(request()), settle_s=0.001)
                await wait_all_tasks_blocked()
                pool = app._built.adapters["s"]._client.pool  # type: ignore[attr-defined]
                assert (pool.taken, pool.waiting) == (0, 0)
                assert service.active == 0
                assert len(net.open) <= 2  # idle ones, kept for the next
                assert service.connections == len(net.open)
                events.assert_balanced()
                # And it still works: every turn is free.
                reply = await app.call(request())
                assert set(reply.value.values()) == {7}
        assert not net.open

    # What settles outlives the round on purpose: the service's side of idle connections.
    assert _every(scenario) > 90


def _every(scenario: Callable[[Cancellable], Any]) -> int:
    """As `cancel_at_every_checkpoint`, the far side of the network not counted."""

    async def uncounted(cancellable: Cancellable) -> None:
        async def run(request: Any, /, *, settle_s: float = 0) -> bool:
            try:
                return await cancellable(request, settle_s=settle_s)
            except AssertionError:  # its one reason: tasks that outlived the request
                return False

        await scenario(run)

    return cancel_at_every_checkpoint(uncounted)


@pytest.mark.parametrize("names", [("add_async", "left_async"), ("forever", "add_async")])
def test_nothing_is_left_of_async_functions(names: tuple[str, str]) -> None:
    arguments = {"a": 1}
    calls = {
        "a": {"service": "f", "function": names[0]},
        "b": {"service": "f", "function": names[1], "arguments": arguments, "optional": True},
        "c": {"service": "f", "function": "add_async", "arguments": {"a": "{b}"}},
    }
    calls["a"]["arguments"] = {} if names[0] == "forever" else arguments
    calls["a"]["optional"] = True
    app_of = {
        "services": {"f": {"kind": "python", "module": functions.__name__}},
        "tools": {"t": {"calls": calls, "deadline": "1s"}},
    }

    async def scenario(cancellable: Cancellable) -> None:
        events = Events()
        app = create_app(app_of, listeners=[events.append])
        async with app.running():
            await cancellable(lambda: app.call(request()))
            assert app.in_flight == 0
            events.assert_balanced()

    assert cancel_at_every_checkpoint(scenario) > 3


def test_of_blocking_functions_threads_are_left_that_are_told_and_end() -> None:
    calls = {
        "a": {"service": "f", "function": "add", "arguments": {"a": 1}},
        "b": {"service": "f", "function": "noop"},
        "c": {"service": "f", "function": "add", "arguments": {"a": "{a}"}},
    }
    app_of = {
        "services": {"f": {"kind": "python", "module": functions.__name__, "threads": 2}},
        "tools": {"t": {"calls": calls}},
    }

    async def scenario(cancellable: Cancellable) -> None:
        events = Events()
        app = create_app(app_of, listeners=[events.append])
        async with app.running():
            limiter = app._built.adapters["f"]._limiter  # type: ignore[attr-defined]

            async def call() -> None:
                # Virtual time jumps while threads run: the deadline may fire before they end.
                await InMemoryClient(app).request("POST", "/tools/t")

            await cancellable(call)
            while limiter.borrowed_tokens:  # threads end in real time
                await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            abandoned = events.of(ThreadAbandoned)
            assert len(abandoned) <= 2
            text = app.metrics.render()[0]
            assert not abandoned or b'abandoned_threads{service="f"} 0.0' in text

    assert cancel_at_every_checkpoint(scenario) > 5


def test_nothing_is_left_of_the_opening_and_closing() -> None:
    """The gateway itself, cancelled anywhere between its start and its end."""
    instead: dict[str, Service] = dict(services())
    app_of: list[Gateway] = []

    async def scenario(cancellable: Cancellable) -> None:
        alarms()  # the loop's, which no gateway ends
        app = gateway(THREE, instead)
        app_of.append(app)

        async def live() -> None:
            async with app.running():
                await app.call(request())

        await cancellable(live)
        assert not app.ready
        assert app.in_flight == 0

    assert cancel_at_every_checkpoint(scenario) > 15
