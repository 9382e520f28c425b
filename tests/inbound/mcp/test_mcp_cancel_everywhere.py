"""What goes on to a server, is read or searched, cancelled at every checkpoint: nothing is left."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.core.service import Emit
from gateway.telemetry.events import CallEnded, CallStarted, RequestEnded, RequestStarted
from gateway.testing import Cancellable, cancel_at_every_checkpoint
from tests.apps import Events
from tests.federated import FakeServer, behind, named, prompt, resource
from tests.inbound.mcp.driver import NoAnswerError, legacy, modern

SLOW: tuple[tuple[str, dict[str, Any]], ...] = (
    ("tools/call", {"name": "t"}),
    ("tools/call", {"name": "search_tools", "arguments": {"query": "t"}}),
    ("tools/call", {"name": "call_tool", "arguments": {"name": "t"}}),
    ("prompts/get", {"name": "p"}),
    ("resources/read", {"uri": "a://b"}),
)


async def slowly(_method: str, _params: Mapping[str, Any], _emit: Emit) -> dict[str, Any]:
    await trio.sleep(0.1)
    await trio.sleep(0.1)
    return {"content": []}


@pytest.mark.parametrize("speak", [legacy, modern])
@pytest.mark.parametrize(("method", "params"), SLOW, ids=lambda value: str(value)[:60])
def test_nothing_is_left(speak: Any, method: str, params: dict[str, Any]) -> None:
    async def scenario(cancellable: Cancellable) -> None:
        events = Events()
        server = FakeServer(
            {
                "tools": (*named("t"), *named(*(f"t{n}" for n in range(120)))),
                "prompts": (prompt("p"),),
                "resources": (resource("a://b"),),
            },
            answer=slowly,
        )
        services = {"a": {"timeout": "1s"}}
        async with behind(
            {"a": server}, events=events, services=services, mcp={"tools": "search"}
        ) as app:

            async def request() -> None:
                await speak(app._mcp, method, params)

            await cancellable(request)
            assert app.in_flight == 0
            again = await speak(app._mcp, method, params)
            assert again.status == 200
        assert len(events.of(RequestStarted)) == len(events.of(RequestEnded))
        assert len(events.of(CallStarted)) == len(events.of(CallEnded))

    assert cancel_at_every_checkpoint(scenario) > 3


async def test_a_file_that_is_read_when_the_client_leaves(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    resources = {"f": {"uri": "docs://f", "file": str(tmp_path / "f")}}
    async with behind({}, resources=resources) as app:
        left = trio.Event()
        left.set()
        for _ in range(3):
            with contextlib.suppress(NoAnswerError):  # the thread may be faster than its client
                await modern(app._mcp, "resources/read", {"uri": "docs://f"}, leaving=left)
        assert app.in_flight == 0
        read = (await modern(app._mcp, "resources/read", {"uri": "docs://f"})).result
        assert read["contents"][0]["text"] == "x"
