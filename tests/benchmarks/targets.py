"""What the figures are to be, and whether they are."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import attrs

from tests.benchmarks.connections import Held
from tests.benchmarks.measure import AT, Result, Round
from tests.benchmarks.scenarios import FEW
from tests.benchmarks.subjects import POLICIES, SERVER, SUBJECTS, US

__all__ = ["Target", "targets_of"]

_MANY, _COST_RATIO = 512, 1.3
_RATIOS = (
    ("hello", "hypercorn-hello", 8.0, AT),
    ("hello", "uvicorn-hello", 0.6, AT),
    ("proxy", "fastapi", 2.0, AT),
    ("three-way", "fastapi", 1.8, AT),
    ("mcp", "fastmcp", 5.0, FEW),
    ("mcp", "fastmcp", 5.0, AT),
    ("mcp", "mcp-lowlevel", 4.0, FEW),
    ("mcp", "mcp-lowlevel", 4.0, AT),
    ("federation", "fastmcp-proxy", 20.0, FEW),
)
_P99_RATIO = 1.0
_POLICIES_US = 60.0
_IDLE_KIB, _BUSY_KIB, _ADDED_P99_MS = 12.0, 20.0, 20.0


@attrs.frozen(slots=True)
class Target:
    """One of them.

    Args:
        about: What is measured.
        wanted: What it is to be.
        found: What it is; "—" if it could not be measured.
        met: Whether it is as wanted.
        by_cpu: For requests/s, the same for each second of CPU time: what neighbours on the machine
            disturb least.
    """

    about: str
    wanted: str
    found: str
    met: bool
    by_cpu: str = ""


def targets_of(results: Sequence[Result], held: Sequence[Held]) -> list[Target]:
    """Those that the results say anything about."""
    by_key = {result.scenario.key: result for result in results}
    return [
        *_ratios(by_key),
        *_costs(results),
        *_latencies(results),
        *_overheads(results),
        *_connections(held),
    ]


def median_ratio(ours: Iterable[float], theirs: Iterable[float]) -> float | None:
    """The median of the ratios, pair by pair; `None` where one has no figure."""
    pairs = list(zip(ours, theirs, strict=True))
    if not pairs or not all(mine and other for mine, other in pairs):
        return None
    return statistics.median(mine / other for mine, other in pairs)


def _ratios(results: Mapping[str, Result]) -> Iterator[Target]:
    for key, peer, least, count in _RATIOS:
        result = results.get(key)
        if result is None or (peer, count) not in result.rounds:
            continue
        pair = (result.rounds[result.scenario.ours, count], result.rounds[peer, count])
        found, by_cpu = (
            median_ratio(*(_sound(rounds, figure) for rounds in pair))
            for figure in (Round.rate, Round.per_cpu_s)
        )
        about = (
            f"{result.scenario.title}: requests/s at {count} connections, "
            f"{SUBJECTS[peer].short} = 1"
        )
        met = found is not None and found >= least
        yield Target(about, f"≥ {least:g}", _shown(found), met, _shown(by_cpu))


def _sound(rounds: Sequence[Round], figure: Callable[[Round], float]) -> Iterator[float]:
    """A figure of each; none of a round that had errors."""
    return (0.0 if one.load.failed else figure(one) for one in rounds)


def _costs(results: Sequence[Result]) -> Iterator[Target]:
    for result in results:
        few, many = (result.rounds.get((result.scenario.ours, count), ()) for count in (FEW, _MANY))
        if few and many:
            found = median_ratio(*([one.per_cpu_s() for one in rounds] for rounds in (few, many)))
            about = f"{result.scenario.title}: CPU time per request at {_MANY}, that at {FEW} = 1"
            yield _at_most(about, found, _COST_RATIO)


def _latencies(results: Sequence[Result]) -> Iterator[Target]:
    for result in results:
        if result.fixed:
            ours, theirs = (
                [0.0 if one.failed else one.p99_ms for one in result.fixed[key]]
                for key in (result.scenario.ours, "fastapi")
            )
            about = (
                f"{result.scenario.title}: p99 at {result.fixed_rate:,.0f} requests/s, "
                f"{SUBJECTS['fastapi'].short} = 1"
            )
            yield _at_most(about, median_ratio(ours, theirs), _P99_RATIO)


def _overheads(results: Sequence[Result]) -> Iterator[Target]:
    for result in results:
        with_all, without = (result.rounds.get((key, AT), ()) for key in (POLICIES, US))
        if with_all and without:
            costs = [
                1e6 / more.per_cpu_s() - 1e6 / less.per_cpu_s()
                for more, less in zip(with_all, without, strict=True)
                if more.per_cpu_s() and less.per_cpu_s()
            ]
            about = (
                f"{result.scenario.title}: µs of CPU time for a request at {AT} connections, "
                "over none"
            )
            yield _at_most(about, statistics.median(costs) if costs else None, _POLICIES_US)


def _connections(held: Sequence[Held]) -> Iterator[Target]:
    for one in held:
        if one.key not in {US, SERVER}:
            continue
        about = f"{one.count:,} connections, {SUBJECTS[one.key].short}"
        yield _at_most(f"{about}: failed requests", float(one.failed), 0)
        yield _at_most(f"{about}: KiB each idle", one.idle_bytes / 1024, _IDLE_KIB)
        yield _at_most(f"{about}: KiB each with a request", one.busy_bytes / 1024, _BUSY_KIB)
        yield _at_most(f"{about}: p99 of the added latency, ms", one.steady.p99_ms, _ADDED_P99_MS)


def _at_most(about: str, found: float | None, most: float) -> Target:
    return Target(about, f"≤ {most:g}", _shown(found), found is not None and found <= most)


def _shown(found: float | None) -> str:
    return "—" if found is None else f"{found:.4g}" if found >= 100 else f"{found:.2f}"
