"""The written page: what was measured, on what, and how far it can be trusted."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

import attrs

from tests.benchmarks.measure import CHECK_S, Result, Round, Rounds
from tests.benchmarks.subjects import SUBJECTS, US, Subject

__all__ = ["Run", "page", "ratio", "spread"]


@attrs.frozen(slots=True, kw_only=True)
class Run:
    """The circumstances of a run.

    Args:
        cores: How many the machine has.
        apart: Whether subjects and load had a core each.
        python: The interpreter and its version.
        versions: From a distribution's name to its version.
        rounds: How much was measured.
        upstream_rate: Answers per second of the service behind, asked directly.
        others_share: The share of the machine's CPU time that went to other work meanwhile.
    """

    cores: int
    apart: bool
    python: str
    versions: Callable[[str], str]
    rounds: Rounds
    upstream_rate: float
    others_share: float


def page(results: Sequence[Result], run: Run) -> str:
    """The whole page, as Markdown."""
    parts = [_HEAD, _summary(results, run), _circumstances(results, run), _HOW]
    parts += [_details(result, run) for result in results]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def spread(values: Iterable[float], digits: int | None = None) -> str:
    """`median (min to max)`, with so many decimals or three significant digits."""
    found = sorted(values)
    if not found:
        return "—"
    shown = [_figure(value, digits) for value in (statistics.median(found), found[0], found[-1])]
    return "{} ({} to {})".format(*shown)


def ratio(ours: Sequence[Round], theirs: Sequence[Round], figure: Callable[[Round], float]) -> str:
    """Our `figure` against theirs, round by round; none where either had errors or no answers."""
    pairs = list(zip(ours, theirs, strict=True))
    if any(one.load.failed or not figure(one) for pair in pairs for one in pair):
        return "—"
    return spread((figure(mine) / figure(other) for mine, other in pairs), 2)


def _figure(value: float, digits: int | None) -> str:
    if digits is None:
        digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _summary(results: Sequence[Result], run: Run) -> str:
    most = max(run.rounds.connections)
    rows = []
    for result in results:
        ours = result.rounds[US, most]
        for key in result.scenario.subjects[1:]:
            theirs = result.rounds[key, most]
            ratios = [ratio(ours, theirs, figure) for figure in (Round.rate, Round.per_cpu_s)]
            rows.append([result.scenario.title, SUBJECTS[key].short, *ratios])
    head = ["work", "peer", "requests per second", "requests per second of CPU time"]
    lead = (
        f"Ours, the peer's = 1, at {most} connections: the median over the rounds (least to most). "
        "Above 1 we are faster, below 1 the peer is."
    )
    return f"## In short\n\n{lead}\n\n{_table(head, rows)}"


def _circumstances(results: Sequence[Result], run: Run) -> str:
    keys = dict.fromkeys(key for result in results for key in result.scenario.subjects)
    subjects = "\n".join(f"* {_stands_on(SUBJECTS[key], run)}" for key in keys)
    cores = "1 core" if run.cores == 1 else f"{run.cores} cores"
    pinned = (
        "the subject pinned to one core, wrk and the service behind to another"
        if run.apart
        else "**subject, wrk and the service behind all on the same core**"
    )
    others = f"{run.others_share:.0%}"
    return f"""## This run

A machine of {cores}, {run.python}; {pinned}, everything over loopback. Rounds: {run.rounds.count}, each with
{run.rounds.seconds:g} s for each subject at each number of connections. The machine was shared:
other work took {others} of all its CPU time during the run, so absolute figures mean little and
ratios are to be read with their spread. CPU time per request suffers least from neighbours.

{subjects}

The service behind all of them answers wrk {run.upstream_rate:,.0f} times per second when asked
directly, both on the same core."""


def _stands_on(subject: Subject, run: Run) -> str:
    versions = ", ".join(f"{name} {run.versions(name)}" for name in subject.stands_on)
    return f"**{subject.short}**: {subject.title} ({versions})"


def _details(result: Result, run: Run) -> str:
    rows = [
        _row(result, key, connections)
        for connections in run.rounds.connections
        for key in result.scenario.subjects
    ]
    head = ["connections", "subject", "requests/s", "ours / its", "p50 ms", "p99 ms"]
    head += ["CPU µs per request", "errors"]
    scenario = result.scenario
    text = f"## {scenario.title}\n\n{scenario.about}\n\n{_table(head, rows)}"
    checks = [
        f"{SUBJECTS[key].short} {check.failed} of {check.requests}"
        for key, check in result.checks.items()
    ]
    return f"{text}\n\nAnswers that were not as wanted in the checking run: {'; '.join(checks)}."


def _row(result: Result, key: str, connections: int) -> list[str]:
    rounds = result.rounds[key, connections]
    loads = [one.load for one in rounds]
    cpu_us = [1e6 / one.per_cpu_s() for one in rounds if one.per_cpu_s()]
    failed = sum(load.failed for load in loads)
    return [
        str(connections),
        SUBJECTS[key].short,
        spread((load.rate for load in loads), 0),
        "1" if key == US else ratio(result.rounds[US, connections], rounds, Round.rate),
        _figure(statistics.median(load.p50_ms for load in loads), None),
        _figure(statistics.median(load.p99_ms for load in loads), None),
        spread(cpu_us, 0),
        f"**{failed}** of {sum(load.requests for load in loads)}" if failed else "0",
    ]


_HEAD = """# Benchmarks

How fast the gateway is, as a ratio to named peers that do the same work, in the same run, on the
same machine. This page is written by `make bench`; no figure in it is set by hand."""

_HOW = f"""## How it is measured

* One worker process each. wrk keeps a number of connections busy with the same request.
* Rounds alternate between the subjects, and each round begins with another one; a ratio compares
  neighbours within a round. Figures are medians over the rounds, with the least and the most.
* Every subject must give the same answer: it is asked before the first round, and after the last
  one every body of a further {CHECK_S:g} s at the highest concurrency is compared with it.
* Failed connections, time-outs and statuses from 400 on are counted as errors; where there are
  any, there is no ratio.
* Peers are written as their users write them and stand in `tests/benchmarks/apps/`. All pools
  allow 200 connections, all requests have a deadline of 2 s, nobody writes a log line per request.
* CPU time is that of the subject's process and its children, from the system's own accounts, in
  steps of 10 ms.
* What this does not show: TLS, HTTP/2, large bodies, slow services, many open connections."""
