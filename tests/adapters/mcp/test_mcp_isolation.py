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
from gateway.core.mcp import BUDGET_KEY
from gateway.core.messages import Partial
from gateway.testing import Cancellable, cancel_at_every_checkpoint
from tests.adapters.mcp.behind import behind
from tests.adapters.mcp.programs import Fake, echoes, started
from tests.apps import request
from tests.http_service import Received
from tests.inbound.mcp.driver import ENVELOPE, legacy, modern
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


async def closes(_request: Received, stream: trio.abc.Stream) -> None:
    await stream.aclose()


@pytest.mark.parametrize("speak", [modern, legacy])
async def test_one_hung_one_dead_one_healthy(autojump_clock: MockClock, speak: Any) -> None:
    """Each was there once: lists hold what they had, for a while, and nobody waits for them."""
    servers = {
        name: McpServer({"tools/call": lambda _: TEXT}, tools=[tool(f"{name}_x")])
        for name in ("healthy", "hung", "dead")
    }
    async with network() as net:
        services: dict[str, Any] = {}
        for number, (name, server) in enumerate(servers.items()):
            net.name(f"{name}.test", f"10.0.0.{number}")
            net.serve(f"10.0.0.{number}", 80, server)
            url = f"http://{name}.test/mcp"
            services[name] = {"kind": "mcp", "url": url, "allow_private": True}
        app = create_app({"services": services, "server": {"allowed_hosts": ["localhost"]}})

        async def names() -> set[str]:
            began = trio.current_time()
            listed = (await speak(app._mcp, "tools/list")).result["tools"]
            assert trio.current_time() == began  # it waits for nobody
            return {item["name"] for item in listed}

        async def called(name: str) -> tuple[str, float]:
            began = trio.current_time()
            params = {"name": f"{name}_x", "_meta": {BUDGET_KEY: 1500}}
            if speak is modern:
                params["_meta"] |= ENVELOPE
            result = (await speak(app._mcp, "tools/call", params)).result
            outcome = result["structuredContent"]["code"] if result.get("isError") else "ok"
            return outcome, trio.current_time() - began

        everything = {"healthy_x", "hung_x", "dead_x"}
        async with app.running():
            assert await names() == everything
            for method in ("server/discover", "initialize", "tools/list", "tools/call"):
                servers["hung"].on[method] = lambda _: unanswered
                servers["dead"].on[method] = lambda _: closes
            net.serve("10.0.0.2", 80, OSError(111, "Connection refused"))
            await trio.sleep(300)  # their lists are over, and cannot be had anew
            assert await names() == everything
            assert app.federated["dead"].listed("tools").age_s == pytest.approx(300, abs=1)
            assert "refused" in app.federated["dead"].listed("tools").error
            assert "does not answer" in app.federated["hung"].listed("tools").error
            async with trio.open_nursery() as nursery:
                nursery.start_soon(called, "hung")
                await trio.testing.wait_all_tasks_blocked()
                assert await called("healthy") == ("ok", 0)
                assert await called("dead") == ("unreachable", 0)
                assert await names() == everything
            assert await called("hung") == ("deadline_exceeded", pytest.approx(1.5))
            await trio.sleep(600)  # what is older than that nobody is told
            assert await names() == {"healthy_x"}
            for server in servers.values():
                for method in ("server/discover", "initialize", "tools/list", "tools/call"):
                    if server is not servers["healthy"]:
                        del server.on[method]
            servers["dead"].on["tools/call"] = servers["hung"].on["tools/call"] = lambda _: TEXT
            net.serve("10.0.0.2", 80, servers["dead"])
            await trio.sleep(120)
            assert await names() == everything
            assert await called("dead") == await called("hung") == ("ok", 0)
