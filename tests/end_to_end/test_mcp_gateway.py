"""A whole gateway and the official SDK's client: TOML in, tools out."""

from __future__ import annotations

import pytest
import trio
from mcp import Client

from gateway.core.errors import Unreachable
from gateway.testing import ScriptedService
from tests.end_to_end.hosts import HOSTS, hosted
from tests.end_to_end.support import until

pytestmark = pytest.mark.end_to_end

CONFIG = {
    "services": {
        name: {"kind": "http", "url": "http://127.0.0.1:1"} for name in ("users", "orders", "crm")
    },
    "tools": {
        "customer": {
            "description": "Everything known about one customer.",
            "deadline": "1s",
            "input": {"properties": {"id": "integer"}, "required": ["id"]},
            "calls": {
                "profile": {"service": "users", "get": "/customers/{id}"},
                "orders": {
                    "service": "orders",
                    "get": "/orders",
                    "query": {"customer": "{id}"},
                    "optional": True,
                    "default": [],
                },
                "notes": {"service": "crm", "get": "/notes/{id}", "optional": True},
            },
            "output": {"name": "profile.name", "orders": "orders", "notes": "notes"},
        }
    },
}


@HOSTS
@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
async def test_the_sdks_client_gets_a_partial_answer_by_the_deadline(mode: str, host: str) -> None:
    services = {
        "users": ScriptedService().reply({"name": "Amber Heron"}),
        "orders": ScriptedService().fail(Unreachable("connection refused")),
        "crm": ScriptedService().hang(),
    }
    async with (
        hosted(host, CONFIG, services=services) as served,
        Client(f"{served.url}/mcp", mode=mode) as client,
    ):
        (tool,) = (await client.list_tools()).tools
        assert tool.name == "customer"
        assert tool.input_schema["properties"]["id"] == {"type": "integer"}
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint
        start = trio.current_time()
        result = await client.call_tool("customer", {"id": 7})
        assert trio.current_time() - start < 5
        assert not result.is_error
        value = result.structured_content
        assert value is not None
        assert (value["name"], value["orders"], value["notes"]) == ("Amber Heron", [], None)
        assert [(one["call"], one["code"]) for one in value["_errors"]] == [
            ("orders", "unreachable"),
            ("notes", "deadline_exceeded"),
        ]
        assert services["crm"].active == 0
        wrong = await client.call_tool("customer", {"id": "seven"})
        assert wrong.is_error
        assert wrong.structured_content is not None
        assert wrong.structured_content["errors"][0]["pointer"] == "/id"
        assert served.app.in_flight == 0


@HOSTS
@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
async def test_the_sdks_client_cancels_and_every_downstream_call_ends(mode: str, host: str) -> None:
    hanging = ScriptedService().hang()
    config = {**CONFIG, "tools": {"customer": {**CONFIG["tools"]["customer"], "deadline": "30s"}}}
    services = dict.fromkeys(("users", "orders", "crm"), hanging)
    async with (
        hosted(host, config, services=services) as served,
        Client(f"{served.url}/mcp", mode=mode) as client,
    ):
        for _ in range(5):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(client.call_tool, "customer", {"id": 7})
                    await until(lambda: hanging.active == 3, within_s=10)
                    scope.cancel()
            await until(lambda: not (hanging.active or served.app.in_flight), within_s=10)
        assert hanging.cancelled == 15
