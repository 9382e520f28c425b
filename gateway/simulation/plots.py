"""Plots as SVG that stands in a page: lines over time, and how durations are distributed.

Lines differ in colour and in their dashes; a title and a description say in words what is shown.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from gateway.config.units import format_duration
from gateway.simulation.figures import Figures, Histogram
from gateway.simulation.measures import Series, over_time, shown

__all__ = ["plots"]

_WIDTH, _HEIGHT = 640, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 10, 10, 24
_ACROSS, _DOWN = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
_STYLES = 6
"""Kinds of lines that the page's style sheet has."""

_Points = Sequence[tuple[float, float]]
"""Each from 0 to 1: to the right, and up."""


def plots(subjects: Sequence[tuple[str, Figures]]) -> Iterator[str]:
    """A figure for each plot, all configurations in each.

    Args:
        subjects: Names, empty if there is but one, and what was counted.
    """
    numbers = itertools.count(1)
    yield _distribution(next(numbers), subjects)
    charts: dict[str, list[tuple[int, Series]]] = {}
    for number, (name, figures) in enumerate(subjects):
        # The first line of a configuration looks the same in every plot, then the second one.
        styles: Counter[str] = Counter()
        for series in over_time(figures):
            title = f"{name}: {series.name}" if name else series.name
            named = Series(title, series.chart, series.unit, series.values, series.top)
            style = number + len(subjects) * styles[series.chart]
            styles[series.chart] += 1
            charts.setdefault(series.chart, []).append((style, named))
    figures = subjects[0][1]
    for chart, lines in charts.items():
        yield _over_time(next(numbers), chart, lines, figures)


def _over_time(
    number: int, chart: str, lines: Sequence[tuple[int, Series]], figures: Figures
) -> str:
    unit = lines[0][1].unit
    top = max(line.greatest for _, line in lines) or 1.0
    slots = len(figures.slots)
    drawn = [(style, line.name, list(_runs(line, top, slots))) for style, line in lines]
    said = [f"{line.name}: up to {shown(line.greatest, unit)}" for _, line in lines]
    ticks = [(share, shown(share * top, unit)) for share in (0, 0.5, 1)]
    end_s = figures.slot_s * slots
    below = [(share, format_duration(round(share * end_s, 3))) for share in (0, 0.25, 0.5, 0.75, 1)]
    title = f"{chart} over time"
    return _figure(number, title, said=said, lines=drawn, left=ticks, below=below)


def _runs(line: Series, top: float, slots: int) -> Iterator[_Points]:
    """The parts of a line, which ends where there is nothing to measure."""
    run: list[tuple[float, float]] = []
    for at, value in enumerate(line.values):
        if value is None:
            if run:
                yield run
            run = []
        else:
            run += [(at / slots, value / top), ((at + 1) / slots, value / top)]
    if run:
        yield run


def _distribution(number: int, subjects: Sequence[tuple[str, Figures]]) -> str:
    """Which share of the requests took no longer than how long, on a scale of powers of ten."""
    latencies = [(name or "requests", figures.whole.latency) for name, figures in subjects]
    known = [s for _, latency in latencies for s in latency.counts if s > 0] or [0.001, 1.0]
    first = math.floor(math.log10(min(known)))
    last = max(first + 1, math.ceil(math.log10(max(known))))
    drawn = [
        (style, name, [list(_cumulated(found, first, last))])
        for style, (name, found) in enumerate(latencies)
    ]
    said = [
        f"{name}: half take up to {shown(found.percentile(0.5), 'seconds')}, "
        f"99 % up to {shown(found.percentile(0.99), 'seconds')}"
        for name, found in latencies
    ]
    left = [(share, shown(share, "share")) for share in (0, 0.5, 0.9, 0.99)]
    powers = range(first, last + 1)
    below = [((at - first) / (last - first), format_duration(10.0**at)) for at in powers]
    title = "share of the requests that took at most so long"
    return _figure(number, title, said=said, lines=drawn, left=left, below=below)


def _cumulated(latency: Histogram, first: int, last: int) -> Iterator[tuple[float, float]]:
    total, passed = latency.total or 1, 0
    for seconds in sorted(latency.counts):
        across = (math.log10(seconds) - first) / (last - first) if seconds > 0 else 0.0
        yield across, passed / total
        passed += latency.counts[seconds]
        yield across, passed / total
    yield 1.0, passed / total


def _figure(
    number: int,
    title: str,
    *,
    said: Iterable[str],
    lines: Sequence[tuple[int, str, Iterable[_Points]]],
    left: Iterable[tuple[float, str]],
    below: Iterable[tuple[float, str]],
) -> str:
    """A plot with its axes, its legend and its words.

    Args:
        number: Tells it apart from others of the page.
        title: What is shown.
        said: The same in words, a sentence for each line.
        lines: How each looks, its name and its parts.
        left: Where the marks of the upright axis are, from 0 to 1, and what they say.
        below: Likewise of the other one.
    """
    parts = [
        f'<figure><figcaption id="t{number}">{escape(title)}</figcaption>',
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="t{number} d{number}">',
        f'<desc id="d{number}">{escape("; ".join(said))}</desc>',
    ]
    for share, text in left:
        y = _TOP + (1 - share) * _DOWN
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text class="left" x="{_LEFT - 6}" y="{y + 4:.1f}">{escape(text)}</text>')
    for share, text in below:
        x, y = _LEFT + share * _ACROSS, _HEIGHT - 6
        parts.append(f'<text class="below" x="{x:.1f}" y="{y}">{escape(text)}</text>')
    for style, _, runs in lines:
        path = "".join(map(_path, runs))
        if path:
            parts.append(f'<path class="line s{style % _STYLES}" d="{path}"/>')
    parts.append("</svg><ul>")
    for style, name, _ in lines:
        key = f'<svg class="key" viewBox="0 0 24 8" aria-hidden="true"><path class="line s{style % _STYLES}" d="M0 4H24"/></svg>'
        parts.append(f"<li>{key} {escape(name)}</li>")
    parts.append("</ul></figure>")
    return "\n".join(parts)


def _path(points: _Points) -> str:
    places = (f"{_LEFT + x * _ACROSS:.1f} {_TOP + (1 - y) * _DOWN:.1f}" for x, y in points)
    return "M" + "L".join(places)
