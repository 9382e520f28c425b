"""`python -m tests.benchmarks`: our speed as a ratio to named peers, in one run.

* `scenarios.py`: what is asked, and what must be answered
* `subjects.py`, `apps/`: who is asked: us, the peers, the services behind
* `load.py`, `load.lua`: wrk; `crowd.py`: requests at times set beforehand
* `processes.py`: pinned, counted, ended by their ids; `tools.py`: what the system must have
* `measure.py`: rounds that alternate
* `connections.py`: many open connections
* `profile.py`: where a request's time goes
* `targets.py`, `report.py`: `docs/explanation/benchmarks.md`
* `breakdown.py`: the measured part of `docs/explanation/performance.md`

The pages are written when everything was measured: with `--scenario` or `--quick`, or for
`connections` and `profile` alone, what was measured is printed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.benchmarks.breakdown import breakdown, replaced
from tests.benchmarks.circumstances import Circumstances
from tests.benchmarks.connections import CROWDED, Held, hold
from tests.benchmarks.measure import AT, Bench, Result, Rounds, bench, measure, round_seconds
from tests.benchmarks.processes import Cores
from tests.benchmarks.profile import Profile, profile
from tests.benchmarks.report import Run, page
from tests.benchmarks.scenarios import SCENARIOS, Scenario
from tests.benchmarks.subjects import SUBJECTS
from tests.benchmarks.tools import allow_connections, ensure_tools

_DOCS = Path(__file__).parents[2] / "docs/explanation"
_PAGE, _BREAKDOWN_PAGE = _DOCS / "benchmarks.md", _DOCS / "performance.md"
_CONNECTIONS = (1, 8, AT, 512)
_QUICK = Rounds(count=1, seconds=0.5, connections=(1, 8, AT), hasty=True)
_QUICK_COUNT = 200
_STEADY_S, _PROFILE_S = 10.0, 5.0
_HOLD_ALL_S, _PROFILE_ALL_S = 30.0, 9.0
"""What it takes for a subject and for a scenario in all."""


@attrs.frozen(slots=True, kw_only=True)
class _Plan:
    """What is to be measured.

    Args:
        scenarios: In rounds.
        rounds: How much of them.
        profiled: Taken apart.
        profile_s: For how long each.
        count: How many connections are held; 0 for none.
        steady_s: For how long the steady load on them lasts.
        writes: Whether the pages are written.
    """

    scenarios: tuple[Scenario, ...] = ()
    rounds: Rounds = _QUICK
    profiled: tuple[Scenario, ...] = ()
    profile_s: float = 0.0
    count: int = 0
    steady_s: float = 0.0
    writes: bool = False

    @property
    def profile_only(self) -> bool:
        """Whether nothing is measured that is on the first page."""
        return not (self.scenarios or self.count)

    @classmethod
    def of(cls, options: argparse.Namespace) -> _Plan:
        """What the command line asks for."""
        if options.command == "connections":
            return cls(count=options.count, steady_s=options.seconds)
        if options.command == "profile":
            profiled = tuple(s for s in SCENARIOS if options.scenario in {None, s.key})
            return cls(profiled=profiled, profile_s=options.seconds)
        chosen = tuple(s for s in SCENARIOS if not options.scenario or s.key in options.scenario)
        if options.quick:
            count = 0 if options.scenario else _QUICK_COUNT
            return cls(scenarios=chosen, count=count, steady_s=2.0)
        wanted = Rounds(options.rounds, options.seconds, _CONNECTIONS)
        if options.scenario:
            return cls(scenarios=chosen, rounds=wanted)
        left_s = options.within - len(CROWDED) * _HOLD_ALL_S - len(SCENARIOS) * _PROFILE_ALL_S
        return cls(
            scenarios=chosen,
            rounds=round_seconds(chosen, wanted, left_s),
            profiled=SCENARIOS,
            profile_s=_PROFILE_S,
            count=options.count,
            steady_s=_STEADY_S,
            writes=True,
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure the gateway against its peers, on loopback, in one run.",
    )
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument(
        "--seconds",
        type=float,
        default=2.0,
        help=f"each subject's share of a round at {AT} connections; default: 2",
    )
    parser.add_argument(
        "--within",
        type=float,
        default=1300.0,
        help="seconds that all may take: rounds are shortened to fit; default: 1300",
    )
    parser.add_argument(
        "--count", type=int, default=10_000, help="connections held; default: 10000"
    )
    keys = [scenario.key for scenario in SCENARIOS]
    parser.add_argument(
        "--scenario",
        action="append",
        choices=keys,
        help="only this one; may be repeated; the page is printed, not written",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one short round: whether it works, not how fast"
    )
    commands = parser.add_subparsers(dest="command")
    held = commands.add_parser("connections", help="only this: many open connections")
    held.add_argument("--count", type=int, default=10_000, help="default: 10000")
    held.add_argument(
        "--seconds", type=float, default=_STEADY_S, help="of steady load; default: 10"
    )
    taken_apart = commands.add_parser("profile", help="only this: where a request's time goes")
    taken_apart.add_argument("scenario", nargs="?", choices=keys, help="default: all")
    taken_apart.add_argument("--seconds", type=float, default=_PROFILE_S, help="default: 5")
    options = parser.parse_args()
    if options.seconds <= 0 or options.rounds < 1 or options.count < 1:
        parser.error("--rounds, --seconds and --count are above zero")
    return options


def main() -> int:
    """Measure, and write or print the pages; the exit status."""
    plan = _Plan.of(_options())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        missing = ensure_tools()
        allow_connections(plan.count)
        circumstances = Circumstances.now()
        cores = Cores.of_this_machine()
        with (
            tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder,
            bench(cores, Path(folder), missing) as at,
        ):
            found = _Found.by(plan, at)
            run = circumstances.run(plan.rounds, at)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: every process has ended, nothing was written", file=sys.stderr)
        return 130
    _tell(plan, found, run)
    return 1 if found.failures else 0


@attrs.frozen(slots=True)
class _Found:
    """What was measured, and what could not be: twenty minutes are not lost to one subject."""

    results: list[Result] = attrs.field(factory=list)
    held: list[Held] = attrs.field(factory=list)
    profiles: list[Profile] = attrs.field(factory=list)
    failures: list[str] = attrs.field(factory=list)

    @classmethod
    def by(cls, plan: _Plan, at: Bench) -> _Found:
        """All that is planned."""
        found = cls()
        for scenario in plan.scenarios:
            with found.noting(scenario.title):
                found.results.append(measure(scenario, plan.rounds, at))
        for key in CROWDED if plan.count else ():
            with found.noting(f"{plan.count:,} connections to {SUBJECTS[key].short}"):
                found.held.append(hold(key, at, plan.count, plan.steady_s))
        for scenario in plan.profiled:
            with found.noting(f"{scenario.title}, taken apart"):
                found.profiles.append(profile(scenario, at, plan.profile_s))
        return found

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """Say what is being done, and go on after it has failed."""
        print(f"{what} …", file=sys.stderr, flush=True)
        try:
            yield
        except RuntimeError as error:
            print(error, file=sys.stderr)
            self.failures.append(what)


def _tell(plan: _Plan, found: _Found, run: Run) -> None:
    text = page(found.results, found.held, run, found.failures) if not plan.profile_only else ""
    taken_apart = breakdown(found.profiles) if found.profiles else ""
    print(text, taken_apart, sep="\n")
    if plan.writes:
        _PAGE.write_text(text)
        print(f"written to docs/explanation/{_PAGE.name}")
    if plan.writes and taken_apart:
        _BREAKDOWN_PAGE.write_text(replaced(_BREAKDOWN_PAGE.read_text(), taken_apart))
        print(f"written to docs/explanation/{_BREAKDOWN_PAGE.name}")


if __name__ == "__main__":
    sys.exit(main())
