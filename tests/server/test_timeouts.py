from __future__ import annotations

import math
from functools import partial

import trio
import trio.testing

from gateway.server.timeouts import Timeout


async def test_who_waits_too_long_is_called_and_nobody_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told: list[tuple[int, float]] = []

    def tell(number: int) -> None:
        told.append((number, trio.current_time()))

    callbacks = [partial(tell, number) for number in range(5)]
    timeout = Timeout(10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timeout.run)
        for callback in callbacks:
            timeout.start(callback)
            await trio.sleep(1)
        timeout.stop(callbacks[0])
        timeout.stop(callbacks[3])
        timeout.stop(callbacks[0])
        timeout.start(callbacks[0])
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert told == [(1, 11), (2, 12), (4, 14), (0, 15)]


async def test_who_starts_while_nobody_waits_is_called_in_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told: list[float] = []

    def tell() -> None:
        told.append(trio.current_time())

    timeout = Timeout(10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timeout.run)
        for at in (0.0, 7.0, 33.5):
            await trio.sleep_until(at)
            timeout.start(tell)
            await trio.sleep(10.5)
        nursery.cancel_scope.cancel()
    assert told == [10, 20.5, 43.5]


async def test_no_timeout_calls_nobody(autojump_clock: trio.testing.MockClock) -> None:
    timeout = Timeout(math.inf)
    told: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timeout.run)
        timeout.start(lambda: told.append(trio.current_time()))
        await trio.sleep(80_000)
        nursery.cancel_scope.cancel()
    assert told == []
