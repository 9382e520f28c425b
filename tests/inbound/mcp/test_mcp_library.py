"""Prompts, resources and completions: our own, and those of servers behind us."""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from mcp_types.methods import validate_server_result

from gateway.config.settings import ResourceSettings
from gateway.core.errors import Unreachable
from gateway.core.peer import JsonRpcError
from gateway.core.service import Emit
from gateway.inbound.mcp.resources import Resource
from gateway.testing import ScriptedService
from tests.apps import Events
from tests.federated import FakeServer, behind, prompt, resource, template
from tests.inbound.mcp.driver import (
    LEGACY,
    MODERN,
    NoAnswerError,
    initialize,
    legacy,
    modern,
    notification,
    send,
)

ERAS = pytest.mark.parametrize(("speak", "version"), [(legacy, LEGACY), (modern, MODERN)])


async def result(speak: Any, version: str, app: Any, method: str, **params: Any) -> Any:
    response = await speak(app._mcp, method, params)
    validate_server_result(method, version, response.result)
    return response.result


async def error(speak: Any, app: Any, method: str, **params: Any) -> Any:
    return (await speak(app._mcp, method, params)).error


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "summarise.md").write_text("Summarise in {style}:\n\n{text}\n\n{{as is}}\n")
    (tmp_path / "handbook.md").write_text("Be kind.\n")
    (tmp_path / "logo.png").write_bytes(b"\x89PNG\r\n\xff")
    (tmp_path / "odd").write_bytes(b"\xff\xfe")
    return tmp_path


def own(files: Path) -> dict[str, Any]:
    return {
        "prompts": {
            "summarise": {
                "file": str(files / "summarise.md"),
                "title": "Summary",
                "description": "Makes it short.",
            }
        },
        "resources": {
            "handbook": {
                "uri": "docs://handbook",
                "file": str(files / "handbook.md"),
                "description": "How we work.",
            },
            "logo": {"uri": "docs://logo", "file": str(files / "logo.png")},
            "odd": {"uri": "docs://odd", "file": str(files / "odd"), "title": "Odd"},
        },
    }


@ERAS
async def test_our_own_are_listed(speak: Any, version: str, files: Path) -> None:
    async with behind({}, **own(files)) as app:
        prompts = await result(speak, version, app, "prompts/list")
        assert prompts["prompts"] == [
            {
                "name": "summarise",
                "title": "Summary",
                "description": "Makes it short.",
                "arguments": [
                    {"name": "style", "required": True},
                    {"name": "text", "required": True},
                ],
            }
        ]
        resources = await result(speak, version, app, "resources/list")
        assert resources["resources"] == [
            {
                "uri": "docs://handbook",
                "name": "handbook",
                "description": "How we work.",
                "mimeType": "text/markdown",
            },
            {"uri": "docs://logo", "name": "logo", "mimeType": "image/png"},
            {"uri": "docs://odd", "name": "odd", "title": "Odd"},
        ]
        templates = await result(speak, version, app, "resources/templates/list")
        assert templates["resourceTemplates"] == []


@pytest.mark.parametrize(
    ("name", "mime_type"),
    [
        ("a.md", "text/markdown"),
        ("a.YAML", "application/yaml"),
        ("a.json", "application/json"),
        ("a.txt.gz", "application/octet-stream"),
        ("a", ""),
    ],
)
def test_types_are_guessed(name: str, mime_type: str) -> None:
    assert Resource.of("r", ResourceSettings(uri="a:b", file=Path(name))).mime_type == mime_type


@ERAS
async def test_a_prompt_is_filled_in(speak: Any, version: str, files: Path) -> None:
    async with behind({}, **own(files)) as app:
        given = {"style": "one line", "text": "{text} stays", "more": "ignored"}
        got = await result(speak, version, app, "prompts/get", name="summarise", arguments=given)
        assert got["description"] == "Makes it short."
        text = "Summarise in one line:\n\n{text} stays\n\n{as is}"
        assert got["messages"] == [{"role": "user", "content": {"type": "text", "text": text}}]
        # What is changed is seen, the placeholders too.
        (files / "summarise.md").write_text("Be short: {text}")
        got = await result(
            speak, version, app, "prompts/get", name="summarise", arguments={"text": "x"}
        )
        assert got["messages"][0]["content"]["text"] == "Be short: x"


@ERAS
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"name": "summarise"}, "Invalid params: arguments: style: expected a string"),
        (
            {"name": "summarise", "arguments": {"style": 1, "text": "x"}},
            "Invalid params: arguments: style: expected a string",
        ),
        ({"name": "summarise", "arguments": []}, "Invalid params: arguments: expected an object"),
        ({"name": "nothing"}, "Unknown prompt: nothing"),
        ({}, "Invalid params: name: expected a string"),
    ],
)
async def test_a_wrong_request_for_a_prompt(
    speak: Any, version: str, files: Path, params: Any, message: str
) -> None:
    events = Events()
    async with behind({}, events=events, **own(files)) as app:
        wrong = await error(speak, app, "prompts/get", **params)
        assert (wrong["code"], wrong["message"]) == (-32602, message)
    events.assert_balanced()
    assert events.last.outcome == "error"


@ERAS
async def test_files_are_read_as_what_they_are(speak: Any, version: str, files: Path) -> None:
    async with behind({}, **own(files)) as app:
        read = await result(speak, version, app, "resources/read", uri="docs://handbook")
        assert read["contents"] == [
            {"uri": "docs://handbook", "mimeType": "text/markdown", "text": "Be kind.\n"}
        ]
        (item,) = (await result(speak, version, app, "resources/read", uri="docs://logo"))[
            "contents"
        ]
        assert item["mimeType"] == "image/png"
        assert b64decode(item["blob"]) == b"\x89PNG\r\n\xff"
        (item,) = (await result(speak, version, app, "resources/read", uri="docs://odd"))[
            "contents"
        ]
        assert item["mimeType"] == "application/octet-stream"
        (files / "handbook.md").write_text("Be kinder.")
        read = await result(speak, version, app, "resources/read", uri="docs://handbook")
        assert read["contents"][0]["text"] == "Be kinder."


@pytest.mark.parametrize(("speak", "code"), [(legacy, -32002), (modern, -32602)])
async def test_what_is_not_there(speak: Any, code: int, files: Path) -> None:
    async with behind({}, **own(files)) as app:
        for uri in ("docs://other", "docs://handbook/", "file:///etc/passwd", "", "["):
            absent = await error(speak, app, "resources/read", uri=uri)
            assert (absent["code"], absent["data"]) == (code, {"uri": uri})
        (files / "handbook.md").unlink()
        absent = await error(speak, app, "resources/read", uri="docs://handbook")
        assert absent["code"] == code
        assert (await error(speak, app, "resources/read"))["code"] == -32602
        long = await error(speak, app, "resources/read", uri="docs://" + "x" * 9000)
        assert "over 8192" in long["message"]


@ERAS
async def test_files_that_cannot_be_read(speak: Any, version: str, files: Path) -> None:
    async with behind({}, **own(files)) as app:
        with (files / "handbook.md").open("wb") as file:
            file.truncate(4_194_305)
        wrong = await error(speak, app, "resources/read", uri="docs://handbook")
        assert (wrong["code"], wrong["data"]["code"]) == (-32603, "too_large")
        (files / "handbook.md").unlink()
        os.mkfifo(files / "handbook.md")  # nobody writes: it must not be waited for
        wrong = await error(speak, app, "resources/read", uri="docs://handbook")
        assert (wrong["code"], wrong["data"]["code"]) == (-32603, "internal")
        (files / "summarise.md").write_text("{")
        wrong = await error(speak, app, "prompts/get", name="summarise")
        assert (wrong["code"], wrong["data"]["code"]) == (-32603, "internal")


CRM = {
    "services": {"api": {"kind": "http", "url": "http://127.0.0.1:1"}},
    "tools": {
        "customer": {
            "input": {"properties": {"id": "integer", "part": "string"}, "required": ["id"]},
            "calls": {"c": {"service": "api", "get": "/customers/{id}"}},
            "output": "c",
        }
    },
    "resources": {
        "customer": {"uri_template": "crm://customers/{id}", "tool": "customer"},
        "part": {"uri_template": "crm://customers/{id}/parts/{part}", "tool": "customer"},
    },
}


def crm(service: ScriptedService, events: Events | None = None) -> Any:
    return behind({}, events=events, instead={"api": service}, **CRM)


@ERAS
async def test_a_tool_serves_a_template(speak: Any, version: str) -> None:
    events = Events()
    service = ScriptedService().reply({"name": "Ada"})
    async with crm(service, events) as app:
        templates = await result(speak, version, app, "resources/templates/list")
        assert templates["resourceTemplates"][0] == {
            "uriTemplate": "crm://customers/{id}",
            "name": "customer",
            "mimeType": "application/json",
        }
        read = await result(speak, version, app, "resources/read", uri="crm://customers/7")
        assert read["contents"] == [
            {"uri": "crm://customers/7", "mimeType": "application/json", "text": '{"name":"Ada"}'}
        ]
        assert service.requests[0].arguments["get"] == "/customers/7"
    assert events.last.tool == "customer"
    events.assert_balanced()


@ERAS
async def test_failures_of_a_tool_that_serves_a_template(speak: Any, version: str) -> None:
    events = Events()
    service = ScriptedService().fail(Unreachable("connection refused"))
    async with crm(service, events) as app:
        wrong = await error(speak, app, "resources/read", uri="crm://customers/seven")
        assert (wrong["code"], wrong["data"]["code"]) == (-32602, "invalid_arguments")
        wrong = await error(speak, app, "resources/read", uri="crm://customers/7/parts/a%2Fb")
        assert (wrong["code"], wrong["data"]["code"]) == (-32603, "unreachable")
        wrong = await error(speak, app, "resources/read", uri="crm://customers/7/8")
        assert wrong["code"] in {-32002, -32602}
    events.assert_balanced()


def library_of(name: str) -> FakeServer:
    return FakeServer(
        {
            "prompts": (prompt(f"{name}_prompt"),),
            "resources": (resource(f"{name}://all"),),
            "resourceTemplates": (template(f"{name}://pages/{{number}}{{?q}}"),),
        },
        answer=echo,
    )


async def echo(method: str, params: Mapping[str, Any], _emit: Emit) -> dict[str, Any]:
    match method:
        case "prompts/get":
            return {"messages": [], "description": params["name"], "new": 1}
        case "resources/read":
            return {"contents": [{"uri": params["uri"], "text": "x", "new": 1}]}
        case _:
            return {"completion": {"values": [params["argument"]["value"]]}}


@ERAS
async def test_theirs_are_listed_and_asked_for(speak: Any, version: str, files: Path) -> None:
    servers = {"a": library_of("a"), "b": library_of("b")}
    events = Events()
    async with behind(servers, events=events, **own(files)) as app:
        listed = await result(speak, version, app, "prompts/list")
        names = [one["name"] for one in listed["prompts"]]
        assert names == ["summarise", "a_prompt", "b_prompt"]
        listed = await result(speak, version, app, "resources/list")
        assert [one["uri"] for one in listed["resources"]][3:] == ["a://all", "b://all"]
        got = await result(speak, version, app, "prompts/get", name="b_prompt")
        assert (got["description"], got["new"]) == ("b_prompt", 1)
        for uri in ("b://all", "b://pages/7?q=x", "b://of-a-link"):
            read = await result(speak, version, app, "resources/read", uri=uri)
            assert read["contents"] == [{"uri": uri, "text": "x", "new": 1}]
        assert servers["a"].asked == []
        reference = {"type": "ref/prompt", "name": "a_prompt"}
        completed = await result(
            speak,
            version,
            app,
            "completion/complete",
            ref=reference,
            argument={"name": "text", "value": "v"},
        )
        assert completed["completion"]["values"] == ["v"]
        reference = {"type": "ref/resource", "uri": "a://pages/{number}{?q}"}
        argument = {"name": "number", "value": "7"}
        await result(speak, version, app, "completion/complete", ref=reference, argument=argument)
        assert [asked[0] for asked in servers["a"].asked] == ["completion/complete"] * 2
    assert {event.tool for event in events.of(type(events.last))} == {
        "prompts/get",
        "resources/read",
        "completion/complete",
    }
    events.assert_balanced()


@ERAS
async def test_completions_of_our_own_are_none(speak: Any, version: str, files: Path) -> None:
    async with behind({}, **own(files)) as app:
        argument = {"name": "text", "value": "v"}
        reference = {"type": "ref/prompt", "name": "summarise"}
        completed = await result(
            speak, version, app, "completion/complete", ref=reference, argument=argument
        )
        assert completed["completion"] == {"values": [], "total": 0, "hasMore": False}
        for wrong in ({}, {"type": "ref/x"}, {"type": "ref/prompt", "name": "x"}):
            told = await error(speak, app, "completion/complete", ref=wrong, argument=argument)
            assert told["code"] == -32602


@ERAS
async def test_their_failures_are_errors(speak: Any, version: str) -> None:
    async def fail(method: str, _params: Mapping[str, Any], _emit: Emit) -> dict[str, Any]:
        if method == "prompts/get":
            raise JsonRpcError(-32000, "no paper", [1])
        raise Unreachable("connection refused")

    events = Events()
    server = library_of("a")
    server.answer = fail
    async with behind({"a": server}, events=events) as app:
        wrong = await error(speak, app, "prompts/get", name="a_prompt")
        assert wrong == {"code": -32000, "message": "no paper", "data": [1]}
        wrong = await error(speak, app, "resources/read", uri="a://all")
        assert (wrong["code"], wrong["data"]["code"]) == (-32603, "unreachable")
        assert wrong["data"]["service"] == "a"
    events.assert_balanced()


@ERAS
async def test_what_a_silent_server_may_have(speak: Any, version: str) -> None:
    async with behind({"a": FakeServer(why="a is not there")}) as app:
        for method, params in (
            ("prompts/get", {"name": "p"}),
            ("resources/read", {"uri": "a://b"}),
        ):
            wrong = await error(speak, app, method, **params)
            assert (wrong["code"], wrong["data"]["code"]) == (-32603, "unreachable")
            assert "a is not there" in wrong["message"]


async def test_what_is_advertised(files: Path) -> None:
    async def capabilities(app: Any) -> Any:
        return (await modern(app._mcp, "server/discover")).result["capabilities"]

    async with behind({}) as app:
        assert set(await capabilities(app)) == {"tools"}
        assert (await error(modern, app, "prompts/list"))["code"] == -32601
        assert (await error(legacy, app, "resources/read", uri="x:y"))["code"] == -32601
    async with behind({}, **own(files)) as app:
        assert set(await capabilities(app)) == {"tools", "prompts", "resources", "completions"}
    async with behind({"a": FakeServer()}) as app:
        assert set(await capabilities(app)) == {"tools", "prompts", "resources", "completions"}
    async with crm(ScriptedService()) as app:
        assert set(await capabilities(app)) == {"tools", "resources"}


async def test_reading_is_cancelled_by_notification_and_by_leaving() -> None:
    async def hang(_method: str, _params: Mapping[str, Any], _emit: Emit) -> dict[str, Any]:
        began.set()
        await trio.sleep_forever()
        raise AssertionError

    began = trio.Event()
    server = library_of("a")
    server.answer = hang
    async with behind({"a": server}) as app:
        session = await initialize(app._mcp)
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                read = {"uri": "a://all"}
                response = await legacy(app._mcp, "resources/read", read, session=session, id="r")
                assert response.body == b""

            nursery.start_soon(ask)
            await began.wait()
            headers = {"mcp-session-id": session}
            told = notification("notifications/cancelled", {"requestId": "r"})
            await send(app._mcp, told, headers=headers)
        assert server.cancelled == 1
        began = trio.Event()
        with pytest.raises(NoAnswerError):
            await legacy(app._mcp, "resources/read", {"uri": "a://all"}, leaving=began)
        assert server.cancelled == 2
        assert app.in_flight == 0
