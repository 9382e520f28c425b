"""Rounds: each subject in turn, at each concurrency, over and over."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen

import attrs

from tests.benchmarks.crowd import Outcome, crowd
from tests.benchmarks.load import Load, run_wrk
from tests.benchmarks.processes import Cores, await_answer, await_quiet, cpu_s, pinned, running
from tests.benchmarks.scenarios import FEW, Ask, Scenario
from tests.benchmarks.subjects import SUBJECTS, Place, Upstreams, behind, upstream
from tests.benchmarks.tools import program
from tests.end_to_end.processes import free_port

__all__ = [
    "AT",
    "Bench",
    "Result",
    "Round",
    "Rounds",
    "Running",
    "bench",
    "measure",
    "round_seconds",
    "started",
]

AT = 64
"""The concurrency of ratios, and of the fixed load."""

FIXED_SHARE = 0.5
"""The fixed load, as a share of what FastAPI does at most."""

WARM_UP_S = 0.4
CHECK_S = 0.5
_START_S = 1.5
_SLOW_CHECK_S = 2.0
_SHORTEST_S, _STEP_S = 0.2, 0.05
_AROUND_ROUND_S = 0.3
_REST_S = 2.0
"""For what a subject still does about connections that are gone."""


@attrs.frozen(slots=True)
class Rounds:
    """How much is measured.

    Args:
        count: Rounds.
        seconds: How long each subject is loaded in a round, at `AT` connections.
        connections: The concurrencies.
        hasty: Whether no scenario is given the seconds that it needs at least.
    """

    count: int
    seconds: float
    connections: tuple[int, ...]
    hasty: bool = False

    def seconds_at(self, connections: int, scenario: Scenario) -> float:
        """How long it is loaded at so many: twice as long with eight times as many.

        They take longer to be opened, and more of them are cut off at the end.
        """
        seconds = self.seconds * (connections / AT) ** (1 / 3)
        return seconds if self.hasty else max(seconds, scenario.least_s)

    def of(self, scenario: Scenario) -> float:
        """The seconds for which the subjects of one scenario are loaded."""
        each = sum(self.seconds_at(connections, scenario) for connections in self.connections)
        fixed = 2 * self.seconds if scenario.fixed_load else 0
        return self.count * (each * len(scenario.subjects) + fixed)


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

    def core_share(self) -> float:
        """How much of its core the subject used: much less than all, and something else held it up."""
        return self.cpu_s / self.load.seconds if self.load.seconds else 0.0


@attrs.frozen(slots=True, kw_only=True)
class Result:
    """One scenario, measured.

    Args:
        scenario: Which.
        subjects: The keys of those that took part.
        rounds: By subject's key and concurrency, in time's order.
        checks: By subject's key: the run in which every body was compared.
        fixed_rate: Requests per second of the fixed load; 0 where there was none.
        fixed: By subject's key: its rounds under the fixed load.
    """

    scenario: Scenario
    subjects: tuple[str, ...]
    rounds: Mapping[tuple[str, int], list[Round]]
    checks: Mapping[str, Load]
    fixed_rate: float
    fixed: Mapping[str, list[Outcome]]


@attrs.frozen(slots=True)
class Bench:
    """Where everything runs.

    Args:
        cores: Which core is whose.
        folder: For logs and configurations.
        upstreams: The services behind every subject.
        upstream_rate: Answers per second that the first of them gives wrk directly, both on one
            core.
        missing: The keys of subjects that cannot be started here.
    """

    cores: Cores
    folder: Path
    upstreams: Upstreams
    upstream_rate: float
    missing: frozenset[str]


def round_seconds(scenarios: tuple[Scenario, ...], wanted: Rounds, within_s: float) -> Rounds:
    """`wanted`, its rounds shortened as far as it takes to end within `within_s`."""
    subjects = sum(len(scenario.subjects) for scenario in scenarios)
    fixed = 2 * sum(scenario.fixed_load for scenario in scenarios)
    runs = (subjects * len(wanted.connections) + fixed) * wanted.count
    around_s = subjects * (_START_S + WARM_UP_S + CHECK_S) + runs * _AROUND_ROUND_S
    rounds = wanted
    while rounds.seconds > _SHORTEST_S and (
        around_s + sum(rounds.of(scenario) for scenario in scenarios) > within_s
    ):
        shorter_s = max(_SHORTEST_S, rounds.seconds - _STEP_S)
        rounds = attrs.evolve(rounds, seconds=round(shorter_s, 2))
    return rounds


@contextmanager
def bench(cores: Cores, folder: Path, missing: frozenset[str]) -> Iterator[Bench]:
    """The services behind the subjects, running, and how fast they are by themselves.

    Raises:
        RuntimeError: One does not start.
    """
    with ExitStack() as stack:
        ports = []
        for streams in (program("nginx") is None, True):
            port = free_port()
            command = upstream(Place(port, Upstreams("", "", ""), folder), streams=streams)
            log = folder / f"upstream-{port}.log"
            process = stack.enter_context(running(pinned(cores.load, command), log))
            await_answer(process, port, Ask("/"), log)
            ports.append(port)
        load = run_wrk(ports[0], Ask("/"), core=cores.load, connections=AT, seconds=1.0)
        port = free_port()
        log = folder / f"behind-{port}.log"
        command = behind(Place(port, Upstreams("", "", ""), folder))
        process = stack.enter_context(running(pinned(cores.load, command), log))
        await_answer(process, port, Ask("/"), log)
        upstreams = Upstreams(*(f"127.0.0.1:{port}" for port in (*ports, port)))
        yield Bench(cores, folder, upstreams, load.rate, missing)


def measure(scenario: Scenario, rounds: Rounds, at: Bench) -> Result:
    """All rounds of one scenario, its subjects alternating, each round begun by another one.

    Raises:
        RuntimeError: A subject does not start, or does not answer as it should.
    """
    keys = tuple(key for key in scenario.subjects if key not in at.missing)
    found: dict[tuple[str, int], list[Round]] = {}
    fixed: dict[str, list[Outcome]] = {}
    with ExitStack() as stack:
        subjects = {key: stack.enter_context(_checked(key, scenario, at)) for key in keys}
        for number in range(rounds.count):
            for connections in rounds.connections:
                for key in _turned(keys, number):
                    if not scenario.takes_part(key, connections):
                        continue
                    seconds = rounds.seconds_at(connections, scenario)
                    one = subjects[key].round(scenario.ask, connections, seconds)
                    found.setdefault((key, connections), []).append(one)
        fixed_rate = _fixed_rate(scenario, found)
        if fixed_rate:
            for number in range(rounds.count):
                for key in _turned((scenario.ours, "fastapi"), number):
                    outcome = subjects[key].fixed(scenario.ask, fixed_rate, rounds.seconds)
                    fixed.setdefault(key, []).append(outcome)
        checks = {
            key: subject.check(scenario.ask, AT if scenario.takes_part(key, AT) else FEW)
            for key, subject in subjects.items()
        }
    return Result(
        scenario=scenario,
        subjects=keys,
        rounds=found,
        checks=checks,
        fixed_rate=fixed_rate,
        fixed=fixed,
    )


def _turned(keys: tuple[str, ...], number: int) -> tuple[str, ...]:
    turn = number % len(keys)
    return (*keys[turn:], *keys[:turn])


def _fixed_rate(scenario: Scenario, found: Mapping[tuple[str, int], list[Round]]) -> float:
    rounds = found.get(("fastapi", AT)) if scenario.fixed_load else None
    return FIXED_SHARE * statistics.median(one.rate() for one in rounds) if rounds else 0.0


@attrs.frozen(slots=True)
class Running:
    """A subject that has started.

    Args:
        process: Its first process.
        port: Where it listens.
        load_core: Where its load runs.
        body: Its first answer's.
    """

    process: Popen[bytes]
    port: int
    load_core: int
    body: bytes

    def round(self, ask: Ask, connections: int, seconds: float) -> Round:
        """Load it, see what CPU time that took, and let it come to rest."""
        before = cpu_s(self.process)
        load = run_wrk(
            self.port, ask, core=self.load_core, connections=connections, seconds=seconds
        )
        used_s = cpu_s(self.process) - before
        await_quiet(self.process, within_s=_REST_S)
        return Round(load, used_s)

    def fixed(self, ask: Ask, rate: float, seconds: float) -> Outcome:
        """Ask it at times set beforehand, however it answers."""
        with crowd(self.port, self.load_core) as people:
            people.open(AT, ask)
            return people.steady(ask, rate, seconds)

    def check(self, ask: Ask, connections: int) -> Load:
        """Load it, and compare every body with the first, which was right."""
        return run_wrk(
            self.port,
            ask,
            core=self.load_core,
            connections=connections,
            seconds=CHECK_S if connections == AT else _SLOW_CHECK_S,
            wanted_body=self.body,
        )


@contextmanager
def started(key: str, ask: Ask, at: Bench) -> Iterator[Running]:
    """A subject that answers `ask`, with whatever.

    Raises:
        RuntimeError: It does not start.
    """
    port = free_port()
    log = at.folder / f"{key}-{port}.log"
    env = {
        "UPSTREAM": f"http://{at.upstreams.users}",
        "EVENTS": f"http://{at.upstreams.events}",
        "TOOLS": f"http://{at.upstreams.tools}/mcp",
    }
    command = SUBJECTS[key].command(Place(port, at.upstreams, at.folder))
    with running(pinned(at.cores.subject, command), log, env) as process:
        status, body = await_answer(process, port, ask, log)
        if status != 200:
            raise RuntimeError(f"{key} answers {ask.path} with {status} {body[:500]!r}")
        yield Running(process, port, at.cores.load, body)


@contextmanager
def _checked(key: str, scenario: Scenario, at: Bench) -> Iterator[Running]:
    with started(key, scenario.ask, at) as subject:
        if not scenario.answered_by(200, subject.body):
            raise RuntimeError(f"{scenario.key}: {key} answers {subject.body[:500]!r}")
        subject.round(scenario.ask, FEW, WARM_UP_S)
        yield subject
