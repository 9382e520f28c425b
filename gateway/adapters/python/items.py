"""What a generator yields: each item goes out as it comes, and all of them are the reply."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from typing import Any, cast

import trio

from gateway.adapters.python.function import Function
from gateway.core.errors import BadReply
from gateway.core.messages import Chunk
from gateway.core.service import Emit, discard
from gateway.net.threads import Threads

__all__ = ["MAX_ITEMS", "from_thread", "gathered", "on_the_loop"]

MAX_ITEMS = 100_000
"""Of one reply."""


class _Items:
    """The items of one reply, within its bounds.

    Args:
        function: Whose.
        max_bytes: Of all of them as JSON.

    Attributes:
        values: So far.
    """

    def __init__(self, function: Function, max_bytes: int) -> None:
        self._function = function
        self._max_bytes = max_bytes
        self._size = 0
        self.values: list[Any] = []

    def add(self, item: Any) -> Any:
        """Take one; it as JSON types.

        Raises:
            BadReply: It has no JSON form, or they are too many.
        """
        _, value, size = self._function.weighed(item, self._max_bytes)
        self._size += size
        if self._size > self._max_bytes or len(self.values) == MAX_ITEMS:
            bound = f"{MAX_ITEMS} items or {self._max_bytes} bytes of JSON"
            raise BadReply(f"{self._function.name}() gave over {bound}")
        self.values.append(value)
        return value


async def on_the_loop(
    function: Function, arguments: Mapping[str, Any], left_s: float, max_bytes: int, emit: Emit
) -> list[Any]:
    """Run an async generator, and `emit` each of its items.

    Raises:
        GatewayError: As `Function.run`; or as `emit` raises it.

    Cancellation: the generator is closed.
    """
    items = _Items(function, max_bytes)
    yielded = cast("AsyncGenerator[Any]", function.begin(arguments, left_s))
    async with contextlib.aclosing(yielded):
        while True:
            try:
                value = items.add(await anext(yielded))
            except StopAsyncIteration:
                return items.values
            except (Exception, SystemExit) as error:
                raise function.failure(error) from error
            await emit(Chunk(value))
            await trio.lowlevel.checkpoint()  # neither of the two need have one


def gathered(
    function: Function,
    arguments: Mapping[str, Any],
    left_s: float,
    max_bytes: int,
    goes_on: Callable[[Any], bool] = lambda _value: True,
) -> list[Any]:
    """All that a generator yields, in this thread.

    Args:
        function: Makes the generator.
        arguments: Its own.
        left_s: Seconds until its deadline.
        max_bytes: Of all items as JSON.
        goes_on: Given each item; whether another one is wanted. Else the generator is closed.

    Raises:
        GatewayError: As `Function.run_sync`.
    """
    items = _Items(function, max_bytes)
    try:
        yielded = cast("Generator[Any]", function.begin(arguments, left_s))
        with contextlib.closing(yielded):
            for item in yielded:
                if not goes_on(items.add(item)):
                    break
    except trio.Cancelled:  # it called back into the loop, and nobody waits any more
        raise
    except BaseException as error:
        raise function.failure(error) from error
    return items.values


async def from_thread(
    function: Function, arguments: Mapping[str, Any], threads: Threads, max_bytes: int, emit: Emit
) -> list[Any]:
    """Run a generator in a thread, and `emit` each of its items here before it makes the next.

    Raises:
        GatewayError: As `Function.run_sync`.

    Cancellation: the generator is closed between two of its items, in its thread; until then that
        is abandoned, as `Threads` has it.
    """
    handed = _Handed(waits=emit is not discard)

    def work(left_s: float) -> list[Any]:
        return gathered(function, arguments, left_s, max_bytes, handed.pass_on)

    try:
        if emit is discard:
            return await threads.run(work)
        return await _emit_all(work, threads, handed, emit)
    finally:
        handed.leave()


async def _emit_all(
    work: Callable[[float], list[Any]], threads: Threads, handed: _Handed, emit: Emit
) -> list[Any]:
    """Have `work` done in a thread, and emit what it hands over; what it raises stays bare."""
    values: list[Any] = []
    failures: list[Exception] = []

    async def produce() -> None:
        try:
            values.extend(await threads.run(work))
        except Exception as error:  # noqa: BLE001 - raised again below, out of the nursery
            failures.append(error)
        handed.end()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce)
        try:
            await handed.emit_all(emit)
        except Exception as error:  # noqa: BLE001 - as above
            failures.append(error)
            nursery.cancel_scope.cancel()
    if failures:
        raise failures[0]
    return values


class _Handed:
    """Items on their way from a thread to the loop, one at a time.

    Args:
        waits: Whether the thread waits until each has gone out; else none is handed over.
    """

    def __init__(self, *, waits: bool) -> None:
        self._waits = waits
        self._token = trio.lowlevel.current_trio_token()
        self._left = threading.Event()
        self._gone_out = threading.Semaphore(0)
        self._send, self._receive = trio.open_memory_channel[Any](1)

    def pass_on(self, value: Any) -> bool:
        """Hand one over; called in the thread. Whether there is anybody who wants another."""
        if self._waits and not self._left.is_set():
            try:
                self._token.run_sync_soon(self._send.send_nowait, value)
            except trio.RunFinishedError:
                return False
            self._gone_out.acquire()
        return not self._left.is_set()

    def leave(self) -> None:
        """Nobody wants any more."""
        self._left.set()
        self._gone_out.release()

    def end(self) -> None:
        """There will be no more."""
        self._send.close()

    async def emit_all(self, emit: Emit) -> None:
        """Emit each, until there are no more."""
        async for value in self._receive:
            await emit(Chunk(value))
            self._gone_out.release()
