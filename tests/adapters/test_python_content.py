"""Content that Python functions give: blocks over MCP, plain JSON everywhere else."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp_types.methods import validate_server_result

from gateway.app import Gateway, create_app
from gateway.core.messages import Context, Request
from gateway.testing import InMemoryClient
from tests.adapters import pictures
from tests.inbound.mcp.driver import ENVELOPE, LEGACY, MODERN, request

IMAGE = {"type": "image", "data": "iVBORw==", "mimeType": "image/png"}
MIXED = [
    {"type": "text", "text": "Here:"},
    IMAGE,
    {"type": "resource_link", "uri": "docs://a", "name": "a"},
]


@asynccontextmanager
async def serving(function: str = "", **tool: Any) -> AsyncGenerator[Gateway]:
    """A tool whose output is a call `a` of `function`, unless `tool` says something else."""
    config = {
        "server": {"allowed_hosts": ["localhost"]},
        "services": {"f": {"kind": "python", "module": pictures.__name__}},
        "tools": {
            "t": {"calls": {"a": {"service": "f", "function": function}}, "output": "a", **tool}
        },
    }
    app = create_app(config)
    async with app.running():
        yield app


async def by_mcp(app: Gateway, version: str = MODERN, **arguments: Any) -> dict[str, Any]:
    params: dict[str, Any] = {"name": "t", "arguments": arguments}
    headers = {"mcp-protocol-version": version, "accept": "application/json, text/event-stream"}
    if version == MODERN:
        params["_meta"] = ENVELOPE
        headers |= {"mcp-method": "tools/call", "mcp-name": "t"}
    body = request("tools/call", params)
    answer = await InMemoryClient(app).request("POST", "/mcp", headers=headers, json=body)
    result: dict[str, Any] = json.loads(answer.body)["result"]
    validate_server_result("tools/call", version, result)
    return result


async def by_http(app: Gateway) -> Any:
    answer = await InMemoryClient(app).request("POST", "/tools/t")
    return json.loads(answer.body)


VERSIONS = pytest.mark.parametrize("version", [LEGACY, MODERN])


@VERSIONS
@pytest.mark.parametrize(
    ("function", "blocks", "plain"), [("image", [IMAGE], IMAGE), ("mixed", MIXED, MIXED)]
)
async def test_blocks_over_mcp_and_plain_json_over_http(
    version: str, function: str, blocks: Any, plain: Any
) -> None:
    async with serving(function) as app:
        result = await by_mcp(app, version)
        assert result["content"] == blocks
        assert "structuredContent" not in result
        assert result["isError"] is False
        assert await by_http(app) == plain
        reply = await app.call(Request("t", {}, Context(request_id="r")))
        assert reply.value == plain


@VERSIONS
async def test_a_result_gives_both(version: str) -> None:
    async with serving("both") as app:
        result = await by_mcp(app, version)
        assert result["content"] == [IMAGE]
        assert result["structuredContent"] == {"days": 3}
        assert await by_http(app) == {"days": 3}


@pytest.mark.parametrize(
    ("tool", "wanted"),
    [
        ({"output": {"type": "a.type"}}, {"type": "image"}),
        ({"output": {"picture": "a"}}, {"picture": IMAGE}),
        ({"output": "[a]"}, [IMAGE]),
    ],
)
async def test_in_a_plan_it_is_plain_json(tool: dict[str, Any], wanted: Any) -> None:
    async with serving("image", **tool) as app:
        result = await by_mcp(app)
        assert result["structuredContent"] == wanted
        assert json.loads(result["content"][0]["text"]) == wanted


async def test_what_only_looks_like_content_is_plain_json() -> None:
    async with serving("looks_like_it") as app:
        result = await by_mcp(app)
        assert result["structuredContent"] == [{"type": "text", "text": "hi"}]
        assert result["content"] == [{"type": "text", "text": '[{"type":"text","text":"hi"}]'}]


@pytest.mark.parametrize("function", ["deep", "wrong"])
@pytest.mark.parametrize("output", ["a", "[a]"])
async def test_content_without_a_form_is_a_bad_reply(function: str, output: str) -> None:
    async with serving(function, output=output) as app:
        assert (await by_mcp(app))["structuredContent"]["code"] == "bad_reply"


@pytest.mark.parametrize(("function", "names_errors"), [("both", True), ("image", False)])
async def test_a_partial_answer_says_so_beside_the_blocks(
    function: str, names_errors: bool
) -> None:
    calls = {
        "a": {"service": "f", "function": function},
        "b": {"service": "f", "function": "fails", "optional": True},
    }
    async with serving(calls=calls) as app:
        result = await by_mcp(app)
        assert result["content"][0] == IMAGE
        assert result["content"][1]["text"].startswith("Partial answer: b is missing")
        assert ("_errors" in result.get("structuredContent", {})) is names_errors
