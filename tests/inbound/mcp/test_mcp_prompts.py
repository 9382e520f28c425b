"""Prompts that are what a tool answers; what they and resources ask of their client meanwhile."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp_types.methods import validate_server_result

from gateway import content
from gateway.core.caller import Caller
from gateway.core.content import content_of
from gateway.core.errors import Unreachable
from gateway.core.messages import Reply, Request
from gateway.core.service import Emit, Service
from gateway.testing import ScriptedService
from tests.apps import Events
from tests.federated import behind
from tests.inbound.mcp.driver import ENVELOPE, LEGACY, MODERN, Client, initialize, legacy, modern

ERAS = pytest.mark.parametrize(("speak", "version"), [(legacy, LEGACY), (modern, MODERN)])
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
ASKED = {"message": "Who are you?", "requestedSchema": {"type": "object", "properties": {}}}
ANN = {"action": "accept", "content": {"name": "Ann"}}

BRIEF = {
    "services": {"api": {"kind": "http", "url": "http://127.0.0.1:1"}},
    "tools": {
        "brief": {
            "input": {
                "properties": {
                    "number": {"type": "integer", "description": "Which one"},
                    "tone": {"type": "string", "enum": ["formal", "friendly", "frank"]},
                },
                "required": ["number"],
            },
            "calls": {"c": {"service": "api", "get": "/briefs/{number}"}},
            "output": "c",
        }
    },
    "prompts": {"brief": {"tool": "brief", "title": "Brief", "description": "A brief."}},
    "resources": {
        "brief": {"uri_template": "briefs://{number}", "tool": "brief"},
        "toned": {"uri_template": "briefs://{number}/{tone}", "tool": "brief"},
    },
}


def app_of(service: Service, events: Events | None = None) -> Any:
    return behind({}, events=events, instead={"api": service}, **BRIEF)


async def asking(request: Request, emit: Emit) -> Reply:
    """A service that asks before it answers."""
    answer = await Caller(request.context.peer, emit).ask("elicitation/create", ASKED, key="who")
    return Reply(f"For {answer['content']['name']}")


async def got(speak: Any, version: str, app: Any, **arguments: Any) -> Any:
    response = await speak(app._mcp, "prompts/get", {"name": "brief", "arguments": arguments})
    validate_server_result("prompts/get", version, response.result)
    return response.result


@ERAS
async def test_its_inputs_are_the_arguments(speak: Any, version: str) -> None:
    async with app_of(ScriptedService()) as app:
        listed = (await speak(app._mcp, "prompts/list")).result
        validate_server_result("prompts/list", version, listed)
        assert listed["prompts"] == [
            {
                "name": "brief",
                "title": "Brief",
                "description": "A brief.",
                "arguments": [
                    {"name": "number", "description": "Which one", "required": True},
                    {"name": "tone", "required": False},
                ],
            }
        ]


@ERAS
@pytest.mark.parametrize(
    ("value", "contents"),
    [
        ("Be brief.", [{"type": "text", "text": "Be brief."}]),
        ({"a": 1}, [{"type": "text", "text": '{"a":1}'}]),
        (
            content_of([content.Text("See:"), content.Image(b"x", "image/png")]),
            [
                {"type": "text", "text": "See:"},
                {"type": "image", "data": "eA==", "mimeType": "image/png"},
            ],
        ),
    ],
)
async def test_its_answer_is_the_messages(
    speak: Any, version: str, value: Any, contents: list[Any]
) -> None:
    events = Events()
    service = ScriptedService().reply(value)
    async with app_of(service, events) as app:
        result = await got(speak, version, app, number="7")
        assert result["description"] == "A brief."
        assert result["messages"] == [{"role": "user", "content": each} for each in contents]
    assert service.requests[0].arguments["get"] == "/briefs/7"
    assert events.last.tool == "brief"
    events.assert_balanced()


@ERAS
async def test_what_fails(speak: Any, version: str) -> None:
    events = Events()
    async with app_of(ScriptedService().fail(Unreachable("connection refused")), events) as app:
        for arguments, code, told in (
            ({"number": 7}, -32602, "arguments: number: expected a string"),
            ({"number": "seven"}, -32602, "invalid_arguments"),
            ({"number": "7"}, -32603, "connection refused"),
        ):
            params = {"name": "brief", "arguments": arguments}
            error = (await speak(app._mcp, "prompts/get", params)).error
            assert error["code"] == code, version
            assert told in error["message"]
    events.assert_balanced()


@ERAS
@pytest.mark.parametrize(
    "reference",
    [
        {"type": "ref/prompt", "name": "brief"},
        {"type": "ref/resource", "uri": "briefs://{number}/{tone}"},
    ],
)
async def test_what_a_schema_names_completes(speak: Any, version: str, reference: Any) -> None:
    async with app_of(ScriptedService()) as app:
        for name, value, values in (
            ("tone", "fr", ["friendly", "frank"]),
            ("tone", "", ["formal", "friendly", "frank"]),
            ("number", "1", []),
            ("other", "1", []),
        ):
            params = {"ref": reference, "argument": {"name": name, "value": value}}
            result = (await speak(app._mcp, "completion/complete", params)).result
            validate_server_result("completion/complete", version, result)
            found = {"values": values, "total": len(values), "hasMore": False}
            assert result["completion"] == found


async def test_no_more_completions_than_may_be() -> None:
    async with app_of(ScriptedService()) as app:
        schema = app.tools["brief"].input_schema
        schema["properties"]["tone"]["enum"] = [f"tone {number}" for number in range(150)]
        params = {
            "ref": {"type": "ref/prompt", "name": "brief"},
            "argument": {"name": "tone", "value": "tone"},
        }
        completion = (await modern(app._mcp, "completion/complete", params)).result["completion"]
        assert (len(completion["values"]), completion["total"]) == (100, 150)
        assert completion["hasMore"] is True


# ------------------------------------------------------------------- questions

FOR_A_PROMPT = ("prompts/get", {"name": "brief", "arguments": {"number": "7"}})
FOR_A_RESOURCE = ("resources/read", {"uri": "briefs://7"})
METHODS = pytest.mark.parametrize(("method", "params"), [FOR_A_PROMPT, FOR_A_RESOURCE])


def able(params: Any, **further: Any) -> dict[str, Any]:
    meta = {**ENVELOPE, CAPABILITIES_KEY: {"elicitation": {}}}
    return {**params, **further, "_meta": meta}


@METHODS
async def test_a_modern_client_is_asked_in_rounds(method: str, params: Any) -> None:
    events = Events()
    async with app_of(asking, events) as app:
        first = (await modern(app._mcp, method, able(params))).result
        validate_server_result(method, MODERN, first)
        assert first["resultType"] == "input_required"
        assert first["inputRequests"]["who"]["method"] == "elicitation/create"
        state = first["requestState"]
        given = able(params, inputResponses={"who": ANN}, requestState=state)
        second = (await modern(app._mcp, method, given)).result
        validate_server_result(method, MODERN, second)
        assert "For Ann" in json.dumps(second)
        for wrong in (state[:-1], state + "A"):
            given = able(params, inputResponses={"who": ANN}, requestState=wrong)
            assert (await modern(app._mcp, method, given)).error["code"] == -32602
    events.assert_balanced()


async def test_a_state_is_good_for_its_method_alone() -> None:
    async with app_of(asking) as app:
        method, params = FOR_A_PROMPT
        state = (await modern(app._mcp, method, able(params))).result["requestState"]
        given = able(params, inputResponses={"who": ANN}, requestState=state)
        assert (await modern(app._mcp, "tools/call", given)).error["code"] == -32602


@METHODS
async def test_who_cannot_be_asked_is_told(method: str, params: Any) -> None:
    events = Events()
    async with app_of(asking, events) as app:
        response = await modern(app._mcp, method, params)
        assert (response.status, response.error["code"]) == (400, -32021)
        assert response.error["data"] == {"requiredCapabilities": {"elicitation": {}}}
        assert (await legacy(app._mcp, method, params)).error["code"] == -32603
    events.assert_balanced()


@METHODS
async def test_a_legacy_client_is_asked_on_the_stream(method: str, params: Any) -> None:
    async with app_of(asking) as app:
        client = Client(app._mcp, await initialize(app._mcp, elicitation={}), result=ANN)
        result = await client.ask(method, params)
        (question,) = client.asked
        assert (question["method"], question["params"]) == ("elicitation/create", ASKED)
        assert "For Ann" in json.dumps(result)
