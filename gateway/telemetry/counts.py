"""Counters, gauges and histograms as plain numbers.

Prometheus' own take a lock and several calls for each sample; events of requests come from the
loop's thread alone, so adding to a number in a dict is all there is to do. What was counted turns
into Prometheus' families when it is asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client.metrics_core import Metric

    from gateway.telemetry.events import PlacesMade

__all__ = ["Durations", "Numbers", "Occupancy"]

Labels: TypeAlias = tuple[str, ...]


class Numbers(Collector):
    """A counter or a gauge: `numbers.values[labels] += 1`, labels in their order.

    Args:
        family: Which of the two.
        name: The metric's; a counter's without `_total`.
        text: What it counts or measures.
        labels: The labels' names.
    """

    def __init__(
        self,
        family: type[CounterMetricFamily | GaugeMetricFamily],
        name: str,
        text: str,
        labels: Sequence[str],
    ) -> None:
        self._family = family
        self._about = (name, text, labels)
        self.values: defaultdict[Labels, int] = defaultdict(int)
        if family is GaugeMetricFamily and not labels:
            self.values[()] = 0  # there from the start

    def collect(self) -> Iterator[Metric]:
        """What it says now."""
        name, text, labels = self._about
        family = self._family(name, text, labels=labels)
        for values, number in self.values.items():
            family.add_metric(values, number)
        yield family


class Durations(Collector):
    """A histogram of durations with one label.

    Args:
        name: The metric's.
        text: What it measures.
        label: The label's name.
        buckets_s: The buckets' upper bounds, seconds, ascending.
    """

    def __init__(self, name: str, text: str, label: str, buckets_s: Sequence[float]) -> None:
        self._about = (name, text, (label,))
        self._bounds = tuple(buckets_s)
        self._seen: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def observe(self, label: str, seconds: float) -> None:
        """Book one duration."""
        seen = self._seen.get(label)
        if seen is None:
            seen = self._seen[label] = [0] * (len(self._bounds) + 1)
            self._sums[label] = 0.0
        seen[bisect_left(self._bounds, seconds)] += 1
        self._sums[label] += seconds

    def collect(self) -> Iterator[Metric]:
        """What was booked."""
        name, text, labels = self._about
        family = HistogramMetricFamily(name, text, labels=labels)
        bounds = [*map(str, self._bounds), "+Inf"]
        for label, seen in self._seen.items():
            buckets = list(zip(bounds, accumulate(seen), strict=True))
            family.add_metric((label,), buckets, self._sums[label])
        yield family


class Occupancy(Collector):
    """What runs at once and what waits, of every service with a limit on it; asked on collection."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], PlacesMade] = {}

    def add(self, made: PlacesMade) -> None:
        """Take note of a limit; a later one of the same service takes its place."""
        self._known[made.service, made.of] = made

    def collect(self) -> Iterator[Metric]:
        """How it is now."""

        def gauge(name: str, text: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"gateway_places{name}", text, labels=("service", "of"))

        whole = gauge("", "Threads or processes that a service may have at once.")
        busy = gauge("_busy", "Those that are taken, by abandoned threads too.")
        waiting = gauge("_waiting", "Calls that wait for one.")
        for labels, made in self._known.items():
            now = made.places.statistics()
            whole.add_metric(labels, made.places.total_tokens)
            busy.add_metric(labels, now.borrowed_tokens)
            waiting.add_metric(labels, now.tasks_waiting)
        yield from (whole, busy, waiting)
