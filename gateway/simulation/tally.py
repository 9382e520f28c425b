"""Counts what is told of many requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import trio

from gateway.core.errors import Skipped
from gateway.simulation.figures import Figures, Slot
from gateway.telemetry.events import (
    BreakerChanged,
    CacheAsked,
    CallStarted,
    Coalesced,
    Event,
    Hedged,
    LimitChanged,
    Refused,
    RequestEnded,
    Retried,
    RetryWithheld,
)

__all__ = ["Tally"]

_UNANSWERED = "never answered"


class Tally:
    """A listener of events, and a `Watch`, that counts what it hears of into `figures`.

    Args:
        figures: What it adds to.
    """

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._slot_s = figures.slot_s
        self._last = len(figures.slots) - 1
        self._slot = figures.slots[0]
        self._slot_end = self._slot_s if self._last else float("inf")
        self._open_since: dict[str, float] = {}
        self._limits: dict[str, tuple[float, int]] = {}
        self.hears: dict[type[Any], Callable[[Any], None]] = {
            RequestEnded: self._request_ended,
            CallStarted: self._call_started,
            Retried: self._retried,
            RetryWithheld: self._withheld,
            Refused: self._refused,
            Hedged: self._hedged,
            CacheAsked: self._cache_asked,
            Coalesced: self._coalesced,
            BreakerChanged: self._breaker_changed,
            LimitChanged: self._limit_changed,
        }

    def __call__(self, event: Event) -> None:
        """Count it, if it is of a kind that counts."""
        count = self.hears.get(type(event))
        if count is not None:
            count(event)

    def began(self, service: str, _call: str) -> None:
        """As `Watch`."""
        self._now().services[service].sent += 1

    def ended(self, attempt: None, outcome: str) -> None:
        """As `Watch`: nothing is counted."""

    def close(self) -> None:
        """Book what lasts until now."""
        for service in list(self._open_since):
            self._book_open(service)
        for service in list(self._limits):
            self._book_limit(service)

    def _now(self) -> Slot:
        """The slot that it is the time of."""
        now = trio.current_time()
        if now >= self._slot_end:
            at = min(int(now / self._slot_s), self._last)
            self._slot = self._figures.slots[at]
            self._slot_end = (at + 1) * self._slot_s if at < self._last else float("inf")
        return self._slot

    def _request_ended(self, event: RequestEnded) -> None:
        slot = self._now()
        outcome: str = event.outcome
        if event.error is not None:
            outcome = event.error.code
        elif outcome == "cancelled":
            outcome = _UNANSWERED
        slot.outcomes[outcome] += 1
        slot.latency.add(event.duration_s)
        calls = self._figures.calls
        for branch in event.branches:
            error = branch.error
            ended = "ok" if error is None else error.code
            if isinstance(error, Skipped) and branch.started_s is not None:
                ended = "not waited for"
            if branch.call not in calls:
                calls[branch.call] = Counter()
            calls[branch.call][ended] += 1

    def _call_started(self, event: CallStarted) -> None:
        self._now().services[event.service].calls += 1

    def _retried(self, event: Retried) -> None:
        self._now().services[event.service].retries += 1

    def _withheld(self, event: RetryWithheld) -> None:
        self._now().services[event.service].withheld += 1

    def _refused(self, event: Refused) -> None:
        counts = self._now().services[event.service]
        if event.by == "breaker":
            counts.refused_by_breaker += 1
        elif event.by == "limit":
            counts.refused_by_limit += 1
        else:
            counts.refused_by_rate += 1

    def _hedged(self, event: Hedged) -> None:
        counts = self._now().services[event.service]
        counts.hedges += 1
        counts.hedges_won += event.won

    def _cache_asked(self, event: CacheAsked) -> None:
        counts = self._now().services[event.service]
        if event.found == "miss":
            counts.cache_misses += 1
        else:
            counts.cache_hits += 1

    def _coalesced(self, event: Coalesced) -> None:
        self._now().services[event.service].coalesced += 1

    def _breaker_changed(self, event: BreakerChanged) -> None:
        if event.state == "closed":
            self._book_open(event.service)
        else:
            self._open_since.setdefault(event.service, trio.current_time())

    def _limit_changed(self, event: LimitChanged) -> None:
        if event.service in self._limits:
            self._book_limit(event.service)
        self._limits[event.service] = (trio.current_time(), event.concurrency)

    def _book_open(self, service: str) -> None:
        for slot, seconds in self._spread(self._open_since.pop(service)):
            slot.services[service].open_s += seconds

    def _book_limit(self, service: str) -> None:
        since, limit = self._limits.pop(service)
        for slot, seconds in self._spread(since):
            counts = slot.services[service]
            counts.limit_s += limit * seconds
            counts.known_s += seconds

    def _spread(self, since: float) -> list[tuple[Slot, float]]:
        """The slots from `since` to now, and the seconds of it in each; the end is the last's."""
        slots, slot_s = self._figures.slots, self._slot_s
        until = min(trio.current_time(), len(slots) * slot_s)
        found = []
        at = int(since / slot_s)
        while at < len(slots) and at * slot_s < until:
            seconds = min(until, (at + 1) * slot_s) - max(since, at * slot_s)
            found.append((slots[at], seconds))
            at += 1
        return found
