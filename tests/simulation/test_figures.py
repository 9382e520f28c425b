"""What is counted stays bounded, and says what a list of everything would say."""

from __future__ import annotations

import math
import pickle
import random

import pytest

from gateway.simulation.figures import Figures, Histogram, slot_s_for


def test_percentiles_are_those_of_the_list_to_three_digits() -> None:
    chance = random.Random(1)
    durations = [chance.lognormvariate(-2, 1) for _ in range(10_000)]
    histogram = Histogram()
    for one in durations:
        histogram.add(one)
    ranked = sorted(durations)
    for share in (0.5, 0.9, 0.99, 0.999, 1):
        exact = ranked[math.ceil(share * len(ranked)) - 1]
        found = histogram.percentile(share)
        assert found is not None
        assert abs(found - exact) <= 0.005 * exact
    assert histogram.longest_s == ranked[-1]
    assert histogram.total == len(ranked)
    assert len(histogram.counts) < 3000


def test_of_nothing_there_is_no_percentile() -> None:
    assert Histogram().percentile(0.5) is None


def test_there_are_sixty_slots_at_most_however_long_it_is() -> None:
    for length_s in (0.05, 1, 59, 60, 61, 3600, 86_400, 365 * 86_400):
        figures = Figures.empty(length_s, 0)
        assert 1 <= len(figures.slots) <= 60
        assert figures.slot_s * len(figures.slots) >= length_s
        assert slot_s_for(length_s) == figures.slot_s


def counts(seed: int) -> Figures:
    figures = Figures.empty(10, seed)
    figures.include(["crm"])
    for number, slot in enumerate(figures.slots):
        slot.outcomes["ok"] += number
        slot.latency.add(seed + number)
        slot.services["crm"].calls += 10
        slot.services["crm"].sent += 10 + seed
    return figures


def test_seeds_add_up_and_survive_another_process() -> None:
    figures = pickle.loads(pickle.dumps(counts(1)))
    figures.merge(counts(2))
    number = len(figures.slots)
    whole = figures.whole
    assert figures.seeds == (1, 2)
    assert whole.outcomes["ok"] == number * (number - 1)
    assert whole.latency.total == 2 * number
    assert whole.services["crm"].calls == 20 * number
    assert whole.services["crm"].extra_load == pytest.approx(0.15)
