"""What is counted while many requests are simulated, over time; bounded however long that is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import attrs

__all__ = ["PERCENTILES", "Figures", "Histogram", "ServiceCounts", "Slot", "slot_s_for"]

_MOST_SLOTS = 60
_SLOTS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 86400)


def slot_s_for(length_s: float) -> float:
    """How long a part of so much time is, that there are 60 of them or a few less."""
    return next((s for s in _SLOTS_S if length_s <= s * _MOST_SLOTS), length_s / _MOST_SLOTS)


@attrs.define(slots=True)
class Histogram:
    """Durations, to three digits; their number is known exactly, and the longest."""

    counts: dict[float, int] = attrs.field(factory=dict)
    longest_s: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        rounded = float(f"{seconds:.3g}")
        self.counts[rounded] = self.counts.get(rounded, 0) + 1
        self.longest_s = max(self.longest_s, seconds)

    def merge(self, other: Histogram) -> None:
        """Count those of another."""
        for seconds, number in other.counts.items():
            self.counts[seconds] = self.counts.get(seconds, 0) + number
        self.longest_s = max(self.longest_s, other.longest_s)

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.counts.values())

    def percentile(self, share: float) -> float | None:
        """The least duration in seconds that `share` of them do not exceed; `None` of none."""
        wanted = share * self.total
        passed = 0
        for seconds in sorted(self.counts):
            passed += self.counts[seconds]
            if passed >= wanted - 1e-9:
                return seconds
        return None


@attrs.define(slots=True)
class ServiceCounts:
    """What happened at one service.

    Attributes:
        calls: Calls of plans to it.
        sent: Attempts that reached it.
        retries: Attempts that followed a failure.
        hedges: Calls that were slow and made once more.
        hedges_won: Of those, how often the later one gave the reply.
        withheld: Attempts that would have followed a failure, but for the budget or the deadline.
        refused_by_breaker: Attempts that its breaker refused.
        refused_by_limit: Likewise.
        refused_by_rate: Likewise.
        cache_hits: Replies from the cache, stale ones too.
        cache_misses: Calls that asked it in vain.
        coalesced: Calls that waited for another's reply.
        open_s: Seconds that its breaker was not closed.
        limit_s: Its concurrency limit times the seconds it was so; 0 where none was found out.
        known_s: The seconds that a limit is known for.
    """

    calls: int = 0
    sent: int = 0
    retries: int = 0
    hedges: int = 0
    hedges_won: int = 0
    withheld: int = 0
    refused_by_breaker: int = 0
    refused_by_limit: int = 0
    refused_by_rate: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    coalesced: int = 0
    open_s: float = 0.0
    limit_s: float = 0.0
    known_s: float = 0.0

    @property
    def extra_load(self) -> float | None:
        """By which share more attempts reached it than calls were made; below 0 if it was spared."""
        return self.sent / self.calls - 1 if self.calls else None

    @property
    def limit(self) -> float | None:
        """Its concurrency limit on average, where it was found out."""
        return self.limit_s / self.known_s if self.known_s else None

    def merge(self, other: ServiceCounts) -> None:
        """Add those of another."""
        for field in _COUNTS:
            setattr(self, field, getattr(self, field) + getattr(other, field))


_COUNTS = tuple(field.name for field in attrs.fields(ServiceCounts))


@attrs.define(slots=True)
class Slot:
    """What happened within one part of the time.

    Attributes:
        outcomes: How many requests ended how: `ok`, `partial`, or a failure's code.
        latency: How long they took.
        services: By name.
    """

    outcomes: Counter[str] = attrs.field(factory=Counter)
    latency: Histogram = attrs.field(factory=Histogram)
    services: dict[str, ServiceCounts] = attrs.field(factory=dict)

    def service(self, name: str) -> ServiceCounts:
        """The counts of a service."""
        counts = self.services.get(name)
        if counts is None:
            counts = self.services[name] = ServiceCounts()
        return counts

    def merge(self, other: Slot) -> None:
        """Add what another one counted."""
        self.outcomes.update(other.outcomes)
        self.latency.merge(other.latency)
        for name, counts in other.services.items():
            self.service(name).merge(counts)


@attrs.define(slots=True, kw_only=True)
class Figures:
    """All that was counted.

    Attributes:
        length_s: For how long requests came, of each seed.
        slot_s: How long one slot is; the last one also has what ended after it.
        seeds: Which seeds it was.
        slots: In the order of time.
        calls: By the call's name, how its calls ended: `ok` or a code.
        not_sent: Requests that were not made, as every client was waiting.
        weather: What the services did, in words.
    """

    length_s: float
    slot_s: float
    seeds: tuple[int, ...]
    slots: list[Slot]
    calls: dict[str, Counter[str]] = attrs.field(factory=dict)
    not_sent: int = 0
    weather: tuple[str, ...] = ()

    @classmethod
    def empty(cls, length_s: float, seed: int) -> Figures:
        """Nothing counted yet, for so many seconds."""
        slot_s = slot_s_for(length_s)
        number = max(1, math.ceil(length_s / slot_s))
        slots = [Slot() for _ in range(number)]
        return cls(length_s=length_s, slot_s=slot_s, seeds=(seed,), slots=slots)

    def include(self, services: Iterable[str]) -> None:
        """Have counts of these services."""
        for name in services:
            for slot in self.slots:
                slot.service(name)

    @property
    def whole(self) -> Slot:
        """All the time as one."""
        whole = Slot()
        for slot in self.slots:
            whole.merge(slot)
        return whole

    def merge(self, other: Figures) -> None:
        """Add those of other seeds, of the same length."""
        self.seeds += other.seeds
        self.not_sent += other.not_sent
        for mine, theirs in zip(self.slots, other.slots, strict=True):
            mine.merge(theirs)
        for name, outcomes in other.calls.items():
            self.calls.setdefault(name, Counter()).update(outcomes)

    def json(self) -> dict[str, Any]:
        """As JSON values: the whole, and each slot."""
        return {
            "seeds": list(self.seeds),
            "length_s": self.length_s,
            "weather": list(self.weather),
            "not_sent": self.not_sent,
            **_json(self.whole),
            "calls": {name: dict(sorted(found.items())) for name, found in self.calls.items()},
            "slot_s": self.slot_s,
            "slots": [_json(slot) for slot in self.slots],
        }


PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
"""Those that are shown, by name."""


def _json(slot: Slot) -> dict[str, Any]:
    latency = slot.latency
    shown = {f"{name}_s": latency.percentile(share) for name, share in PERCENTILES.items()}
    return {
        "requests": sum(slot.outcomes.values()),
        "outcomes": dict(sorted(slot.outcomes.items())),
        "latency": {**shown, "longest_s": latency.longest_s},
        "services": {
            name: {**attrs.asdict(counts), "extra_load": counts.extra_load}
            for name, counts in slot.services.items()
        },
    }
