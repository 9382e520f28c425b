"""The adaptive limit before services of all kinds, on a clock of the test's own."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator

import pytest

from gateway.policies.capacity import Capacity

TAKES: dict[str, Callable[[random.Random], float]] = {
    "all the same": lambda _: 0.1,
    "much the same": lambda chance: chance.uniform(0.08, 0.12),
    "some longer": lambda chance: 0.05 * chance.lognormvariate(0, 0.6),
    "anything": lambda chance: chance.expovariate(20),
    "one in a hundred hangs": lambda chance: 1.0 if chance.random() < 0.01 else 0.05,
}


class Service:
    """Does so many calls at once, the others wait in it; there is always one more to be made."""

    def __init__(self, takes_s: Callable[[random.Random], float], places: int, seed: int) -> None:
        self.takes_s = takes_s
        self.places = places
        self.capacity = Capacity()
        self._chance = random.Random(seed)
        self._now = 0.0
        self._numbers = itertools.count()
        self._ends: list[tuple[float, int, tuple[float, int]]] = []
        self._waiting: deque[tuple[float, int]] = deque()

    def run(self, seconds: float) -> Iterator[tuple[float, int]]:
        """For each time between two ends of calls, how long it was, and the limit meanwhile."""
        until = self._now + seconds
        while self._now < until:
            while len(self._ends) + len(self._waiting) < self.capacity.limit:
                under_way = len(self._ends) + len(self._waiting) + 1
                self._waiting.append((self._now, under_way))
                self._serve()
            before = self._now
            self._now, _, (start, under_way) = heapq.heappop(self._ends)
            yield self._now - before, self.capacity.limit
            self.capacity.add(start, self._now, under_way, dropped=False)
            self._serve()

    def _serve(self) -> None:
        while self._waiting and len(self._ends) < self.places:
            end = self._now + self.takes_s(self._chance)
            heapq.heappush(self._ends, (end, next(self._numbers), self._waiting.popleft()))

    def average(self, seconds: float) -> float:
        """The limit on average over so long."""
        times = list(self.run(seconds))
        return sum(took_s * limit for took_s, limit in times) / sum(took_s for took_s, _ in times)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("places", [10, 20, 80])
@pytest.mark.parametrize("kind", TAKES)
def test_it_finds_the_places_there_are_and_follows_when_half_are_gone(
    kind: str, places: int, seed: int
) -> None:
    service = Service(TAKES[kind], places, seed)
    service.average(45)
    assert service.average(45) == pytest.approx(places, rel=0.2)
    service.places = places // 2
    service.average(30)
    assert service.average(45) == pytest.approx(places // 2, rel=0.2)


@pytest.mark.parametrize("kind", TAKES)
def test_of_very_few_places_it_finds_one_more_at_most(kind: str) -> None:
    for places in (1, 2, 3):
        service = Service(TAKES[kind], places, seed=1)
        service.average(60)
        assert places * 0.8 <= service.average(60) <= places + 1


@pytest.mark.parametrize("kind", TAKES)
def test_it_follows_when_there_are_more_again(kind: str) -> None:
    service = Service(TAKES[kind], 20, seed=1)
    service.average(60)
    service.places = 40
    service.average(30)
    assert service.average(45) == pytest.approx(40, rel=0.2)


@pytest.mark.parametrize("factor", [0.3, 3])
@pytest.mark.parametrize("kind", TAKES)
def test_a_service_that_becomes_slower_or_faster_by_itself_has_the_same_places(
    kind: str, factor: float
) -> None:
    service = Service(TAKES[kind], 20, seed=1)
    service.average(60)
    service.takes_s = lambda chance: factor * TAKES[kind](chance)
    service.average(45)
    assert service.average(60) == pytest.approx(20, rel=0.2)


def test_what_is_not_used_is_not_raised() -> None:
    capacity = Capacity()
    for number in range(10_000):
        capacity.add(number * 0.1, number * 0.1 + 0.05, 1, dropped=False)
    assert capacity.limit <= 5


def test_calls_that_take_no_time_at_all_are_no_limit() -> None:
    capacity = Capacity()
    for number in range(10_000):
        capacity.add(number * 0.01, number * 0.01, capacity.limit, dropped=False)
    assert capacity.limit > 100
