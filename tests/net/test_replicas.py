"""Who is asked next: chance, load, failures, time; all of it virtual."""

from __future__ import annotations

import contextlib
import gc
import math
import random
from collections import Counter
from collections.abc import Callable

import attrs
import pytest
import trio

from gateway.core.errors import BadReply, GatewayError, Rejected, Unreachable
from gateway.core.messages import Context, Reply, Request
from gateway.net.messages import Origin
from gateway.net.replicas import Attempt, Replica, Replicas, Why

Told = list[tuple[str, bool, Why]]


def made(number: int) -> tuple[Replicas, Told]:
    told: Told = []

    def tell(replica: Replica, why: Why) -> None:
        told.append((replica.origin.host, replica.is_in, why))

    origins = [Origin("http", f"r{index}", 80) for index in range(number)]
    return Replicas(origins, random.Random(7), tell), told


def asked() -> Request:
    return Request("x", {}, Context(request_id="r"))


def begin(replicas: Replicas, *, timeout_s: float = 60) -> Attempt:
    return replicas.attempt(asked(), trio.current_time() + timeout_s)


def fail(replicas: Replicas, host: str, error: GatewayError | None = None) -> None:
    """One failure of that replica; attempts at others succeed meanwhile."""
    while True:
        with_error = begin(replicas)
        if with_error.origin.host == host:
            with_error.__exit__(None, error or Unreachable("broke"), None)
            return
        with_error.end("success")


def shares(replicas: Replicas, number: int = 300) -> Counter[str]:
    """Who is asked how often, each reply coming at once."""
    found: Counter[str] = Counter()
    for _ in range(number):
        with begin(replicas) as attempt:
            found[attempt.origin.host] += 1
    return found


async def test_all_are_asked_alike() -> None:
    replicas, told = made(3)
    found = shares(replicas)
    assert set(found) == {"r0", "r1", "r2"}
    assert min(found.values()) > 70
    assert told == []


async def test_of_two_the_one_with_less_under_way_is_asked() -> None:
    replicas, _ = made(2)
    first = begin(replicas)
    others = [begin(replicas).origin for _ in range(1)]
    assert others == [replica.origin for replica in replicas.all if replica.origin != first.origin]
    under_way = [begin(replicas) for _ in range(40)]
    assert [replica.pending for replica in replicas.all] == [21, 21]
    for attempt in under_way:
        attempt.end("success")
    assert sum(replica.pending for replica in replicas.all) == 2


async def test_a_slow_one_is_asked_less(autojump_clock: trio.testing.MockClock) -> None:
    replicas, _ = made(4)
    found: Counter[str] = Counter()

    async def call() -> None:
        with begin(replicas) as attempt:
            found[attempt.origin.host] += 1
            await trio.sleep(1.0 if attempt.origin.host == "r0" else 0.01)

    async with trio.open_nursery() as nursery:
        for _ in range(1000):
            nursery.start_soon(call)
            await trio.sleep(0.005)
    assert found["r0"] < 50


async def test_who_fails_five_times_in_a_row_is_out_for_a_while(
    autojump_clock: trio.testing.MockClock,
) -> None:
    replicas, told = made(4)
    for number in range(5):
        assert told == [], number
        fail(replicas, "r0")
    assert told == [("r0", False, "failures")]
    assert "r0" not in shares(replicas)
    await trio.sleep(3.9)
    assert "r0" not in shares(replicas)
    await trio.sleep(0.2)
    # The very next attempt finds out; no other does meanwhile.
    trial = begin(replicas)
    assert trial.origin.host == "r0"
    assert "r0" not in shares(replicas)
    trial.end("success")
    assert told[1:] == [("r0", True, "trial")]
    assert shares(replicas)["r0"] > 40


async def test_who_is_still_ill_is_out_for_longer_but_never_for_long(
    autojump_clock: trio.testing.MockClock,
) -> None:
    replicas, told = made(4)
    for _ in range(5):
        fail(replicas, "r0")
    out = []
    for _ in range(4):
        start = trio.current_time()
        while True:
            attempt = begin(replicas)
            if attempt.origin.host == "r0":
                attempt.end("failure")
                break
            attempt.end("success")
            await trio.sleep(0.1)
        out.append(trio.current_time() - start)
    assert out == pytest.approx([4, 8, 8, 8], abs=0.2)
    assert len(told) == 1


async def test_a_trial_that_was_cancelled_lets_the_next_one_find_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    replicas, _ = made(4)
    for _ in range(5):
        fail(replicas, "r0")
    await trio.sleep(4.1)
    with trio.CancelScope() as scope, begin(replicas) as attempt:
        assert attempt.origin.host == "r0"
        scope.cancel()
        await trio.lowlevel.checkpoint()
    assert begin(replicas).origin.host == "r0"


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (Unreachable("x"), True),
        (BadReply("x", service_status=503), True),
        (Rejected("x", service_status=404), False),
        (Rejected("x", service_status=429), False),
    ],
)
async def test_what_a_failure_says_of_a_replica(error: GatewayError, counts: bool) -> None:
    replicas, told = made(4)
    for _ in range(6):
        fail(replicas, "r0", error)
    assert bool(told) is counts


async def test_who_is_late_is_out_if_the_others_are_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    replicas, told = made(4)

    async def call(late: set[str]) -> None:
        with trio.move_on_after(0.1), begin(replicas, timeout_s=0.1) as attempt:
            await trio.sleep(9 if attempt.origin.host in late else 0.01)

    async def traffic(late: set[str]) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(400):
                nursery.start_soon(call, late)
                await trio.sleep(0.005)

    # A budget that none of them can keep says nothing about any.
    await traffic({"r0", "r1", "r2", "r3"})
    assert told == []
    await traffic(set())
    assert told == []
    await trio.sleep(20)
    await traffic({"r0"})
    assert told == [("r0", False, "share")]


async def test_attempts_put_out_no_more_than_half() -> None:
    for number, most in ((2, 1), (3, 1), (4, 2), (5, 2)):
        replicas, told = made(number)
        for _ in range(400):
            begin(replicas).__exit__(None, Unreachable("x"), None)
        assert len(told) == most, number


async def test_checks_may_put_out_all_and_then_all_are_asked() -> None:
    replicas, told = made(3)
    for replica in replicas.all:
        replicas.found(replica, healthy=False)
    assert told == [(f"r{number}", False, "health") for number in range(3)]
    assert set(shares(replicas)) == {"r0", "r1", "r2"}
    replicas.found(replicas.all[1], healthy=True)
    assert set(shares(replicas)) == {"r1"}
    assert told[-1] == ("r1", True, "health")


async def test_checks_let_in_what_attempts_had_put_out() -> None:
    replicas, told = made(4)
    for _ in range(5):
        fail(replicas, "r0")
    replicas.found(replicas.all[0], healthy=False)
    replicas.found(replicas.all[0], healthy=True)
    assert replicas.all[0].is_in
    assert [why for _, _, why in told] == ["failures", "health", "health"]
    replicas.found(replicas.all[0], healthy=True)
    assert len(told) == 3


@pytest.mark.parametrize("number", [2, 4])
async def test_a_further_attempt_goes_elsewhere(number: int) -> None:
    replicas, _ = made(number)
    for _ in range(50):
        request = asked()
        hosts = []
        for _ in range(number):
            with replicas.attempt(request, 1e9) as attempt:
                hosts.append(attempt.origin.host)
        assert len(set(hosts)) == number
        # All were tried: any but the last.
        again = replicas.attempt(request, 1e9)
        assert again.origin.host != hosts[-1]
        again.end("success")


async def test_what_is_remembered_of_a_request_is_gone_with_it() -> None:
    replicas, _ = made(2)
    shares(replicas, 1000)
    gc.collect()
    assert len(replicas._tried) == 0


async def test_what_could_not_be_begun_was_no_attempt() -> None:
    replicas, _ = made(2)
    request = asked()
    attempt = replicas.attempt(request, 1e9)
    assert attempt.begun(lambda: None) is None
    assert [replica.pending for replica in replicas.all] == [0, 0]
    hosts = set()
    for _ in range(40):
        other = replicas.attempt(request, 1e9)
        other.begun(lambda: None)
        hosts.add(other.origin.host)
    assert hosts == {"r0", "r1"}


@attrs.define
class Call:
    """What was begun: it is answered, fails, or goes on."""

    outcome: Reply | GatewayError | None = None
    deadline: float = math.inf
    closed: bool = False

    def listen(self, tell: Callable[[], None]) -> None:
        tell()

    def take(self) -> Reply | None:
        if isinstance(self.outcome, GatewayError):
            raise self.outcome
        return self.outcome

    async def finish(self) -> Reply:
        await trio.lowlevel.checkpoint()
        reply = self.take()
        assert reply is not None
        return reply

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("outcome", "waits", "failed", "total"),
    [
        (Reply(1), False, 0, 1),
        (Reply(1), True, 0, 1),
        (Unreachable("x"), False, 1, 1),
        (Unreachable("x"), True, 1, 1),
        (None, False, 0, 0),
    ],
)
async def test_what_was_begun_is_judged_as_what_was_called(
    outcome: Reply | GatewayError | None, waits: bool, failed: int, total: int
) -> None:
    replicas, _ = made(1)
    call = Call(outcome)
    begun = begin(replicas).begun(lambda: call)
    assert begun is not None
    with contextlib.suppress(Unreachable):
        assert (await begun.finish() if waits else begun.take()) is outcome
    begun.close()
    begun.close()
    assert call.closed
    assert (replicas.all[0].counts, replicas.all[0].pending) == ((total, failed), 0)


async def test_what_was_begun_and_is_cut_at_its_time_is_late(
    autojump_clock: trio.testing.MockClock,
) -> None:
    replicas, _ = made(1)
    begun = begin(replicas, timeout_s=1).begun(Call)
    assert begun is not None
    await trio.sleep(1)
    begun.close()
    assert replicas.all[0].counts == (1, 1)


async def test_what_fails_to_begin_is_judged_too() -> None:
    replicas, _ = made(1)

    def broken() -> Call:
        raise Unreachable("broke at once")

    with pytest.raises(Unreachable):
        begin(replicas).begun(broken)
    assert (replicas.all[0].counts, replicas.all[0].pending) == ((1, 1), 0)


async def test_any_seed_keeps_the_books(autojump_clock: trio.testing.MockClock) -> None:
    for seed in range(30):
        chance = random.Random(seed)
        told: Told = []
        origins = [Origin("http", f"r{index}", 80) for index in range(chance.randint(2, 6))]
        replicas = Replicas(
            origins,
            chance,
            lambda replica, why: told.append((replica.origin.host, True, why)),  # noqa: B023 - called within the turn
        )
        under_way: list[Attempt] = []
        for _ in range(500):
            await trio.sleep(chance.random() / 10)
            if under_way and chance.random() < 0.5:
                verdict = chance.choice(("success", "failure", "late", "neither"))
                under_way.pop(chance.randrange(len(under_way))).end(verdict)
            else:
                under_way.append(begin(replicas))
            ejected = sum(replica.ejected for replica in replicas.all)
            assert ejected <= len(origins) // 2, seed
            assert sum(replica.pending for replica in replicas.all) == len(under_way), seed
        for attempt in under_way:
            attempt.end("neither")
        assert not any(replica.pending for replica in replicas.all)
