"""Resources of a server that somebody is told of."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gateway.adapters.mcp import watches as watches_module
from tests.adapters.mcp.behind import Behind, behind
from tests.http_service import Received
from tests.mcp_server import McpServer, events

LEGACY = "2025-11-25"
SUBSCRIBE = {"resources": {"subscribe": True}}


def updated(uri: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}}


class Heard:
    """What each of several resources was told, in order."""

    def __init__(self, it: Behind) -> None:
        self.it = it
        self.told: list[str] = []
        self.stack = ExitStack()

    def watch(self, *uris: str) -> None:
        for uri in uris:
            begun = self.it.adapter.watching(uri, self._hear(uri))
            assert begun is not None
            self.stack.enter_context(begun)

    def _hear(self, uri: str) -> Callable[[], None]:
        return lambda: self.told.append(uri)


def wanted_of(server: McpServer) -> list[Any]:
    asked = server.messages("subscriptions/listen")
    return [message["params"]["notifications"] for message in asked]


async def test_a_modern_server_has_one_stream_for_all(autojump_clock: MockClock) -> None:
    def listen(_request: Received) -> Any:
        return events(5, updated("a:1"), updated("a:2/below"), updated("a:22"), end=False)

    server = McpServer({"subscriptions/listen": listen}, capabilities=SUBSCRIBE)
    async with behind(server) as it:
        heard = Heard(it)
        with heard.stack:
            heard.watch("a:1", "a:2", "a:1")
            await trio.sleep(2)
            assert wanted_of(server) == [{"resourceSubscriptions": ["a:1", "a:2"]}]
            await trio.sleep(5)
            assert heard.told == ["a:1", "a:1", "a:2"]
            heard.watch("a:3")
            await trio.sleep(2)
            assert wanted_of(server)[1:] == [{"resourceSubscriptions": ["a:1", "a:2", "a:3"]}]
        await trio.sleep(2)
        assert len(wanted_of(server)) == 2
        assert len(it.net.open) < 3  # no stream is left


async def test_nothing_is_lost_between_two_streams(autojump_clock: MockClock) -> None:
    def listen(request: Received) -> Any:
        first = b"a:2" not in request.body
        return events(*((2.5, updated("a:1")) if first else (99,)), end=False)

    server = McpServer({"subscriptions/listen": listen}, capabilities=SUBSCRIBE)
    async with behind(server) as it:
        heard = Heard(it)
        with heard.stack:
            heard.watch("a:1")
            await trio.sleep(3)
            heard.watch("a:2")
            await trio.sleep(2)
        assert heard.told == ["a:1"]


@pytest.mark.parametrize("end", [True, False])
async def test_what_went_unheard_may_have_changed(autojump_clock: MockClock, end: bool) -> None:
    first = events() if end else events(b"no JSON", end=False)
    streams = [first, events(end=False), events(end=False)]
    on = {"subscriptions/listen": lambda _: streams.pop(0)}
    async with behind(McpServer(on, capabilities=SUBSCRIBE)) as it:
        heard = Heard(it)
        with heard.stack:
            heard.watch("a:1")
            await trio.sleep(10)
        assert heard.told == ["a:1"]


async def test_a_legacy_server_is_subscribed_to(autojump_clock: MockClock) -> None:
    sent: list[tuple[str, str]] = []

    def note(request: Received) -> Any:
        message = json.loads(request.body)
        sent.append((message["method"].partition("/")[2], message["params"]["uri"]))
        return {}

    on = {
        "resources/subscribe": note,
        "resources/unsubscribe": note,
        "resources/list": {"resources": []},
        "resources/templates/list": {"resourceTemplates": []},
        "GET": lambda _: events(3, updated("a:1"), end=False),
    }
    server = McpServer(on, legacy=LEGACY, capabilities=SUBSCRIBE)
    async with behind(server) as it:
        heard = Heard(it)
        with heard.stack:
            heard.watch("a:1", "a:2")
            await trio.sleep(4)
            assert sent == [("subscribe", "a:1"), ("subscribe", "a:2")]
            assert heard.told == ["a:1"]
            # Another session knows nothing of it.
            server.sessions = {"another"}
            it.adapter._catalog.expire()
            await trio.sleep(20)
            assert sent[2:] == [("subscribe", "a:1"), ("subscribe", "a:2")]
            assert {"a:1", "a:2"} == set(heard.told[1:])
        await trio.sleep(2)
        assert sent[4:] == [("unsubscribe", "a:1"), ("unsubscribe", "a:2")]


async def test_what_is_not_watched(autojump_clock: MockClock) -> None:
    def hear() -> None: ...

    async with behind(McpServer()) as it:
        assert it.adapter.watching("a:1", hear) is None
    async with behind(None) as it:
        assert it.adapter.watching("a:1", hear) is None
    secret = {"resources": [{"uri": "a:1", "name": "secret"}]}
    on = {"resources/list": secret, "subscriptions/listen": lambda _: events(end=False)}
    server = McpServer(on, capabilities=SUBSCRIBE)
    async with behind(server, deny=("secret",)) as it:
        assert it.adapter.watching("a:1", hear) is None
        with ExitStack() as stack:
            for number in range(watches_module._MAX_WATCHED):
                begun = it.adapter.watching(f"b:{number}", hear)
                assert begun is not None
                stack.enter_context(begun)
            assert it.adapter.watching("b:more", hear) is None
            assert it.adapter.watching("b:0", hear) is not None


async def test_a_hearer_that_fails_costs_nobody_else(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("out of ears")

    on = {"subscriptions/listen": lambda _: events(1, updated("a:1"), end=False)}
    async with behind(McpServer(on, capabilities=SUBSCRIBE)) as it:
        heard = Heard(it)
        with heard.stack:
            begun = it.adapter.watching("a:1", fail)
            assert begun is not None
            heard.stack.enter_context(begun)
            heard.watch("a:1")
            await trio.sleep(3)
        assert heard.told == ["a:1"]
    assert "out of ears" in caplog.text
