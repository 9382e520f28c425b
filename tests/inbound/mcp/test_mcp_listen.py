"""`subscriptions/listen`: changes of lists, signs of life, an end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from gateway.core.federation import Listed, ListName
from gateway.core.messages import Context
from gateway.core.service import Emit
from gateway.inbound.mcp.jsonrpc import Message
from gateway.inbound.mcp.listen import SUBSCRIPTION_KEY, listen
from gateway.inbound.mcp.stream import EventStream
from gateway.net.events import BEAT_S
from tests.inbound.mcp.driver import NoAnswerError, ScriptedFront, mcp, modern

META = {SUBSCRIPTION_KEY: 7}
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"


class Server:
    """Another server, whose lists change when the test says so."""

    name = "s"

    def __init__(self) -> None:
        self.heard_by: list[Callable[[ListName], None]] = []

    def listed(self, name: ListName, /) -> Listed:
        return Listed()

    @contextmanager
    def listening(self, hear: Callable[[ListName], None], /) -> Iterator[None]:
        self.heard_by.append(hear)
        yield
        self.heard_by.remove(hear)

    def change(self, name: ListName) -> None:
        for hear in self.heard_by:
            hear(name)

    def watching(self, uri: str, hear: Callable[[], None], /) -> None:
        return None

    async def ask(
        self, method: str, params: Mapping[str, Any], context: Context, emit: Emit, /
    ) -> dict[str, Any]:
        raise AssertionError


def nobody(_uri: str, _hear: Callable[[], None]) -> None:
    """Nobody tells of any resource."""


class Front(ScriptedFront):
    """A front whose drain the test begins."""

    def __init__(self) -> None:
        super().__init__()
        self.scope = trio.CancelScope()

    def waiting(self) -> AbstractContextManager[trio.CancelScope]:
        return self.scope


class Listener:
    """A client that listens to one server."""

    def __init__(self) -> None:
        self.server = Server()
        self.front = Front()
        self.sent: list[Any] = []
        self.result: dict[str, Any] | None = None

    async def take(self, message: Any) -> None:
        for line in message.get("body", b"").decode().splitlines():
            if line.startswith("data: "):
                self.sent.append(json.loads(line.removeprefix("data: ")))
            elif line.startswith(":"):
                self.sent.append("beat")

    async def listen(self, **wanted: Any) -> None:
        message = Message("subscriptions/listen", {"notifications": wanted}, 7)
        stream = EventStream(self.take, {}, "r")
        self.result = await listen(self.front, [self.server], message, stream, nobody)


async def test_a_client_hears_of_what_it_asked_for(autojump_clock: trio.abc.Clock) -> None:
    client = Listener()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: client.listen(
                toolsListChanged=True, resourcesListChanged=True, promptsListChanged=False
            )
        )
        await trio.testing.wait_all_tasks_blocked()
        agreed = {"resourcesListChanged": True, "toolsListChanged": True}
        assert client.sent == [
            {
                "jsonrpc": "2.0",
                "method": ACKNOWLEDGED,
                "params": {"notifications": agreed, "_meta": META},
            }
        ]
        names: tuple[ListName, ...] = ("tools", "prompts", "resources", "resourceTemplates")
        for name in names:
            client.server.change(name)
        await trio.testing.wait_all_tasks_blocked()
        told = client.sent[1:]
        assert [event["method"] for event in told] == [
            "notifications/resources/list_changed",
            "notifications/tools/list_changed",
        ]
        assert all(event["params"] == {"_meta": META} for event in told)
        await trio.sleep(BEAT_S * 2 + 1)
        assert client.sent[3:] == ["beat", "beat"]
        client.front.scope.cancel()
    assert client.result == META
    assert client.server.heard_by == []


async def test_where_nothing_changes_nothing_is_agreed_to(autojump_clock: MockClock) -> None:
    front = Front()
    front.scope.deadline = trio.current_time() + 1
    wanted = {"notifications": {"toolsListChanged": True}}
    response = await modern(mcp(front), "subscriptions/listen", wanted, id="a")
    acknowledged, answer = response.events
    assert acknowledged["params"]["notifications"] == {}
    assert answer["id"] == "a"
    assert answer["result"]["resultType"] == "complete"
    assert answer["result"]["_meta"][SUBSCRIPTION_KEY] == "a"


async def test_its_client_leaves() -> None:
    leaving = trio.Event()
    front = Front()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def client() -> None:
            with pytest.raises(NoAnswerError):
                await modern(mcp(front), "subscriptions/listen", leaving=leaving)

        await trio.testing.wait_all_tasks_blocked()
        leaving.set()


@pytest.mark.parametrize(
    ("params", "headers", "status"),
    [({"notifications": 5}, {}, 400), ({}, {"accept": "application/json"}, 406)],
)
async def test_what_is_refused(params: Any, headers: dict[str, str], status: int) -> None:
    response = await modern(mcp(Front()), "subscriptions/listen", params, headers=headers)
    assert response.status == status
    assert response.error["code"] in {-32602, -32600}
