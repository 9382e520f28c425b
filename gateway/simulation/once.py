"""One request: its answer as a client gets it, and everything on its way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import trio

from gateway.config.units import format_duration
from gateway.simulation.clock import JumpingClock, run
from gateway.simulation.scenario import Scenario, set_up
from gateway.telemetry.events import (
    BreakerChanged,
    CacheAsked,
    Coalesced,
    Event,
    FaultInjected,
    Hedged,
    LimitChanged,
    Refused,
    RequestEnded,
    Retried,
    RetryWithheld,
)
from gateway.testing.client import Answer, InMemoryClient

__all__ = ["Attempt", "Note", "Once", "once"]


@attrs.define(slots=True)
class Attempt:
    """One attempt that reached a service.

    Args:
        service: The service.
        call: The call's name.
        start_s: When it began.
        hedges: Whether another one of the call was under way then.
        end_s: When it ended.
        outcome: `ok`, a failure's code or status, or `cancelled`.
    """

    service: str
    call: str
    start_s: float
    hedges: bool
    end_s: float = 0.0
    outcome: str = ""


@attrs.frozen(slots=True)
class Note:
    """What a policy did.

    Args:
        at_s: When.
        service: The service.
        call: The call's name; empty where it is about the service as a whole.
        text: In words.
        wait_s: Seconds that are waited from then on.
    """

    at_s: float
    service: str
    call: str
    text: str
    wait_s: float = 0.0


@attrs.frozen(slots=True, kw_only=True)
class Once:
    """One request, over.

    Args:
        answer: What the client got; `None` if it would wait for ever.
        ended: What telemetry was told of it.
        attempts: Those that reached services, in the order of their beginning.
        notes: What policies did, in order.
        weather: What the services did, in words.
        made_up: The calls whose replies nobody gave.
    """

    answer: Answer | None
    ended: RequestEnded
    attempts: tuple[Attempt, ...]
    notes: tuple[Note, ...]
    weather: tuple[str, ...]
    made_up: tuple[str, ...] = ()


def once(scenario: Scenario) -> Once:
    """Simulate one request, made over HTTP.

    Args:
        scenario: What is simulated.

    Raises:
        ConfigError: The file has mistakes.
        ValueError: The scenario cannot be; the message says why.
    """
    chronicle = _Chronicle()
    stage = set_up(scenario, chronicle, chronicle)
    allowed = [host for host in stage.app.server.allowed_hosts if host != "*"]
    headers = {"host": allowed[0] if allowed else "localhost", "x-request-id": "simulated"}
    if scenario.timeout_s < float("inf"):
        headers["x-request-timeout-ms"] = str(round(scenario.timeout_s * 1000))
    varied = {name: least for name, (least, _) in scenario.vary.items()}
    body = {**scenario.arguments, **varied}

    async def simulated(clock: JumpingClock) -> Answer | None:
        async with stage.app.running():
            with trio.CancelScope() as scope:
                clock.when_stuck = scope.cancel
                client = InMemoryClient(stage.app)
                return await client.request(
                    "POST", f"/tools/{scenario.tool}", json=body, headers=headers
                )
        return None

    answer = run(simulated, seed=scenario.seed)
    assert chronicle.request is not None  # noqa: S101 - every request ends
    return Once(
        answer=answer,
        ended=chronicle.request,
        attempts=tuple(chronicle.attempts),
        notes=tuple(chronicle.notes),
        weather=stage.weather.lines,
        made_up=stage.weather.made_up,
    )


class _Chronicle:
    """A listener of events, and a `Watch`, that keeps all it hears of.

    Attributes:
        request: How the request ended.
        attempts: In the order of their beginning.
        notes: In order.
    """

    def __init__(self) -> None:
        self.request: RequestEnded | None = None
        self.attempts: list[Attempt] = []
        self.notes: list[Note] = []

    def __call__(self, event: Event) -> None:
        """Keep it."""
        if isinstance(event, RequestEnded):
            self.request = event
            return
        write = _WORDS.get(type(event))
        if write is None:
            return
        said: Any = event
        wait_s = event.wait_s if isinstance(event, Retried) else 0.0
        call = getattr(event, "call", "")
        self.notes.append(Note(trio.current_time(), said.service, call, write(event), wait_s))

    def began(self, service: str, call: str) -> Attempt:
        """As `Watch`."""
        beside = any(one.call == call and not one.outcome for one in self.attempts)
        attempt = Attempt(service, call, trio.current_time(), beside)
        self.attempts.append(attempt)
        return attempt

    def ended(self, attempt: Attempt, outcome: str) -> None:
        """As `Watch`."""
        attempt.end_s, attempt.outcome = trio.current_time(), outcome


_WITHHELD = {
    "deadline": "not tried again: it could not finish in time",
    "budget": "not tried again: the budget for that is used up",
}
_CACHE = {"hit": "from the cache", "stale": "from the cache, stale", "miss": "not in the cache"}

_WORDS: dict[type[Any], Callable[[Any], str]] = {
    Retried: lambda event: (
        f"{event.error.code}: tried again in {format_duration(round(event.wait_s, 4))}"
    ),
    RetryWithheld: lambda event: _WITHHELD[event.why],
    Refused: lambda event: f"refused by its {event.by}",
    Hedged: lambda event: "the hedge won" if event.won else "the hedge lost",
    CacheAsked: lambda event: _CACHE[event.found],
    Coalesced: lambda _event: "waits for the same call of another",
    BreakerChanged: lambda event: f"its breaker is {event.state.replace('_', ' ')}",
    LimitChanged: lambda event: f"its limit is {event.concurrency}",
    FaultInjected: lambda event: f"a fault of the configuration: {event.fault}",
}
"""How each event is said."""
