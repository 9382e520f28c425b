"""Programs that do not end, and many of them; more: `python -m tests.end_to_end.program_figures`."""

from __future__ import annotations

import pytest

from tests.end_to_end.program_figures import crowd, stubborn

pytestmark = pytest.mark.end_to_end


async def test_a_program_that_ignores_its_end_is_gone_in_time_with_its_children() -> None:
    figures = await stubborn(3, deadline_s=1)
    assert figures.left == 0, figures
    assert figures.processes >= 4, figures  # of a machine that is busy, not all were begun in time
    for median_ms, most_ms in (figures.told_ms, figures.gone_ms):
        assert median_ms < 1200, figures
        assert most_ms < 5000, figures  # the machine may stand still for a while


async def test_many_calls_leave_no_zombies() -> None:
    figures = await crowd(100)
    assert 0 < figures.answered <= 100, figures
    assert (figures.zombies, figures.children, figures.files) == (0, 0, 0), figures
