"""Resources that clients are told of: by `subscriptions/listen`, and by a legacy GET stream."""

from __future__ import annotations

import json
import math
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from gateway.core.federation import Federated
from gateway.inbound.mcp.files import Files
from gateway.inbound.mcp.listen import MAX_WATCHED, Changes
from gateway.inbound.mcp.watched import LOOK_S, WatchedFile
from gateway.net.asgi import Incoming
from gateway.net.events import BEAT_S
from tests.federated import FakeServer, behind, resource
from tests.inbound.mcp.driver import ENVELOPE, LEGACY, MODERN, initialize, legacy, modern, send

UPDATED = "notifications/resources/updated"


def server_of(*uris: str) -> FakeServer:
    return FakeServer({"resources": tuple(map(resource, uris))}, tells=uris)


def file_of(path: Path) -> dict[str, Any]:
    path.write_text("one")
    return {"resources": {"f": {"uri": "docs://f", "file": str(path)}}}


class Listener:
    """A stream that its client reads."""

    def __init__(self) -> None:
        self.status = 0
        self.heard: list[Any] = []
        self.left = trio.Event()

    async def read(self, app: Any, method: str, body: Any, headers: dict[str, str]) -> None:
        pending = [{"type": "http.request", "body": json.dumps(body).encode()}]

        async def receive() -> Any:
            if pending:
                return pending.pop()
            await self.left.wait()
            return {"type": "http.disconnect"}

        async def take(message: Any) -> None:
            self.status = message.get("status", self.status)
            for line in message.get("body", b"").decode().splitlines():
                if line.startswith("data: "):
                    self.heard.append(json.loads(line.removeprefix("data: ")))

        given = {"content-type": "application/json", "accept": "text/event-stream", **headers}
        named = [(name.encode(), value.encode()) for name, value in given.items()]
        scope = {"type": "http", "method": method, "path": "/mcp", "headers": named}
        await app._mcp(Incoming.of(scope), receive, take)

    def told(self) -> list[str]:
        return [each["method"] for each in self.heard]


@asynccontextmanager
async def listening(
    app: Any, session: str | None = None, **wanted: Any
) -> AsyncGenerator[Listener]:
    """A client that listens: by a GET where it has a session, else as 2026-07-28 has it."""
    listener = Listener()
    method, headers = "GET", {"mcp-protocol-version": LEGACY, "mcp-session-id": session or ""}
    body: Any = None
    if session is None:
        method = "POST"
        params = {"notifications": wanted, "_meta": ENVELOPE}
        named = {"jsonrpc": "2.0", "id": 7, "method": "subscriptions/listen"}
        body = {**named, "params": params}
        headers = {"mcp-protocol-version": MODERN, "mcp-method": "subscriptions/listen"}
        headers["accept"] = "application/json, text/event-stream"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.read, app, method, body, headers)
        await trio.testing.wait_all_tasks_blocked()
        yield listener
        listener.left.set()


async def test_a_modern_client_is_told_of_resources() -> None:
    servers = {"a": server_of("a://1", "a://2")}
    async with behind(servers) as app:
        uris = ["a://1", "a://1", "b://none", "a://2"]
        async with listening(app, resourceSubscriptions=uris) as listener:
            agreed = listener.heard[0]["params"]["notifications"]
            assert agreed == {"resourceSubscriptions": ["a://1", "a://1", "a://2"]}
            (uri, hear), _ = servers["a"].watched
            hear()
            hear()
            await trio.testing.wait_all_tasks_blocked()
            assert listener.told()[1:] == [UPDATED]
            assert listener.heard[1]["params"]["uri"] == uri == "a://1"
            assert len(listener.heard[1]["params"]["_meta"]) == 1
        assert servers["a"].watched == []


@pytest.mark.parametrize("uris", ["a://1", [1], {"a": 1}])
async def test_malformed_subscriptions(uris: Any) -> None:
    async with behind({"a": server_of()}) as app:
        wanted = {"notifications": {"resourceSubscriptions": uris}}
        assert (await modern(app._mcp, "subscriptions/listen", wanted)).error["code"] == -32602


async def test_a_legacy_client_is_told_on_its_stream() -> None:
    servers = {"a": server_of("a://1", "a://2")}
    async with behind(servers) as app:
        session = await initialize(app._mcp)

        async def ask(method: str, uri: str) -> Any:
            return (await legacy(app._mcp, method, {"uri": uri}, session=session)).json

        assert (await ask("resources/subscribe", "a://1"))["result"] == {}
        assert servers["a"].watched == []  # there is nowhere to tell it yet
        async with listening(app, session) as listener:
            assert (listener.status, listener.heard) == (200, [])
            await ask("resources/subscribe", "a://2")
            for _, hear in servers["a"].watched:
                hear()
            await trio.testing.wait_all_tasks_blocked()
            assert [each["params"] for each in listener.heard] == [
                {"uri": "a://1"},
                {"uri": "a://2"},
            ]
            await ask("resources/unsubscribe", "a://1")
            assert [uri for uri, _ in servers["a"].watched] == ["a://2"]
            second = await send(
                app._mcp,
                method="GET",
                headers={"mcp-session-id": session, "accept": "text/event-stream"},
            )
            assert second.status == 409
        assert servers["a"].watched == []
        async with listening(app, session):
            assert [uri for uri, _ in servers["a"].watched] == ["a://2"]


async def test_a_legacy_stream_tells_of_lists() -> None:
    server = FakeServer()
    async with behind({"a": server}) as app:
        async with listening(app, await initialize(app._mcp)) as listener:
            for hear in server.listeners:
                hear("tools")
                hear("resourceTemplates")
            await trio.testing.wait_all_tasks_blocked()
            wanted = ["notifications/resources/list_changed", "notifications/tools/list_changed"]
            assert listener.told() == wanted
            assert all("params" not in each for each in listener.heard)
        assert server.listeners == []


async def test_what_cannot_be_subscribed_to(tmp_path: Path) -> None:
    async with behind({"a": server_of("a://1")}, **file_of(tmp_path / "f")) as app:
        session = await initialize(app._mcp)
        for uri, given, code in (
            ("b://none", session, -32002),
            ("a://" + "x" * 9000, session, -32002),
            (None, session, -32602),
            ("a://1", None, -32600),
        ):
            params = {} if uri is None else {"uri": uri}
            response = await legacy(app._mcp, "resources/subscribe", params, session=given)
            assert response.error["code"] == code
        kept = app._mcp._legacy._sessions.find(session, context_of(app))
        kept.subscribed.update(f"docs://{number}" for number in range(MAX_WATCHED))
        response = await legacy(app._mcp, "resources/subscribe", {"uri": "a://1"}, session=session)
        assert response.error["code"] == -32602


def context_of(app: Any) -> Any:
    scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": []}
    return app.context(Incoming.of(scope), "mcp")


async def test_where_there_is_nothing_to_tell_there_is_no_stream() -> None:
    async with behind({}) as app:
        refused = await send(app._mcp, method="GET")
        assert (refused.status, refused.headers["allow"]) == (405, "POST, DELETE")
        assert (await legacy(app._mcp, "resources/subscribe", {"uri": "a:b"})).error[
            "code"
        ] == -32601
    async with behind({"a": FakeServer()}) as app:
        modern_one = await send(app._mcp, method="GET", headers={"mcp-protocol-version": MODERN})
        assert (modern_one.status, modern_one.headers["allow"]) == (405, "GET, POST, DELETE")
        refused = await send(app._mcp, method="GET", headers={"accept": "application/json"})
        assert refused.status == 406


async def test_with_several_workers_sessions_do_not_subscribe() -> None:
    server = {"allowed_hosts": ["localhost"], "workers": 2}
    async with behind({"a": server_of("a://1")}, server=server) as app:
        params = {"protocolVersion": LEGACY, "capabilities": {}}
        found = (await legacy(app._mcp, "initialize", params)).result["capabilities"]
        assert found["resources"] == {"listChanged": True, "subscribe": False}
        answer = await legacy(app._mcp, "resources/subscribe", {"uri": "a://1"})
        assert answer.error["code"] == -32601
        discovered = (await modern(app._mcp, "server/discover")).result["capabilities"]
        assert discovered["resources"]["subscribe"] is True


async def test_a_file_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "f"
    async with behind({}, **file_of(path)) as app:
        library = app._mcp._modern._library
        heard: list[str] = []
        watch = library.watch("docs://f", lambda: heard.append("f"), context_of(app))
        assert isinstance(watch, WatchedFile)
        await watch.look()
        await watch.look()
        assert heard == []
        path.write_text("two, and more")
        await watch.look()
        assert heard == ["f"]
        path.unlink()
        await watch.look()
        await watch.look()
        assert heard == ["f", "f"]


class Looked:
    """A watch that sees a change at every second look."""

    every_s = LOOK_S

    def __init__(self, hear: Callable[[], None]) -> None:
        self.hear = hear
        self.looks: list[float] = []

    async def look(self) -> None:
        await trio.lowlevel.checkpoint()
        self.looks.append(trio.current_time())
        if len(self.looks) % 2:
            self.hear()

    def stop(self) -> None:
        self.hear = lambda: None


async def test_what_is_not_told_is_looked_at(autojump_clock: MockClock) -> None:
    watches: list[Looked] = []

    def begin(_uri: str, hear: Callable[[], None]) -> Looked:
        watches.append(Looked(hear))
        return watches[-1]

    with Changes() as changes:
        assert await changes.next(BEAT_S) == ([], [])
        assert trio.current_time() == BEAT_S
        assert await changes.follow("a:b", begin)
        assert await changes.follow("a:b", begin)
        assert len(watches) == 1
        assert await changes.next(math.inf) == ([], ["a:b"])
        assert await changes.next(math.inf) == ([], [])
        assert await changes.next(math.inf) == ([], ["a:b"])
        changes.leave("a:b")
        changes.leave("a:b")
    assert watches[0].looks == [BEAT_S, BEAT_S + LOOK_S, BEAT_S + 2 * LOOK_S]


def test_the_fake_is_what_it_stands_for() -> None:
    assert isinstance(FakeServer(), Federated)


async def test_the_stamp_of_a_file(tmp_path: Path) -> None:
    files = Files(lambda _event: None)
    assert await files.stamp(tmp_path / "none") == ""
    (tmp_path / "f").write_text("x")
    before = await files.stamp(tmp_path / "f")
    os.utime(tmp_path / "f", (1, 1))
    assert await files.stamp(tmp_path / "f") != before
