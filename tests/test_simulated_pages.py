"""What the pages say that a simulation prints, it prints: to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.simulated import PAGES, simulated_page


@pytest.mark.end_to_end
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_simulations_print_what_the_page_says(page: Path) -> None:
    assert page.read_text() == simulated_page(page), "run: python docs/simulated.py"
