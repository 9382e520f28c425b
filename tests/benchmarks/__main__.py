"""`python -m tests.benchmarks`: our speed as a ratio to named peers, in one run.

* `scenarios.py`: what is asked, and what must be answered
* `subjects.py`, `apps/`: who is asked: us, the peers, the service behind
* `load.py`, `load.lua`: wrk
* `processes.py`: pinned, counted, ended by their ids
* `measure.py`: rounds that alternate
* `report.py`: `docs/explanation/benchmarks.md`

The page is written when everything was measured: with `--scenario` or `--quick` it is printed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

import attrs

from tests.benchmarks.load import ensure_tools
from tests.benchmarks.measure import Result, Rounds, behind, measure, round_seconds
from tests.benchmarks.processes import Cores
from tests.benchmarks.report import Run, page
from tests.benchmarks.scenarios import SCENARIOS, Scenario

_PAGE = Path(__file__).parents[2] / "docs/explanation/benchmarks.md"
_CONNECTIONS = (1, 8, 64)
_QUICK = Rounds(count=1, seconds=0.5, connections=_CONNECTIONS)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure the gateway against its peers, on loopback, in one run.",
    )
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="each subject's share of a round; default: 2"
    )
    parser.add_argument(
        "--within",
        type=float,
        default=230.0,
        help="seconds that all may take: rounds are shortened to fit; default: 230",
    )
    parser.add_argument(
        "--scenario",
        action="append",
        choices=[scenario.key for scenario in SCENARIOS],
        help="only this one; may be repeated; the page is printed, not written",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one short round: whether it works, not how fast"
    )
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds are above zero")
    return options


def main() -> int:
    """Measure, and write or print the page; the exit status."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    chosen = tuple(s for s in SCENARIOS if options.scenario is None or s.key in options.scenario)
    wanted = Rounds(options.rounds, options.seconds, _CONNECTIONS)
    rounds = _QUICK if options.quick else round_seconds(chosen, wanted, options.within)
    try:
        ensure_tools()
        clock = _Clock.now()
        results, upstream_rate = _measure_all(chosen, rounds)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: every process has ended, nothing was written", file=sys.stderr)
        return 130
    text = page(results, _run(rounds, upstream_rate, clock.others_share()))
    if options.scenario is None and not options.quick:
        _PAGE.parent.mkdir(parents=True, exist_ok=True)
        _PAGE.write_text(text)
        print(text, f"written to docs/explanation/{_PAGE.name}", sep="\n")
    else:
        print(text)
    return 0


def _measure_all(chosen: tuple[Scenario, ...], rounds: Rounds) -> tuple[list[Result], float]:
    cores = Cores.of_this_machine()
    with (
        tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder,
        behind(cores, Path(folder), max(rounds.connections)) as service,
    ):
        results = []
        for scenario in chosen:
            print(f"{scenario.title} …", file=sys.stderr, flush=True)
            results.append(
                measure(
                    scenario, rounds, cores=cores, upstream_url=service.url, folder=Path(folder)
                )
            )
    return results, service.rate


def _run(rounds: Rounds, upstream_rate: float, others_share: float) -> Run:
    cores = Cores.of_this_machine()
    return Run(
        cores=os.cpu_count() or 1,
        apart=cores.subject != cores.load,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        versions=importlib.metadata.version,
        rounds=rounds,
        upstream_rate=upstream_rate,
        others_share=others_share,
    )


@attrs.frozen(slots=True)
class _Clock:
    """How busy the machine was, and how busy we kept it."""

    wall_s: float
    busy_s: float
    ours_s: float

    @classmethod
    def now(cls) -> _Clock:
        # user, nice, system, idle, iowait, irq, softirq, steal
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        ticks = sum(int(field) for field in fields) - int(fields[3]) - int(fields[4])
        ours_s = 0.0
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            used = resource.getrusage(who)
            ours_s += used.ru_utime + used.ru_stime
        return cls(time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), ours_s)

    def others_share(self) -> float:
        """The share of the machine's CPU time since then that went to other work."""
        now = _Clock.now()
        others_s = (now.busy_s - self.busy_s) - (now.ours_s - self.ours_s)
        return max(0.0, others_s / ((now.wall_s - self.wall_s) * (os.cpu_count() or 1)))


if __name__ == "__main__":
    sys.exit(main())
