"""The written page: what was measured, on what, and how far it can be trusted."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

import attrs

from tests.benchmarks.connections import HANDLER_S, Held
from tests.benchmarks.crowd import Outcome
from tests.benchmarks.measure import AT, CHECK_S, FIXED_SHARE, Result, Round, Rounds
from tests.benchmarks.subjects import SUBJECTS, Subject
from tests.benchmarks.targets import Target, targets_of

__all__ = ["Run", "page", "ratio", "spread", "table"]

_BUSY_SHARE = 0.85


@attrs.frozen(slots=True, kw_only=True)
class Run:
    """The circumstances of a run.

    Args:
        date: When it began.
        commit: Of which commit.
        cores: How many the machine has.
        processor: Which.
        system: Its kernel.
        apart: Whether subjects and load had a core each.
        python: The interpreter and its version.
        versions: From a distribution's or a program's name to its version.
        rounds: How much was measured.
        upstream_rate: Answers per second of the service behind, asked directly.
        others_share: The share of the machine's CPU time that went to other work meanwhile.
        load_before: The system's load average over a minute when it began.
        left_out: The keys of subjects that could not be had.
    """

    date: str
    commit: str
    cores: int
    processor: str
    system: str
    apart: bool
    python: str
    versions: Callable[[str], str]
    rounds: Rounds
    upstream_rate: float
    others_share: float
    load_before: float
    left_out: Sequence[str]


def page(
    results: Sequence[Result], held: Sequence[Held], run: Run, failures: Sequence[str] = ()
) -> str:
    """The whole page, as Markdown.

    Args:
        results: Of each scenario.
        held: Of each subject with many connections.
        run: The circumstances.
        failures: What could not be measured.
    """
    parts = [_HEAD, _targets(targets_of(results, held))]
    if failures:
        parts.append(f"**Could not be measured: {'; '.join(failures)}.**")
    if results:
        parts.append(_summary(results, run))
    parts += [_circumstances(results, run), _HOW]
    parts += [_details(result, run) for result in results]
    if held:
        parts.append(_held(held))
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


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


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """As Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _figure(value: float, digits: int | None = None) -> str:
    if digits is None:
        digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def _targets(targets: Sequence[Target]) -> str:
    if not targets:
        return ""
    rows = [
        [
            target.about,
            target.wanted,
            target.found,
            "met" if target.met else "**not met**",
            target.by_cpu,
        ]
        for target in targets
    ]
    head = ["what", "wanted", "found", "", "per second of CPU time"]
    return f"## Targets\n\n{table(head, rows)}"


def _summary(results: Sequence[Result], run: Run) -> str:
    at = AT if AT in run.rounds.connections else max(run.rounds.connections)
    rows = []
    for result in results:
        for key in result.subjects[1:]:
            count = max(n for n in run.rounds.connections if n <= at and (key, n) in result.rounds)
            ours, theirs = (result.rounds[one, count] for one in (result.scenario.ours, key))
            ratios = [ratio(ours, theirs, figure) for figure in (Round.rate, Round.per_cpu_s)]
            work = result.scenario.title + (f", at {count}" if count < at else "")
            rows.append([work, SUBJECTS[key].short, *ratios])
    head = ["work", "peer", "requests per second", "requests per second of CPU time"]
    lead = (
        f"Ours, the peer's = 1, at {at} connections: the median over the rounds (least to most). "
        "Above 1 we are faster, below 1 the peer is."
    )
    return f"## In short\n\n{lead}\n\n{table(head, rows)}"


def _circumstances(results: Sequence[Result], run: Run) -> str:
    keys = dict.fromkeys(key for result in results for key in result.subjects)
    subjects = "\n".join(f"* {_stands_on(SUBJECTS[key], run)}" for key in keys)
    cores = "1 core" if run.cores == 1 else f"{run.cores} cores"
    pinned = (
        "the subject pinned to one core, the load and the services behind to another"
        if run.apart
        else "**subject, load and the services behind all on the same core**"
    )
    left_out = f"\nLeft out, because it could not be had: {', '.join(run.left_out)}.\n"
    return f"""## This run

{run.date}, commit {run.commit}. A machine of {cores} ({run.processor}), {run.system}, {run.python}; {pinned},
everything over loopback. Rounds: {run.rounds.count}, each with {run.rounds.seconds:g} s for each subject at {AT}
connections, half of it at 8 and twice as long at 512, and more where answers take long. Other work took {run.others_share:.0%} of all the machine's CPU time
during the run, and the load average was {run.load_before:.2f} before it: the more, the less absolute
figures mean, and ratios are to be read with their spread. CPU time per request suffers least from
neighbours.

{subjects}
{left_out if run.left_out else ""}
The service behind all of them answers wrk {run.upstream_rate:,.0f} times per second when asked
directly, both on the same core."""


def _stands_on(subject: Subject, run: Run) -> str:
    versions = ", ".join(f"{name} {run.versions(name)}" for name in subject.stands_on)
    return f"**{subject.short}**: {subject.title} ({versions})"


def _details(result: Result, run: Run) -> str:
    rows = [
        _row(result, key, connections)
        for connections in run.rounds.connections
        for key in result.subjects
        if (key, connections) in result.rounds
    ]
    head = ["connections", "subject", "requests/s", "ours / its", "p50 ms", "p99 ms"]
    head += ["CPU µs per request", "errors"]
    scenario = result.scenario
    text = f"## {scenario.title}\n\n{scenario.about}\n\n{table(head, rows)}"
    if result.fixed:
        text += f"\n\n{_fixed(result)}"
    checks = [
        f"{SUBJECTS[key].short} {check.failed} of {check.requests}"
        for key, check in result.checks.items()
    ]
    return f"{text}\n\nAnswers that were not as wanted in the checking run: {'; '.join(checks)}."


def _row(result: Result, key: str, connections: int) -> list[str]:
    rounds = result.rounds[key, connections]
    ours = result.scenario.ours
    loads = [one.load for one in rounds]
    cpu_us = [1e6 / one.per_cpu_s() for one in rounds if one.per_cpu_s()]
    failed = sum(load.failed for load in loads)
    held_up = (
        connections > 1 and statistics.median(one.core_share() for one in rounds) < _BUSY_SHARE
    )
    return [
        str(connections),
        SUBJECTS[key].short,
        spread((load.rate for load in loads), 0) + (" †" if held_up else ""),
        "1" if key == ours else ratio(result.rounds[ours, connections], rounds, Round.rate),
        _figure(statistics.median(load.p50_ms for load in loads)),
        _figure(statistics.median(load.p99_ms for load in loads)),
        spread(cpu_us, 0),
        f"**{failed}** of {sum(load.requests for load in loads)}" if failed else "0",
    ]


def _fixed(result: Result) -> str:
    rows = []
    for key, outcomes in result.fixed.items():
        failed = sum(one.failed for one in outcomes)
        latencies = ([one.p50_ms for one in outcomes], [one.p99_ms for one in outcomes])
        rows.append(
            [SUBJECTS[key].short, *map(spread, latencies), f"**{failed}**" if failed else "0"]
        )
    lead = (
        f"At a fixed {result.fixed_rate:,.0f} requests per second, {FIXED_SHARE:.0%} of what FastAPI "
        f"does at most, over {AT} connections; latency counts from when a request was due:"
    )
    return f"{lead}\n\n{table(['subject', 'p50 ms', 'p99 ms', 'errors'], rows)}"


def _held(held: Sequence[Held]) -> str:
    head = ["subject", "KiB each idle", "KiB each busy", "all at once: p50, p99 ms"]
    head += ["a tenth: p50, p99, longest ms", "failed"]
    rows = [
        [
            SUBJECTS[one.key].short,
            _figure(one.idle_bytes / 1024),
            _figure(one.busy_bytes / 1024),
            _latencies(one.burst, "p50_ms", "p99_ms"),
            _latencies(one.steady, "p50_ms", "p99_ms", "max_ms"),
            f"{one.failed:,} of {one.asked:,}",
        ]
        for one in held
    ]
    return f"""## {held[0].count:,} connections

So many keep-alive connections to one process. Memory is what its process took more than before
they were opened: each had an answer (idle), or has a request in flight (busy); the kernel's own is
not counted. Latencies are what came on top of a handler's {HANDLER_S:g} s, when all ask at once, and
when a tenth of the connections has a request in flight at any time.

{table(head, rows)}"""


def _latencies(outcome: Outcome, *names: str) -> str:
    return ", ".join(_figure(getattr(outcome, name)) for name in names)


_HEAD = """# Benchmarks

How fast the gateway is, as a ratio to named peers that do the same work, in the same run, on the
same machine. This page is written by `make bench`; no figure in it is set by hand. Where a request's
time goes is in [performance](performance.md)."""

_HOW = f"""## How it is measured

* One worker process each. wrk keeps a number of connections busy with the same request.
* Rounds alternate between the subjects, and each round begins with another one; a ratio compares
  neighbours within a round. Figures are medians over the rounds, with the least and the most.
* Each round opens its connections anew, all at once, as wrk does: the p99 of a short round at many
  connections holds how long the last of them waited to be accepted. At the fixed load, and with
  many connections, they are open before.
* Every subject must give the same answer: it is asked before the first round, and after the last
  one every body of a further {CHECK_S:g} s at {AT} connections is compared with it.
* Failed connections, time-outs and statuses from 400 on are counted as errors; where there are
  any, there is no ratio.
* Peers are written as their users write them and stand in `tests/benchmarks/apps/`. All pools
  allow 200 connections, all requests have a deadline of 2 s, nobody writes a log line per request.
* CPU time is that of the subject's process and its children, from the system's own accounts, in
  steps of 10 ms. † marks a subject that used less than {_BUSY_SHARE:.0%} of its core: the load, the
  service behind or a neighbour held it up, and it could do more.
* Each request is the same to the byte, which suits us: heads that came before are known, and a new one
  costs some 5 µs more, each reply that is new some 3.
* What this does not show: TLS, HTTP/2, large bodies, slow services."""
