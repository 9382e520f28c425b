"""The pool alone: who gets which connection when, and that none is lost."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway.core.errors import Unreachable
from gateway.net.connection import Connection
from gateway.net.http1 import Http1Client
from gateway.net.messages import HttpRequest, Origin
from gateway.net.pool import IDLE_S, Pool
from gateway.net.wire import Unsent
from gateway.testing import Cancellable, cancel_at_every_checkpoint

A, B = Origin.of("http://a.test"), Origin.of("http://b.test")
REPLY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class FakeWire:
    """Answers each request at once, or whenever it is told to."""

    def __init__(self, service: FakeService, origin: Origin) -> None:
        self.service = service
        self.origin = origin
        self.stale = False
        self.closed = False
        self.broken: Unreachable | None = None
        service.open.append(self)

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken is not None:
            raise self.broken

    async def receive(self) -> bytes:
        await trio.sleep(self.service.after_s)
        return REPLY

    def is_stale(self) -> bool:
        return self.stale

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.service.open.remove(self)


class FakeService:
    """Connections, counted."""

    def __init__(self, *, refuses: bool = False, after_s: float = 0) -> None:
        self.open: list[FakeWire] = []
        self.made = 0
        self.most = 0
        self.refuses = refuses
        self.after_s = after_s

    async def connect(self, origin: Origin) -> FakeWire:
        await trio.lowlevel.checkpoint()
        if self.refuses:
            raise Unreachable("refused")
        self.made += 1
        wire = FakeWire(self, origin)
        self.most = max(self.most, len(self.open))
        return wire


async def exchange(connection: Connection) -> None:
    await connection.ask(b"GET / HTTP/1.1\r\n\r\n", None, bodiless=False)


async def use(pool: Pool, origin: Origin = A) -> Connection:
    """One whole request."""
    connection = await pool.take(origin)
    try:
        await exchange(connection)
    finally:
        pool.give_back(connection)
    return connection


async def test_a_connection_is_used_again() -> None:
    service = FakeService()
    pool = Pool(service.connect, 3)
    first = await use(pool)
    assert await use(pool) is first
    assert (service.made, pool.taken, pool.idle) == (1, 0, 1)


async def test_the_warmest_is_used_first() -> None:
    service = FakeService()
    pool = Pool(service.connect, 3)
    taken = [await pool.take(A) for _ in range(3)]
    for connection in taken:
        await exchange(connection)
        pool.give_back(connection)
    assert await pool.take(A) is taken[2]
    assert await pool.take(A) is taken[1]


async def test_one_whose_reply_is_not_complete_is_closed() -> None:
    service = FakeService()
    pool = Pool(service.connect, 1)
    connection = await pool.take(A)
    await connection.begin(b"", bodiless=False)
    pool.give_back(connection)
    assert (service.open, pool.taken, pool.idle) == ([], 0, 0)


async def test_stale_ones_are_closed_when_looked_at() -> None:
    service = FakeService()
    pool = Pool(service.connect, 3)
    taken = [await pool.take(A) for _ in range(3)]
    for connection in taken:
        await exchange(connection)
        pool.give_back(connection)
    good, *stale = service.open
    for wire in stale:
        wire.stale = True
    assert await pool.take(A) is taken[0]
    assert service.open == [good]
    assert pool.idle == 0


async def test_what_was_idle_too_long_is_closed_when_looked_at(autojump_clock: MockClock) -> None:
    service = FakeService()
    pool = Pool(service.connect, 3)
    first = await use(pool)
    await trio.sleep(IDLE_S - 1)
    assert await use(pool) is first
    await trio.sleep(IDLE_S + 1)
    assert await use(pool) is not first
    assert (len(service.open), service.made) == (1, 2)


async def test_what_is_idle_too_long_is_closed_by_itself(autojump_clock: MockClock) -> None:
    service = FakeService()
    pool = Pool(service.connect, 5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.expire)
        for _ in range(3):  # and again after nothing was idle
            taken = [await pool.take(A), await pool.take(B)]
            for connection in taken:
                await exchange(connection)
                pool.give_back(connection)
                await trio.sleep(1)
            await trio.sleep(IDLE_S - 3)
            assert len(service.open) == 2
            await trio.sleep(IDLE_S + 4)
            assert (service.open, pool.idle) == ([], 0)
        nursery.cancel_scope.cancel()


async def test_the_expiry_of_an_idle_pool_costs_nothing(autojump_clock: MockClock) -> None:
    pool = Pool(FakeService().connect, 5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.expire)
        await use(pool)
        await trio.sleep(3 * IDLE_S)
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == float("inf")
        nursery.cancel_scope.cancel()


async def test_turns_are_taken_in_order() -> None:
    service = FakeService()
    pool = Pool(service.connect, 1)
    order: list[int] = []
    held = await pool.take(A)

    async def wait(number: int) -> None:
        connection = await pool.take(A)
        order.append(number)
        await exchange(connection)
        pool.give_back(connection)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(wait, number)
            await wait_all_tasks_blocked()
        assert pool.waiting == 5
        await exchange(held)
        pool.give_back(held)
    assert order == [0, 1, 2, 3, 4]
    assert service.made == 1


async def test_nobody_overtakes_those_who_wait() -> None:
    service = FakeService()
    pool = Pool(service.connect, 1)
    held = await pool.take(A)
    order: list[str] = []

    async def wait(name: str) -> None:
        connection = await pool.take(A)
        order.append(name)
        pool.give_back(connection)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, "first")
        await wait_all_tasks_blocked()
        pool.give_back(held)
        await wait("second")  # in the same step: the place is the first's already
    assert order == ["first", "second"]


async def test_who_waited_and_was_cancelled_passes_the_turn_on() -> None:
    service = FakeService()
    pool = Pool(service.connect, 1)
    held = await pool.take(A)
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(use, pool)
            await wait_all_tasks_blocked()
            scope.cancel()
            await pool.take(A)
        assert scope.cancelled_caught
        assert pool.waiting == 1
        pool.give_back(held)
    assert (pool.taken, pool.waiting, pool.idle) == (0, 0, 1)


async def test_who_was_handed_a_place_and_is_cancelled_in_the_same_step_has_it() -> None:
    service = FakeService()
    pool = Pool(service.connect, 1)
    held = await pool.take(A)
    await exchange(held)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(use, pool)
            await wait_all_tasks_blocked()
            pool.give_back(held)
            scope.cancel()
    assert (pool.taken, pool.waiting) == (0, 0)
    await use(pool)
    assert len(service.open) == 1


async def test_a_connection_that_cannot_be_opened_holds_no_place() -> None:
    service = FakeService(refuses=True)
    pool = Pool(service.connect, 1)
    for _ in range(3):
        with pytest.raises(Unreachable):
            await pool.take(A)
    service.refuses = False
    await use(pool)
    assert pool.taken == 0


async def test_a_failure_to_connect_lets_the_next_try() -> None:
    service = FakeService()
    pool = Pool(service.connect, 1)
    held = await pool.take(A)
    failed = 0

    async def fail() -> None:
        nonlocal failed
        with pytest.raises(Unreachable):
            await pool.take(A)
        failed += 1

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(fail)
        await wait_all_tasks_blocked()
        service.refuses = True
        pool.give_back(held)
    assert (failed, pool.taken) == (3, 0)


async def test_origins_share_the_bound_and_never_a_connection() -> None:
    service = FakeService()
    pool = Pool(service.connect, 2)
    for origin in (A, B, A, B):
        connection = await use(pool, origin)
        assert connection.origin == origin
    assert service.made == 2
    third = Origin.of("http://c.test")
    await use(pool, third)
    assert service.most == 2
    assert len(service.open) == 2
    assert third in {wire.origin for wire in service.open}


async def test_a_place_handed_on_to_another_origin_closes_what_was_in_it() -> None:
    service = FakeService()
    pool = Pool(service.connect, 1)
    held = await pool.take(A)
    await exchange(held)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(use, pool, B)
        await wait_all_tasks_blocked()
        pool.give_back(held)
    assert [wire.origin for wire in service.open] == [B]
    assert service.most == 1


async def test_a_renewed_connection_keeps_its_place() -> None:
    service = FakeService()
    pool = Pool(service.connect, 1)
    await use(pool)
    connection = await pool.take(A)
    assert connection.reused
    await pool.renew(connection)
    assert not connection.reused
    assert (len(service.open), service.made, pool.taken) == (1, 2, 1)
    service.refuses = True
    with pytest.raises(Unreachable):
        await pool.renew(connection)
    pool.give_back(connection)
    assert (service.open, pool.taken) == ([], 0)


async def test_after_it_was_closed_nothing_is_kept() -> None:
    service = FakeService()
    pool = Pool(service.connect, 2)
    held = await pool.take(A)
    await use(pool)
    await exchange(held)
    pool.close()
    assert len(service.open) == 1
    pool.give_back(held)
    assert service.open == []


@pytest.mark.parametrize("sent", [False, True])
async def test_what_had_not_left_is_sent_again_whatever_it_is(sent: bool) -> None:
    service = FakeService()
    client = Http1Client(Pool(service.connect, 1), "x-budget", 100)
    request = HttpRequest("POST", A, "/", (), b"body")
    await client.send(request)
    service.open[0].broken = Unreachable("broke") if sent else Unsent("broke")
    if sent:
        with pytest.raises(Unreachable):
            await client.send(request)
    else:
        assert (await client.send(request)).status == 200
    assert (service.made, client.pool.taken) == (1 if sent else 2, 0)


@pytest.mark.parametrize("busy", [False, True])
def test_cancelled_anywhere_it_keeps_its_books(busy: bool) -> None:
    async def scenario(cancellable: Cancellable) -> None:
        service = FakeService(after_s=1)
        pool = Pool(service.connect, 1)
        async with trio.open_nursery() as nursery:
            if busy:
                nursery.start_soon(use, pool)
                await wait_all_tasks_blocked()
            await cancellable(lambda: use(pool))
        assert (pool.taken, pool.waiting) == (0, 0)
        assert len(service.open) == pool.idle <= 1
        await use(pool)
        assert service.most == 1
        pool.close()
        assert service.open == []

    assert cancel_at_every_checkpoint(scenario) > 3


@pytest.mark.parametrize("seed", range(3))
async def test_any_churn_leaves_every_place_free(autojump_clock: MockClock, seed: int) -> None:
    chance = random.Random(seed)
    service = FakeService(after_s=0.01)
    pool = Pool(service.connect, 10)
    done = 0

    async def churn() -> None:
        nonlocal done
        while trio.current_time() < end:
            service.refuses = chance.random() < 0.05
            for wire in service.open:
                wire.stale = wire.stale or chance.random() < 0.01
            with trio.move_on_after(chance.random() * 0.05):
                try:
                    await use(pool, chance.choice((A, A, A, B)))
                    done += 1
                except Unreachable:
                    pass

    end = trio.current_time() + 12
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.expire)
        async with trio.open_nursery() as churning:
            for _ in range(20):
                churning.start_soon(churn)
        service.refuses = False
        assert done > 1000
        assert (pool.taken, pool.waiting) == (0, 0)
        assert service.most <= 10
        assert len(service.open) == pool.idle
        with trio.fail_after(1):
            async with trio.open_nursery() as last:
                for _ in range(20):
                    last.start_soon(use, pool)
        nursery.cancel_scope.cancel()
    pool.close()
    assert service.open == []
