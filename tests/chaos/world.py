"""One world: a gateway by chance, services by chance, clients that come and go; what must hold of it.

Everything follows from the seed: the file, the weather, who asks when, who leaves, and whose turn it
is. So a seed that fails fails again.
"""

from __future__ import annotations

import gc
import itertools
import math
import random
from collections.abc import Mapping
from typing import Any

import attrs
import trio

from gateway.app import Gateway
from gateway.build import build
from gateway.core.errors import ERRORS, BadReply, GatewayError, Internal, Rejected, Unreachable
from gateway.core.messages import Context, Reply, Request
from gateway.core.service import Emit
from gateway.policies.limit import Limit
from gateway.simulation.clock import run
from gateway.telemetry.events import BreakerChanged, CallStarted, Hedged, RequestEnded, Retried
from gateway.telemetry.hub import Telemetry
from gateway.telemetry.metrics import Metrics
from tests.apps import Events, Prompt

__all__ = ["World", "live"]

_LEGAL = {
    ("closed", "open"),
    ("open", "half_open"),
    ("half_open", "open"),
    ("half_open", "closed"),
}
_CODES = {error.code for error in ERRORS} - {Internal.code}
_INSTANT_S = 1e-6
_SETTLES_S = 40.0
"""What belongs to no request has ended by then: commits, and refreshes of caches."""


class Weather:
    """A service that does as its dice say.

    Args:
        chance: The dice.

    Attributes:
        active: Calls it is in the middle of.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._typical_s = chance.choice([0.001, 0.02, 0.2])
        self._fails = chance.choice([0, 0, 0.05, 0.4, 1])
        self._hangs = chance.choice([0, 0, 0.02, 0.3])
        self.active = 0

    async def __call__(self, request: Request, _emit: Emit, /) -> Reply:
        self.active += 1
        try:
            return await self._answer(request)
        finally:
            self.active -= 1

    async def _answer(self, request: Request) -> Reply:
        dice = self._chance
        if dice.random() < self._hangs:
            await trio.sleep_forever()
        await trio.sleep(self._typical_s * dice.lognormvariate(0, 1))
        if dice.random() < self._fails:
            raise dice.choice(
                [
                    Unreachable("x"),
                    BadReply("x", service_status=503),
                    Rejected("x", service_status=404),
                    Rejected("x", service_status=429, retry_after_s=0.05),
                ]
            ).blamed()
        value = {"v": str(dice.randrange(3)), "n": dice.randrange(3)}
        return Reply(value if dice.random() < 0.9 else {"asked": dict(request.arguments)})


@attrs.frozen
class World:
    """What a seed stands for.

    Args:
        seed: The seed.
        document: The file.
        shares: By service, what its retries and hedges may add to its traffic.
    """

    seed: int
    document: Mapping[str, Any]
    shares: Mapping[str, float]

    @classmethod
    def of(cls, seed: int) -> World:
        chance = random.Random(f"{seed} file")
        names = [f"s{number}" for number in range(chance.randint(1, 3))]
        services = {name: _service(chance) for name in names}
        tool = _tool(chance, names)
        shares = {
            name: int(table.get("retry", {}).get("budget", "20%").removesuffix("%")) / 100
            for name, table in services.items()
        }
        server = {"deadline": "3s", "drain": "1s"}
        return cls(seed, {"server": server, "services": services, "tools": {"t": tool}}, shares)


def _service(chance: random.Random) -> dict[str, Any]:
    """A service with some of the policies."""
    drawn: dict[str, Any] = {
        "timeout": chance.choice(["20ms", "300ms", "2s"]),
        "retry": {
            "attempts": chance.randint(2, 5),
            "backoff": chance.choice(["1ms", "50ms"]),
            "budget": chance.choice(["5%", "20%", "100%"]),
            "on": chance.choice(
                [["unreachable", 503], ["unreachable", 503, 429, 504], ["overloaded", 503]]
            ),
        },
        "hedge": {
            "after": chance.choice(["p50", "p95", "5ms", "200ms"]),
            "max": chance.randint(1, 3),
        },
        "breaker": {
            "of": chance.randint(1, 10),
            "window": chance.choice(["500ms", "10s"]),
            "open": chance.choice(["50ms", "1s"]),
        },
        "limit": {
            "concurrency": chance.choice(["adaptive", 1, 3, 20]),
            "queue": chance.choice([0, 2, 50]),
            "queue_timeout": chance.choice(["10ms", "500ms"]),
        },
        "rate": chance.choice(["20/s", "500/s"]),
        "cache": {
            "ttl": chance.choice(["1ms", "200ms"]),
            "stale": chance.choice(["1ms", "1s"]),
            "max_entries": chance.choice([1, 100]),
        },
        "coalesce": chance.choice([True, False]),
        "fault": {
            "delay": "30ms",
            "delay_share": "10%",
            "abort": chance.choice(["unreachable", 503, 404]),
            "abort_share": "5%",
            "hang_share": "2%",
            "corrupt_share": "3%",
        },
    }
    chosen = {key: value for key, value in drawn.items() if chance.random() < 0.4}
    return {"kind": "http", "url": "http://127.0.0.1:1", **chosen}


def _tool(chance: random.Random, services: list[str]) -> dict[str, Any]:
    """A tool of a few calls, some of which wait for others."""
    calls: dict[str, Any] = {}
    for number in range(chance.randint(1, 5)):
        before = [f"c{earlier}" for earlier in range(number)]
        needed = chance.choice(before) if before and chance.random() < 0.4 else None
        path = f"/x/{{{needed}.v}}" if needed else "/x/{n}"
        call: dict[str, Any] = {"service": chance.choice(services)}
        call[chance.choice(["get", "get", "get", "post"])] = path
        if chance.random() < 0.6:
            call["optional"] = True
            if chance.random() < 0.5:
                call["default"] = {"v": "default"}
        if chance.random() < 0.3:
            call["timeout"] = chance.choice(["10ms", "400ms"])
        if before and chance.random() < 0.2:
            call["when"] = f"{chance.choice(before)}.n != `1`"
        if "post" in call and chance.random() < 0.3:
            call["commit"] = True
            call["timeout"] = "500ms"
        calls[f"c{number}"] = call
    wait = chance.choice(["all", "all", "first", chance.randint(1, len(calls))])
    return {
        "deadline": chance.choice(["50ms", "500ms", "2s"]),
        "input": {"properties": {"n": "integer"}, "required": ["n"]},
        "wait": wait,
        "calls": calls,
    }


def live(seed: int) -> None:
    """Let a world live, and look at what must hold of it.

    Raises:
        AssertionError: Something does not.
    """
    world = World.of(seed)
    run(lambda _clock: _Life(world).run(), seed=seed)


class _Life:
    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = random.Random(f"{world.seed} clients")
        self._events = Events()
        self._codes: set[str] = set()
        self._services = {
            name: Weather(random.Random(f"{world.seed} {name}"))
            for name in world.document["services"]
        }
        telemetry = Telemetry([self._events.append])
        # Calls of some are made, of some begun, and of some begun and finished.
        ways = random.Random(f"{world.seed} ways")
        services = {
            name: ways.choice([service, Prompt(service), Prompt(service, slow=True)])
            for name, service in self._services.items()
        }
        self._built = build(
            world.document, record=telemetry.record, services=services, seed=world.seed
        )
        self._app = Gateway(self._built, telemetry, Metrics())
        self._deadline_s = self._built.tools["t"].deadline_s

    async def run(self) -> None:
        async with self._app.running():
            async with trio.open_nursery() as nursery:
                for _ in range(self._chance.randint(10, 60)):
                    nursery.start_soon(self._client)
                    await trio.sleep(self._chance.choice([0, 0.001, 0.02, 0.1]))
            elapsed_s = trio.current_time()
            assert self._app.in_flight == 0
            await trio.sleep(_SETTLES_S)
            self._look_at_policies()
        for name, service in self._services.items():
            assert service.active == 0, f"{name}: {service.active} calls are left"
        self._look_at_events(elapsed_s)

    async def _client(self) -> None:
        """One client: perhaps with a budget of its own, perhaps impatient."""
        dice = self._chance
        timeout_s = dice.choice([math.inf, math.inf, 0.01, 0.3, 5])
        stays_s = dice.choice([math.inf, math.inf, math.inf, 0, 0.005, 0.2])
        context = Context(request_id="r", priority=dice.choice(["normal", "normal", "high", "low"]))
        request = Request("t", {"n": dice.randrange(4)}, context)
        start = trio.current_time()
        until = min(timeout_s, stays_s, self._deadline_s)
        with trio.move_on_after(stays_s):
            try:
                self._look_at_reply(await self._app.call(request, timeout_s=timeout_s))
            except GatewayError as error:
                self._codes.add(error.code)
        took_s = trio.current_time() - start
        assert took_s <= until + _INSTANT_S, f"answered after {took_s}, not {until}"

    def _look_at_reply(self, reply: Reply) -> None:
        """An answer says what is missing from it, and nothing else is."""
        calls = self._world.document["tools"]["t"]["calls"]
        assert [branch.call for branch in reply.branches] == list(calls)
        lacking = [branch.call for branch in reply.branches if branch.error is not None]
        assert [error.call for error in reply.missing] == lacking
        for branch in reply.branches:
            assert (branch.outcome == "ok") == (branch.error is None)
            default = calls[branch.call].get("default")
            assert branch.error is None or branch.value == default
        if self._world.document["tools"]["t"]["wait"] == "all":
            for branch in reply.branches:
                if branch.outcome in {"error", "timeout"}:
                    assert calls[branch.call].get("optional"), f"{branch.call} is required"

    def _look_at_policies(self) -> None:
        """Nobody has a place, nor waits for one."""
        for call in self._built.config.tools["t"].calls.values():
            for layer in self._built.stack(call).layers:
                if isinstance(layer.policy, Limit):
                    assert (layer.policy.taken, layer.policy.waiting) == (0, 0)

    def _look_at_events(self, elapsed_s: float) -> None:
        events = self._events
        events.assert_balanced()
        assert self._codes <= _CODES
        assert not [one for one in events.of(RequestEnded) if one.code == Internal.code]
        for name in self._services:
            states = ["closed", *(e.state for e in events.of(BreakerChanged) if e.service == name)]
            assert set(itertools.pairwise(states)) <= _LEGAL, f"{name}: {states}"
            calls = sum(event.service == name for event in events.of(CallStarted))
            extra = sum(
                event.service == name for event in (*events.of(Retried), *events.of(Hedged))
            )
            most = 10 + self._world.shares[name] * calls + elapsed_s + 1
            assert extra <= most, f"{name}: {extra} further attempts, {most:.1f} at most"


def collected() -> None:
    """Have what a world left behind looked at: a coroutine that nobody awaited warns now."""
    gc.collect()
