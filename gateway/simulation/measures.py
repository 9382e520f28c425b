"""The figures that are shown, each with its name and unit: of the whole time, and over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import attrs

from gateway.config.units import format_duration
from gateway.simulation.figures import PERCENTILES, Figures, ServiceCounts, Slot

__all__ = ["Measure", "Section", "Series", "Unit", "measured", "over_time", "shown"]

Unit: TypeAlias = Literal["number", "share", "change", "seconds", "ratio", "per_s"]
"""What a figure is: a `change` is a share with its sign, a `ratio` a number with a fraction."""


@attrs.frozen(slots=True)
class Measure:
    """One figure; `None` where there is nothing to measure."""

    name: str
    value: float | None
    unit: Unit


@attrs.frozen(slots=True)
class Section:
    """Figures that belong together."""

    title: str
    measures: tuple[Measure, ...]


@attrs.frozen(slots=True)
class Series:
    """A figure over time.

    Args:
        name: What it is.
        chart: What it is drawn in, with others.
        unit: Of its values.
        values: One for each slot; `None` where there is nothing to measure.
        top: What the scale goes up to, at the least.
    """

    name: str
    chart: str
    unit: Unit
    values: tuple[float | None, ...]
    top: float = 0.0

    @property
    def greatest(self) -> float:
        """The end of its scale."""
        return max(self.top, *(value or 0.0 for value in self.values))


def shown(value: float | None, unit: Unit) -> str:
    """A figure as people read it."""
    if value is None:
        return "-"
    match unit:
        case "number":
            return f"{value:,.0f}"
        case "share":
            return f"{value * 100:.2f} %"
        case "change":
            return f"{value * 100:+.1f} %"
        case "seconds":
            return format_duration(float(f"{value:.3g}"))
        case "ratio":
            return f"{value:.3f}"
        case "per_s":
            return f"{value:.3g}/s"


def measured(figures: Figures) -> list[Section]:
    """The figures of the whole time."""
    whole = figures.whole
    requests = sum(whole.outcomes.values())
    sections = [
        Section("outcomes", tuple(_outcomes(whole, figures.not_sent))),
        Section("latency", tuple(_latency(whole))),
        *(
            Section(f"call {name}", tuple(_shares(found)))
            for name, found in figures.calls.items()
            if found.keys() != {"ok"}
        ),
    ]
    for name, counts in whole.services.items():
        length_s = figures.length_s * len(figures.seeds)
        rows = tuple(_service(counts, requests, length_s))
        sections.append(Section(f"service {name}", rows))
    return sections


def _outcomes(whole: Slot, not_sent: int) -> Iterator[Measure]:
    yield Measure("requests", sum(whole.outcomes.values()), "number")
    yield from _shares({"ok": 0, **whole.outcomes})
    if not_sent:
        yield Measure("not made: all clients waited", not_sent, "number")


def _shares(found: dict[str, int]) -> Iterator[Measure]:
    total = sum(found.values()) or 1
    for outcome in sorted(found, key=lambda one: (one != "ok", one != "partial", one)):
        yield Measure(outcome, found[outcome] / total, "share")


def _latency(whole: Slot) -> Iterator[Measure]:
    for name, share in PERCENTILES.items():
        yield Measure(name, whole.latency.percentile(share), "seconds")
    yield Measure("longest", whole.latency.longest_s, "seconds")


def _service(counts: ServiceCounts, requests: int, length_s: float) -> Iterator[Measure]:
    yield Measure("calls", counts.calls, "number")
    yield Measure("attempts that reached it", counts.sent, "number")
    yield Measure("attempts per request", counts.sent / requests if requests else None, "ratio")
    yield Measure("extra load", counts.extra_load, "change")
    asked = counts.cache_hits + counts.cache_misses
    yield from _if_any("cache hits", counts.cache_hits / asked if asked else 0, "share")
    yield from _if_any("waited for another's call", counts.coalesced)
    yield from _if_any("retries", counts.retries)
    yield from _if_any("retries withheld", counts.withheld)
    yield from _if_any("hedges", counts.hedges)
    yield from _if_any("hedges that won", counts.hedges_won)
    yield from _if_any("refused by its breaker", counts.refused_by_breaker)
    yield from _if_any("breaker not closed", counts.open_s / length_s, "share")
    yield from _if_any("refused by its rate", counts.refused_by_rate)
    yield from _if_any("refused by its limit", counts.refused_by_limit)
    yield from _if_any("limit, on average", counts.limit or 0.0, "ratio")


def _if_any(name: str, value: float, unit: Unit = "number") -> Iterator[Measure]:
    if value:
        yield Measure(name, value, unit)


def over_time(figures: Figures) -> list[Series]:
    """The figures that are shown over time."""
    slots = figures.slots
    series = [Series("ok", "answers that are ok", "share", tuple(map(_ok, slots)), top=1.0)]
    for name in ("p50", "p99"):
        values = tuple(slot.latency.percentile(PERCENTILES[name]) for slot in slots)
        series.append(Series(name, "latency", "seconds", values))
    lengths = [figures.slot_s] * len(slots)
    lengths[-1] = figures.length_s - figures.slot_s * (len(slots) - 1)
    seconds = [length * len(figures.seeds) for length in lengths]
    for name in slots[0].services:
        series += _of_service(name, [slot.services[name] for slot in slots], seconds)
    return series


def _of_service(
    name: str, counts: Sequence[ServiceCounts], seconds: Sequence[float]
) -> Iterator[Series]:
    each = list(zip(counts, seconds, strict=True))
    load = f"{name}: load"
    calls = Series(f"{name}: calls", load, "per_s", tuple(one.calls / s for one, s in each))
    sent = Series(f"{name}: attempts", load, "per_s", tuple(one.sent / s for one, s in each))
    top = max(calls.greatest, sent.greatest)  # one scale: they are to be compared
    yield attrs.evolve(calls, top=top)
    if sent.values != calls.values:
        yield attrs.evolve(sent, top=top)
    if any(one.open_s for one in counts):
        title = f"{name}: breaker not closed"
        yield Series(title, title, "share", tuple(min(1.0, one.open_s / s) for one, s in each), 1.0)
    if any(one.known_s for one in counts):
        title = f"{name}: limit"
        yield Series(title, title, "ratio", tuple(one.limit for one in counts))


def _ok(slot: Slot) -> float | None:
    total = sum(slot.outcomes.values())
    return slot.outcomes["ok"] / total if total else None
