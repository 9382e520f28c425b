"""The listener that counts, and what it counted as Prometheus text.

Every label's values are bounded by the configuration, never by what clients send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
from prometheus_client import CollectorRegistry, Counter, Gauge, Info
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from gateway.telemetry.counts import Durations, Numbers, Occupancy
from gateway.telemetry.events import (
    AbandonedThreadEnded,
    BreakerChanged,
    BreakerState,
    CacheAsked,
    CallEnded,
    CallStarted,
    Coalesced,
    Event,
    FaultInjected,
    Hedged,
    LimitChanged,
    LineChanged,
    LoopBlocked,
    PlacesMade,
    Refused,
    ReplicaChanged,
    RequestEnded,
    RequestStarted,
    Retried,
    RetryWithheld,
    ThreadAbandoned,
    WorkerStarted,
)

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

__all__ = ["Metrics"]

_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_DISTRIBUTION = "trio-gateway"


def _version() -> str:
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"


@attrs.frozen(slots=True)
class _WithoutCreated(Collector):
    """A registry's metrics without their `_created` series, which double the text for no use."""

    registry: CollectorRegistry

    def collect(self) -> Iterator[Metric]:
        for metric in self.registry.collect():
            metric.samples = [s for s in metric.samples if not s.name.endswith("_created")]
            yield metric


class Metrics:
    """Counts every event it hears, in a registry of its own.

    Events of requests and calls come from the loop's thread; those of threads from any.
    """

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._exposed = _WithoutCreated(registry)
        self.hears: dict[type[Any], Callable[[Any], None]] = {
            RequestStarted: self._request_started,
            RequestEnded: self._request_ended,
            CallStarted: self._call_started,
            CallEnded: self._call_ended,
            ThreadAbandoned: self._thread_abandoned,
            AbandonedThreadEnded: self._abandoned_thread_ended,
            WorkerStarted: self._worker_started,
            ReplicaChanged: self._replica_changed,
            PlacesMade: self._places_made,
        }
        Info("gateway", "What runs.", registry=registry).info({"version": _version()})
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)

        def numbers(
            family: type[CounterMetricFamily | GaugeMetricFamily],
            name: str,
            text: str,
            labels: tuple[str, ...],
        ) -> dict[tuple[str, ...], int]:
            made = Numbers(family, f"gateway_{name}", text, labels)
            registry.register(made)
            return made.values

        def counts(name: str, text: str, *labels: str) -> dict[tuple[str, ...], int]:
            return numbers(CounterMetricFamily, name, text, labels)

        def levels(name: str, text: str, *labels: str) -> dict[tuple[str, ...], int]:
            return numbers(GaugeMetricFamily, name, text, labels)

        def durations(name: str, text: str, label: str) -> Durations:
            made = Durations(f"gateway_{name}", text, label, _BUCKETS_S)
            registry.register(made)
            return made

        self._requests = counts(
            "requests", "Requests that ended.", "tool", "protocol", "outcome", "code"
        )
        self._request_duration = durations(
            "request_duration_seconds", "From a request's start to its end.", "tool"
        )
        self._requests_in_flight = levels("requests_in_flight", "Requests under way.")
        self._calls = counts("calls", "Calls that ended.", "tool", "service", "outcome", "code")
        self._call_duration = durations(
            "call_duration_seconds", "From a call's start to its end.", "service"
        )
        self._calls_in_flight = levels("calls_in_flight", "Calls under way.", "service")
        self._partials = counts(
            "partial_answers", "Answers in which an optional call is missing.", "tool"
        )
        self._cancels = counts(
            "cancels", "Requests of which something was cancelled under way.", "reason"
        )
        self._replicas = levels(
            "replica_in", "Whether a replica is chosen: 1, or 0.", "service", "replica"
        )
        self._replica_changes = counts(
            "replica_changes", "Replicas let in or left out.", "service", "replica", "to", "why"
        )
        # Told from other threads too: Prometheus' own have the locks.
        self._threads = Gauge(
            "gateway_abandoned_threads",
            "Threads that nobody waits for and that still run.",
            ("service",),
            registry=registry,
        )
        self._threads_total = Counter(
            "gateway_threads_abandoned",
            "Threads that somebody stopped waiting for.",
            ("service",),
            registry=registry,
        )

        self._places = Occupancy()
        registry.register(self._places)
        self.hears |= _policies(counts, levels)
        self._restarts = Counter(
            "gateway_worker_restarts_total",
            "Workers that ended unasked, and were replaced.",
            registry=registry,
        )

    def __call__(self, event: Event) -> None:
        """Count `event`; one of a type unknown here counts for nothing."""
        handler = self.hears.get(type(event))
        if handler is not None:
            handler(event)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Everything counted so far.

        Args:
            accept: The scraper's `accept` header.

        Returns:
            The text, in OpenMetrics if `accept` asks for it, else in Prometheus' own format; and
            its content type.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self._exposed), content_type

    def _request_started(self, _event: RequestStarted) -> None:
        self._requests_in_flight[()] += 1

    def _request_ended(self, event: RequestEnded) -> None:
        tool = event.tool
        self._requests_in_flight[()] -= 1
        self._requests[tool, event.request.context.protocol, event.outcome, event.code] += 1
        self._request_duration.observe(tool, event.duration_s)
        if event.outcome == "partial":
            self._partials[tool,] += 1
        reason = _cancelled_by(event)
        if reason is not None:
            self._cancels[reason,] += 1

    def _call_started(self, event: CallStarted) -> None:
        self._calls_in_flight[event.service,] += 1

    def _call_ended(self, event: CallEnded) -> None:
        branch = event.branch
        code = "" if branch.error is None else branch.error.code
        self._calls[event.tool, branch.service, branch.outcome, code] += 1
        if branch.started_s is not None:
            self._calls_in_flight[branch.service,] -= 1
            self._call_duration.observe(branch.service, branch.ended_s - branch.started_s)

    def _thread_abandoned(self, event: ThreadAbandoned) -> None:
        self._threads.labels(event.service).inc()
        self._threads_total.labels(event.service).inc()

    def _abandoned_thread_ended(self, event: AbandonedThreadEnded) -> None:
        self._threads.labels(event.service).dec()

    def _replica_changed(self, event: ReplicaChanged) -> None:
        self._replicas[event.service, event.replica] = int(event.is_in)
        if event.why != "start":
            to = "in" if event.is_in else "out"
            self._replica_changes[event.service, event.replica, to, event.why] += 1

    def _places_made(self, event: PlacesMade) -> None:
        self._places.add(event)

    def _worker_started(self, event: WorkerStarted) -> None:
        self._restarts.inc(event.restarts)


_Numbers: TypeAlias = dict[tuple[str, ...], int]
_Made: TypeAlias = Callable[..., _Numbers]
"""Makes a metric of a name, a text and labels, and gives its numbers."""

_STATES: Mapping[BreakerState, int] = {"closed": 0, "half_open": 1, "open": 2}


def _policies(counts: _Made, levels: _Made) -> dict[type[Any], Callable[[Any], None]]:
    """What hears the events of policies and the like, each with a metric of its own."""
    return {
        Retried: _counted(counts("retries", "Calls that were tried again.", "service")),
        RetryWithheld: _counted(
            counts("retries_withheld", "Calls that were not tried again.", "service", "why"),
            lambda event: event.why,
        ),
        Refused: _counted(
            counts("refused", "Calls that a policy refused.", "service", "policy"),
            lambda event: event.by,
        ),
        Hedged: _counted(
            counts("hedges", "Calls that were made once more.", "service", "won"),
            lambda event: "yes" if event.won else "no",
        ),
        BreakerChanged: _kept(
            levels("breaker_state", "0 closed, 1 half open, 2 open.", "service"),
            lambda event: _STATES[event.state],
        ),
        LimitChanged: _kept(
            levels("limit_concurrency", "Calls under way at once, as found out.", "service"),
            lambda event: event.concurrency,
        ),
        LineChanged: _kept(
            levels("limit_waiting", "Calls that wait for a place.", "service"),
            lambda event: event.waiting,
        ),
        CacheAsked: _counted(
            counts("cache", "Replies that the cache was asked for.", "service", "found"),
            lambda event: event.found,
        ),
        Coalesced: _counted(counts("coalesced", "Calls that shared another's reply.", "service")),
        LoopBlocked: _counted(
            counts("loop_blocked", "Times that something held the loop.", "service")
        ),
        FaultInjected: _counted(
            counts("faults", "Calls that were made to go wrong.", "service", "fault"),
            lambda event: event.fault,
        ),
    }


def _counted(metric: _Numbers, label: Callable[[Any], str] | None = None) -> Callable[[Any], None]:
    """Counts events of a service, by one more label where there is one."""

    def add(event: Any) -> None:
        metric[(event.service,) if label is None else (event.service, label(event))] += 1

    return add


def _kept(metric: _Numbers, number: Callable[[Any], int]) -> Callable[[Any], None]:
    """Keeps the last number that was told of a service."""

    def keep(event: Any) -> None:
        metric[event.service,] = number(event)

    return keep


def _cancelled_by(event: RequestEnded) -> str | None:
    if event.outcome == "ok":
        return None
    if event.outcome in {"client_left", "cancelled"}:
        return event.outcome
    if event.code == "deadline_exceeded":
        return "deadline"
    if any(error.code == "deadline_exceeded" for error in event.missing):
        return "deadline"
    return None
