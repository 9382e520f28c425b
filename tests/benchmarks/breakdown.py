"""The measured part of `docs/explanation/performance.md`."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.measure import AT
from tests.benchmarks.profile import Profile
from tests.benchmarks.report import table

__all__ = ["breakdown", "replaced"]

_BEGIN, _END = "<!-- measured: begin -->", "<!-- measured: end -->"
_MOST_LINES = 12


def breakdown(profiles: Sequence[Profile]) -> str:
    """Layers beside one another, then each scenario's lines."""
    layers = dict.fromkeys(
        layer
        for layer, _ in sorted(
            (pair for profile in profiles for pair in profile.layers), key=lambda pair: -pair[1]
        )
    )
    columns = [dict(profile.layers) for profile in profiles]
    rows = [[layer, *(_us(column.get(layer, 0.0)) for column in columns)] for layer in layers]
    rows.append(["**all**", *(f"**{profile.cpu_us:,.0f}**" for profile in profiles)])
    head = ["µs of a request", *(profile.scenario.title for profile in profiles)]
    lead = f"Microseconds of our worker's CPU time for each request, at {AT} connections:"
    parts = [f"{lead}\n\n{table(head, rows)}", *(_lines(profile) for profile in profiles)]
    return "\n\n".join(parts)


def replaced(page: str, text: str) -> str:
    """The page with `text` in the place of what was measured before.

    Raises:
        ValueError: The page has no such place.
    """
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"the page has no {_BEGIN} and {_END}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def _lines(profile: Profile) -> str:
    rows = [[_us(us), f"`{line}`"] for line, us in profile.lines[:_MOST_LINES]]
    lead = f"**{profile.scenario.title}**, line by line ({profile.samples:,} samples):"
    return f"{lead}\n\n{table(['µs', 'line'], rows)}"


def _us(value: float) -> str:
    return f"{value:.1f}" if value else ""
