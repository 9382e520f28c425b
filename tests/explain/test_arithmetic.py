"""How long a call may take at worst: sums that a person can follow, and what fits."""

from __future__ import annotations

import math

import pytest

from gateway.explain.arithmetic import Bounds


def test_a_call_without_bounds_takes_any_time() -> None:
    bounds = Bounds()
    assert bounds.worst_s == math.inf
    assert bounds.fitting(10) == 0
    assert Bounds(call_s=2).worst_s == 2


def test_attempts_and_the_waits_between_them_add_up() -> None:
    bounds = Bounds(attempt_s=1, queue_s=0.5, attempts=3, backoffs_s=(0.1, 0.2))
    assert bounds.try_s == 1.5
    assert bounds.all_s == pytest.approx(4.8)
    assert bounds.worst_s == pytest.approx(4.8)


@pytest.mark.parametrize(
    ("budget_s", "fitting"), [(0.9, 0), (1, 1), (2.09, 1), (2.1, 2), (3.3, 3), (99, 3)]
)
def test_so_many_attempts_fit(budget_s: float, fitting: int) -> None:
    bounds = Bounds(attempt_s=1, attempts=3, backoffs_s=(0.1, 0.1))
    assert bounds.fitting(budget_s) == fitting
    assert Bounds(attempt_s=1, attempts=3, backoffs_s=(0.1, 0.1), call_s=1).fitting(99) == 1


@pytest.mark.parametrize(
    ("after_s", "hedges", "longest_s"),
    [(0.2, 1, 1.2), (0.2, 3, 1.6), (1.0, 3, 1.0), (5.0, 1, 1.0), (None, 2, 3.0)],
)
def test_a_hedge_begins_late_and_lasts_as_long_as_an_attempt(
    after_s: float | None, hedges: int, longest_s: float
) -> None:
    bounds = Bounds(attempt_s=1, hedges=hedges, hedge_after_s=after_s)
    assert bounds.try_s == pytest.approx(longest_s)
