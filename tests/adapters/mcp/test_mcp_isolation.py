"""A call cancelled anywhere leaves nothing, and a server that is down costs its own tools alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from gateway.app import create_app
from gateway.core.errors import GatewayError
from gateway.core.messages import Partial
from gateway.testing import Cancellable, cancel_at_every_checkpoint
from tests.adapters.mcp.behind import behind
from tests.adapters.mcp.programs import Fake, echoes, started
from tests.apps import request
from tests.http_service import Received
from tests.mcp_server import McpServer, events, tool, unanswered
from tests.network import network

LEGACY = "2025-11-25"
TEXT = {"content": [{"type": "text", "text": "hi"}]}


class Peer:
    """A client that can be asked."""

    def __init__(self) -> None:
        self.capabilities: dict[str, Any] = {"elicitation": {}}

    async def __call__(self, _method: str, _params: Any, /) -> Any:
        await trio.sleep(1)
        return {"action": "decline"}


async def emit(_partial: Partial) -> None:
    await trio.sleep(0.1)


def works(request: Received) -> Any:
    """All that may happen in a call."""
    message = json.loads(request.body)
    note = {"progressToken": message["params"]["_meta"]["progressToken"], "progress": 1}
    return events(
        0.1,
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": note},
        {"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {}},
        {"jsonrpc": "2.0", "id": message["id"], "result": TEXT},
    )


@pytest.mark.parametrize("legacy", ["", LEGACY])
def test_cancelled_anywhere_it_leaves_nothing_over_http(legacy: str) -> None:
    async def scenario(cancellable: Cancellable) -> None:
        server = McpServer({"tools/call": works}, legacy=legacy)
        async with behind(server) as it:

            async def call() -> None:
                assert await it.call(emit=emit, peer=Peer()) == "hi"

            # The server's own tasks count too, and what a legacy one is told goes out beside calls.
            await call()
            await cancellable(call, settle_s=30)
            link: Any = it.adapter._link
            assert link._calls.pool.taken == 0
            assert not link._errands.child_tasks
            assert server.active == 0
            assert await it.call(emit=emit, peer=Peer()) == "hi"

    assert cancel_at_every_checkpoint(scenario) > 20


@pytest.mark.parametrize("legacy", ["", LEGACY])
def test_cancelled_anywhere_it_leaves_nothing_over_stdio(legacy: str) -> None:
    async def works_on(life: Fake, message: Any) -> None:
        note = {"progressToken": message["params"]["_meta"]["progressToken"], "progress": 1}
        await life.say({"jsonrpc": "2.0", "method": "notifications/progress", "params": note})
        question = {"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {}}
        await life.say(question)

    async def ends(life: Fake, message: Any) -> None:
        cancelled = {m["params"]["requestId"] for m in life.asked("notifications/cancelled")}
        call = life.asked("tools/call")[-1]
        if call["id"] not in cancelled:
            answered.add(call["id"])
            await echoes(life, call)

    answered: set[int] = set()

    async def scenario(cancellable: Cancellable) -> None:
        async with started({"tools/call": works_on, "answer": ends}, legacy=legacy) as it:

            async def call() -> None:
                assert await it.call(emit=emit, peer=Peer()) == {"name": "x"}

            answered.clear()
            await call()
            await cancellable(call)
            await trio.testing.wait_all_tasks_blocked()
            channel = it.link._channel
            assert channel is not None
            assert not channel._waiting
            assert not channel._unsent
            life = it.program.life
            told = {m["params"]["requestId"] for m in life.asked("notifications/cancelled")}
            # What left was answered or was cancelled there.
            assert {message["id"] for message in life.asked("tools/call")} == answered | told
            await call()

    assert cancel_at_every_checkpoint(scenario) > 10


async def test_a_server_that_is_down_costs_its_own_tools_alone(autojump_clock: MockClock) -> None:
    healthy = McpServer({"tools/call": lambda _: TEXT}, tools=[tool("x")])
    servers = {
        "healthy": healthy,
        "dead": OSError(111, "Connection refused"),
        "swallows": None,
        "hung": McpServer(dict.fromkeys(("server/discover", "initialize"), lambda _: unanswered)),
        "broken": McpServer({"tools/call": lambda _: events(b"x")}),
    }
    async with network() as net:
        services: dict[str, Any] = {}
        for number, (name, server) in enumerate(servers.items()):
            net.name(f"{name}.test", f"10.0.0.{number}")
            net.serve(f"10.0.0.{number}", 80, server)
            url = f"http://{name}.test/mcp"
            services[name] = {"kind": "mcp", "url": url, "allow_private": True}
        calls = {
            name: {"service": name, "tool": "x", "optional": name != "healthy"} for name in servers
        }
        config = {"services": services, "tools": {"t": {"deadline": "2s", "calls": calls}}}
        app = create_app(config)
        async with app.running():
            assert trio.current_time() <= 0.25 * len(servers)
            began = trio.current_time()
            reply = await app.call(request())
            assert trio.current_time() - began == pytest.approx(2)
            assert reply.value["healthy"] == "hi"
            assert {error.call: error.code for error in reply.missing} == {
                "dead": "unreachable",
                "swallows": "deadline_exceeded",
                "hung": "deadline_exceeded",
                "broken": "bad_reply",
            }
            listed = {name: app._built.adapters[name].listed("tools") for name in servers}  # type: ignore[attr-defined]
            assert [item["name"] for item in listed["healthy"].items] == ["x"]
            assert all(listed[name].error for name in ("dead", "swallows", "hung"))
        assert not net.open


async def test_a_bug_takes_away_its_own_server_alone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with behind(McpServer({"tools/call": lambda _: TEXT})) as it:
        assert it.adapter._client._nursery is not None

        async def fail() -> None:
            raise RuntimeError("a bug")

        it.adapter._client._nursery.start_soon(fail)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(GatewayError, match="s is not open"):
            await it.call()
    assert "s failed, and is not there any more" in caplog.text
