"""When, where and beside what a run took place."""

from __future__ import annotations

import os
import platform
import re
import resource
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import attrs

from tests.benchmarks.measure import Bench, Rounds
from tests.benchmarks.processes import children_cpu_s
from tests.benchmarks.report import Run
from tests.benchmarks.subjects import version_of

__all__ = ["Circumstances"]


@attrs.frozen(slots=True)
class Circumstances:
    """What was so when a run began, and how busy machine and run had been until then."""

    date: str
    load: float
    wall_s: float
    busy_s: float
    ours_s: float

    @classmethod
    def now(cls) -> Circumstances:
        """As they are."""
        # user, nice, system, idle, iowait, irq, softirq, steal
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        ticks = sum(int(field) for field in fields) - int(fields[3]) - int(fields[4])
        ours_s = children_cpu_s(os.getpid())
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            used = resource.getrusage(who)
            ours_s += used.ru_utime + used.ru_stime
        return cls(
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            os.getloadavg()[0],
            time.monotonic(),
            ticks / os.sysconf("SC_CLK_TCK"),
            ours_s,
        )

    def run(self, rounds: Rounds, at: Bench) -> Run:
        """The run that has just ended."""
        return Run(
            date=self.date,
            commit=_commit(),
            cores=os.cpu_count() or 1,
            processor=_processor(),
            system=f"Linux {platform.release().partition('-')[0]}",
            apart=at.cores.subject != at.cores.load,
            python=f"{platform.python_implementation()} {platform.python_version()}",
            versions=version_of,
            rounds=rounds,
            upstream_rate=at.upstream_rate,
            others_share=self._others_share(),
            load_before=self.load,
            left_out=sorted(at.missing),
        )

    def _others_share(self) -> float:
        """The share of the machine's CPU time since then that went to other work."""
        now = Circumstances.now()
        others_s = (now.busy_s - self.busy_s) - (now.ours_s - self.ours_s)
        return max(0.0, others_s / ((now.wall_s - self.wall_s) * (os.cpu_count() or 1)))


def _commit() -> str:
    git = ["git", "-C", str(Path(__file__).parent)]
    told = [
        subprocess.run([*git, *command.split()], capture_output=True, text=True, check=False)
        for command in ("rev-parse --short HEAD", "status --porcelain --untracked-files=no")
    ]
    if told[0].returncode:
        return "unknown"
    return told[0].stdout.strip() + (" with changes" if told[1].stdout else "")


def _processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()
