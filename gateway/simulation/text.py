"""Many requests as text: figures, and how they went over time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import attrs

from gateway.config.units import format_duration
from gateway.simulation.figures import Figures
from gateway.simulation.measures import Measure, Series, Unit, measured, over_time, shown

__all__ = ["Subject", "change", "report", "tables"]

Table: TypeAlias = tuple[str, list[tuple[str, ...]]]
"""A title, and rows: a name, and what stands in the columns."""

_BLOCKS = "▁▂▃▄▅▆▇█"


@attrs.frozen(slots=True, kw_only=True)
class Subject:
    """A configuration, and how it did.

    Args:
        name: The file's.
        figures: All that was counted.
        runs: The same of each seed alone.
    """

    name: str
    figures: Figures
    runs: tuple[Figures, ...]


def report(subjects: Sequence[Subject]) -> str:
    """How one configuration did, or two under the same weather."""
    heads, found = tables(subjects)
    lines: list[str] = []
    for title, rows in found:
        lines += ["", title]
        lines += _aligned([("", *heads), *rows] if len(lines) == 2 and any(heads) else rows)
    for subject in subjects:
        name = f"{subject.name} over time" if len(subjects) > 1 else "over time"
        lines += ["", *_over_time(subject, name)]
    return "\n".join(lines[1:])


def tables(subjects: Sequence[Subject]) -> tuple[tuple[str, ...], list[Table]]:
    """The figures as they are shown, in tables.

    Args:
        subjects: One, of which several seeds show between which figures they are; or two, with
            by how much they differ.

    Returns:
        What heads the columns of figures, and the tables.
    """
    if len(subjects) == 2:
        first, second = subjects
        return (first.name, second.name, "change"), _compared(first, second)
    (subject,) = subjects
    if len(subject.runs) == 1:
        return ("",), [
            (section.title, [(one.name, shown(one.value, one.unit)) for one in section.measures])
            for section in measured(subject.figures)
        ]
    return (f"{len(subject.runs)} seeds", "least … greatest"), _spread(subject)


def _spread(subject: Subject) -> list[Table]:
    between = _between(subject.runs)
    return [
        (
            section.title,
            [
                (
                    one.name,
                    shown(one.value, one.unit),
                    between.get((section.title, one.name), "") if one.unit != "number" else "",
                )
                for one in section.measures
            ],
        )
        for section in measured(subject.figures)
    ]


def _between(runs: Iterable[Figures]) -> dict[tuple[str, str], str]:
    """The least and the greatest of each figure among the seeds."""
    found: dict[tuple[str, str], list[float]] = {}
    units: dict[str, Unit] = {}
    for run in runs:
        for section in measured(run):
            for one in section.measures:
                units[one.name] = one.unit
                if one.value is not None:
                    found.setdefault((section.title, one.name), []).append(one.value)
    return {
        key: f"{shown(min(values), units[key[1]])} … {shown(max(values), units[key[1]])}"
        for key, values in found.items()
    }


def _compared(first: Subject, second: Subject) -> list[Table]:
    mine, theirs = ({s.title: s for s in measured(one.figures)} for one in (first, second))
    found: list[Table] = []
    for title in dict.fromkeys([*mine, *theirs]):
        one, other = (
            {m.name: m for m in side[title].measures} if title in side else {}
            for side in (mine, theirs)
        )
        names = dict.fromkeys([*one, *other])
        found.append((title, [_row(name, one.get(name), other.get(name)) for name in names]))
    return found


def _row(name: str, one: Measure | None, other: Measure | None) -> tuple[str, ...]:
    unit = one.unit if one is not None else other.unit if other is not None else "number"
    absent = Measure(name, None if unit == "seconds" else 0.0, unit)
    one, other = one or absent, other or absent
    return name, shown(one.value, unit), shown(other.value, unit), change(one, other)


def change(one: Measure, other: Measure) -> str:
    """From one to the other: a share by its points, anything else in proportion."""
    if one.value is None or other.value is None:
        return ""
    if shown(one.value, one.unit) == shown(other.value, one.unit):
        return ""
    if one.unit in {"share", "change"}:
        return f"{(other.value - one.value) * 100:+.2f} points"
    if not one.value:
        return "new"
    proportion = other.value / one.value
    if proportion and not 0.5 <= proportion <= 2:
        return f"{proportion:.3g} times" if proportion > 1 else f"1/{1 / proportion:.3g}"
    return f"{(proportion - 1) * 100:+.1f} %"


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Names to the left, figures to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for name, *cells in rows:
        figures = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        yield f"  {name.ljust(widths[0])}  {'  '.join(figures)}".rstrip()


def _over_time(subject: Subject, title: str) -> Iterator[str]:
    figures = subject.figures
    yield f"{title}: {len(figures.slots)} parts of {format_duration(figures.slot_s)}"
    series = over_time(figures)
    width = max(len(one.name) for one in series)
    for one in series:
        yield f"  {one.name.ljust(width)}  {_line(one)}  up to {shown(one.greatest, one.unit)}"


def _line(series: Series) -> str:
    """A series drawn in one line: `·` is none at all."""
    greatest = series.greatest
    drawn = ""
    for value in series.values:
        if value is None:
            drawn += " "
        elif not value or not greatest:
            drawn += "·"
        else:
            drawn += _BLOCKS[min(len(_BLOCKS) - 1, int(value / greatest * len(_BLOCKS)))]
    return drawn
