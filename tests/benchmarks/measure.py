"""Rounds: each subject in turn, at each concurrency, over and over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen

import attrs

from tests.benchmarks.load import Load, run_wrk
from tests.benchmarks.processes import Cores, await_answer, cpu_s, pinned, running
from tests.benchmarks.scenarios import Ask, Scenario
from tests.benchmarks.subjects import SUBJECTS, Place, upstream
from tests.end_to_end.processes import free_port

__all__ = ["Behind", "Result", "Round", "Rounds", "behind", "measure", "round_seconds"]

WARM_UP_S = 0.4
CHECK_S = 1.0
_START_S = 2.0
_WRK_START_S = 0.08


@attrs.frozen(slots=True)
class Rounds:
    """How much is measured.

    Args:
        count: Rounds.
        seconds: How long each subject is loaded in a round, at each concurrency.
        connections: The concurrencies.
    """

    count: int
    seconds: float
    connections: tuple[int, ...]


@attrs.frozen(slots=True)
class Round:
    """One subject, loaded once.

    Args:
        load: What wrk measured.
        cpu_s: The subject's CPU seconds meanwhile.
    """

    load: Load
    cpu_s: float

    def rate(self) -> float:
        """Answers per second."""
        return self.load.rate

    def per_cpu_s(self) -> float:
        """Answers per second of CPU time."""
        return self.load.requests / self.cpu_s if self.cpu_s else 0.0


@attrs.frozen(slots=True)
class Result:
    """One scenario, measured.

    Args:
        scenario: Which.
        rounds: By subject's key and concurrency, in time's order.
        checks: By subject's key: the run in which every body was compared, at the highest
            concurrency.
    """

    scenario: Scenario
    rounds: Mapping[tuple[str, int], list[Round]]
    checks: Mapping[str, Load]


@attrs.frozen(slots=True)
class Behind:
    """The service behind every subject.

    Args:
        url: Where it is.
        rate: Answers per second that it gives wrk directly, both on one core.
    """

    url: str
    rate: float


def round_seconds(scenarios: tuple[Scenario, ...], wanted: Rounds, within_s: float) -> Rounds:
    """`wanted`, its rounds shortened as far as it takes to end within `within_s`."""
    subjects = sum(len(scenario.subjects) for scenario in scenarios)
    runs = subjects * wanted.count * len(wanted.connections)
    around_s = subjects * (_START_S + WARM_UP_S + CHECK_S) + runs * _WRK_START_S
    longest_s = max(0.2, (within_s - around_s) / runs)
    return attrs.evolve(wanted, seconds=min(wanted.seconds, round(longest_s, 2)))


@contextmanager
def behind(cores: Cores, folder: Path, connections: int) -> Iterator[Behind]:
    """The service behind the subjects, running, and how fast it is by itself.

    Raises:
        RuntimeError: It does not start.
    """
    port, log = free_port(), folder / "upstream.log"
    with running(pinned(cores.load, upstream(port)), log) as process:
        await_answer(process, port, Ask("/"), log)
        load = run_wrk(port, Ask("/"), core=cores.load, connections=connections, seconds=1.0)
        yield Behind(f"http://127.0.0.1:{port}", load.rate)


def measure(
    scenario: Scenario, rounds: Rounds, *, cores: Cores, upstream_url: str, folder: Path
) -> Result:
    """All rounds of one scenario, its subjects alternating, each round begun by another one.

    Raises:
        RuntimeError: A subject does not start, or does not answer as it should.
    """
    with ExitStack() as stack:
        started = {
            key: stack.enter_context(
                _started(key, scenario, cores=cores, upstream_url=upstream_url, folder=folder)
            )
            for key in scenario.subjects
        }
        found: dict[tuple[str, int], list[Round]] = {}
        for number in range(rounds.count):
            turn = number % len(started)
            order = (*scenario.subjects[turn:], *scenario.subjects[:turn])
            for connections in rounds.connections:
                for key in order:
                    one = started[key].round(connections, rounds.seconds)
                    found.setdefault((key, connections), []).append(one)
        most = max(rounds.connections)
        checks = {key: subject.check(most) for key, subject in started.items()}
    return Result(scenario, found, checks)


@attrs.frozen(slots=True)
class _Running:
    """A subject that has started and answers as it should."""

    scenario: Scenario
    process: Popen[bytes]
    port: int
    core: int
    body: bytes

    def round(self, connections: int, seconds: float) -> Round:
        """Load it, and see what CPU time that took."""
        before = cpu_s(self.process)
        load = run_wrk(
            self.port,
            self.scenario.ask,
            core=self.core,
            connections=connections,
            seconds=seconds,
        )
        return Round(load, cpu_s(self.process) - before)

    def check(self, connections: int) -> Load:
        """Load it, and compare every body with the first, which was right."""
        return run_wrk(
            self.port,
            self.scenario.ask,
            core=self.core,
            connections=connections,
            seconds=CHECK_S,
            wanted_body=self.body,
        )


@contextmanager
def _started(
    key: str, scenario: Scenario, *, cores: Cores, upstream_url: str, folder: Path
) -> Iterator[_Running]:
    port, log = free_port(), folder / f"{scenario.key}-{key}.log"
    command = SUBJECTS[key].command(Place(port, upstream_url, folder))
    env = {"UPSTREAM": upstream_url}
    with running(pinned(cores.subject, command), log, env) as process:
        status, body = await_answer(process, port, scenario.ask, log)
        if not scenario.answered_by(status, body):
            raise RuntimeError(f"{scenario.key}: {key} answers {status} {body[:500]!r}")
        subject = _Running(scenario, process, port, cores.load, body)
        subject.round(8, WARM_UP_S)
        yield subject
