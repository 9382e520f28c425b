"""What each kind of service streams reaches clients of HTTP and of MCP, and ends with them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway.app import Gateway, create_app
from tests.adapters import functions
from tests.adapters.functions import CLOSED
from tests.adapters.test_http_pages import linked
from tests.adapters.test_websocket_kind import Server as WebSocketServer
from tests.end_to_end.support import until
from tests.http_service import Scripted
from tests.inbound.taker import McpTaker, Taker
from tests.network import network
from tests.support import lives

ADDRESS = "10.0.0.1"
SCRIPT = 'echo 1; echo 2; echo 3; echo $$ >pid; test -n "$1" || sleep 60'


def python(name: str, *, ends: bool) -> Any:
    """A service, and a call of it that gives 1, 2, 3, and then ends or goes on for ever."""
    function = name if ends else f"endless_{name}"
    call = {"function": function, "arguments": {"a": 3} if ends else {}}
    return {"kind": "python", "module": functions.__name__, "threads": 2}, call


def kinds(folder: Path, *, ends: bool) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """By kind, a service and a call that streams 1, 2, 3; then it ends, or goes on in silence."""
    command = ["sh", "-c", SCRIPT, "sh", *(["ends"] if ends else [])]
    http = {"kind": "http", "url": "http://api.test", "allow_private": True}
    websocket = {"kind": "websocket", "url": "ws://api.test/feed", "allow_private": True}
    subscription = {"subscribe": True, "send": "go"} | ({"messages": 3} if ends else {})
    return {
        "a generator": python("count_up", ends=ends),
        "an async generator": python("count_up_async", ends=ends),
        "a program": (
            {"kind": "command", "program": command, "directory": str(folder)},
            {"output": "lines"},
        ),
        "a subscription": (websocket, subscription),
        "pages": (http, {"get": "/x", "pages": {"next": "link", "stream": True}}),
    }


KINDS = pytest.mark.parametrize("kind", list(kinds(Path(), ends=True)))


class World:
    """A gateway with one streaming tool, and what stands behind it."""

    def __init__(self, app: Gateway, folder: Path, feed: Any, pages: Scripted) -> None:
        self.app = app
        self._folder = folder
        self._feed = feed
        self._pages = pages

    def is_over(self, kind: str) -> bool:
        """Whether nothing of a call that had no end goes on."""
        match kind:
            case "a generator" | "an async generator":
                return bool(CLOSED)
            case "a program":
                pid = int((self._folder / "pid").read_text())
                return not lives(pid)
            case "a subscription":
                return self._feed["open"] == 0
            case _:
                return self._pages.active == 0


@asynccontextmanager
async def world(kind: str, folder: Path, *, ends: bool) -> AsyncGenerator[World]:
    service, call = kinds(folder, ends=ends)[kind]
    feed = {"open": 0}
    CLOSED.clear()

    async def say_three(say: Callable[..., Any], _text: str) -> None:
        for number in (1, 2, 3):
            await say(str(number))

    async def subscribed(stream: trio.abc.Stream) -> None:
        feed["open"] += 1
        try:
            await WebSocketServer(say_three)(stream)
        finally:
            feed["open"] -= 1

    last = linked([3], None) if ends else linked([3], "/never")
    answers = [linked([1, 2], "/y"), last]
    if not ends:
        answers.append(_hang)
    pages = Scripted(*answers)
    config = {
        "server": {"allowed_hosts": ["localhost"], "deadline": "30s"},
        "services": {"s": service},
        "tools": {"t": {"calls": {"a": {"service": "s", **call}}, "output": "a"}},
    }
    async with network() as net:
        net.name("api.test", ADDRESS)
        net.serve(ADDRESS, 80, subscribed if kind == "a subscription" else pages)
        app = create_app(config)
        async with app.running():
            yield World(app, folder, feed, pages)


async def _hang(_request: Any, _stream: Any) -> None:
    await trio.sleep_forever()


def wanted(kind: str) -> list[Any]:
    return ["1", "2", "3"] if kind == "a program" else [1, 2, 3]


@KINDS
async def test_pieces_reach_a_client_of_http(kind: str, tmp_path: Path) -> None:
    async with world(kind, tmp_path, ends=True) as made:
        client = await Taker(made.app)()
    assert client.pieces == wanted(kind)
    assert client.answer == wanted(kind)


@KINDS
async def test_pieces_come_before_the_end_and_leaving_is_the_end(kind: str, tmp_path: Path) -> None:
    async with world(kind, tmp_path, ends=False) as made:
        client = Taker(made.app)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client)
                await until(lambda: len(client.events) >= 3)
                assert client.pieces[:3] == wanted(kind)
                client.leaving.set()
            # Programs and threads end beside their request, which waited for neither.
            await until(lambda: made.is_over(kind))
        assert made.app.in_flight == 0
    assert not client.is_whole


@KINDS
async def test_pieces_reach_a_client_of_mcp_as_progress(kind: str, tmp_path: Path) -> None:
    async with world(kind, tmp_path, ends=True) as made:
        client = McpTaker(made.app)
        await client()
    assert client.notes == [
        {"progressToken": 7, "progress": number, "message": str(number)} for number in (1, 2, 3)
    ]
    assert client.result["structuredContent"] == wanted(kind)


@KINDS
async def test_a_client_of_mcp_that_leaves_ends_it_too(kind: str, tmp_path: Path) -> None:
    async with world(kind, tmp_path, ends=False) as made:
        client = McpTaker(made.app)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client)
                await until(lambda: len(client.events) >= 3)
                client.leaving.set()
            await until(lambda: made.is_over(kind))
        assert made.app.in_flight == 0
    assert not client.is_whole
