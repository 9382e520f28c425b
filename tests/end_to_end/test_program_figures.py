"""Programs that do not end, and many of them; more: `python -m tests.end_to_end.program_figures`."""

from __future__ import annotations

import pytest

from tests.end_to_end.program_figures import crowd, stubborn

pytestmark = pytest.mark.end_to_end


async def test_a_program_that_ignores_its_end_is_gone_in_time_with_its_children() -> None:
    figures = await stubborn(3)
    assert figures.left == 0, figures
    assert figures.processes >= 4, figures  # of a machine that is busy, not all were begun in time
    assert figures.told_ms[1] < 1000, figures
    assert figures.gone_ms[1] < 1200, figures


async def test_many_calls_leave_no_zombies() -> None:
    figures = await crowd(100)
    assert 0 < figures.answered <= 100, figures
    assert (figures.zombies, figures.children, figures.files) == (0, 0, 0), figures
