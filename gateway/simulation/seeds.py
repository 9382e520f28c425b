"""Several seeds, spread over processes."""

from __future__ import annotations

import copy
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import attrs

from gateway.simulation.crowd import Progress, crowd
from gateway.simulation.figures import Figures
from gateway.simulation.scenario import Load, Scenario
from gateway.simulation.text import Subject
from gateway.telemetry.logs import configure

__all__ = ["simulate"]


def simulate(
    scenario: Scenario, load: Load, *, seeds: int, jobs: int, progress: Progress
) -> Subject:
    """Simulate a load once for each seed, from the scenario's own on.

    Args:
        scenario: What is simulated.
        load: How many requests come, of each seed.
        seeds: How many.
        jobs: In how many processes at once.
        progress: Is told how far it is.

    Returns:
        What was counted: of each seed and of all.

    Raises:
        ConfigError: The file has mistakes.
        ValueError: The scenario cannot be; the message says why.
    """
    scenarios = [attrs.evolve(scenario, seed=scenario.seed + number) for number in range(seeds)]
    if min(jobs, seeds) == 1:
        runs = []
        for number, one in enumerate(scenarios):
            runs.append(crowd(one, load, partial(_part, progress, number, seeds)))
    else:
        runs = _in_processes(scenarios, load, min(jobs, seeds), progress)
    whole = copy.deepcopy(runs[0])
    for run in runs[1:]:
        whole.merge(run)
    return Subject(name=scenario.file, figures=whole, runs=tuple(runs))


def _part(progress: Progress, number: int, of: int, share: float) -> None:
    progress((number + share) / of)


def _in_processes(
    scenarios: Sequence[Scenario], load: Load, jobs: int, progress: Progress
) -> list[Figures]:
    quiet = partial(configure, log="console", level="error")
    context = multiprocessing.get_context("spawn")
    runs = []
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=quiet) as pool:
        for run in pool.map(crowd, scenarios, [load] * len(scenarios)):
            runs.append(run)
            progress(len(runs) / len(scenarios))
    return runs
