"""A server's lists: there without asking, fetched anew in time, and offered for a while without it."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gateway.config.fields import Secret
from gateway.core.errors import NotFound, Unreachable
from gateway.core.federation import LISTS
from tests.adapters.mcp.behind import behind
from tests.http_service import Received, http
from tests.mcp_server import McpServer, error, events, tool, unanswered

LEGACY = "2025-11-25"
TEXT = {"content": [{"type": "text", "text": "hi"}]}
ALL = {"tools": {}, "prompts": {}, "resources": {}}
CHANGING = {"tools": {"listChanged": True}}
REFUSED = OSError(111, "Connection refused")


def listing(*names: str, **more: Any) -> dict[str, Any]:
    return {"tools": [tool(name) for name in names], **more}


async def test_every_list_is_there_when_it_is_open(autojump_clock: MockClock) -> None:
    lists = {
        "tools/list": lambda _: listing("a", "b"),
        "prompts/list": lambda _: {"prompts": [{"name": "p"}]},
        "resources/list": lambda _: {"resources": [{"name": "r", "uri": "a://b"}]},
        "resources/templates/list": lambda r: error(r, -32601, "Method not found", 404),
    }
    async with behind(McpServer(lists, capabilities=ALL)) as it:
        assert trio.current_time() == 0
        assert [it.names(name) for name in LISTS] == [["a", "b"], ["p"], ["r"], []]
        assert it.adapter.listed("tools").age_s == 0
        assert not it.adapter.listed("tools").error


async def test_what_a_server_does_not_have_is_not_asked_for(autojump_clock: MockClock) -> None:
    server = McpServer(capabilities={"tools": {}})
    async with behind(server):
        asked = {message["method"] for message in server.messages()}
    assert asked == {"server/discover", "tools/list"}


async def test_pages_are_put_together(autojump_clock: MockClock) -> None:
    def page(request: Received) -> Any:
        cursor = json.loads(request.body)["params"].get("cursor")
        if cursor is None:
            return listing("a", nextCursor="one", ttlMs=50_000)
        return listing("b", ttlMs=20_000) if cursor == "two" else listing("c", nextCursor="two")

    server = McpServer({"tools/list": page})
    async with behind(server) as it:
        assert it.names() == ["a", "c", "b"]
        await trio.sleep(19)
        assert len(server.messages("tools/list")) == 3
        await trio.sleep(3)
        assert len(server.messages("tools/list")) == 6


async def test_pages_without_an_end(autojump_clock: MockClock) -> None:
    server = McpServer({"tools/list": lambda _: listing("a", nextCursor="more")})
    async with behind(server) as it:
        assert it.adapter.listed("tools").error == "s lists over 500 pages of tools"


@pytest.mark.parametrize(
    ("ttl_ms", "legacy", "after_s"),
    [
        (60_000, "", 60),
        (0, "", 10),
        (-5, "", 10),
        (1e15, "", 86_400),
        ("x", "", 300),
        (60_000, LEGACY, 300),
    ],
)
async def test_a_list_is_fetched_anew_when_it_is_over(
    autojump_clock: MockClock, ttl_ms: Any, legacy: str, after_s: float
) -> None:
    server = McpServer({"tools/list": lambda _: listing("a", ttlMs=ttl_ms)}, legacy=legacy)
    async with behind(server) as it:
        await trio.sleep(after_s - 1)
        assert len(server.messages("tools/list")) == 1
        server.on["tools/list"] = lambda _: listing("b")
        await trio.sleep(2)
        assert it.names() == ["b"]


async def test_a_call_fetches_no_list(autojump_clock: MockClock) -> None:
    server = McpServer({"tools/call": lambda _: TEXT}, tools=[tool("x")])
    async with behind(server) as it:
        for _ in range(10):
            await it.call()
            await it.ask("tools/call", name="x")
    assert len(server.messages("tools/list")) == 1


@pytest.mark.parametrize("legacy", ["", LEGACY])
async def test_a_change_is_heard_and_told(autojump_clock: MockClock, legacy: str) -> None:
    changed = trio.Event()
    note = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
    server = McpServer(legacy=legacy, capabilities=CHANGING, tools=[tool("a")])
    server.on["GET" if legacy else "subscriptions/listen"] = lambda _: events(
        changed, note, end=False
    )
    heard: list[str] = []
    async with behind(server) as it:
        with it.adapter.listening(heard.append):
            await trio.sleep(5)
            assert heard == []
            server.tools = [tool("b")]
            changed.set()
            await trio.sleep(1.5)
            assert it.names() == ["b"]
            assert heard == ["tools"]
        server.tools = []
        await trio.sleep(400)
        assert heard == ["tools"]
    if not legacy:
        [asked] = server.messages("subscriptions/listen")
        assert asked["params"]["notifications"] == {"toolsListChanged": True}


async def test_each_list_has_a_time_of_its_own(autojump_clock: MockClock) -> None:
    changed = trio.Event()
    note = {"jsonrpc": "2.0", "method": "notifications/prompts/list_changed"}
    lists = {
        "tools/list": lambda _: listing("a", ttlMs=1_000_000),
        "prompts/list": lambda _: {"prompts": [], "ttlMs": 100_000},
        "resources/list": lambda _: {"resources": [], "ttlMs": 20_000},
        "subscriptions/listen": lambda _: events(changed, note, end=False),
    }
    server = McpServer(lists, capabilities={**ALL, "prompts": {"listChanged": True}})

    def fetched() -> list[int]:
        return [len(server.messages(f"{name}/list")) for name in ("tools", "prompts", "resources")]

    async with behind(server):
        await trio.sleep(15)
        assert fetched() == [1, 1, 1]
        changed.set()
        await trio.sleep(2)
        assert fetched() == [1, 2, 1]
        await trio.sleep(30)
        assert fetched() == [1, 2, 3]


async def test_a_listener_that_fails_harms_nobody(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_name: str) -> None:
        raise RuntimeError("a bug")

    server = McpServer({"tools/list": lambda _: listing("a", ttlMs=0)})
    heard: list[str] = []
    async with behind(server) as it:
        with it.adapter.listening(fail), it.adapter.listening(heard.append):
            server.on["tools/list"] = lambda _: listing("b", ttlMs=0)
            await trio.sleep(15)
        assert it.names() == ["b"]
        assert heard == ["tools"]
    assert "a listener failed" in caplog.text


@pytest.mark.parametrize("legacy", ["", LEGACY])
async def test_listening_that_breaks_is_begun_again(autojump_clock: MockClock, legacy: str) -> None:
    server = McpServer(legacy=legacy, capabilities=CHANGING, tools=[tool("a")])
    how = "GET" if legacy else "subscriptions/listen"
    server.on[how] = lambda _: events()
    async with behind(server) as it:
        await trio.sleep(100)
        begun = [r for r in server.requests if r.method == "GET"] or server.asked(how)
        assert 5 < len(begun) < 9  # ever more rarely
        assert it.names() == ["a"]


async def test_where_nothing_is_heard_time_has_to_do(autojump_clock: MockClock) -> None:
    server = McpServer(legacy=LEGACY, capabilities=CHANGING)
    async with behind(server):
        await trio.sleep(200)
    assert len([request for request in server.requests if request.method == "GET"]) == 1


async def test_a_server_that_is_gone_is_offered_for_a_while(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = McpServer(tools=[tool("x")])
    async with behind(server) as it:
        server.on["tools/list"] = lambda _: http(500)
        await trio.sleep(120)
        listed = it.adapter.listed("tools")
        assert [item["name"] for item in listed.items] == ["x"]
        assert listed.age_s == 120
        assert listed.error == "s answered 500"
        await trio.sleep(600)
        listed = it.adapter.listed("tools")
        assert (listed.items, listed.error) == ((), "s answered 500")
        del server.on["tools/list"]
        await trio.sleep(61)
        assert it.names() == ["x"]
        assert not it.adapter.listed("tools").error
    said = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 1


def error_of(request: Received) -> Any:
    return error(request, -32603, "broken")


@pytest.mark.parametrize(
    ("server", "error"),
    [
        (REFUSED, "Connection refused"),
        (None, "not asked yet"),
        (McpServer({"server/discover": lambda _: unanswered}), "not asked yet"),
        (McpServer({"tools/list": lambda _: unanswered}), "not asked yet"),
        (McpServer({"tools/list": lambda _: {"tools": 7}}), "gave no list of tools"),
        (McpServer({"tools/list": error_of}), "error -32603: broken"),
    ],
)
async def test_opening_waits_for_no_server(
    autojump_clock: MockClock, server: Any, error: str
) -> None:
    async with behind(server) as it:
        assert trio.current_time() <= 0.25
        listed = it.adapter.listed("tools")
        assert (listed.items, listed.age_s) == ((), None)
        assert error in listed.error
        with pytest.raises(Unreachable, match=error):
            await it.ask("tools/call", name="x")
    assert trio.current_time() <= 0.25


async def test_a_hung_server_is_given_up_in_time(autojump_clock: MockClock) -> None:
    async with behind(McpServer({"tools/list": lambda _: unanswered})) as it:
        await trio.sleep(30)
        assert it.adapter.listed("tools").error == "s does not answer within 30 s"


async def test_a_server_that_is_silent_when_probed_is_a_legacy_one(
    autojump_clock: MockClock,
) -> None:
    silent = {"server/discover": lambda _: unanswered, "tools/call": lambda _: TEXT}
    async with behind(McpServer(silent, legacy=LEGACY)) as it:
        assert await it.call() == "hi"
        assert trio.current_time() == 5


async def test_a_clash_is_said_and_costs_the_others_nothing(autojump_clock: MockClock) -> None:
    server = McpServer(tools=[tool("a"), tool("b"), tool("c")])
    async with behind(server, rename={"a": "b"}) as it:
        assert it.names() == ["c"]
        assert it.adapter.listed("tools").error == "b would be the name of a and of b"


async def test_what_is_not_offered_cannot_be_asked_for(autojump_clock: MockClock) -> None:
    lists = {
        "tools/call": lambda _: TEXT,
        "resources/read": lambda _: {"contents": []},
        "prompts/get": lambda _: {"messages": []},
        "completion/complete": lambda _: {"completion": {}},
        "prompts/list": lambda _: {"prompts": [{"name": "p"}]},
        "resources/list": lambda _: {"resources": [{"name": "drop", "uri": "a://b"}]},
    }
    server = McpServer(lists, capabilities=ALL, tools=[tool("drop"), tool("x")])
    async with behind(server, deny=["drop"], prefix="s_") as it:
        assert await it.ask("tools/call", name="s_x") == TEXT
        for method, params in (
            ("tools/call", {"name": "s_drop"}),
            ("tools/call", {"name": "x"}),
            ("prompts/get", {"name": "p"}),
            ("resources/read", {"uri": "a://b"}),
            ("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}}),
        ):
            with pytest.raises(NotFound, match="s offers no"):
                await it.ask(method, **params)
        await it.ask("prompts/get", name="s_p")
        await it.ask("completion/complete", ref={"type": "ref/prompt", "name": "s_p"})
        await it.ask("completion/complete", ref={"type": "ref/resource", "uri": "a://c"})
        # A plan names what the server itself has, offered or not.
        assert await it.call("drop") == "hi"
    assert server.messages("prompts/get")[0]["params"]["name"] == "p"
    assert server.messages("completion/complete")[0]["params"]["ref"]["name"] == "p"


async def test_one_bad_item_is_left_out_and_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = McpServer(tools=[tool("a"), {"name": "b"}, tool("c")])
    async with behind(server) as it:
        assert it.names() == ["a", "c"]
        assert not it.adapter.listed("tools").error
        await trio.sleep(200)
    assert caplog.text.count("b: its inputSchema is no object") == 1


async def test_the_log_names_some_of_many(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with behind(McpServer(tools=[{"name": f"b{n}"} for n in range(100)])) as it:
        assert it.names() == []
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 21
    assert said[-1] == "s: not offered: 80 more"


async def test_what_it_says_goes_to_the_log_without_secrets(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    said = {"level": "warning", "data": "s3cret and \x1b[31m" + "x" * 5000}
    note = {"jsonrpc": "2.0", "method": "notifications/message", "params": said}

    def call(request: Received) -> Any:
        answer = {"jsonrpc": "2.0", "id": json.loads(request.body)["id"], "result": TEXT}
        return events(note, answer)

    caplog.set_level(logging.INFO)
    async with behind(
        McpServer({"tools/call": call}), headers={"authorization": Secret("s3cret")}
    ) as it:
        await it.call()
    [record] = [record for record in caplog.records if "warning:" in record.getMessage()]
    assert "warning: *** and" in record.getMessage()
    assert len(record.getMessage()) < 2100
    assert "\x1b" not in record.getMessage()


async def test_it_answers_what_is_asked_while_it_listens(autojump_clock: MockClock) -> None:
    ping = {"jsonrpc": "2.0", "id": 5, "method": "ping"}
    server = McpServer({"GET": lambda _: events(ping, end=False)}, legacy=LEGACY)
    server.capabilities = CHANGING
    async with behind(server):
        await trio.sleep(1)
    assert {"jsonrpc": "2.0", "id": 5, "result": {}} in server.messages()
