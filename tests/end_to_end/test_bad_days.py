"""Bad days over real sockets, short; long ones: `python -m tests.end_to_end.bad_days`."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from tests.end_to_end.bad_days import adapt, hedge, overload

pytestmark = pytest.mark.end_to_end


async def test_hedging_cuts_the_tail_for_little_load() -> None:
    for _ in range(3):  # a machine that stands still makes a tail of its own
        figures = await hedge(4)
        if figures.p99_s >= 2 * figures.hedged_p99_s and figures.extra <= 0.1:
            break
    assert figures.p99_s >= 2 * figures.hedged_p99_s, figures
    assert figures.extra <= 0.1, figures


async def test_three_times_what_it_can_do_loses_little_of_what_it_can() -> None:
    for _ in range(3):  # as above
        figures = await overload(3)
        well = figures.goodput >= 0.7 * figures.capacity
        if well and figures.refused_s <= 0.05 and figures.high >= max(0.7, 2 * figures.low):
            break
    assert figures.goodput >= 0.7 * figures.capacity, figures
    assert figures.refused_s <= 0.05, figures
    assert figures.high >= 0.7, figures  # a busy machine is slow by itself
    assert figures.low <= figures.high / 2, figures


async def test_a_limit_that_nobody_has_set_is_found(autojump_clock: MockClock) -> None:
    """Without sockets: it goes by how long calls take, and to a gateway that waits for a processor all do."""
    figures = await adapt(15, 15)
    assert figures.limit == pytest.approx(20, rel=0.2), figures
    assert figures.halved == pytest.approx(10, rel=0.2), figures
