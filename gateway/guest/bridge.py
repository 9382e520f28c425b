"""One ASGI connection's `receive` and `send`, carried from an asyncio host to Trio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

import trio

from gateway.guest.run import outlast
from gateway.net.asgi import Receive, Send

__all__ = ["Bridge"]

T = TypeVar("T")


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
        self._ahead: list[asyncio.Task[MutableMapping[str, Any]]] = []

    async def receive(self) -> MutableMapping[str, Any]:
        """The client's next message: ASGI's `receive`, for Trio.

        Cancellation: loses no message; the next `receive` gets it.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        task = self._ahead.pop() if self._ahead else self._begin(self._receive)

        def abort(_: object) -> trio.lowlevel.Abort:
            self._ahead.append(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await _done(task, abort)
        return _result(task)

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Take a message for the client: ASGI's `send`, for Trio.

        Cancellation: cancels the host's `send`, and goes on once that has ended.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        task = self._begin(self._send, message)

        def abort(_: object) -> trio.lowlevel.Abort:
            task.cancel()
            return trio.lowlevel.Abort.FAILED

        await _done(task, abort)
        await trio.lowlevel.checkpoint_if_cancelled()
        _result(task)

    async def close(self) -> None:
        """End, on asyncio, what is still being received."""
        for task in self._ahead:
            task.cancel()
        for task in self._ahead:
            await outlast(task)
            if not task.cancelled():
                task.exception()  # seen: nobody waits for it any more

    def _begin(self, function: Callable[..., Awaitable[T]], *args: object) -> asyncio.Task[T]:
        async def run() -> T:
            return await function(*args)

        # Not by the loop's factory: an eager one would step it here, in Trio's turn.
        return asyncio.Task(run(), loop=self._loop)


async def _done(
    task: asyncio.Task[Any], abort: Callable[[object], trio.lowlevel.Abort]
) -> None:
    """Wait, on Trio, until `task` is done."""
    # Most end in their first step. A turn for the host is enough for that, and as Trio stays
    # runnable it need not send a thread to wait for its I/O: that costs more than all else here.
    await trio.lowlevel.cancel_shielded_checkpoint()
    if task.done():
        return
    waiting = trio.lowlevel.current_task()

    def wake(_: object) -> None:
        trio.lowlevel.reschedule(waiting)

    def stop(raise_cancel: object) -> trio.lowlevel.Abort:
        stopped = abort(raise_cancel)
        if stopped is trio.lowlevel.Abort.SUCCEEDED:
            task.remove_done_callback(wake)
        return stopped

    task.add_done_callback(wake)
    await trio.lowlevel.wait_task_rescheduled(stop)


def _result(task: asyncio.Task[T]) -> T:
    if task.cancelled():
        raise ConnectionAbortedError("the host has cancelled the connection's receive or send")
    return task.result()
