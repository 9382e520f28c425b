from __future__ import annotations

import trio
import trio.testing

from gateway.server.tasks import Inbox

PIECE = {"type": "http.request", "body": b"x", "more_body": True}
LEFT = {"type": "http.disconnect"}


async def test_messages_come_in_order_and_the_disconnect_for_ever() -> None:
    inbox = Inbox(10)
    await inbox.put(PIECE)
    await inbox.put(LEFT)
    assert [await inbox.receive() for _ in range(4)] == [PIECE, LEFT, LEFT, LEFT]


async def test_put_waits_for_room() -> None:
    inbox = Inbox(1)
    await inbox.put(PIECE)
    with trio.move_on_after(0) as scope:
        await inbox.put(PIECE)
    assert scope.cancelled_caught


async def test_the_disconnect_needs_no_room_and_frees_who_waits() -> None:
    inbox = Inbox(1)
    await inbox.put(PIECE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.put, PIECE)
        await trio.testing.wait_all_tasks_blocked()
        await inbox.put(LEFT)
    assert [await inbox.receive() for _ in range(2)] == [PIECE, LEFT]


async def test_when_nobody_receives_any_more_nobody_waits() -> None:
    inbox = Inbox(1)
    await inbox.put(PIECE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.put, PIECE)
        await trio.testing.wait_all_tasks_blocked()
        inbox.close()
    await inbox.put(PIECE)


async def test_a_websockets_disconnect_keeps_its_code() -> None:
    inbox = Inbox(1)
    gone = {"type": "websocket.disconnect", "code": 1006}
    await inbox.put(gone)
    assert await inbox.receive() == gone
