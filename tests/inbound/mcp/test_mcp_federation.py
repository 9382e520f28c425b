"""Other servers' tools, offered as they are: lists, calls, clashes, failures, telemetry."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest
import trio

from gateway.core.errors import Rejected, Unreachable
from gateway.core.messages import Context
from gateway.core.peer import JsonRpcError
from gateway.core.service import Emit
from gateway.telemetry.events import CallEnded
from tests.apps import Events
from tests.federated import FakeServer, behind, named
from tests.inbound.mcp.driver import ENVELOPE, NoAnswerError, legacy, modern

ERAS = pytest.mark.parametrize("speak", [legacy, modern])
TOOL = {"calls": {"a": {"service": "api", "get": "/"}}}
API = {"api": {"kind": "http", "url": "http://127.0.0.1:1"}}


async def names(speak: Any, app: Any) -> list[str]:
    seen: list[str] = []
    params: dict[str, Any] = {}
    while True:
        result = (await speak(app._mcp, "tools/list", params)).result
        seen += [entry["name"] for entry in result["tools"]]
        if "nextCursor" not in result:
            return seen
        params = {"cursor": result["nextCursor"]}


@ERAS
async def test_their_tools_stand_behind_ours(speak: Any) -> None:
    servers = {
        "a": FakeServer({"tools": named("a1", "a2", icons=[{"src": "x"}], new=1)}),
        "b": FakeServer({"tools": named("b1")}),
    }
    async with behind(servers, services=API, tools={"own": TOOL}) as app:
        assert await names(speak, app) == ["own", "a1", "a2", "b1"]
        listed = (await speak(app._mcp, "tools/list")).result["tools"][1]
        assert listed == {
            "name": "a1",
            "inputSchema": {"type": "object"},
            "icons": [{"src": "x"}],
            "new": 1,
        }


@ERAS
async def test_a_list_follows_its_server(speak: Any) -> None:
    servers = {"a": FakeServer({"tools": named("a1")}), "b": FakeServer({"tools": named("b1")})}
    async with behind(servers) as app:
        assert await names(speak, app) == ["a1", "b1"]
        servers["a"].lists["tools"] = named("a2")
        assert await names(speak, app) == ["a2", "b1"]
        servers["a"].lists.clear()  # it is gone for too long
        servers["a"].why = "a is unreachable"
        assert await names(speak, app) == ["b1"]


@ERAS
async def test_a_call_goes_on_and_its_result_comes_back_as_it_came(speak: Any) -> None:
    events = Events()
    server = FakeServer({"tools": named("find")})
    async with behind({"a": server}, events=events) as app:
        params = {"name": "find", "arguments": {"q": [1, {"x": None}]}, "task": {"ttl": 5}}
        result = (await speak(app._mcp, "tools/call", params)).result
        assert result["content"] == [{"type": "text", "text": "a"}]
        assert result["x-unknown"] == {"kept": 1}
        assert "isError" not in result
        ((method, asked, context),) = server.asked
        assert (method, asked) == ("tools/call", params)
        assert context.protocol == "mcp"
    assert events.last.outcome == "ok"
    assert (events.last.tool, events.last.request.name) == ("find", "find")
    assert events.started == ["tools/call"]
    assert events.ended["tools/call"].service == "a"
    events.assert_balanced()


async def test_what_meta_says_of_one_hop_does_not_go_on() -> None:
    server = FakeServer({"tools": named("find")})
    async with behind({"a": server}) as app:
        meta = {
            **ENVELOPE,
            "progressToken": 7,
            "gateway/timeoutMs": 500,
            "example.com/own": {"x": 1},
            "tracestate": "a=b",
        }
        await modern(app._mcp, "tools/call", {"name": "find", "_meta": meta})
        assert server.asked[0][1]["_meta"] == {"example.com/own": {"x": 1}, "tracestate": "a=b"}


async def test_their_meta_is_kept_and_the_gateway_names_itself() -> None:
    async def answer(_method: str, _params: Mapping[str, Any], _emit: Emit) -> dict[str, Any]:
        info = {"io.modelcontextprotocol/serverInfo": {"name": "theirs"}, "own": 1}
        return {"content": [], "_meta": info}

    async with behind({"a": FakeServer({"tools": named("t")}, answer=answer)}) as app:
        result = (await modern(app._mcp, "tools/call", {"name": "t"})).result
        assert result["_meta"]["own"] == 1
        assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "gateway"
        assert result["resultType"] == "complete"


@ERAS
async def test_their_errors_stay_errors(speak: Any) -> None:
    async def answer(_method: str, _params: Mapping[str, Any], _emit: Emit) -> dict[str, Any]:
        raise JsonRpcError(-32042, "elicit first", {"url": "https://x.test"})

    events = Events()
    async with behind(
        {"a": FakeServer({"tools": named("t")}, answer=answer)}, events=events
    ) as app:
        response = await speak(app._mcp, "tools/call", {"name": "t"})
        assert response.status == 200
        assert response.error == {
            "code": -32042,
            "message": "elicit first",
            "data": {"url": "https://x.test"},
        }
    assert (events.last.outcome, events.last.code) == ("error", "rejected")
    assert "elicit" not in str(events.last.error)
    assert events.ended["tools/call"].outcome == "error"
    events.assert_balanced()


@ERAS
async def test_their_failures_are_failures_of_the_tool(speak: Any) -> None:
    async def answer(_method: str, _params: Mapping[str, Any], _emit: Emit) -> dict[str, Any]:
        raise Unreachable("connection refused")

    events = Events()
    async with behind(
        {"a": FakeServer({"tools": named("t")}, answer=answer)}, events=events
    ) as app:
        result = (await speak(app._mcp, "tools/call", {"name": "t"})).result
        assert result["isError"]
        assert result["structuredContent"]["code"] == "unreachable"
        assert result["structuredContent"]["service"] == "a"
    assert events.last.code == "unreachable"
    events.assert_balanced()


@ERAS
async def test_a_bug_is_told_as_one(speak: Any, caplog: Any) -> None:
    async def answer(_method: str, _params: Mapping[str, Any], _emit: Emit) -> dict[str, Any]:
        raise ZeroDivisionError

    events = Events()
    async with behind(
        {"a": FakeServer({"tools": named("t")}, answer=answer)}, events=events
    ) as app:
        result = (await speak(app._mcp, "tools/call", {"name": "t"})).result
        assert result["structuredContent"]["code"] == "internal"
    events.assert_balanced()


@ERAS
async def test_a_hung_server_costs_its_own_calls_alone(
    speak: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async def hang(_method: str, _params: Mapping[str, Any], _emit: Emit) -> dict[str, Any]:
        await trio.sleep_forever()
        raise AssertionError

    events = Events()
    servers = {
        "hung": FakeServer({"tools": named("h")}, answer=hang),
        "dead": FakeServer(why="dead cannot be reached"),
        "well": FakeServer({"tools": named("w")}),
    }
    async with behind(servers, events=events) as app:
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call_hung, speak, app, start)
            await servers["hung"].began.wait()
            assert await names(speak, app) == ["h", "w"]
            assert (await speak(app._mcp, "tools/call", {"name": "w"})).result["content"]
            assert trio.current_time() == start
        assert servers["hung"].cancelled == 1
        assert app.in_flight == 0
    assert events.last.outcome == "error"
    assert events.last.budget_s == 2
    ended = {event.branch.service: event.branch.outcome for event in events.of(CallEnded)}
    assert ended == {"hung": "timeout", "well": "ok"}


async def call_hung(speak: Any, app: Any, start: float) -> None:
    params = {"name": "h"}
    headers = {"x-request-timeout-ms": "2000"}
    result = (await speak(app._mcp, "tools/call", params, headers=headers)).result
    assert trio.current_time() - start == pytest.approx(2)
    assert result["structuredContent"]["code"] == "deadline_exceeded"
    assert result["structuredContent"]["service"] == "hung"


@ERAS
async def test_a_services_timeout_holds(speak: Any, autojump_clock: trio.testing.MockClock) -> None:
    async def hang(_method: str, _params: Mapping[str, Any], _emit: Emit) -> dict[str, Any]:
        await trio.sleep_forever()
        raise AssertionError

    server = FakeServer({"tools": named("h")}, answer=hang)
    async with behind({"a": server}, services={"a": {"timeout": "500ms"}}) as app:
        start = trio.current_time()
        result = (await speak(app._mcp, "tools/call", {"name": "h"})).result
        assert trio.current_time() - start == pytest.approx(0.5)
        assert result["structuredContent"]["code"] == "deadline_exceeded"


@ERAS
async def test_the_clients_leaving_cancels(speak: Any) -> None:
    async def hang(_method: str, _params: Mapping[str, Any], _emit: Emit) -> dict[str, Any]:
        leaving.set()
        await trio.sleep_forever()
        raise AssertionError

    leaving = trio.Event()
    events = Events()
    server = FakeServer({"tools": named("h")}, answer=hang)
    async with behind({"a": server}, events=events) as app:
        with pytest.raises(NoAnswerError):
            await speak(app._mcp, "tools/call", {"name": "h"}, leaving=leaving)
        assert server.cancelled == 1
        assert app.in_flight == 0
    assert events.last.outcome == "client_left"
    assert events.ended["tools/call"].outcome == "skipped"
    events.assert_balanced()


async def test_no_time_left_on_arrival() -> None:
    server = FakeServer({"tools": named("t")})
    async with behind({"a": server}) as app:
        params = {"name": "t", "_meta": {"gateway/timeoutMs": 0}}
        result = (await legacy(app._mcp, "tools/call", params)).result
        assert result["structuredContent"]["code"] == "deadline_exceeded"
        assert server.asked == []


@ERAS
async def test_an_unknown_tool(speak: Any) -> None:
    server = FakeServer({"tools": named("t")})
    async with behind({"a": server}) as app:
        response = await speak(app._mcp, "tools/call", {"name": "other"})
        assert response.error["message"] == "Unknown tool: other"
        # Of a server that never said what it has, nobody knows.
        server.lists.clear()
        server.why = "a was not asked yet"
        result = (await speak(app._mcp, "tools/call", {"name": "t"})).result
        assert result["structuredContent"]["code"] == "unreachable"
        assert "a was not asked yet" in result["content"][0]["text"]


async def test_input_that_a_legacy_client_cannot_give() -> None:
    async def answer(_method: str, _params: Mapping[str, Any], _emit: Emit) -> dict[str, Any]:
        return {"resultType": "input_required", "inputRequests": {}}

    async with behind({"a": FakeServer({"tools": named("t")}, answer=answer)}) as app:
        result = (await legacy(app._mcp, "tools/call", {"name": "t"})).result
        assert result["structuredContent"]["code"] == "rejected"
        result = (await modern(app._mcp, "tools/call", {"name": "t"})).result
        assert result["resultType"] == "input_required"


@ERAS
async def test_what_is_no_object_is_not_structured_for_legacy_clients(speak: Any) -> None:
    text = [{"type": "text", "text": "7"}]

    async def answer(_method: str, _params: Mapping[str, Any], _emit: Emit) -> dict[str, Any]:
        return {"content": text, "structuredContent": 7, "x-more": 1}

    async with behind({"a": FakeServer({"tools": named("t")}, answer=answer)}) as app:
        result = (await speak(app._mcp, "tools/call", {"name": "t"})).result
    assert result.get("structuredContent") == (None if speak is legacy else 7)
    assert (result["content"], result["x-more"]) == (text, 1)


@ERAS
async def test_an_output_that_is_no_object_is_not_declared_to_legacy_clients(speak: Any) -> None:
    """Their official client refuses the whole list otherwise."""
    schemas = [{"type": "array"}, {"type": "object"}, {}, 7]
    tools = [named(f"t{n}", outputSchema=schema)[0] for n, schema in enumerate(schemas)]
    async with behind({"a": FakeServer({"tools": (*tools, *named("t4"))})}) as app:
        listed = (await speak(app._mcp, "tools/list")).result["tools"]
    kept = [item.get("outputSchema") for item in listed]
    assert kept == ([None, schemas[1], None, None, None] if speak is legacy else [*schemas, None])


async def test_the_state_between_a_client_and_us_goes_no_further() -> None:
    fake = FakeServer({"tools": named("t")})

    async def answer(_method: str, _params: Mapping[str, Any], _emit: Emit) -> dict[str, Any]:
        peer = fake.asked[-1][2].peer
        assert peer is not None
        return {"structuredContent": dict(await peer("elicitation/create", {"message": "Who?"}))}

    fake.answer = answer
    able = {**ENVELOPE, "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}
    async with behind({"a": fake}) as app:
        call = {"name": "t", "_meta": able}
        asked = (await modern(app._mcp, "tools/call", call)).result
        (key,) = asked["inputRequests"]
        given = {"requestState": asked["requestState"], "inputResponses": {key: {"action": "ok"}}}
        result = (await modern(app._mcp, "tools/call", {**call, **given})).result
    assert result["structuredContent"] == {"action": "ok"}
    assert [set(params) for _, params, _ in fake.asked] == [{"name"}, {"name"}]


CLASHING = {
    "a": named("find", "only_a"),
    "b": named("find", "own", "only_b"),
}


async def test_names_that_clash_keep_the_gateway_from_opening() -> None:
    servers = {name: FakeServer({"tools": tools}) for name, tools in CLASHING.items()}
    with pytest.raises(ValueError, match="prefix") as caught:
        async with behind(servers, services=API, tools={"own": TOOL}):
            raise AssertionError
    assert "find of services.b is offered by services.a too" in str(caught.value)
    assert "own of services.b is offered by the gateway itself too" in str(caught.value)


async def test_300_names_of_three_servers_that_clash() -> None:
    tools = named(*(f"tool_{number}" for number in range(100)))
    servers = {name: FakeServer({"tools": tools}) for name in "abc"}
    with pytest.raises(ValueError, match="and 180 more: give one of them a prefix"):
        async with behind(servers):
            raise AssertionError
    for name, server in servers.items():
        server.lists["tools"] = named(*(f"{name}_tool_{number}" for number in range(100)))
    async with behind(servers) as app:
        assert len(set(await names(modern, app))) == 300


@ERAS
async def test_names_that_clash_later_are_left_out_and_logged(
    speak: Any, caplog: pytest.LogCaptureFixture
) -> None:
    servers = {name: FakeServer() for name in CLASHING}
    async with behind(servers, services=API, tools={"own": TOOL}) as app:
        for name, server in servers.items():
            server.lists["tools"] = CLASHING[name]
        with caplog.at_level(logging.WARNING):
            assert await names(speak, app) == ["own", "find", "only_a", "only_b"]
            assert await names(speak, app) == ["own", "find", "only_a", "only_b"]
        assert [record.getMessage() for record in caplog.records] == [
            "not offered: find of services.b is offered by services.a too",
            "not offered: own of services.b is offered by the gateway itself too",
        ]
        await speak(app._mcp, "tools/call", {"name": "find"})
        assert (len(servers["a"].asked), len(servers["b"].asked)) == (1, 0)


async def test_what_takes_over_opens_all_the_same() -> None:
    servers = {name: FakeServer({"tools": tools}) for name, tools in CLASHING.items()}
    async with behind(servers, services=API, tools={"own": TOOL}, takes_over=True) as app:
        assert await names(modern, app) == ["own", "find", "only_a", "only_b"]


async def test_the_seam_in_the_gateway_raises_what_servers_raise() -> None:
    async def answer(_method: str, _params: Mapping[str, Any], _emit: Emit) -> dict[str, Any]:
        raise Rejected("no", service_status=404)

    async with behind({"a": FakeServer({"tools": named("t")}, answer=answer)}) as app:
        with pytest.raises(Rejected) as caught:
            await app.ask("a", "prompts/get", {"name": "p"}, Context(request_id="r"))
        assert (caught.value.service, caught.value.status) == ("a", 404)


@ERAS
async def test_a_cursor_holds_while_the_list_grows(speak: Any) -> None:
    server = FakeServer({"tools": named(*(f"t{number:03}" for number in range(150)))})
    async with behind({"a": server}) as app:
        first = (await speak(app._mcp, "tools/list")).result
        server.lists["tools"] = (*named("a_new_one"), *server.lists["tools"])
        params = {"cursor": first["nextCursor"]}
        rest = (await speak(app._mcp, "tools/list", params)).result
        assert [one["name"] for one in rest["tools"]] == [f"t{n:03}" for n in range(100, 150)]
        server.lists["tools"] = named("all", "others")
        assert (await speak(app._mcp, "tools/list", params)).error["code"] == -32602
