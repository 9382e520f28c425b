"""`output_schema`: what is listed, and what every answer is held against."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway import ConfigError, Context, Request, create_app
from gateway.app import Gateway
from gateway.core import content
from gateway.core.errors import BadReply, GatewayError, NotFound
from gateway.core.messages import Reply
from gateway.plan.answers import AnswerSchema
from gateway.testing import InMemoryClient, ScriptedService

STRICT = {
    "properties": {"name": "string", "age": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}


def app_of(value: Any, schema: Any = STRICT, **tool: Any) -> Gateway:
    service = ScriptedService()
    for one in value if isinstance(value, tuple) else (value,):
        if isinstance(one, GatewayError):
            service.fail(one)
        else:
            service.reply(one)
    config = {
        "server": {"allowed_hosts": ["localhost"]},
        "services": {"s": {"kind": "http", "url": "http://api.test"}},
        "tools": {
            "t": {
                "calls": {"a": {"service": "s", "get": "/"}},
                "output": "a",
                "output_schema": schema,
                **tool,
            }
        },
    }
    return create_app(config, services={"s": service})


async def called(app: Gateway) -> Reply:
    async with app.running():
        return await app.call(Request("t", {}, Context(request_id="r")))


async def test_an_answer_that_fits_goes_out() -> None:
    assert (await called(app_of({"name": "Ada"}))).value == {"name": "Ada"}


@pytest.mark.parametrize(
    ("value", "breaches"),
    [
        ({"age": "x", "more": 1}, {"/name", "/age", "/more"}),
        ([1], {""}),
        ("text", {""}),
        (None, {""}),
    ],
)
async def test_an_answer_that_breaks_it_is_a_bad_reply(value: Any, breaches: set[str]) -> None:
    with pytest.raises(BadReply, match="breaks the tool's output schema") as caught:
        await called(app_of(value))
    assert {breach["pointer"] for breach in caught.value.errors} == breaches


async def test_breaches_are_bounded() -> None:
    schema = {"properties": {"l": {"type": "array", "items": {"type": "string"}}}}
    with pytest.raises(BadReply) as caught:
        await called(app_of({"l": list(range(500))}, schema))
    assert len(caught.value.errors) == 100


PARTIAL: dict[str, Any] = {
    "calls": {
        "a": {"service": "s", "get": "/"},
        "b": {"service": "s", "get": "/b", "optional": True},
    },
}


async def test_a_partial_answer_has_its_errors_besides() -> None:
    app = app_of(({"name": "Ada"}, NotFound("no b")), **PARTIAL)
    answers = app.tools["t"].answers
    assert answers is not None
    assert "_errors" in answers.schema["properties"]
    reply = await called(app)
    assert json.loads(reply.encoded)["_errors"][0]["call"] == "b"


async def test_what_is_missing_must_fit_too() -> None:
    output = {"output": {"name": "b"}}
    with pytest.raises(BadReply) as caught:
        await called(app_of(({"name": "Ada"}, NotFound("no b")), **PARTIAL, **output))
    assert [breach["pointer"] for breach in caught.value.errors] == ["/name"]


def test_whole_answers_promise_no_errors() -> None:
    answers = app_of({}).tools["t"].answers
    assert answers is not None
    assert "_errors" not in answers.schema["properties"]


def test_content_is_judged_by_its_value() -> None:
    schema = AnswerSchema.compile({"type": "object", "required": ["days"]}, partial=False)

    def reply(value: Any) -> Reply:
        return Reply(content.content_of(value)).sealed()

    schema.check(reply(content.Result({"days": 1}, ["x"])))
    with pytest.raises(BadReply, match="breaks"):
        schema.check(reply(content.Result({}, ["x"])))
    with pytest.raises(BadReply, match="without the value"):
        schema.check(reply(content.Text("x")))


async def test_what_is_listed() -> None:
    app = app_of({}, title="Person", destructive=False, open_world=True, read_only=False)
    headers = {"mcp-protocol-version": "2025-11-25", "accept": "application/json"}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    async with app.running():
        client = InMemoryClient(app)
        answer = await client.request("POST", "/mcp", json=message, headers=headers)
        (listed,) = answer.json()["result"]["tools"]
        document = (await client.request("GET", "/openapi.json")).json()
    schema = {**STRICT, "type": "object", "properties": {"name": {"type": "string"}}}
    schema["properties"]["age"] = {"type": "integer"}  # type: ignore[index]
    assert listed["title"] == "Person"
    assert listed["outputSchema"] == schema
    assert listed["annotations"] == {
        "readOnlyHint": False,
        "idempotentHint": True,
        "destructiveHint": False,
        "openWorldHint": True,
    }
    operation = document["paths"]["/tools/t"]["post"]
    assert operation["summary"] == "Person"
    shown = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert shown == {"$ref": "#/components/schemas/t.answer"}
    assert document["components"]["schemas"]["t.answer"] == schema


def test_what_is_inferred() -> None:
    tool = app_of({}).tools["t"]
    assert (tool.read_only, tool.destructive, tool.open_world) == (True, None, None)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"schema": {"type": "array"}}, "output_schema.type: expected"),
        ({"schema": {"properties": {"a": "text"}}}, "output_schema.properties.a: expected"),
        ({"schema": {"$ref": "https://example.com/s.json"}}, 'output_schema."$ref": expected'),
        ({"read_only": True, "destructive": True}, "destructive: expected false"),
        (
            {"schema": {"anyOf": [{"anyOf": [{}] * 50}] * 50}},
            "output_schema: not fit for answers: values would be held against more than 2000",
        ),
        (
            {"input": {"anyOf": [{"anyOf": [{}] * 50}] * 50}},
            "input: not fit for arguments of strangers: values would be held against more",
        ),
    ],
)
def test_mistakes_are_told(keys: dict[str, Any], told: str) -> None:
    schema = keys.pop("schema", STRICT)
    with pytest.raises(ConfigError) as caught:
        app_of({}, schema, **keys)
    assert f"tools.t.{told}" in str(caught.value)
