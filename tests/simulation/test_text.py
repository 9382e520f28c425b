"""Figures as people read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.simulation.measures import Measure, Unit, shown
from gateway.simulation.text import Subject, change, report
from tests.simulation.scenes import counted, scene


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        ("number", 12345, "12,345"),
        ("share", 0.98765, "98.77 %"),
        ("change", 0.2049, "+20.5 %"),
        ("change", -0.5, "-50.0 %"),
        ("seconds", 0.0123456, "12.3ms"),
        ("seconds", 61.2, "1m1.2s"),
        ("ratio", 1.05, "1.050"),
        ("per_s", 203.4, "203/s"),
        ("seconds", None, "-"),
    ],
)
def test_figures_carry_their_units(unit: Unit, value: float | None, text: str) -> None:
    assert shown(value, unit) == text


@pytest.mark.parametrize(
    ("unit", "one", "other", "text"),
    [
        ("share", 0.5, 0.625, "+12.50 points"),
        ("number", 100, 110, "+10.0 %"),
        ("number", 100, 60, "-40.0 %"),
        ("seconds", 2.0, 0.1, "1/20"),
        ("seconds", 0.1, 2.0, "20 times"),
        ("number", 5, 0, "-100.0 %"),
        ("number", 0, 5, "new"),
        ("seconds", 2.0000001, 2.0, ""),
        ("seconds", None, 2.0, ""),
    ],
)
def test_changes_are_said_as_they_are_thought_of(
    unit: Unit, one: float | None, other: float | None, text: str
) -> None:
    assert change(Measure("m", one, unit), Measure("m", other, unit)) == text


def test_what_happens_when_shows_over_time(tmp_path: Path) -> None:
    scenario = scene(tmp_path, billing="", down=("billing@2s..4s",), latency=("crm=80ms",))
    figures = counted(scenario, length_s=6)
    text = report([Subject(name="gateway.toml", figures=figures, runs=(figures,))])
    lines = {line.split("  ")[1]: line for line in text.splitlines() if "up to" in line}
    drawn = lines["ok"].removeprefix("  ok").split("  up to")[0].strip()
    assert len(drawn) == 60
    assert set(drawn[:20]) | set(drawn[41:]) == {"█"}
    assert set(drawn[22:39]) == {"·"}
    assert "call invoices" in text
    assert "call profile" not in text
