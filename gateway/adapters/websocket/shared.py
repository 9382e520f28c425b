"""The connection that all calls of a service share."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import trio

from gateway.adapters.websocket.texts import text_of
from gateway.core.errors import GatewayError, Overloaded, Unreachable
from gateway.net.json_text import decode_json
from gateway.net.websocket import Closed, WebSocket

if TYPE_CHECKING:
    from gateway.adapters.websocket.adapter import WebSocketAdapter

__all__ = ["Shared"]

_FIRST_PAUSE_S = 0.5
_MOST_PAUSE_S = 30.0


class _Waiter:
    """A call that waits for its reply."""

    __slots__ = ("answered", "error", "value")

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.value: Any = None
        self.error: GatewayError | None = None


class Shared:
    """One connection for all calls: opened, and opened again when it is gone.

    Calls only leave what is to be sent here: a message that its call was cut short in would break
    the connection for all others.

    Args:
        adapter: Whose.
    """

    def __init__(self, adapter: WebSocketAdapter) -> None:
        self._adapter = adapter
        self._field = adapter.settings.correlation or ""
        self._numbers = itertools.count(1)
        self._waiting: dict[str, _Waiter] = {}
        self._outgoing: deque[tuple[str, str]] = deque()
        self._some = trio.Event()
        self._settled = trio.Event()
        self._why: GatewayError | None = Unreachable("it is not open")

    async def ask(self, message: Mapping[str, Any]) -> Any:
        """Send a message, and wait for the one with its number.

        Raises:
            Unreachable: There is no connection, or it broke before the reply.
            Overloaded: Too many wait already.
        """
        await self._settled.wait()
        if self._why is not None:
            raise self._why.blamed()
        if len(self._waiting) >= self._adapter.settings.max_waiting:
            raise Overloaded("too many calls wait for their replies", retry_after_s=1)
        number = next(self._numbers)
        name = str(number)
        text = text_of({**message, self._field: number})
        waiter = self._waiting[name] = _Waiter()
        self._outgoing.append((name, text))
        self._some.set()
        try:
            await waiter.answered.wait()
        finally:
            self._waiting.pop(name, None)
        if waiter.error is not None:
            raise waiter.error
        return waiter.value

    async def keep(self) -> None:
        """Hold a connection, until cancelled."""
        pause_s = _FIRST_PAUSE_S
        self._settled = trio.Event()
        try:
            while True:
                try:
                    async with self._adapter.connected() as socket:
                        pause_s = _FIRST_PAUSE_S
                        self._why = None
                        self._settled.set()
                        await self._serve(socket)
                    self._lose(Unreachable("the service closed the connection"))
                except GatewayError as error:
                    self._lose(error)
                await trio.sleep(pause_s)
                pause_s = min(_MOST_PAUSE_S, pause_s * 2)
        finally:
            self._lose(Unreachable("it is not open"))

    def _lose(self, error: GatewayError) -> None:
        """Take note that there is no connection: whoever waits has waited in vain."""
        self._why = error
        self._settled.set()
        self._outgoing.clear()
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting.values():
            waiter.error = error.blamed()
            waiter.answered.set()

    async def _serve(self, socket: WebSocket) -> None:
        """All that goes to and fro, until it ends.

        Raises:
            Unreachable: The connection broke, or what came is no message: whose it was to be is not
                known, and whoever comes next has nothing to do with it.
        """
        failures: list[GatewayError] = []

        async def go_on(step: Callable[[], Awaitable[None]]) -> None:
            try:
                while True:
                    await step()
            except Closed:
                pass
            except GatewayError as error:
                failures.append(error)
            nursery.cancel_scope.cancel()

        async def read() -> None:
            self._heard(await socket.receive())

        async def write() -> None:
            await self._some.wait()
            self._some = trio.Event()
            while self._outgoing:
                name, text = self._outgoing.popleft()
                if name in self._waiting:  # else nobody wants it any more
                    await socket.send(text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_on, read)
            nursery.start_soon(go_on, write)
        if failures:
            raise Unreachable(f"the connection was lost: {failures[0].detail}") from failures[0]

    def _heard(self, message: str | bytes) -> None:
        """Give a message to the call it answers; one that answers none is dropped."""
        try:
            value = decode_json(message if isinstance(message, bytes) else message.encode())
        except ValueError:
            return
        if isinstance(value, dict):
            waiter = self._waiting.get(str(value.get(self._field)))
            if waiter is not None:
                waiter.value = value
                waiter.answered.set()
