"""The ASGI application: lifespan, late opening, mounting, dispatch."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from starlette.applications import Starlette
from starlette.routing import Mount
from trio.testing import MockClock

from gateway import ConfigError
from gateway.app import Gateway, create_app
from gateway.config import fields
from gateway.core.adapter import Environment, Kind
from gateway.core.errors import GatewayError
from gateway.core.messages import Context, Reply, Request
from gateway.core.service import Emit, Service
from gateway.testing import InMemoryClient, ScriptedService, open_client
from tests.apps import Events, gateway, get, request


@attrs.frozen(slots=True, kw_only=True)
class Settings:
    """`[services.NAME]` of the recording kind."""

    fails: str = fields.string(default="", doc="What keeps it from opening, or from closing.")


@attrs.frozen(slots=True, kw_only=True)
class Call:
    """A call of the recording kind."""


class Recording:
    """An adapter that notes when it opens and closes."""

    log: list[str]

    def __init__(self, settings: Settings, environment: Environment) -> None:
        self._name, self._fails = environment.service, settings.fails

    def bind(self, _call: Call, /) -> Service:
        async def serve(_request: Request, _emit: Emit, /) -> Reply:
            await trio.lowlevel.checkpoint()
            return Reply(self._name)

        return serve

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        if self._fails == "open":
            message = f"services.{self._name}: cannot open"
            raise ValueError(message)
        if self._fails == "slow":
            await trio.sleep(1)
        self.log.append(f"+{self._name}")
        try:
            yield
        finally:
            self.log.append(f"-{self._name}")
        if self._fails == "close":
            raise OSError("cannot close")


def recorded(log: list[str], **fails: str) -> Gateway:
    Recording.log = log
    names = ["a", "b", *fails]
    return create_app(
        {
            "services": {
                name: {"kind": "recording", **({"fails": fails[name]} if name in fails else {})}
                for name in names
            },
            "tools": {"t": {"calls": {name: {"service": name} for name in names}}},
        },
        adapters={"recording": Kind(settings=Settings, call=Call, create=Recording)},
    )


# ------------------------------------------------------------------ opening and closing


async def test_services_open_in_order_and_close_in_reverse() -> None:
    log: list[str] = []
    app = recorded(log)
    assert not app.ready
    async with app.running():
        assert app.ready
        assert log == ["+a", "+b"]
        assert (await app.call(request())).value == {"a": "a", "b": "b"}
    assert log == ["+a", "+b", "-b", "-a"]
    assert not app.ready


async def test_a_service_that_cannot_open_closes_those_before_it() -> None:
    log: list[str] = []
    app = recorded(log, c="open")
    with pytest.raises(ValueError, match=r"services\.c: cannot open"):
        async with app.running():
            raise AssertionError
    assert log == ["+a", "+b", "-b", "-a"]


async def test_what_the_host_raises_leaves_bare_and_closes_everything() -> None:
    log: list[str] = []
    with pytest.raises(ZeroDivisionError):
        async with recorded(log).running():
            raise ZeroDivisionError
    assert log == ["+a", "+b", "-b", "-a"]


async def test_it_opens_again() -> None:
    log: list[str] = []
    app = recorded(log)
    for _ in range(2):
        async with app.running():
            await app.call(request())
    assert log == ["+a", "+b", "-b", "-a"] * 2


# ------------------------------------------------------------------ the lifespan protocol


async def lifespan(app: Gateway, *, until: trio.Event | None = None) -> list[Any]:
    """What the app says when its server starts it, and after a while stops it."""
    said: list[Any] = []
    messages = ["lifespan.startup", "lifespan.shutdown"]

    async def receive() -> Any:
        await trio.lowlevel.checkpoint()
        if len(messages) == 1 and until is not None:
            await until.wait()
        return {"type": messages.pop(0)}

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        said.append(message)

    await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    return said


async def test_a_server_starts_and_stops_it() -> None:
    log: list[str] = []
    said = await lifespan(recorded(log))
    assert [one["type"] for one in said] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert log == ["+a", "+b", "-b", "-a"]


async def test_a_start_that_fails_is_told_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    said = await lifespan(recorded([], c="open"))
    assert said == [{"type": "lifespan.startup.failed", "message": "services.c: cannot open"}]
    assert "could not be opened" in caplog.text


async def test_a_stop_that_fails_is_told_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    said = await lifespan(recorded([], c="close"))
    assert [one["type"] for one in said] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.failed",
    ]
    assert said[1]["message"] == "cannot close"


async def test_a_drain_does_not_end_the_lifespan_before_its_server_does(
    autojump_clock: MockClock,
) -> None:
    app = recorded([])
    stop = trio.Event()
    said: list[Any] = []

    async def serve() -> None:
        said.extend(await lifespan(app, until=stop))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await trio.sleep(1)
        app.begin_drain(2)
        await trio.sleep(10)
        assert said == []
        stop.set()
    assert [one["type"] for one in said] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


# ------------------------------------------------------------------ without a lifespan


async def test_without_a_lifespan_the_first_request_opens_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    log: list[str] = []
    client = InMemoryClient(recorded(log))
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(client.request, "POST", "/tools/t")
    assert log == ["+a", "+b"]
    assert caplog.text.count("opened by the first request") == 1


def test_what_the_first_request_opened_closes_with_the_loop() -> None:
    log: list[str] = []
    app = recorded(log)

    async def main() -> None:
        answer = await InMemoryClient(app).request("POST", "/tools/t")
        assert answer.status == 200

    trio.run(main)
    assert log[:2] == ["+a", "+b"]
    trio.run(main)  # a second loop opens it anew
    assert log.count("+a") == 2


async def test_a_late_opening_that_fails_is_a_503_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = InMemoryClient(recorded([], c="open"))
    for _ in range(2):
        answer = await client.request("POST", "/tools/t")
        assert (answer.status, answer.json()["code"]) == (503, "overloaded")
        assert answer.headers["retry-after"] == "1"
        assert "cannot open" not in str(answer.json())
    assert caplog.text.count("services.c: cannot open") >= 2


# ------------------------------------------------------------------ closing


def committing(service: ScriptedService, log: list[str]) -> Gateway:
    """A gateway with a commit of `service` beside an adapter that notes when it closes."""
    Recording.log = log
    return create_app(
        {
            "services": {
                "a": {"kind": "recording"},
                "s": {"kind": "http", "url": "http://api.test"},
            },
            "tools": {
                "t": {
                    "calls": {
                        "x": {"service": "s", "post": "/", "commit": True, "timeout": "5s"},
                    }
                },
                "r": {"calls": {"y": {"service": "a"}}},
            },
        },
        adapters={"recording": Kind(settings=Settings, call=Call, create=Recording)},
        services={"s": service},
    )


async def test_a_request_while_it_closes_is_refused_and_opens_nothing(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    service = ScriptedService().reply("kept", after_s=3)
    app = committing(service, log)
    client = InMemoryClient(app)
    stop = trio.Event()

    async def hold() -> None:
        async with app.running():
            await stop.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold)
        await trio.testing.wait_all_tasks_blocked()
        await client.leave("POST", "/tools/t", after_s=1)
        stop.set()
        await trio.sleep(1)  # the commit holds it open for another second
        answer = await client.request("POST", "/tools/r")
        assert (answer.status, answer.json()["code"]) == (503, "overloaded")
        assert answer.headers["retry-after"] == "1"
        with pytest.raises(GatewayError, match="closing"):
            await app.call(request("r"))
        assert log == ["+a"]
    assert (service.completed, log) == (1, ["+a", "-a"])
    assert (await client.request("POST", "/tools/r")).status == 503
    assert log == ["+a", "-a"]


async def test_a_request_while_a_host_opens_it_waits_for_that(autojump_clock: MockClock) -> None:
    log: list[str] = []
    app = recorded(log, c="slow")
    async with trio.open_nursery() as nursery:

        async def hold() -> None:
            async with app.running():
                await trio.sleep(5)

        nursery.start_soon(hold)
        await trio.testing.wait_all_tasks_blocked()
        assert not app.ready
        answer = await InMemoryClient(app).request("POST", "/tools/t")
        assert answer.status == 200
    assert log == ["+a", "+b", "+c", "-c", "-b", "-a"]


async def test_it_runs_once_at_a_time() -> None:
    log: list[str] = []
    app = recorded(log)
    async with app.running():
        with pytest.raises(RuntimeError, match="the gateway is open"):
            async with app.running():
                raise AssertionError
        assert app.ready
    assert log == ["+a", "+b", "-b", "-a"]


async def test_what_a_request_has_opened_nobody_else_opens() -> None:
    app = recorded([])
    await InMemoryClient(app).request("POST", "/tools/t")
    with pytest.raises(RuntimeError, match="the gateway is open"):
        async with app.running():
            raise AssertionError


# ------------------------------------------------------------------ mounted


@pytest.mark.parametrize("prefix", ["", "/gw", "/a/b"])
async def test_it_answers_below_a_prefix(prefix: str) -> None:
    app = gateway({"a": get()}, http="GET /things")
    async with app.running():
        client = InMemoryClient(app, root_path=prefix)
        for target in ("/tools/t", "/things", "/openapi.json", "/mcp"):
            method = "GET" if target in {"/things", "/openapi.json"} else "POST"
            answer = await client.request(method, target)
            assert answer.status == (415 if target == "/mcp" else 200), target


async def test_it_runs_inside_starlette() -> None:
    log: list[str] = []
    app = recorded(log)
    host = Starlette(routes=[Mount("/gw", app=app)], lifespan=app.lifespan)
    async with host.router.lifespan_context(host):
        assert app.ready
        answer = await InMemoryClient(host).request("POST", "/gw/tools/t")
        assert answer.json() == {"a": "a", "b": "b"}
        answer = await InMemoryClient(host).request("GET", "/gw/openapi.json")
        assert "/tools/t" in answer.json()["paths"]
        missing = await InMemoryClient(host).request("GET", "/gw/none")
        assert missing.json()["code"] == "not_found"
    assert log == ["+a", "+b", "-b", "-a"]


# ------------------------------------------------------------------ dispatch


async def test_a_websocket_is_closed() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    scope = {
        "type": "websocket",
        "path": "/",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    await gateway({"a": get()})(scope, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_another_type_of_connection_is_an_error() -> None:
    async def nothing(*_args: Any) -> Any: ...

    with pytest.raises(ValueError, match="'webtransport'"):
        await gateway({"a": get()})({"type": "webtransport"}, nothing, nothing)


def hosted(**server: Any) -> Gateway:
    return create_app(
        {
            "server": server,
            "services": {"s": {"kind": "http", "url": "http://api.test"}},
            "tools": {"t": {"calls": {"a": get()}}},
        },
        services={"s": ScriptedService()},
    )


@pytest.mark.parametrize(
    ("server", "prefix", "host", "status"),
    [
        ({}, "/gw", "anything.test", 200),  # mounted: the host's own rules come first
        ({}, "", "anything.test", 403),
        ({}, "", "localhost:8080", 200),
        ({}, "", "127.0.0.1", 200),
        ({"allowed_hosts": ["gw.test"]}, "/gw", "anything.test", 403),
        ({"allowed_hosts": ["gw.test"]}, "", "anything.test", 403),
        ({"allowed_hosts": ["gw.test"]}, "", "gw.test", 200),
        ({"allowed_hosts": ["*"]}, "", "anything.test", 200),
    ],
)
async def test_hosts(server: dict[str, Any], prefix: str, host: str, status: int) -> None:
    app = hosted(**server)
    async with app.running():
        client = InMemoryClient(app, root_path=prefix)
        answer = await client.request("POST", "/tools/t", headers={"host": host})
    assert answer.status == status
    if status == 403:
        assert answer.json()["code"] == "forbidden"
        assert answer.headers["content-type"] == "application/problem+json"


async def test_pages_of_other_origins_are_refused_before_anything_is_done() -> None:
    service = ScriptedService()
    app = gateway({"a": get()}, {"s": service})
    async with open_client(app) as client:
        for method in ("POST", "OPTIONS"):
            answer = await client.request(
                method, "/tools/t", headers={"origin": "https://evil.test"}
            )
            assert answer.status == 403
            assert "access-control-allow-origin" not in answer.headers
    assert not service.requests


@pytest.mark.parametrize(
    ("server", "prefix", "headers", "status"),
    [
        ({}, "", {"origin": "http://localhost"}, 200),
        ({}, "", {"host": "localhost:8080", "origin": "http://localhost:8080"}, 200),
        ({}, "", {"host": "localhost:8080", "origin": "http://localhost:3000"}, 403),
        ({}, "", {"origin": "https://localhost"}, 403),
        ({}, "", {"host": "evil.test", "origin": "http://evil.test"}, 403),
        ({"allowed_hosts": ["*"]}, "", {"origin": "http://localhost"}, 403),
        ({}, "/gw", {"origin": "http://localhost"}, 403),  # mounted, any host is answered
        (
            {"allowed_hosts": ["gw.test"]},
            "/gw",
            {"host": "gw.test", "origin": "http://gw.test"},
            200,
        ),
    ],
)
async def test_pages_of_the_gateway_s_own_origin_are_answered(
    server: dict[str, Any], prefix: str, headers: dict[str, str], status: int
) -> None:
    app = hosted(**server)
    async with app.running():
        client = InMemoryClient(app, root_path=prefix)
        answer = await client.request("POST", "/tools/t", headers=headers)
    assert answer.status == status
    assert "access-control-allow-origin" not in answer.headers


async def test_pages_of_allowed_origins_may_read_answers_and_failures() -> None:
    app = hosted(allowed_origins=["https://app.test"])
    origin = {"origin": "https://app.test"}
    async with open_client(app) as client:
        preflight = await client.request(
            "OPTIONS", "/tools/t", headers={**origin, "access-control-request-method": "POST"}
        )
        assert (preflight.status, preflight.body) == (204, b"")
        assert "POST" in preflight.headers["access-control-allow-methods"]
        for target, status in (("/tools/t", 200), ("/none", 404), ("/mcp", 415)):
            answer = await client.request("POST", target, headers=origin)
            assert answer.status == status
            assert answer.headers["access-control-allow-origin"] == "https://app.test"
        without = await client.request("POST", "/tools/t")
        assert "access-control-allow-origin" not in without.headers


ANY = {"input": {"properties": {"any": "string"}}}


async def test_what_is_asked_of_the_gateway_as_a_whole_reaches_no_tool() -> None:
    service = ScriptedService()
    app = gateway({"a": get()}, {"s": service}, http="GET /{any}", **ANY)
    async with open_client(app) as client:
        answer = await client.request("OPTIONS", "*")
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["allow"] == "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"
        refused = await client.request("OPTIONS", "*", headers={"host": "evil.test"})
        assert refused.status == 403
        for method, status in (("OPTIONS", 405), ("GET", 200)):
            assert (await client.request(method, "/*")).status == status
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    "request_of",
    [
        {"headers": {"x-long": "x" * 40_000}},
        {"headers": {f"x-{number}": "y" * 100 for number in range(400)}},
    ],
)
async def test_a_head_over_its_bound_is_refused(request_of: Any) -> None:
    async with open_client(gateway({"a": get()})) as client:
        answer = await client.request("POST", "/tools/t", **request_of)
    assert (answer.status, answer.json()["code"]) == (431, "too_large")


# ------------------------------------------------------------------ calls as protocols make them


async def test_an_unknown_tool_is_told_within_bounds() -> None:
    app = gateway({"a": get()})
    async with app.running():
        with pytest.raises(GatewayError) as caught:
            await app.call(Request("x" * 10_000, {}, Context(request_id="r")))
    assert caught.value.code == "not_found"
    assert len(caught.value.detail) < 200


async def test_in_flight_counts_requests_under_way(autojump_clock: MockClock) -> None:
    app = gateway({"a": get()}, {"s": ScriptedService().reply(1, after_s=1)})
    async with app.running():
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(app.call, request())
            await trio.sleep(0.5)
            assert app.in_flight == 3
        assert app.in_flight == 0


async def test_who_ended_a_request_is_told_apart(autojump_clock: MockClock) -> None:
    events = Events()
    app = gateway({"a": get()}, {"s": ScriptedService().hang()}, events=events)
    async with open_client(app) as client:
        await client.leave("POST", "/tools/t", after_s=1)
        assert events.last.outcome == "client_left"
        assert "the client left" in str(events.last.branches[0].error)
        with trio.move_on_after(1):
            await client.request("POST", "/tools/t")
        assert events.last.outcome == "cancelled"
        assert "the request was cancelled" in str(events.last.branches[0].error)
    events.assert_balanced()


async def test_a_listener_that_fails_fails_no_request() -> None:
    def broken(_event: Any) -> None:
        raise RuntimeError

    config = {
        "services": {"s": {"kind": "http", "url": "http://api.test"}},
        "tools": {"t": {"calls": {"a": get()}}},
    }
    app = create_app(config, services={"s": ScriptedService()}, listeners=[broken])
    async with app.running():
        assert (await app.call(request())).value


# ------------------------------------------------------------------ adapters of others


class Picky:
    """An adapter that refuses what it cannot serve."""

    def __init__(self, settings: Settings, environment: Environment) -> None:
        if settings.fails == "make":
            raise ValueError(f"{environment.service} cannot be made")

    def bind(self, _call: Call, /) -> Service:
        raise ValueError("expected another call")

    def open(self) -> Any:
        raise AssertionError("it never comes to that")


def test_what_an_adapter_refuses_is_a_mistake_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(
        '[services.a]\nkind = "picky"\n[services.b]\nkind = "picky"\nfails = "make"\n'
        '[tools.t.calls]\nx = { service = "a" }\n'
    )
    kind = Kind(settings=Settings, call=Call, create=Picky)
    with pytest.raises(ConfigError) as caught:
        create_app(file, adapters={"picky": kind})
    assert str(caught.value) == (
        f"{file}:3: services.b: b cannot be made\n{file}:7: tools.t.calls.x: expected another call"
    )


def test_a_stand_in_for_nothing_is_refused() -> None:
    config = {"services": {"users": {"kind": "http", "url": "http://127.0.0.1:1"}}}
    with pytest.raises(ValueError, match=r"got 'usres'; did you mean \"users\"\?"):
        create_app(config, services={"usres": ScriptedService()})
