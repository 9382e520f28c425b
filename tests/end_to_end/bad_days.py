"""Policies on bad days, over real sockets: `python -m tests.end_to_end.bad_days hedge --seconds 60`.

Clients, gateway and service share one loop and one core. With `--virtual` the same days pass on a clock
that jumps, without sockets. `docs/explanation/policies.md` has the figures of both.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import random
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Any

import attrs
import trio
from trio.testing import MockClock

from gateway import Gateway, create_app
from gateway.core.errors import GatewayError
from gateway.core.messages import Context, Priority, Reply, Request
from gateway.core.service import Emit
from gateway.net.client import ClientSettings, HttpRequest, Origin, open_http1
from gateway.net.guard import AddressGuard
from gateway.net.http1 import Http1Client
from gateway.telemetry.events import Event, LimitChanged
from tests.end_to_end.support import serving

__all__ = ["Adapted", "Hedged", "Overloaded", "adapt", "hedge", "overload"]

_REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n1"
_SEED = 7


class Service:
    """Answers so many at once; who comes then waits, first come, first served.

    Args:
        takes_s: The seconds that the next request takes.
        places: How many at once.

    Attributes:
        requests: How many came.
        limiter: Its places.
    """

    def __init__(self, takes_s: Callable[[], float], places: float = math.inf) -> None:
        self._takes_s = takes_s
        self.limiter = trio.CapacityLimiter(places)
        self.requests = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer what comes on one connection."""
        with contextlib.suppress(trio.BrokenResourceError):  # a call that was given up
            while await stream.receive_some(65536):
                await self._work()
                await stream.send_all(_REPLY)

    async def __call__(self, _request: Request, _emit: Emit, /) -> Reply:
        """Answer a call that comes without a socket."""
        await self._work()
        return Reply(1)

    async def _work(self) -> None:
        self.requests += 1
        async with self.limiter:
            await trio.sleep(self._takes_s())


@attrs.frozen
class Answer:
    """What came of a request.

    Args:
        priority: Its own.
        is_ok: Whether it was answered; refused or failed otherwise.
        at: When it was due, in seconds from the beginning.
        took_s: How long it took.
    """

    priority: Priority
    is_ok: bool
    at: float
    took_s: float


@attrs.frozen
class Door:
    """A gateway before a service, and clients of it.

    Args:
        app: The gateway.
        client: Theirs, and where the gateway listens; `None` without sockets.
    """

    app: Gateway
    client: tuple[Http1Client, Origin] | None = None

    async def ask(self, priority: Priority) -> bool:
        """Whether a request is answered; `high` is what no client may say, but whoever embeds us may."""
        if self.client is None or priority == "high":
            try:
                await self.app.call(Request("t", {}, Context(request_id="r", priority=priority)))
            except GatewayError:
                return False
            return True
        client, origin = self.client
        headers = (("priority", "u=5"),) if priority == "low" else ()
        return (await client.send(HttpRequest("GET", origin, "/t", headers))).status == 200

    async def flood(
        self, per_s: float, seconds: float, shares: tuple[float, float, float] = (0, 1, 0)
    ) -> list[Answer]:
        """Ask so often for so long, whether or not answers come; `high`, `normal`, `low` by shares."""
        chance = random.Random(_SEED)
        answers: list[Answer] = []
        start = trio.current_time()

        async def one(at: float) -> None:
            (priority,) = chance.choices(("high", "normal", "low"), shares)
            is_ok = await self.ask(priority)
            answers.append(Answer(priority, is_ok, at, trio.current_time() - start - at))

        async with trio.open_nursery() as nursery:
            for number in range(int(per_s * seconds)):
                await trio.sleep_until(start + number / per_s)
                nursery.start_soon(one, number / per_s)
        return answers


@contextlib.asynccontextmanager
async def door(
    service: Service,
    listen: Callable[[Event], None] = lambda _event: None,
    deadline: str = "4s",
    **policies: Any,
) -> AsyncGenerator[Door]:
    """A gateway with these policies before `service`: over sockets, or on Trio's mock clock without."""
    if isinstance(trio.lowlevel.current_clock(), MockClock):
        config = _config("http://api.test", deadline, policies)
        app = create_app(config, services={"s": service}, listeners=[listen])
        async with app.running():
            yield Door(app)
        return
    settings = ClientSettings(
        guard=AddressGuard(allow_private=True),
        max_connections=5000,
        max_reply_bytes=10_000,
        budget_header="x-request-timeout-ms",
        tls=False,
    )
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, service.serve, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        config = _config(f"http://127.0.0.1:{listener.socket.getsockname()[1]}", deadline, policies)
        async with (
            serving(config, listeners=[listen]) as (app, port),
            open_http1(settings) as client,
        ):
            yield Door(app, (client, Origin.of(f"http://127.0.0.1:{port}")))
        nursery.cancel_scope.cancel()


def _config(url: str, deadline: str, policies: dict[str, Any]) -> dict[str, Any]:
    call = {"service": "s", "get": "/"}
    return {
        "services": {"s": {"kind": "http", "url": url, **policies}},
        "tools": {"t": {"http": "GET /t", "deadline": deadline, "calls": {"x": call}}},
        "telemetry": {"level": "error"},
    }


# ---------------------------------------------------------------- one in a hundred takes two seconds


@attrs.frozen
class Hedged:
    """What hedging does to the tail.

    Args:
        asked: Requests of each kind.
        p99_s: The time that one in a hundred of them takes or exceeds, without hedges.
        hedged_p99_s: The same with them.
        extra: What hedges add to the service's load, as a share.
    """

    asked: int
    p99_s: float
    hedged_p99_s: float
    extra: float

    def __str__(self) -> str:
        return (
            f"{self.asked} requests: p99 {self.p99_s * 1e3:.0f} ms, hedged "
            f"{self.hedged_p99_s * 1e3:.0f} ms, 1/{self.p99_s / self.hedged_p99_s:.1f}; "
            f"extra load {self.extra:+.2%}"
        )


async def hedge(seconds: float, per_s: float = 100) -> Hedged:
    """A service of 20 ms on average, 2 s for one request in a hundred; for so long each way."""
    plain, _ = await _tailed(seconds, per_s)
    hedged, calls = await _tailed(seconds, per_s, hedge={"after": "p98"})
    return Hedged(len(hedged), _p99(plain), _p99(hedged), calls / len(hedged) - 1)


async def _tailed(seconds: float, per_s: float, **policies: Any) -> tuple[list[float], int]:
    service = Service(_tail(random.Random(_SEED)))
    async with door(service, deadline="8s", **policies) as found:
        answers = await found.flood(per_s, seconds)
    assert all(answer.is_ok for answer in answers)
    return [answer.took_s for answer in answers], service.requests


def _tail(chance: random.Random) -> Callable[[], float]:
    """Of each hundred durations one is 2 s, the others are 20 ms on average."""
    left: list[float] = []

    def takes_s() -> float:
        if not left:
            left[:] = [2.0, *(chance.expovariate(1 / 0.02) for _ in range(99))]
            chance.shuffle(left)
        return left.pop()

    return takes_s


def _p99(took_s: list[float]) -> float:
    return sorted(took_s)[int(len(took_s) * 0.99)]


# ---------------------------------------------------------------- three times of what it can do


@attrs.frozen
class Overloaded:
    """What a service does that is asked for three times of what it can.

    Args:
        capacity: Answers a second if as many are asked as it has places.
        goodput: Answers a second under overload.
        refused_s: The median time until a request was refused.
        high: The share of those of high priority that were answered.
        low: The same for low priority.
    """

    capacity: float
    goodput: float
    refused_s: float
    high: float
    low: float

    def __str__(self) -> str:
        return (
            f"capacity {self.capacity:.0f}/s: goodput {self.goodput:.0f}/s "
            f"({self.goodput / self.capacity:.0%}); refused within {self.refused_s * 1e3:.1f} ms at "
            f"the median; answered of high priority {self.high:.2%}, of low {self.low:.2%}"
        )


async def overload(seconds: float, places: int = 10) -> Overloaded:
    """A service of 50 ms and so many places, for so long; a tenth of the requests is high, one low."""
    chance = random.Random(_SEED)
    service = Service(lambda: chance.uniform(0.04, 0.06), places)
    async with door(service, limit={"concurrency": places}) as found:
        capacity = await _saturated(found, places, min(seconds, 5))
        answers = await found.flood(3 * capacity, seconds, (0.1, 0.8, 0.1))
    begun = [answer for answer in answers if answer.at >= 0.5]  # the line was empty before
    served = sum(answer.is_ok for answer in begun)
    refused = [answer.took_s for answer in begun if not answer.is_ok]

    def share(priority: Priority) -> float:
        return statistics.mean(answer.is_ok for answer in begun if answer.priority == priority)

    return Overloaded(
        capacity=capacity,
        goodput=served / (seconds - 0.5),
        refused_s=statistics.median(refused),
        high=share("high"),
        low=share("low"),
    )


async def _saturated(found: Door, clients: int, seconds: float) -> float:
    """Answers a second to so many who ask again as soon as they are answered."""
    end, answered = trio.current_time() + seconds, 0

    async def work() -> None:
        nonlocal answered
        while trio.current_time() < end:
            is_ok = await found.ask("normal")
            answered += is_ok

    async with trio.open_nursery() as nursery:
        for _ in range(clients):
            nursery.start_soon(work)
    return answered / seconds


# ---------------------------------------------------------------- a limit that nobody has set


@attrs.frozen
class Adapted:
    """What the adaptive limit finds.

    Args:
        places: How many the service has.
        limit: The limit on average, once it had the time to find it.
        halved: The same after half of the places were taken away.
    """

    places: int
    limit: float
    halved: float

    def __str__(self) -> str:
        return (
            f"{self.places} places: limit {self.limit:.1f}; "
            f"{self.places // 2} places: limit {self.halved:.1f}"
        )


async def adapt(find_s: float, measured_s: float, places: int = 20) -> Adapted:
    """A service of 100 ms, log-normal, and so many places, then half; twice what it can do is asked.

    Args:
        find_s: How long the limit has to find each.
        measured_s: How long it is watched then.
        places: The service's.
    """
    chance = random.Random(_SEED)
    service = Service(lambda: chance.lognormvariate(math.log(0.09), 0.5), places)
    changes: list[tuple[float, int]] = []

    def listen(event: Event) -> None:
        if isinstance(event, LimitChanged):
            changes.append((trio.current_time(), event.concurrency))

    async def found_limit(asked: Door) -> float:
        await asked.flood(20 * places, find_s)
        start = trio.current_time()
        await asked.flood(20 * places, measured_s)
        return _average(changes, start, trio.current_time())

    async with door(service, listen, limit={"concurrency": "adaptive"}) as asked:
        limit = await found_limit(asked)
        service.limiter.total_tokens = places // 2
        return Adapted(places, limit, await found_limit(asked))


def _average(changes: list[tuple[float, int]], start: float, end: float) -> float:
    """What held on average between two times."""
    total = 0.0
    for (at, value), (until, _) in zip(changes, [*changes[1:], (end, 0)], strict=True):
        total += value * max(0.0, min(until, end) - max(at, start))
    return total / (end - start)


def main() -> None:
    days: dict[str, Callable[[float], Awaitable[object]]] = {
        "hedge": hedge,
        "overload": overload,
        "adapt": lambda seconds: adapt(seconds / 2, seconds / 2),
    }
    parser = argparse.ArgumentParser(
        prog="python -m tests.end_to_end.bad_days", description=__doc__
    )
    parser.add_argument("day", choices=days)
    parser.add_argument("--seconds", type=float, default=30, help="of each part; default: 30")
    parser.add_argument("--virtual", action="store_true", help="on a clock that jumps, no sockets")
    options = parser.parse_args()
    clock = MockClock(autojump_threshold=0) if options.virtual else None
    start, spent = time.monotonic(), time.process_time()
    print(trio.run(days[options.day], options.seconds, clock=clock))
    busy = (time.process_time() - spent) / (time.monotonic() - start)
    print(f"the loop had work for {busy:.0%} of the time")


if __name__ == "__main__":
    main()
