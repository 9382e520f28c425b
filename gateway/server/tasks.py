"""A connection's tasks: the application's runs, each with its inbox."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio
from hypercorn.trio.task_group import TaskGroup

from gateway.server.containment import contained
from gateway.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from hypercorn.config import Config

    from gateway.net.asgi import ASGIApp, Scope

__all__ = ["Inbox", "Tasks"]

_DISCONNECTS = frozenset({"http.disconnect", "websocket.disconnect"})


class Inbox:
    """What an application has yet to receive.

    Unlike a bare channel it never holds up whoever says that the client has left, and after that
    message every further `receive` gets it again at once.

    Args:
        size: How many messages wait before `put` does.
    """

    __slots__ = ("_from_client", "_last", "_to_app")

    def __init__(self, size: int) -> None:
        self._to_app, self._from_client = trio.open_memory_channel[Any](size)
        self._last: MutableMapping[str, Any] = {"type": "http.disconnect"}

    async def put(self, message: MutableMapping[str, Any]) -> None:
        """Deliver `message`; it waits for room, and is dropped if nobody will receive it."""
        if message["type"] in _DISCONNECTS:
            self._last = message
            self._to_app.close()
            return
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._to_app.send(message)

    async def receive(self) -> MutableMapping[str, Any]:
        """The next message: the ASGI `receive`."""
        try:
            message: MutableMapping[str, Any] = await self._from_client.receive()
        except trio.EndOfChannel:
            return self._last
        return message

    def close(self) -> None:
        """Nobody will receive any more: what waits is dropped, whoever waits in `put` goes on."""
        self._from_client.close()


class Tasks(TaskGroup):
    """Hypercorn's task group, in a nursery of ours, with applications contained.

    Args:
        nursery: The connection's; it ends with the connection.
        peer: Who is connected, for the log.
    """

    def __init__(self, nursery: trio.Nursery, peer: str) -> None:
        super().__init__()
        self._nursery = nursery
        self._peer = peer
        self._log = logger("gateway.server")

    async def spawn_app(
        self, app: Any, config: Config, scope: Any, send: Callable[[Any], Awaitable[None]]
    ) -> Callable[[Any], Awaitable[None]]:
        """Start the application for one request.

        Args:
            app: What to run: the ASGI application that the connection was made with.
            config: Says how many messages may wait for it.
            scope: The request's ASGI scope.
            send: The request's ASGI `send`; `None` says that the application has ended.

        Returns:
            What delivers a message to it.
        """
        inbox = Inbox(config.max_app_queue_size)
        assert self._nursery is not None  # noqa: S101 - ours has one from the start
        self._nursery.start_soon(self._run_app, app, scope, inbox, send)
        return inbox.put

    async def _run_app(
        self, app: ASGIApp, scope: Scope, inbox: Inbox, send: Callable[[Any], Awaitable[None]]
    ) -> None:
        try:
            with contained(self._report):
                await app(scope, inbox.receive, send)
        finally:
            inbox.close()
        # Answers with 500 if nothing was answered, and cuts an answer that was not ended.
        await send(None)

    def _report(self, error: BaseException) -> None:
        self._log.error("application failed", peer=self._peer, exc_info=error)
