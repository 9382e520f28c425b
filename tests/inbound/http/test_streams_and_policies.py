"""Policies around what streams: what has gone out is neither tried again nor kept, and all have it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from gateway.core.errors import Unreachable
from gateway.core.messages import Chunk, Reply, Request
from gateway.core.service import Emit
from gateway.telemetry.events import CacheAsked, Coalesced, Hedged, Retried
from tests.apps import Driven, driven, get
from tests.inbound.taker import Taker


class Service:
    """Each attempt emits its number, `tells` times; the first `fails` attempts fail then."""

    def __init__(self, *, tells: int = 1, fails: int = 0, takes_s: float = 0) -> None:
        self.attempts = 0
        self._tells = tells
        self._fails = fails
        self._takes_s = takes_s

    async def __call__(self, _request: Request, emit: Emit, /) -> Reply:
        self.attempts += 1
        attempt = self.attempts
        for _ in range(self._tells):
            await emit(Chunk(attempt))
            await trio.sleep(self._takes_s)
        await trio.sleep(self._takes_s)
        if attempt <= self._fails:
            raise Unreachable("gone")
        return Reply(attempt)


def guarded(service: Service, **policies: Any) -> Any:
    return driven({"a": get()}, {"s": service}, output="a", of_service={"s": policies})


async def taken(gateway: Driven, *, count: int = 1) -> list[Taker]:
    clients = [Taker(gateway.app) for _ in range(count)]
    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(client)
    return clients


@pytest.mark.parametrize("tells", [0, 1])
async def test_what_has_gone_out_is_not_tried_again(autojump_clock: MockClock, tells: int) -> None:
    service = Service(tells=tells, fails=1)
    async with guarded(service, retry={"attempts": 3, "budget": "100%"}) as gateway:
        (client,) = await taken(gateway)
    assert len(gateway.events.of(Retried)) == 1 - tells
    assert service.attempts == 2 - tells
    if tells:
        assert client.pieces == [1]
        assert client.error["code"] == "unreachable"
    else:
        assert client.told == [("answer", 2)]


@pytest.mark.parametrize("tells", [0, 1])
async def test_what_has_gone_out_is_not_hedged(autojump_clock: MockClock, tells: int) -> None:
    """A hedge of what emitted has lost, and is heard of by nobody."""
    service = Service(tells=tells, takes_s=2)
    policies = {"hedge": {"after": "1s"}, "retry": {"budget": "100%"}}
    async with guarded(service, **policies) as gateway:
        (client,) = await taken(gateway)
    assert len(gateway.events.of(Hedged)) == service.attempts - 1 == 1 - tells
    assert client.pieces == [1] * tells
    assert client.answer == 1


async def test_all_who_share_a_call_have_its_pieces(autojump_clock: MockClock) -> None:
    service = Service(tells=3, takes_s=1)
    hanging = trio.Event()

    async def waits(request: Request, emit: Emit, /) -> Reply:
        await hanging.wait()  # all have taken their seats
        return await service(request, emit)

    async with (
        driven(
            {"a": get()}, {"s": waits}, output="a", of_service={"s": {"coalesce": True}}
        ) as gateway,
        trio.open_nursery() as nursery,
    ):
        clients = [Taker(gateway.app) for _ in range(3)]
        for client in clients:
            nursery.start_soon(client)
        await trio.testing.wait_all_tasks_blocked()
        hanging.set()
        await clients[0].came.wait()
        # Who comes late would lack the first pieces: it has a call of its own.
        (late,) = await taken(gateway)
    assert len(gateway.events.of(Coalesced)) == 2
    assert [client.pieces for client in clients] == [[1, 1, 1]] * 3
    assert (late.pieces, late.answer) == ([2, 2, 2], 2)


async def test_one_who_leaves_takes_nothing_from_the_others(autojump_clock: MockClock) -> None:
    service = Service(tells=3, takes_s=1)
    async with guarded(service, coalesce=True) as gateway, trio.open_nursery() as nursery:
        stays, leaves = Taker(gateway.app), Taker(gateway.app, reads=False)
        nursery.start_soon(stays)
        nursery.start_soon(leaves)
        await trio.sleep(1.5)
        leaves.leaving.set()
    assert service.attempts == 1
    assert stays.pieces == [1, 1, 1]
    assert stays.is_whole
    assert not leaves.is_whole


@pytest.mark.parametrize("tells", [0, 2])
async def test_a_cache_keeps_nothing_that_has_gone_out(tells: int) -> None:
    service = Service(tells=tells)
    async with guarded(service, cache={"ttl": "1m"}) as gateway:
        for number in range(2):
            (client,) = await taken(gateway)
            made = number + 1 if tells else 1
            assert client.pieces == [made] * tells
            assert client.answer == made
    assert [event.found for event in gateway.events.of(CacheAsked)] == [
        "miss",
        "miss" if tells else "hit",
    ]
