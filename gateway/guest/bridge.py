"""One ASGI connection's `receive` and `send`, carried from an asyncio host to Trio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any, TypeAlias, TypeVar

import trio
from trio.lowlevel import Abort

from gateway.guest.run import outlast
from gateway.net.asgi import Receive, Send

__all__ = ["Bridge"]

T = TypeVar("T")

Message: TypeAlias = MutableMapping[str, Any]


class Bridge:
    """The `receive` and `send` that Trio's side of one connection gets.

    Each call of them is a task of the host's: it steps in the host's own turn, so that what the
    host has around them (timeouts, middleware, AnyIO) finds itself on asyncio.

    Args:
        loop: The host's event loop.
        receive: The host's.
        send: The host's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Receive, send: Send) -> None:
        self._loop = loop
        self._receive = receive
        self._send = send
        self._head: Message | None = None
        self._ahead: list[asyncio.Task[Message]] = []

    # Tasks are made without the loop's factory: an eager one would step them in Trio's turn.

    async def receive(self) -> Message:
        """The client's next message: ASGI's `receive`, for Trio.

        Raises:
            Exception: What the host's raised.
            ConnectionAbortedError: The host has cancelled it.

        Cancellation: loses no message; the next `receive` gets it.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        task = self._ahead.pop() if self._ahead else asyncio.Task(self._take(), loop=self._loop)

        def abort(_: object) -> Abort:
            self._ahead.append(task)
            return Abort.SUCCEEDED

        await _ended(task, abort)
        return _result(task)

    async def send(self, message: Message) -> None:
        """Take a message for the client: ASGI's `send`, for Trio.

        The head of an answer goes with what comes after it, as ASGI lets servers do.

        Raises:
            Exception: What the host's raised.
            ConnectionAbortedError: The host has cancelled it.

        Cancellation: cancels the host's `send`, and goes on once that has ended.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if message["type"] == "http.response.start":
            self._head = message
            return
        task = asyncio.Task(self._give(message), loop=self._loop)

        def abort(_: object) -> Abort:
            task.cancel()
            return Abort.FAILED

        await _ended(task, abort)
        await trio.lowlevel.checkpoint_if_cancelled()
        _result(task)

    async def close(self) -> None:
        """End, on asyncio, what is still being received.

        Cancellation: it has ended all the same.
        """
        for task in self._ahead:
            task.cancel()
        for task in self._ahead:
            await outlast(task)
            if not task.cancelled():
                task.exception()  # seen: nobody waits for it any more

    async def _take(self) -> Message:
        return await self._receive()

    async def _give(self, message: Message) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            await self._send(head)
        await self._send(message)


async def _ended(task: asyncio.Task[Any], abort: Callable[[object], Abort]) -> None:
    """Wait, on Trio, until `task` is done."""
    # Most end in their first step. A turn for the host is enough for that, and as Trio stays
    # runnable it sends no thread to wait for its I/O: that costs more than all else here.
    await trio.lowlevel.cancel_shielded_checkpoint()
    if task.done():
        return
    waiting: trio.lowlevel.Task | None = trio.lowlevel.current_task()

    def wake(_: object) -> None:
        # Once the task is done asyncio has this queued, and taking it back does nothing.
        if waiting is not None:
            trio.lowlevel.reschedule(waiting)

    def stop(raise_cancel: object) -> Abort:
        nonlocal waiting
        stopped = abort(raise_cancel)
        if stopped is Abort.SUCCEEDED:
            waiting = None
        return stopped

    task.add_done_callback(wake)
    await trio.lowlevel.wait_task_rescheduled(stop)


def _result(task: asyncio.Task[T]) -> T:
    if task.cancelled():
        raise ConnectionAbortedError("the host has cancelled the connection's receive or send")
    return task.result()
