"""A pool of 10 under cancellation, over real sockets.

`python -m tests.end_to_end.test_churn 12 10000` runs it for 12 seconds, and cancels 10,000
requests; the suite takes less of both.
"""

from __future__ import annotations

import random
import socket
import sys
from functools import partial
from typing import Any

import pytest
import trio

from gateway.core.errors import DeadlineExceeded
from gateway.net.client import ClientSettings, HttpRequest, Origin, open_http1
from gateway.net.guard import AddressGuard
from gateway.net.http1 import Http1Client
from gateway.net.readiness import readiness
from tests.end_to_end.support import open_sockets, until
from tests.http_service import Received, Scripted, http

pytestmark = pytest.mark.end_to_end

_SEED = 7
_ENOUGH = 50


async def churn(seconds: float, cancelled: int) -> dict[str, Any]:
    """Requests that are cancelled at any time; afterwards everything can be had again.

    Args:
        seconds: How long, at least, 20 tasks send requests that most of them leave early.
        cancelled: How many requests are then cancelled, one way or the other, in a row.

    Returns:
        What was counted.
    """
    chance = random.Random(_SEED)

    async def slow(request: Received, stream: trio.abc.Stream) -> None:
        await trio.sleep(chance.random() * 0.02)
        answer: Any = http(200, "1")
        await answer(request, stream)

    service = Scripted(slow)
    settings = ClientSettings(
        guard=AddressGuard(allow_private=True),
        max_connections=10,
        max_reply_bytes=100,
        budget_header="x-budget",
        tls=False,
    )
    await _start_watching()
    sockets, tasks = open_sockets(), trio.lowlevel.current_statistics().tasks_living
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, service, 0, host="127.0.0.1"))
        request = HttpRequest(
            "GET", Origin.of(f"http://127.0.0.1:{listener.socket.getsockname()[1]}"), "/"
        )
        async with open_http1(settings) as client:
            counts = {"done": 0, "cut": 0}
            await _for_seconds(seconds, client, request, chance, counts)
            stuck = client.pool.taken + client.pool.waiting
            await _all_succeed(20, client, request)
            await _cancel(cancelled, client, request, chance)
            left = client.pool.taken + client.pool.waiting
            await _all_succeed(20, client, request)
        await until(lambda: not service.connections)
        nursery.cancel_scope.cancel()
    await until(lambda: open_sockets() <= sockets)
    tasks_left = trio.lowlevel.current_statistics().tasks_living - tasks
    return {**counts, "stuck": stuck, "left": left, "tasks_left": tasks_left}


async def _start_watching() -> None:
    """Have the loop's one watch of sockets there, which lives as long as the loop."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        readiness(ours).close()
        await trio.lowlevel.checkpoint()


async def _for_seconds(
    seconds: float,
    client: Http1Client,
    request: HttpRequest,
    chance: random.Random,
    counts: dict[str, int],
) -> None:
    end = trio.current_time() + seconds

    async def work() -> None:
        # On a machine that stands still for a while, longer.
        while trio.current_time() < end or counts["cut"] < _ENOUGH or not counts["done"]:
            with trio.move_on_after(chance.random() * 0.1):
                try:
                    await client.send(request)
                    counts["done"] += 1
                    continue
                except DeadlineExceeded:
                    pass  # less than 1 ms was left
            counts["cut"] += 1

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(work)


async def _cancel(
    count: int, client: Http1Client, request: HttpRequest, chance: random.Random
) -> None:
    async def work(how_many: int) -> None:
        for _ in range(how_many):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(client.send, request)
                    await trio.sleep(chance.random() * 0.002)
                    scope.cancel()

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(work, count // 20)


async def _all_succeed(count: int, client: Http1Client, request: HttpRequest) -> None:
    async def one() -> None:
        assert (await client.send(request)).body == b"1"

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(one)


async def test_cancellation_leaves_nothing_stuck() -> None:
    counts = await churn(2, 1000)
    assert counts["done"]  # on a machine that is busy, few
    assert counts["cut"] >= _ENOUGH
    assert (counts["stuck"], counts["left"], counts["tasks_left"]) == (0, 0, 0)


if __name__ == "__main__":
    print(trio.run(churn, float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10_000))
