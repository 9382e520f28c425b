"""`url = […]`: attempts, checks and telemetry over a network in memory, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from gateway import ConfigError, load_config
from gateway.app import Gateway, create_app
from gateway.core.errors import GatewayError
from gateway.core.messages import Context, Request
from gateway.telemetry.events import Event, ReplicaChanged
from tests.http_service import Scripted, http
from tests.network import Handler, Network, network

OK = http(200, "1", content_type="application/json")
ERROR = http(503, "no")
LATE = http(200, "1", after_s=5, content_type="application/json")


@attrs.frozen
class Bench:
    """A tool that calls replicas at `http://a`, `http://b`, …"""

    app: Gateway
    net: Network
    told: list[ReplicaChanged]

    async def __call__(self, tool: str = "t") -> Any:
        context = Context(request_id="r")
        return (await self.app.call(Request(tool, {}, context), timeout_s=60)).value

    async def fails(self, number: int) -> int:
        """How many of so many calls fail."""
        failed = 0
        for _ in range(number):
            try:
                await self()
            except GatewayError:
                failed += 1
        return failed


def config(names: str, **settings: Any) -> Mapping[str, Any]:
    urls = [f"http://{name}/api" for name in names]
    call = {"service": "s", "get": "/x"}
    return {
        "services": {"s": {"kind": "http", "url": urls, "allow_private": True, **settings}},
        "tools": {"t": {"calls": {"x": call}}, "two": {"calls": {"x": call, "y": call}}},
    }


@asynccontextmanager
async def bench(*services: Handler | OSError | None, **settings: Any) -> AsyncGenerator[Bench]:
    """Replicas, each served by one of `services`."""
    told: list[ReplicaChanged] = []

    def listen(event: Event) -> None:
        if isinstance(event, ReplicaChanged) and event.why != "start":
            told.append(event)

    names = "abcdefgh"[: len(services)]
    async with network() as net:
        for number, (name, service) in enumerate(zip(names, services, strict=True), start=1):
            net.name(name, f"10.0.0.{number}")
            net.serve(f"10.0.0.{number}", 80, service)
        app = create_app(config(names, **settings), listeners=(listen,))
        async with app.running():
            yield Bench(app, net, told)
        assert not net.open


async def test_calls_go_to_all_and_each_keeps_its_connection(autojump_clock: MockClock) -> None:
    services = [Scripted(OK) for _ in range(3)]
    async with bench(*services) as call:
        for _ in range(60):
            assert await call() == {"x": 1}
    assert [service.accepted for service in services] == [1, 1, 1]
    assert min(len(service.requests) for service in services) > 8
    assert services[1].requests[0].header("host") == "b"
    assert services[1].requests[0].target == "/api/x"


async def test_calls_that_are_begun_together_go_to_several(autojump_clock: MockClock) -> None:
    services = [Scripted(OK), Scripted(OK)]
    async with bench(*services) as call:
        for _ in range(20):
            await call("two")
    # Two are under way at once: one goes to each.
    assert [len(service.requests) for service in services] == [20, 20]


async def test_a_retry_goes_to_another(autojump_clock: MockClock) -> None:
    bad, good = Scripted(ERROR), Scripted(OK)
    async with bench(bad, good, retry={"attempts": 2, "budget": "100%"}) as call:
        assert await call.fails(4) == 0
        assert await call.fails(30) == 0
    assert len(bad.requests) >= 5
    assert [(event.replica, event.is_in, event.why) for event in call.told] == [
        ("a", False, "failures")
    ]


async def test_a_hedge_goes_to_another(autojump_clock: MockClock) -> None:
    slow, fast = Scripted(LATE), Scripted(OK)
    async with bench(slow, fast, hedge={"after": "100ms"}) as call:
        for _ in range(10):
            start = trio.current_time()
            await call()
            assert trio.current_time() - start < 0.2
    assert slow.requests


async def test_one_that_refuses_connections_is_out_and_comes_back(
    autojump_clock: MockClock,
) -> None:
    services = [Scripted(OK) for _ in range(4)]
    async with bench(OSError(111, "refused"), *services[1:]) as call:
        assert await call.fails(100) == 5
        assert await call.fails(100) == 0
        call.net.serve("10.0.0.1", 80, services[0])
        await trio.sleep(4)
        assert await call.fails(100) == 0
    assert len(services[0].requests) > 10
    assert [event.is_in for event in call.told] == [False, True]


async def test_one_that_hangs_is_out(autojump_clock: MockClock) -> None:
    services = [Scripted(OK) for _ in range(3)]
    async with bench(None, *services, timeout="100ms") as call:
        failed = 0
        for _ in range(200):
            failed += await call.fails(1)
            await trio.sleep(0.01)
    assert 3 <= failed <= 8
    assert [(event.replica, event.why) for event in call.told] == [("a", "share")]


async def test_with_one_replica_left_there_is_still_one(autojump_clock: MockClock) -> None:
    async with bench(Scripted(ERROR), Scripted(ERROR)) as call:
        assert await call.fails(30) == 30
    assert sum(not event.is_in for event in call.told) == 1


HEALTH = {"path": "/health", "every": "1s", "timeout": "200ms", "unhealthy_after": 2}


async def test_checks_find_who_is_ill_and_who_is_well_again(autojump_clock: MockClock) -> None:
    well = Scripted(OK)
    mended = Scripted(OK)
    # Nobody calls: only the checks are there to see it.
    async with bench(None, well, health=HEALTH) as call:
        await trio.sleep(1.6)
        assert [(event.replica, event.is_in, event.why) for event in call.told] == [
            ("a", False, "health")
        ]
        assert await call.fails(20) == 0
        call.net.serve("10.0.0.1", 80, mended)
        await trio.sleep(5)
        assert [event.is_in for event in call.told] == [False, True]
        assert await call.fails(20) == 0
    assert {request.target for request in mended.requests} == {"/api/health", "/api/x"}


async def test_where_checks_leave_none_all_are_tried(autojump_clock: MockClock) -> None:
    ill = [Scripted(ERROR), Scripted(ERROR)]
    async with bench(*ill, health=HEALTH) as call:
        await trio.sleep(3)
        assert [event.is_in for event in call.told] == [False, False]
        before = [len(service.requests) for service in ill]
        assert await call.fails(20) == 20
    after = [len(service.requests) for service in ill]
    assert all(one > other for one, other in zip(after, before, strict=True))


async def test_one_url_may_be_checked_too(autojump_clock: MockClock) -> None:
    async with bench(Scripted(ERROR), health=HEALTH) as call:
        await trio.sleep(3)
        assert [event.is_in for event in call.told] == [False]
        assert await call.fails(2) == 2


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        (
            ["http://a", "https://b"],
            "url[1]: expected another replica of one API: a replica's scheme",
        ),
        (
            ["http://a/x", "http://b/y"],
            "url[1]: expected another replica of one API: a replica's path",
        ),
        (
            ["http://a", "http://u:p@b"],
            "url[1]: expected another replica of one API: a replica's user",
        ),
        (
            ["http://a", "http://A:80/"],
            "url[1]: expected another replica of one API: the same address",
        ),
        (["http://a", 3], "url[1]: expected a URL"),
        ([], "url: expected a URL"),
        (["http://a", "http://b/?x=1"], "url[1]: expected a URL"),
    ],
)
def test_what_no_replicas_are(urls: list[Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config({**config("ab"), "services": {"s": {"kind": "http", "url": urls}}})
    assert f"services.s.{said}" in str(caught.value)


def test_a_list_of_one_is_one() -> None:
    assert load_config(config("a")).services["s"].settings.url == "http://a/api"


def test_a_proxy_goes_to_one_address() -> None:
    proxies = {"p": {"path": "/p/", "service": "s"}}
    with pytest.raises(ConfigError, match="expected a service with one url"):
        load_config({**config("ab"), "proxies": proxies})


def test_a_password_of_a_replica_is_not_repeated() -> None:
    urls = ["http://u:hunter2@a", "http://u:hunter3@b"]
    with pytest.raises(ConfigError) as caught:
        load_config({**config("ab"), "services": {"s": {"kind": "http", "url": urls}}})
    assert "hunter" not in str(caught.value)
