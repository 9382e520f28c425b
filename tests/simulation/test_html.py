"""The plots of the report; that it stands on its own is tried with the command, in tests/cli."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.simulation.figures import Figures
from gateway.simulation.html import page
from gateway.simulation.text import Subject
from tests.simulation.scenes import counted, scene


def plots_of(**figures: Figures) -> dict[str, list[str]]:
    """By the title of each plot how its lines look, of those that have points."""
    subjects = [Subject(name=name, figures=found, runs=(found,)) for name, found in figures.items()]
    text = page("a day", subjects, ("what the other one changes",))
    plots = re.findall(r"<figcaption[^>]*>([^<]*)(.*?)</svg><ul>", text, re.DOTALL)
    return {title: re.findall(r'class="line (s\d)" d="M[^"]*L', drawn) for title, drawn in plots}


def test_each_plot_shows_something(tmp_path: Path) -> None:
    plots = plots_of(one=counted(scene(tmp_path, "retry = {}", down=("crm@5s..10s",))))
    assert plots == {
        "share of the requests that took at most so long": ["s0"],
        "answers that are ok over time": ["s0"],
        "latency over time": ["s0", "s1"],
        "crm: load over time": ["s0", "s1"],
    }


def test_a_configuration_looks_the_same_in_every_plot(tmp_path: Path) -> None:
    plots = plots_of(
        plain=counted(scene(tmp_path, down=("crm@5s..10s",))),
        careful=counted(scene(tmp_path, "breaker = {}", down=("crm@5s..10s",))),
    )
    assert plots["answers that are ok over time"] == ["s0", "s1"]
    assert plots["latency over time"] == ["s0", "s2", "s1", "s3"]
    assert plots["crm: breaker not closed over time"] == ["s1"]
