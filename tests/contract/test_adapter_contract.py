"""What every adapter promises, whatever its kind.

A new kind needs an entry in `SCENES`: how its service is made to reply, to hang, to fail.
"""

from __future__ import annotations

import errno
import json
import math
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeAlias

import attrs
import pytest
import trio
from trio.testing import MockClock

from gateway.adapters import ADAPTERS
from gateway.app import Gateway, create_app
from gateway.core.errors import BadReply, GatewayError
from gateway.testing import Cancellable, cancel_at_every_checkpoint
from tests.adapters import functions
from tests.apps import request
from tests.http_service import Received, Scripted, http, raw
from tests.mcp_server import McpServer, error, events, json_reply, unanswered
from tests.network import network

SECRET = "t0ps3cret"
Does: TypeAlias = Literal["reply", "hang", "too much"] | int
"""What the service does; a number is one of the kind's failures."""


@attrs.frozen
class Scene:
    """A gateway before one service, whose tool `t` calls it once.

    Args:
        app: Open.
        left: What is left of calls: connections under way, tokens taken.
        budget_s: The seconds the service was told are left, per call.
    """

    app: Gateway
    left: Callable[[], int]
    budget_s: Callable[[], list[float]]


@attrs.frozen
class Kind:
    """How a scene of one kind is set.

    Args:
        kind: The key in `ADAPTERS`.
        open: From what the service is to do to the scene.
        value: What it replies.
        failures: How many ways of failing it has.
        bounded: Whether what it replies comes from outside and has a bound.
        virtual: Whether it hangs in virtual time; a thread does not.
    """

    kind: str
    open: Callable[[Does], Any]
    value: Any
    failures: int
    bounded: bool
    virtual: bool = True


def tool(service: Mapping[str, Any], call: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "server": {"deadline": "60s"},
        "services": {"s": service},
        "tools": {"t": {"output": "a", "calls": {"a": {"service": "s", **call}}}},
    }


# ------------------------------------------------------------------ http

HTTP_FAILURES = (
    OSError(errno.ECONNREFUSED, "Connection refused"),
    raw(b"", close=True),
    raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n" + SECRET.encode(), close=True),
    raw(b"no HTTP at all " + SECRET.encode() + b"\r\n\r\n"),
    http(200, "{" + SECRET, content_type="application/json"),
    http(200, b"\xff" + SECRET.encode()),
    http(400, SECRET),
    http(404, SECRET),
    http(429, SECRET, retry_after="1"),
    http(500, SECRET),
    http(302, SECRET, location=f"/{SECRET}"),
)


@asynccontextmanager
async def over_http(does: Does) -> AsyncGenerator[Scene]:
    json = "application/json"
    answer: Any = {
        "reply": http(200, '{"n": 1}', after_s=0.1, content_type=json),
        "hang": http(after_s=math.inf),
        "too much": http(200, '"' + "x" * 2000 + '"', content_type=json),
    }.get(does) or HTTP_FAILURES[int(does)]  # type: ignore[arg-type]
    service = answer if isinstance(answer, OSError) else Scripted(answer)
    settings = {
        "kind": "http",
        "url": "http://api.test",
        "allow_private": True,
        "max_reply": "1KiB",
        "max_connections": 2,
        "headers": {"authorization": f"Bearer {SECRET}"},
    }
    async with network() as net:
        net.name("api.test", "10.0.0.1")
        net.serve("10.0.0.1", 80, service)
        app = create_app(tool(settings, {"get": "/x"}))

        def left() -> int:
            client = app._built.adapters["s"]._client  # type: ignore[attr-defined]
            return int(client.pool.taken)

        def budget_s() -> list[float]:
            return [int(one.header("x-request-timeout-ms")) / 1000 for one in service.requests]

        async with app.running():
            yield Scene(app, left, budget_s)
        assert not net.open


# ------------------------------------------------------------------ mcp

MCP_FAILURES = (
    OSError(errno.ECONNREFUSED, "Connection refused"),
    lambda _: raw(b"", close=True),
    lambda _: raw(b"no HTTP at all " + SECRET.encode() + b"\r\n\r\n"),
    lambda _: http(200, "{" + SECRET, content_type="application/json"),
    lambda _: http(200, SECRET, content_type="text/html"),
    lambda _: json_reply({"jsonrpc": "2.0", "id": 0, "result": {}}),
    lambda r: json_reply({"jsonrpc": "2.0", "id": json.loads(r.body)["id"], "result": SECRET}),
    lambda r: error(r, -32602, SECRET),
    lambda r: error(r, -32601, SECRET, 404),
    lambda r: error(r, -32603, SECRET),
    lambda r: error(r, -32022, SECRET, 400),
    lambda _: http(401, SECRET),
    lambda _: http(404, SECRET),
    lambda _: http(429, SECRET, retry_after="1"),
    lambda _: http(500, SECRET),
    lambda _: {"content": [{"type": "text", "text": SECRET}], "isError": True},
    lambda _: {"content": SECRET},
    lambda _: {"resultType": "input_required", "inputRequests": {}},
    lambda _: {"resultType": "input_required", "requestState": SECRET},
    lambda _: events({"jsonrpc": "2.0", "method": "notifications/message", "params": {}}),
    lambda _: events(SECRET.encode()),
)


def n_after_a_while(request: Received) -> Any:
    reply = {"content": [], "structuredContent": {"n": 1}, "resultType": "complete"}
    return events(0.1, {"jsonrpc": "2.0", "id": json.loads(request.body)["id"], "result": reply})


@asynccontextmanager
async def over_mcp(does: Does) -> AsyncGenerator[Scene]:
    answer: Any = {
        "reply": n_after_a_while,
        "hang": lambda _: unanswered,
        "too much": lambda _: {"content": [{"type": "text", "text": "x" * 2000}]},
    }.get(does) or MCP_FAILURES[int(does)]  # type: ignore[arg-type]
    service = answer if isinstance(answer, OSError) else McpServer({"tools/call": answer})
    settings = {
        "kind": "mcp",
        "url": "http://api.test/mcp",
        "allow_private": True,
        "max_reply": "1KiB",
        "max_connections": 2,
        "headers": {"authorization": f"Bearer {SECRET}"},
    }
    async with network() as net:
        net.name("api.test", "10.0.0.1")
        net.serve("10.0.0.1", 80, service)
        app = create_app(tool(settings, {"tool": "x"}))

        def left() -> int:
            link = app._built.adapters["s"]._link  # type: ignore[attr-defined]
            return int(link._calls.pool.taken)

        def budget_s() -> list[float]:
            header = "x-request-timeout-ms"
            return [int(one.header(header)) / 1000 for one in service.asked("tools/call")]

        async with app.running():
            yield Scene(app, left, budget_s)
        assert not net.open


# ------------------------------------------------------------------ python

PYTHON_FAILURES = ("value", "key", "group", "exit", "not_found", "overloaded", "timeout")


def python(does: Does, names: Mapping[str, str]) -> Any:
    function, arguments = names.get(str(does), names["fail"]), {}
    if isinstance(does, int):
        arguments = {"name": PYTHON_FAILURES[does]}
    elif does == "hang" and function == "held":
        arguments = {"gate": "contract"}
    settings = {"kind": "python", "module": functions.__name__, "threads": 2}
    return create_app(tool(settings, {"function": function, "arguments": arguments}))


@asynccontextmanager
async def async_functions(does: Does) -> AsyncGenerator[Scene]:
    names = {"reply": "left_async", "hang": "forever", "fail": "fail_async"}
    app = python(does, names)
    budgets: list[float] = []
    async with app.running():
        yield Scene(app, lambda: 0, lambda: budgets)


@asynccontextmanager
async def blocking_functions(does: Does) -> AsyncGenerator[Scene]:
    app = python(does, {"reply": "left", "hang": "held", "fail": "fail"})
    async with app.running():
        limiter = app._built.adapters["s"]._limiter
        yield Scene(app, lambda: int(limiter.borrowed_tokens), list)


# ------------------------------------------------------------------ the table

SCENES = {
    "http": Kind("http", over_http, {"n": 1}, len(HTTP_FAILURES), bounded=True),
    "mcp": Kind("mcp", over_mcp, {"n": 1}, len(MCP_FAILURES), bounded=True),
    "python, async": Kind(
        "python", async_functions, pytest.approx(60), len(PYTHON_FAILURES), bounded=False
    ),
    "python, blocking": Kind(
        "python",
        blocking_functions,
        pytest.approx(60),
        len(PYTHON_FAILURES),
        bounded=False,
        virtual=False,
    ),
}
EVERY = pytest.mark.parametrize("kind", SCENES.values(), ids=SCENES)
EVERY_FAILURE = pytest.mark.parametrize(
    ("kind", "number"),
    [
        pytest.param(kind, number, id=f"{name}-{number}")
        for name, kind in SCENES.items()
        for number in range(kind.failures)
    ],
)


@pytest.fixture(autouse=True)
def gate() -> Iterator[functions.Gate]:
    made = functions.GATES["contract"] = functions.Gate()
    yield made
    made.opened.set()


def still(clock: MockClock, kind: Kind) -> None:
    """Let time stand still where threads take part: they end in real time."""
    if not kind.virtual:
        clock.autojump_threshold = math.inf


def test_every_kind_keeps_the_contract() -> None:
    assert {kind.kind for kind in SCENES.values()} == set(ADAPTERS)


@EVERY
async def test_a_reply_is_json(autojump_clock: MockClock, kind: Kind) -> None:
    still(autojump_clock, kind)
    async with kind.open("reply") as scene:
        reply = await scene.app.call(request())
        assert reply.value == kind.value
        assert not reply.missing
        assert scene.left() == 0


@EVERY_FAILURE
async def test_a_failure_is_one_bare_error_without_secrets(
    autojump_clock: MockClock, kind: Kind, number: int
) -> None:
    still(autojump_clock, kind)
    async with kind.open(number) as scene:
        with pytest.raises(GatewayError) as caught:
            await scene.app.call(request())
        assert scene.left() == 0
    error = caught.value
    assert error.code != "internal"
    assert (error.call, error.service) == ("a", "s")
    assert error.detail
    assert SECRET not in f"{error.detail} {error.problem()}"
    assert "s3cret" not in error.detail


@EVERY_FAILURE
async def test_after_a_failure_the_service_still_serves(
    autojump_clock: MockClock, kind: Kind, number: int
) -> None:
    """More often than it has turns: a failure gives its own back."""
    still(autojump_clock, kind)
    async with kind.open(number) as scene:
        codes = set()
        for _ in range(5):
            with pytest.raises(GatewayError) as caught:
                await scene.app.call(request(), timeout_s=30)
            codes.add(caught.value.code)
        assert len(codes) == 1
        assert scene.left() == 0


@pytest.mark.parametrize(
    "kind", [kind for kind in SCENES.values() if kind.virtual], ids=lambda kind: kind.kind
)
async def test_the_deadline_is_kept(autojump_clock: MockClock, kind: Kind) -> None:
    async with kind.open("hang") as scene:
        with trio.move_on_after(1.5) as scope:
            await scene.app.call(request())
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(1.5, abs=1e-6)
        assert scene.left() == 0


async def test_a_thread_is_left_behind_in_time_and_counted(gate: functions.Gate) -> None:
    async with blocking_functions("hang") as scene:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(scene.app.call, request())
                while not gate.inside:
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        assert scene.left() == 1
        gate.opened.set()
        while scene.left():
            await trio.lowlevel.checkpoint()


@EVERY
@pytest.mark.parametrize("does", ["reply", 0])
def test_cancelled_anywhere_it_leaves_nothing(kind: Kind, does: Does) -> None:
    async def scenario(cancellable: Cancellable) -> None:
        async with kind.open(does) as scene:

            async def call() -> None:
                try:
                    await scene.app.call(request())
                except GatewayError as error:
                    assert does != "reply" or error.code == "deadline_exceeded"  # noqa: PT017

            try:
                await cancellable(call)
            except AssertionError:
                assert kind.kind in {"http", "mcp"}
            while scene.left() and not kind.virtual:  # threads end in real time
                await trio.lowlevel.checkpoint()
            assert scene.left() == 0
            assert scene.app.in_flight == 0

    assert cancel_at_every_checkpoint(scenario) > 1


@pytest.mark.parametrize(
    "kind", [kind for kind in SCENES.values() if kind.bounded], ids=lambda kind: kind.kind
)
async def test_a_reply_has_a_bound(autojump_clock: MockClock, kind: Kind) -> None:
    async with kind.open("too much") as scene:
        with pytest.raises(BadReply, match="over"):
            await scene.app.call(request())


@EVERY
async def test_what_is_left_of_the_budget_goes_along(autojump_clock: MockClock, kind: Kind) -> None:
    still(autojump_clock, kind)
    async with kind.open("reply") as scene:
        value = (await scene.app.call(request(), timeout_s=7)).value
        # A function's own way to show it is its reply.
        assert pytest.approx(7) in (scene.budget_s() or [value])


@EVERY
async def test_it_opens_again_after_it_closed(autojump_clock: MockClock, kind: Kind) -> None:
    still(autojump_clock, kind)
    async with kind.open("reply") as scene:
        again = create_app(tool(*_written(scene.app)))
        for _ in range(2):
            async with again.running():
                assert (await again.call(request())).value == kind.value


def _written(app: Gateway) -> tuple[dict[str, Any], dict[str, Any]]:
    """The service and the call of a scene, as a file would have them."""
    service, call = app.config.services["s"], app.config.tools["t"].calls["a"]
    if service.kind == "http":
        settings = {"kind": "http", "url": service.settings.url, "allow_private": True}
        return settings, {"get": call.keys.get}
    if service.kind == "mcp":
        settings = {"kind": "mcp", "url": service.settings.url, "allow_private": True}
        return settings, {"tool": call.keys.tool}
    return (
        {"kind": "python", "module": service.settings.module},
        {"function": call.keys.function, "arguments": call.keys.arguments},
    )
