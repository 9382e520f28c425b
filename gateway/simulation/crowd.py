"""Many requests, and what is counted of them."""

from __future__ import annotations

import gc
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import trio

from gateway.core.errors import GatewayError
from gateway.core.messages import Context, Request
from gateway.core.trace import Trace
from gateway.simulation.clock import JumpingClock, run
from gateway.simulation.figures import Figures
from gateway.simulation.scenario import Load, Scenario, Stage, set_up
from gateway.simulation.tally import Tally

__all__ = ["Progress", "crowd"]

Progress: TypeAlias = Callable[[float], None]
"""Takes the share of the work that is done, now and then."""

_TRACE = Trace("0" * 31 + "1", "0" * 15 + "1")
"""Everyone's: nothing looks at it, and making one for each takes time."""

_TOLD_EVERY = 500


def crowd(scenario: Scenario, load: Load, progress: Progress | None = None) -> Figures:
    """Simulate a load: its requests come one by one, and each is answered in its own time.

    Args:
        scenario: What is simulated.
        load: How many requests come.
        progress: Is told how far it is.

    Raises:
        ConfigError: The file has mistakes.
        ValueError: The scenario cannot be; the message says why.
    """
    figures = Figures.empty(load.length_s, scenario.seed)
    tally = Tally(figures)
    stage = set_up(scenario, tally, tally)
    figures.include(node.service for node in stage.tool.plan.nodes)
    figures.weather = stage.weather.lines
    people = _Crowd(scenario, load, stage, figures, progress)

    async def simulated(clock: JumpingClock) -> None:
        await people.run(clock)
        tally.close()

    with _seldom_collected():
        run(simulated, seed=scenario.seed)
    return figures


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Look for garbage in cycles seldom: there is little, and each look takes long."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Crowd:
    """Those who ask.

    Args:
        scenario: What is simulated.
        load: How many requests come.
        stage: Who is asked.
        figures: Where requests that are not made are counted.
        progress: Is told how far it is.
    """

    def __init__(
        self,
        scenario: Scenario,
        load: Load,
        stage: Stage,
        figures: Figures,
        progress: Progress | None,
    ) -> None:
        self._scenario = scenario
        self._load = load
        self._stage = stage
        self._figures = figures
        self._progress = progress
        self._chance = random.Random(f"{scenario.seed} arrivals")  # noqa: S311 - no secret
        number = load.clients
        self._free = None if number is None else deque(f"client-{one}" for one in range(number))
        self._asked = 0

    async def run(self, clock: JumpingClock) -> None:
        """Make the requests, each at its time, and wait for every answer."""
        rate, length_s = self._load.rate_per_s, self._load.length_s
        async with self._stage.app.running(), trio.open_nursery() as nursery:
            clock.when_stuck = nursery.cancel_scope.cancel
            at = self._chance.expovariate(rate)
            while at < length_s:
                await trio.sleep_until(at)
                self._arrive(nursery)
                at += self._chance.expovariate(rate)

    def _arrive(self, nursery: trio.Nursery) -> None:
        """Have one request made, if there is a client who can."""
        self._asked += 1
        if self._progress is not None and not self._asked % _TOLD_EVERY:
            self._progress(trio.current_time() / self._load.length_s)
        client = "anonymous"
        arguments = self.arguments()
        if self._free is not None:
            if not self._free:
                self._figures.not_sent += 1
                return
            client = self._free.popleft()
        context = Context(
            request_id=f"simulated-{self._asked}",
            principal=client,
            protocol="simulation",
            trace=_TRACE,
        )
        request = Request(self._scenario.tool, arguments, context)
        nursery.start_soon(self._ask, request, client)

    def arguments(self) -> dict[str, Any]:
        """Those of the next request."""
        drawn = {
            name: self._chance.randint(least, most)
            for name, (least, most) in self._scenario.vary.items()
        }
        return {**self._scenario.arguments, **drawn}

    async def _ask(self, request: Request, client: str) -> None:
        try:
            await self._stage.app.answer(request, timeout_s=self._scenario.timeout_s)
        except GatewayError:
            pass  # it is in the figures, as everything is
        finally:
            if self._free is not None:
                self._free.append(client)
