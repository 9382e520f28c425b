from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio
import trio.lowlevel
import trio.testing

from gateway.server.fair import FairListener


@pytest.fixture
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        yield sock


async def accepts(listener: FairListener, into: list[str], name: str) -> None:
    while True:
        stream = await listener.accept()
        into.append(name)
        await stream.aclose()


async def test_who_is_ahead_lets_the_other_go_first(
    listening: socket.socket, autojump_clock: trio.testing.MockClock
) -> None:
    taken: list[str] = []
    # Two descriptors of one socket, as two processes have them.
    async with FairListener(listening.dup(), lambda: True) as ahead, trio.open_nursery() as nursery:
        nursery.start_soon(accepts, ahead, taken, "ahead")
        nursery.start_soon(accepts, FairListener(listening, lambda: False), taken, "behind")
        for number in range(1, 20):
            with socket.create_connection(listening.getsockname()):
                await trio.sleep(1)
                assert taken == ["behind"] * number
        nursery.cancel_scope.cancel()


async def test_who_had_to_take_one_takes_the_next_ones_at_once(
    listening: socket.socket, autojump_clock: trio.testing.MockClock
) -> None:
    asked: list[float] = []

    def ahead() -> bool:
        asked.append(trio.current_time())
        return True

    listener = FairListener(listening, ahead)
    clients = [socket.create_connection(listening.getsockname()) for _ in range(15)]
    start = trio.current_time()
    for _ in clients:
        await (await listener.accept()).aclose()
    assert len(asked) == 3
    assert trio.current_time() - start == pytest.approx(3 * 0.001)
    for client in clients:
        client.close()


async def test_whoever_is_ahead_takes_what_nobody_else_takes(listening: socket.socket) -> None:
    async with FairListener(listening, lambda: True) as listener:
        with socket.create_connection(listening.getsockname()) as client, trio.fail_after(5):
            stream = await listener.accept()
            client.sendall(b"x")
            assert await stream.receive_some() == b"x"
            await stream.aclose()
    assert listening.fileno() == -1


async def test_cancelled_it_loses_no_connection(listening: socket.socket) -> None:
    listener = FairListener(listening, lambda: True)
    with socket.create_connection(listening.getsockname()):
        with trio.move_on_after(0.0005):
            await listener.accept()
            raise AssertionError("it did not step back")
        with trio.fail_after(5):
            await (await listener.accept()).aclose()
