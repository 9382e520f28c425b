"""What the official clients do with all that the gateway has: its own, and through another gateway."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp_types import CreateMessageResult, ElicitResult, ListRootsResult, Root, TextContent

from tests.end_to_end.mcp_functions import PIXEL, SOUND
from tests.end_to_end.support import serving, until
from tests.end_to_end.test_mcp_clients import inspector

__all__ = ["inspector"]

pytestmark = [
    pytest.mark.end_to_end,
    # The SDK's client leaves the generators of an answer that is an event stream to the collector.
    pytest.mark.filterwarnings("ignore:Async generator '(httpx2|httpcore2|mcp):ResourceWarning"),
    pytest.mark.filterwarnings("ignore:The logging capability:mcp.MCPDeprecationWarning"),
]

MODES = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
ERAS = pytest.mark.parametrize("era", ["legacy", "modern"])
WAYS = pytest.mark.parametrize("way", ["own", "through"])


def function(name: str, *arguments: str, **more: Any) -> dict[str, Any]:
    given = {argument: f"{{{argument}}}" for argument in arguments}
    return {
        "description": f"It {name}.",
        "output": "r",
        "input": {
            "properties": dict.fromkeys(arguments, "integer"),
            "required": list(arguments),
        },
        "calls": {"r": {"service": "f", "function": name, "arguments": given}},
        **more,
    }


def config(folder: Path) -> dict[str, Any]:
    (folder / "handbook.md").write_text("Be kind.")
    (folder / "logo.png").write_bytes(PIXEL)
    (folder / "greet.md").write_text("Greet {name}.")
    schema = {
        "type": "object",
        "properties": {"sum": {"type": "integer"}},
        "required": ["sum"],
    }
    return {
        "services": {"f": {"kind": "python", "module": "tests.end_to_end.mcp_functions"}},
        "tools": {
            "add": function("add", "a", "b", output_schema=schema),
            "shows": function("shows"),
            "tells": function("tells"),
            "asks": function("asks"),
            "counts": function("counts"),
            "sum": function("add", "a", "b"),
        },
        "prompts": {"greet": {"file": str(folder / "greet.md"), "description": "Say hello."}},
        "resources": {
            "handbook": {"uri": "docs://handbook", "file": str(folder / "handbook.md")},
            "logo": {"uri": "docs://logo", "file": str(folder / "logo.png")},
            "sums": {"uri_template": "sum://{a}/{b}", "tool": "sum"},
        },
    }


@asynccontextmanager
async def gateway(way: str, folder: Path, **more: Any) -> AsyncGenerator[str]:
    """Where the gateway is, itself or one before it that has nothing of its own."""
    own = config(folder)
    if way == "own":
        async with serving({**own, **more}) as (_, port):
            yield f"http://127.0.0.1:{port}/mcp"
        return
    async with serving(own) as (_, inner):
        services = {"s": {"kind": "mcp", "url": f"http://127.0.0.1:{inner}/mcp"}}
        async with serving({"services": services, **more}) as (app, port):
            await until(lambda: app.federated["s"].listed("resourceTemplates").items)
            yield f"http://127.0.0.1:{port}/mcp"


@WAYS
@MODES
async def test_content_of_every_kind(way: str, mode: str, tmp_path: Path) -> None:
    async with gateway(way, tmp_path) as url, Client(url, mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == ["add", "shows", "tells", "asks", "counts", "sum"]
        assert tools["add"].output_schema is not None
        added = await client.call_tool("add", {"a": 1, "b": 2})
        assert added.structured_content == {"sum": 3}
        blocks: Any = (await client.call_tool("shows")).content
        kinds = [block.type for block in blocks]
        assert kinds == ["text", "image", "audio", "resource_link", "resource"]
        _, image, audio, link, embedded = blocks
        assert (base64.b64decode(image.data), image.mime_type) == (PIXEL, "image/png")
        assert (base64.b64decode(audio.data), audio.mime_type) == (SOUND, "audio/wav")
        assert str(link.uri) == "docs://handbook"
        assert base64.b64decode(embedded.resource.blob) == PIXEL


@WAYS
@MODES
async def test_prompts_and_resources(way: str, mode: str, tmp_path: Path) -> None:
    async with gateway(way, tmp_path) as url, Client(url, mode=mode) as client:
        (prompt,) = (await client.list_prompts()).prompts
        assert prompt.name == "greet"
        got: Any = await client.get_prompt("greet", {"name": "Ada"})
        assert got.messages[0].content.text == "Greet Ada."
        with pytest.raises(MCPError) as caught:
            await client.get_prompt("greet", {})
        assert caught.value.code == -32602
        uris = [str(one.uri) for one in (await client.list_resources()).resources]
        assert uris == ["docs://handbook", "docs://logo"]
        text: Any = (await client.read_resource("docs://handbook")).contents[0]
        assert text.text == "Be kind."
        logo: Any = (await client.read_resource("docs://logo")).contents[0]
        assert (base64.b64decode(logo.blob), logo.mime_type) == (PIXEL, "image/png")
        (template,) = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "sum://{a}/{b}"
        total: Any = (await client.read_resource("sum://2/3")).contents[0]
        assert total.text == '{"sum":5}'
        with pytest.raises(MCPError):
            await client.read_resource("docs://none")


@WAYS
@MODES
async def test_progress_and_logs(way: str, mode: str, tmp_path: Path) -> None:
    progress: list[Any] = []
    logs: list[Any] = []

    async def note(*told: Any) -> None:
        progress.append(told)

    async def log(params: Any) -> None:
        logs.append((params.level, params.logger, params.data))

    async with (
        gateway(way, tmp_path) as url,
        Client(url, mode=mode, logging_callback=log, log_level="info") as client,
    ):
        if mode == "legacy":
            await client.set_logging_level("info")
        told = await client.call_tool("tells", progress_callback=note)
        assert told.content[0].text == '"told"'  # type: ignore[union-attr]
        await until(lambda: len(progress) == 3)
        assert progress == [(n, 3, f"step {n}") for n in (1, 2, 3)]
        await until(lambda: logs)
    assert logs == [("warning", "printer", {"paper": "low"})]


@WAYS
@MODES
async def test_pieces_are_progress(way: str, mode: str, tmp_path: Path) -> None:
    progress: list[Any] = []

    async def note(*told: Any) -> None:
        progress.append(told)

    async with gateway(way, tmp_path) as url, Client(url, mode=mode) as client:
        told = await client.call_tool("counts", progress_callback=note)
        assert told.content[0].text == "[1,2,3]"  # type: ignore[union-attr]
        await until(lambda: len(progress) == 3)
        assert progress == [(n, None, str(n)) for n in (1, 2, 3)]


async def elicited(_context: Any, params: Any) -> ElicitResult:
    assert params.message == "Who?"
    return ElicitResult(action="accept", content={"name": "Ada"})


async def sampled(_context: Any, params: Any) -> CreateMessageResult:
    text = TextContent(type="text", text="Hi")
    return CreateMessageResult(role="assistant", content=text, model="m")


async def rooted(_context: Any) -> ListRootsResult:
    return ListRootsResult(roots=[Root(uri="file:///home")])


@WAYS
@MODES
async def test_questions(way: str, mode: str, tmp_path: Path) -> None:
    async with gateway(way, tmp_path) as url:
        client = Client(
            url,
            mode=mode,
            elicitation_callback=elicited,
            sampling_callback=sampled,
            list_roots_callback=rooted,
        )
        async with client:
            result = await client.call_tool("asks")
            answers = {"name": "Ada", "sample": "Hi", "roots": ["file:///home"]}
            assert result.structured_content == answers


@WAYS
@MODES
async def test_a_search(way: str, mode: str, tmp_path: Path) -> None:
    searched = {"mcp": {"tools": "search", "pinned": ["shows"]}}
    async with gateway(way, tmp_path, **searched) as url, Client(url, mode=mode) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert names == ["search_tools", "call_tool", "shows"]
        found = await client.call_tool("search_tools", {"query": "adds numbers"})
        assert found.structured_content is not None
        assert "add" in {tool["name"] for tool in found.structured_content["tools"]}
        wanted = {"name": "add", "arguments": {"a": 20, "b": 22}}
        assert (await client.call_tool("call_tool", wanted)).structured_content == {"sum": 42}


@WAYS
@ERAS
async def test_the_inspector(inspector: Any, way: str, era: str, tmp_path: Path) -> None:
    async with gateway(way, tmp_path) as url:

        async def asked(method: str, *arguments: str) -> Any:
            return (await inspector(url, era, "--method", method, *arguments))["result"]

        prompts = await asked("prompts/list")
        assert [prompt["name"] for prompt in prompts["prompts"]] == ["greet"]
        got = await asked("prompts/get", "--prompt-name", "greet", "--prompt-args", "name=Ada")
        assert got["messages"][0]["content"]["text"] == "Greet Ada."
        resources = await asked("resources/list")
        assert [one["uri"] for one in resources["resources"]] == ["docs://handbook", "docs://logo"]
        templates = await asked("resources/templates/list")
        assert [one["uriTemplate"] for one in templates["resourceTemplates"]] == ["sum://{a}/{b}"]
        logo = await asked("resources/read", "--uri", "docs://logo")
        assert base64.b64decode(logo["contents"][0]["blob"]) == PIXEL
        shown = await asked("tools/call", "--tool-name", "shows")
        assert [block["type"] for block in shown["content"]][1:3] == ["image", "audio"]
