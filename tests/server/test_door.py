from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio
import trio.lowlevel
import trio.testing

from gateway.server.door import Door


@pytest.fixture
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        yield sock


def close(accepted: socket.socket | trio.abc.Stream) -> None:
    assert isinstance(accepted, socket.socket)
    accepted.close()


async def accepts(listener: Door, into: list[str], name: str) -> None:
    while True:
        close(await listener.accept())
        into.append(name)


async def test_who_is_ahead_lets_the_other_go_first(
    listening: socket.socket, autojump_clock: trio.testing.MockClock
) -> None:
    taken: list[str] = []
    # Two descriptors of one socket, as two processes have them.
    with listening.dup() as duplicate:
        ahead = Door(duplicate, ahead=lambda: True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accepts, ahead, taken, "ahead")
            nursery.start_soon(accepts, Door(listening, ahead=lambda: False), taken, "behind")
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

    listener = Door(listening, ahead=ahead)
    clients = [socket.create_connection(listening.getsockname()) for _ in range(15)]
    start = trio.current_time()
    for _ in clients:
        close(await listener.accept())
    assert len(asked) == 3
    assert trio.current_time() - start == pytest.approx(3 * 0.001)
    for client in clients:
        client.close()


async def test_whoever_is_ahead_takes_what_nobody_else_takes(listening: socket.socket) -> None:
    door = Door(listening, ahead=lambda: True)
    with socket.create_connection(listening.getsockname()) as client, trio.fail_after(5):
        accepted = await door.accept()
        assert isinstance(accepted, socket.socket)
        assert not accepted.getblocking()
        assert accepted.getpeername() == client.getsockname()
        accepted.close()


async def test_cancelled_it_loses_no_connection(
    listening: socket.socket, autojump_clock: trio.testing.MockClock
) -> None:
    listener = Door(listening, ahead=lambda: True)
    with socket.create_connection(listening.getsockname()):
        with trio.move_on_after(0.0005):
            await listener.accept()
            raise AssertionError("it did not step back")
        with trio.fail_after(5):
            close(await listener.accept())
