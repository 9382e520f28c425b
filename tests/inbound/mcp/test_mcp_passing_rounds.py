"""What passes between a client and a server behind us beside calls and results: rounds, levels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from mcp_types.methods import validate_server_result

from gateway.core.peer import JsonRpcError
from gateway.core.service import Emit
from tests.federated import FakeServer, behind, named, prompt, resource
from tests.inbound.mcp.driver import ENVELOPE, MODERN, initialize, legacy, modern

CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
LEVEL_KEY = "io.modelcontextprotocol/logLevel"
QUESTION = {
    "method": "elicitation/create",
    "params": {"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}},
}
ANN = {"action": "accept", "content": {"name": "Ann"}}
ASKED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("tools/call", {"name": "t", "arguments": {"a": 1}}),
    ("prompts/get", {"name": "p"}),
    ("resources/read", {"uri": "a://b"}),
)
METHODS = pytest.mark.parametrize(("method", "params"), ASKED)
DONE = {
    "tools/call": {"content": []},
    "prompts/get": {"messages": []},
    "resources/read": {"contents": [], "ttlMs": 0, "cacheScope": "private"},
}


def asking(**result: Any) -> FakeServer:
    """A server that requires input once, and keeps a state of its own."""

    async def answer(method: str, params: Mapping[str, Any], _emit: Emit) -> dict[str, Any]:
        if "inputResponses" in params:
            return DONE[method]
        requests = {"inputRequests": {"user name": QUESTION}}
        return {"resultType": "input_required", **requests, "x-unknown": 1, **result}

    lists: Any = {
        "tools": named("t"),
        "prompts": (prompt("p"),),
        "resources": (resource("a://b"),),
    }
    return FakeServer(lists, answer=answer)


def able(params: Any, **further: Any) -> dict[str, Any]:
    return {**params, **further, "_meta": {**ENVELOPE, CAPABILITIES_KEY: {"elicitation": {}}}}


@METHODS
@pytest.mark.parametrize("kept", [{"requestState": "theirs"}, {}])
async def test_a_round_passes_as_it_came(
    method: str, params: dict[str, Any], kept: dict[str, Any]
) -> None:
    server = asking(**kept)
    async with behind({"a": server}) as app:
        first = (await modern(app._mcp, method, able(params))).result
        validate_server_result(method, MODERN, first)
        assert first["inputRequests"] == {"user name": QUESTION}
        assert first["x-unknown"] == 1
        state = first["requestState"]
        assert state != "theirs"
        answers = {"user name": ANN, "more": ANN}
        given = able(params, inputResponses=answers, requestState=state)
        second = (await modern(app._mcp, method, given)).result
        validate_server_result(method, MODERN, second)
        assert second["resultType"] == "complete"
        wrong = able(params, inputResponses=answers, requestState=state[:-1])
        assert (await modern(app._mcp, method, wrong)).error["code"] == -32602
    (_, once, context), (_, again, _) = server.asked
    assert context.peer is not None
    assert context.peer.in_rounds
    assert once == params
    assert again == {**params, "inputResponses": answers, **kept}


async def test_answers_without_a_state_pass_too() -> None:
    server = asking()
    async with behind({"a": server}) as app:
        method, params = ASKED[0]
        given = able(params, inputResponses={"user name": ANN})
        assert (await modern(app._mcp, method, given)).result["resultType"] == "complete"
    assert server.asked[0][1]["inputResponses"] == {"user name": ANN}


async def test_a_state_of_theirs_is_no_answer_of_ours() -> None:
    """A server that has begun to ask by requests since is not given what it does not know."""
    server = asking(requestState="theirs")
    async with behind({"a": server}) as app:
        method, params = ASKED[0]
        first = (await modern(app._mcp, method, able(params))).result

        async def ask(_method: str, _params: Any, _emit: Emit) -> dict[str, Any]:
            peer = server.asked[-1][2].peer
            assert peer is not None
            return dict(await peer(QUESTION["method"], QUESTION["params"], key="user name"))

        server.answer = ask
        given = able(params, inputResponses={}, requestState=first["requestState"])
        again = (await modern(app._mcp, method, given)).result
        assert [*again["inputRequests"]] == ["user name"]


@METHODS
@pytest.mark.parametrize(("speak", "status"), [(legacy, 200), (modern, 400)])
async def test_a_capability_that_a_server_misses(
    speak: Any, status: int, method: str, params: dict[str, Any]
) -> None:
    async def refuse(_method: str, _params: Any, _emit: Emit) -> dict[str, Any]:
        raise JsonRpcError(-32021, "Missing", {"requiredCapabilities": {"sampling": {}}})

    server = asking()
    server.answer = refuse
    async with behind({"a": server}) as app:
        response = await speak(app._mcp, method, params)
        assert (response.status, response.error["code"]) == (status, -32021)
        assert response.error["data"] == {"requiredCapabilities": {"sampling": {}}}


MARKED = {
    "type": "object",
    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"mcp-param-region": "eu"}, None),
        ({"mcp-param-region": "=?base64?ZXU=?="}, None),
        ({"mcp-param-region": "us"}, -32020),
        ({}, -32020),
    ],
)
async def test_headers_that_repeat_arguments_of_their_tools(
    headers: dict[str, str], code: int | None
) -> None:
    server = FakeServer({"tools": ({"name": "t", "inputSchema": MARKED}, *named("plain"))})
    async with behind({"a": server}) as app:
        params = {"name": "t", "arguments": {"region": "eu"}}
        response = await modern(app._mcp, "tools/call", params, headers=headers)
        assert response.json.get("error", {}).get("code") == code
        assert len(server.asked) == (code is None)
        assert (await modern(app._mcp, "tools/call", {"name": "plain"})).result["content"]
        assert (await modern(app._mcp, "tools/call", {"name": "x"})).error["code"] == -32602


async def test_the_level_of_logs_goes_along() -> None:
    server = FakeServer({"tools": named("t")})
    async with behind({"a": server}) as app:
        await modern(app._mcp, "tools/call", {"name": "t"})
        meta = {**ENVELOPE, LEVEL_KEY: "warning"}
        await modern(app._mcp, "tools/call", {"name": "t", "_meta": meta})
        session = await initialize(app._mcp)
        await legacy(app._mcp, "tools/call", {"name": "t"}, session=session)
        await legacy(app._mcp, "logging/setLevel", {"level": "info"}, session=session)
        await legacy(app._mcp, "tools/call", {"name": "t"}, session=session)
    assert [context.log_level for *_, context in server.asked] == ["", "warning", "", "info"]


async def test_changes_of_lists_are_advertised_where_there_are_any() -> None:
    for servers, changing in (({}, False), ({"a": FakeServer()}, True)):
        async with behind(servers) as app:
            found = (await modern(app._mcp, "server/discover")).result["capabilities"]
            said = {key: each for key, each in found.items() if "listChanged" in each}
            assert set(said) == ({"tools", "prompts", "resources"} if changing else {"tools"})
            assert all(each["listChanged"] is changing for each in said.values())
