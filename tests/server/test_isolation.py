from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from gateway.server.bounds import ConnectionConfig
from gateway.server.reception import Reception
from tests.server.attacks import ATTACKS
from tests.server.serving import App

if TYPE_CHECKING:
    from tests.server.attacks import Attack


class Listener:
    """Accepts what the test connects."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Any](0)

    async def connect(self) -> Any:
        ours, theirs = trio.testing.memory_stream_pair()
        await self._send.send(ours)
        return theirs

    async def fail(self, error: OSError) -> None:
        await self._send.send(error)

    async def accept(self) -> Any:
        accepted = await self._receive.receive()
        if isinstance(accepted, OSError):
            raise accepted
        return accepted


CONFIG: Any = {
    "header_timeout": 5.0,
    "body_timeout": 10.0,
    "send_timeout": 10.0,
    "keep_alive": 75.0,
    "max_headers": 32 << 10,
    "max_message": 1 << 20,
    "http2_prior_knowledge": True,
}


def reception(app: App, **changes: Any) -> Reception:
    config = ConnectionConfig(**CONFIG)
    return Reception(app, config, **{"max_connections": 100, **changes})


async def is_served(stream: Any) -> bool:
    await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    heard = b""
    while not heard.endswith(b"ok"):
        piece = await stream.receive_some()
        if not piece:
            return False
        heard += piece
    return heard.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_no_connection_touches_another(
    attack: Attack, autojump_clock: trio.testing.MockClock
) -> None:
    app, listener = App(), Listener()
    desk = reception(app)
    async with trio.open_nursery() as nursery, trio.open_nursery() as connections:
        nursery.start_soon(desk.accept, listener, connections)
        neighbour = await listener.connect()
        assert await is_served(neighbour)
        await attack.on(await listener.connect())
        assert await is_served(neighbour)
        assert await is_served(await listener.connect())
        # The two healthy ones remain; of the other nothing does, within its linger.
        await trio.sleep(1.5)
        assert desk.open == 2
        assert app.under_way == 0
        nursery.cancel_scope.cancel()
    assert desk.open == 0


async def test_what_is_too_many_is_closed_at_once() -> None:
    listener = Listener()
    desk = reception(App(), max_connections=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.accept, listener, nursery)
        first, second = await listener.connect(), await listener.connect()
        third = await listener.connect()
        assert await third.receive_some() == b""
        assert await is_served(first)
        await second.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert await is_served(await listener.connect())
        nursery.cancel_scope.cancel()


async def test_accepting_goes_on_after_a_failure(autojump_clock: trio.testing.MockClock) -> None:
    listener = Listener()
    desk = reception(App())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.accept, listener, nursery)
        await listener.fail(OSError(24, "too many open files"))
        assert await is_served(await listener.connect())
        nursery.cancel_scope.cancel()
