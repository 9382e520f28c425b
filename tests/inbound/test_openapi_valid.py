"""`GET /openapi.json` is an OpenAPI 3.1 document, by somebody else's word."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_spec_validator import validate

from gateway import create_app
from gateway.testing import open_client

CALLS = {"x": {"service": "s", "get": "/"}}
NUMBER = {"$ref": "#/$defs/number"}
TOOLS: dict[str, Any] = {
    "plain": {"calls": CALLS},
    "plain_get": {"calls": CALLS},
    "routed": {
        "description": "One line.\nAnd more.",
        "http": "GET /things/{id}",
        "input": {"properties": {"id": "integer", "q": "string"}, "required": ["id", "q"]},
        "calls": CALLS,
    },
    "referring": {
        "http": "PUT /numbers/{id}",
        "input": {
            "properties": {"id": NUMBER, "list": {"type": "array", "items": NUMBER}, "$ref": {}},
            "required": ["id"],
            "$defs": {"number": {"type": "integer"}},
        },
        "calls": CALLS,
    },
    "bodiless": {
        "http": "POST /jobs/{id}",
        "input": {"properties": {"id": "integer"}},
        "calls": CALLS,
    },
}


@pytest.fixture
async def document() -> Any:
    app = create_app(
        {"services": {"s": {"kind": "http", "url": "http://127.0.0.1:1"}}, "tools": TOOLS}
    )
    async with open_client(app) as client:
        return (await client.request("GET", "/openapi.json")).json()


async def test_it_is_valid(document: Any) -> None:
    validate(document)


async def test_every_tool_has_its_operations(document: Any) -> None:
    operations = {
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
    }
    routed = {"routed.get", "referring.put", "bodiless.post"}
    assert operations == {*TOOLS, *routed}


async def test_path_and_query_are_parameters_and_the_rest_is_the_body(document: Any) -> None:
    get = document["paths"]["/things/{id}"]["get"]
    assert [(p["in"], p["name"], p["required"]) for p in get["parameters"]] == [
        ("header", "x-request-timeout-ms", False),
        ("path", "id", True),
        ("query", "q", True),
    ]
    assert "requestBody" not in get
    put = document["paths"]["/numbers/{id}"]["put"]
    body = put["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {"list", "$ref"}
    assert body["properties"]["list"]["items"] == {
        "$ref": "#/components/schemas/referring/$defs/number"
    }
    assert "requestBody" not in document["paths"]["/jobs/{id}"]["post"]
