"""2026-07-28: the envelope, its headers, discovery, and the statuses of errors."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from mcp_types import UnsupportedProtocolVersionErrorData
from mcp_types._v2026_07_28 import JSONRPCErrorResponse
from mcp_types.methods import validate_server_result

from tests.inbound.mcp.driver import (
    ENVELOPE,
    LEGACY,
    MODERN,
    ScriptedFront,
    mcp,
    modern,
    notification,
    request,
    returns,
    send,
)

VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
SUPPORTED = [MODERN, "2025-11-25", "2025-06-18", "2025-03-26"]


def app() -> Any:
    return mcp(ScriptedFront({"t": returns({"a": 1}), "日本": returns({})}))


def without(mapping: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name != key}


async def test_discover() -> None:
    response = await modern(app(), "server/discover")
    assert response.status == 200
    validate_server_result("server/discover", MODERN, response.result)
    result = response.result
    assert result["supportedVersions"] == SUPPORTED
    assert result["capabilities"] == {"tools": {"listChanged": False}}
    assert result["resultType"] == "complete"
    assert result["ttlMs"] > 0
    assert result["cacheScope"] == "public"
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "gateway"


async def test_every_result_says_that_it_is_complete_and_whose() -> None:
    for method, params in (("tools/list", {}), ("tools/call", {"name": "t"})):
        response = await modern(app(), method, params)
        validate_server_result(method, MODERN, response.result)
        assert response.result["resultType"] == "complete"
        assert "io.modelcontextprotocol/serverInfo" in response.result["_meta"]
        assert "mcp-session-id" not in response.headers


@pytest.mark.parametrize(
    "method",
    ["initialize", "ping", "logging/setLevel", "resources/list", "prompts/list", "nonsense",
     "completion/complete"],
)  # fmt: skip
async def test_an_unknown_method_is_not_found(method: str) -> None:
    response = await modern(app(), method)
    assert response.status == 404
    parsed = JSONRPCErrorResponse.model_validate(response.json)
    assert parsed.error.code == -32601


ENVELOPES = {
    "no params": (None, -32602),
    "no _meta": ({}, -32602),
    "null _meta": ({"_meta": None}, -32602),
    "no version": ({"_meta": without(ENVELOPE, VERSION_KEY)}, -32602),
    "no capabilities": ({"_meta": without(ENVELOPE, CAPABILITIES_KEY)}, -32602),
    "null version": ({"_meta": {**ENVELOPE, VERSION_KEY: None}}, -32020),
    "version is a number": ({"_meta": {**ENVELOPE, VERSION_KEY: 20260728}}, -32020),
    "another version": ({"_meta": {**ENVELOPE, VERSION_KEY: LEGACY}}, -32020),
    "capabilities no object": ({"_meta": {**ENVELOPE, CAPABILITIES_KEY: []}}, -32602),
}


@pytest.mark.parametrize("name", ENVELOPES)
async def test_a_wrong_envelope_is_refused(name: str) -> None:
    params, code = ENVELOPES[name]
    headers = {"mcp-protocol-version": MODERN, "mcp-method": "tools/list"}
    response = await send(app(), request("tools/list", params), headers=headers)
    assert response.status == 400
    assert JSONRPCErrorResponse.model_validate(response.json).error.code == code


async def test_client_info_may_be_left_out() -> None:
    envelope = without(ENVELOPE, "io.modelcontextprotocol/clientInfo")
    assert (await modern(app(), "tools/list", {"_meta": envelope})).status == 200


def base64(text: str) -> str:
    return f"=?base64?{b64encode(text.encode()).decode()}?="


HEADERS: dict[str, tuple[dict[str, str | None], int | None]] = {
    "right": ({}, None),
    "right, in base64": ({"mcp-name": base64("t")}, None),
    "no version": ({"mcp-protocol-version": None}, -32020),
    "legacy version": ({"mcp-protocol-version": LEGACY}, -32020),
    "version twice": ({"mcp-protocol-version": f"{MODERN}, {MODERN}"}, -32020),
    "no method": ({"mcp-method": None}, -32020),
    "another method": ({"mcp-method": "tools/list"}, -32020),
    "method in other case": ({"mcp-method": "Tools/Call"}, -32020),
    "no name": ({"mcp-name": None}, -32020),
    "another name": ({"mcp-name": "u"}, -32020),
    "another name in base64": ({"mcp-name": base64("u")}, -32020),
    "bad base64": ({"mcp-name": "=?base64?t!?="}, -32020),
    "base64 of no text": ({"mcp-name": "=?base64?/w==?="}, -32020),
    "half a sentinel": ({"mcp-name": "=?base64?="}, -32020),
    "a session it does not know": ({"mcp-session-id": "nonsense"}, None),
}


@pytest.mark.parametrize("name", HEADERS)
async def test_headers_must_match_the_body(name: str) -> None:
    headers, code = HEADERS[name]
    response = await modern(app(), "tools/call", {"name": "t"}, headers=headers)
    if code is None:
        assert response.status == 200, response.json
        return
    assert response.status == 400
    assert JSONRPCErrorResponse.model_validate(response.json).error.code == code


async def test_a_name_that_no_header_can_hold_comes_in_base64() -> None:
    headers = {"mcp-name": base64("日本")}
    response = await modern(app(), "tools/call", {"name": "日本"}, headers=headers)
    assert response.result["structuredContent"] == {}


@pytest.mark.parametrize("version", ["2024-11-05", "2027-01-01", "nonsense"])
@pytest.mark.parametrize("enveloped", [True, False])
async def test_a_version_we_do_not_speak_is_answered_with_those_we_do(
    version: str, enveloped: bool
) -> None:
    headers = {"mcp-protocol-version": version, "mcp-method": "tools/list"}
    params = {"_meta": {**ENVELOPE, VERSION_KEY: version}} if enveloped else None
    response = await send(app(), request("tools/list", params), headers=headers)
    assert response.status == 400
    assert response.error["code"] == -32022
    data = UnsupportedProtocolVersionErrorData.model_validate(response.error["data"])
    assert data.supported == SUPPORTED
    assert data.requested == version


async def test_notifications_are_held_against_the_version_only() -> None:
    message = notification("notifications/cancelled", {"requestId": 1})
    accepted = await send(app(), message, headers={"mcp-protocol-version": MODERN})
    assert accepted.status == 202
    refused = await send(app(), message, headers={"mcp-protocol-version": "2027-01-01"})
    assert (refused.status, refused.error["code"]) == (400, -32022)


async def test_a_batch_is_refused() -> None:
    batch = [request("server/discover", {"_meta": ENVELOPE})]
    response = await send(app(), batch, headers={"mcp-protocol-version": MODERN})
    assert (response.status, response.error["code"]) == (400, -32600)


async def test_wrong_parameters_are_a_bad_request() -> None:
    for params, headers in (
        ({"name": 1}, {"mcp-name": "1"}),
        ({}, {}),
        ({"name": "t", "arguments": [1]}, {}),
        ({"name": "absent"}, {}),
    ):
        response = await modern(app(), "tools/call", params, headers=headers)
        assert response.status == 400
        assert response.error["code"] in {-32602, -32020}
    response = await modern(app(), "tools/call", {"name": "absent"})
    assert response.error == {"code": -32602, "message": "Unknown tool: absent"}
    response = await modern(app(), "tools/list", {"cursor": "nonsense"})
    assert (response.status, response.error["code"]) == (400, -32602)
