"""All policies at once, around the calls of a gateway, in the order of `build.py`."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gateway import ConfigError, create_app, load_config
from gateway.build import build
from gateway.core.errors import GatewayError, Unreachable
from gateway.core.messages import Reply, Request
from gateway.core.service import Emit, Service
from gateway.policies import POLICIES
from gateway.telemetry.events import BreakerChanged, Coalesced, Refused, Retried
from gateway.testing import Cancellable, ScriptedService, cancel_at_every_checkpoint
from tests.apps import driven, get, request
from tests.policies.stacks import begun

ALL: dict[str, Any] = {
    "cache": {"ttl": "1ms", "stale": "2ms"},
    "retry": {"attempts": 3, "backoff": "10ms"},
    "hedge": {"after": "50ms"},
    "breaker": {"of": 5},
    "rate": "100/s",
    "limit": {"concurrency": 2, "queue": 5, "queue_timeout": "1s"},
    "timeout": "400ms",
    "fault": {"abort": "unreachable", "abort_share": "0.0001%"},
}

CALLS = {"a": get("a", "/{x}"), "b": get("b", "/{x}", optional=True), "c": get("a", "/other")}


def together(**changes: Any) -> dict[str, Any]:
    """The options of such a gateway."""
    return {
        "deadline": "1s",
        "input": {"properties": {"x": "integer"}},
        "of_service": {name: {**ALL, **changes} for name in ("a", "b")},
    }


class Switched:
    """A service in whose place another one can be put."""

    def __init__(self, inner: ScriptedService) -> None:
        self.inner = inner

    async def __call__(self, request: Request, emit: Emit, /) -> Reply:
        return await self.inner(request, emit)


EXPECTED = {"unreachable", "overloaded", "deadline_exceeded"}

SCRIPTS: dict[str, Any] = {
    "replies": lambda: ScriptedService().reply(1, after_s=0.01),
    "is slow": lambda: ScriptedService().reply(1, after_s=0.2),
    "hangs": lambda: ScriptedService().hang(),
    "fails first": lambda: ScriptedService().fail(Unreachable("x"), after_s=0.01).reply(1),
    "fails": lambda: ScriptedService().fail(Unreachable("x"), after_s=0.01),
}


def test_none_of_them_is_left_out() -> None:
    assert {*ALL, "coalesce"} == set(POLICIES)


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("calls", [1, 3])
def test_cancelled_anywhere_they_leave_nothing(script: Any, calls: int) -> None:
    async def scenario(cancellable: Cancellable) -> None:
        services = {"a": Switched(script()), "b": Switched(script())}
        made = dict(list(CALLS.items())[:calls])
        used = {name: services[name] for name in {call["service"] for call in made.values()}}
        async with driven(made, used, **together()) as gateway:

            async def call() -> None:
                try:
                    await gateway.call(x=1)
                except GatewayError as error:
                    assert error.code in EXPECTED  # noqa: PT017 - others are bugs

            # The task in `Prompt` ends a turn after the call that it was begun for.
            await cancellable(call, settle_s=0 if begun.get() is None else 1e-6)
            assert gateway.app.in_flight == 0
            for service in used.values():
                asked = service.inner
                assert asked.active == 0
                assert asked.completed + asked.cancelled == len(asked.requests)
                service.inner = ScriptedService().reply(1, after_s=0.001)
            # Every place, turn and seat is free: what comes next is served as the first was.
            await trio.sleep(6)
            with contextlib.suppress(GatewayError):  # it may be a breaker's probe
                await gateway.call(x=2)
            answers = []
            for number in range(3, 7):
                await trio.sleep(6)
                answers.append((await gateway.call(x=number)).missing)
            assert answers == [()] * 4

    assert cancel_at_every_checkpoint(scenario) > 5


@pytest.mark.parametrize(
    ("cache", "refresh_s"),
    # A refresh belongs to nobody who could have left: it may go on for as long as it is let.
    [({"ttl": "1ms"}, 0), ({"ttl": "1ms", "stale": "2ms"}, 30)],
    ids=["nothing at once", "nothing once what is stale was fetched"],
)
@pytest.mark.parametrize("seed", range(6))
async def test_a_crowd_that_comes_and_goes_leaves_nothing(
    autojump_clock: MockClock, cache: dict[str, str], refresh_s: float, seed: int
) -> None:
    chance = random.Random(seed)

    class Moody(ScriptedService):
        async def _take(self, *_given: Any) -> Any:
            await trio.sleep(chance.choice([0.001, 0.02, 0.1, 2]))
            if chance.random() < 0.3:
                raise Unreachable("x")
            return Reply(1)

    services: Mapping[str, Service] = {"a": Moody(), "b": Moody()}
    async with driven(CALLS, services, **together(cache=cache)) as gateway:
        codes: set[str] = set()

        async def call() -> None:
            start = trio.current_time()
            with trio.move_on_after(chance.choice([0.005, 0.1, 5])):
                try:
                    await gateway.call(x=chance.randrange(5))
                except GatewayError as error:
                    codes.add(error.code)
            assert trio.current_time() - start <= 1.001

        async with trio.open_nursery() as nursery:
            for _ in range(400):
                nursery.start_soon(call)
                await trio.sleep(chance.choice([0, 0.002, 0.02]))
        assert gateway.app.in_flight == 0
        await trio.sleep(refresh_s)
        for service in services.values():
            assert isinstance(service, Moody)
            assert service.active == 0
        assert codes <= EXPECTED
        assert gateway.events.of(Retried)
        assert gateway.events.of(Coalesced)
        assert gateway.events.of(Refused)


@pytest.mark.parametrize(
    ("service", "profile", "there"),
    [
        ({}, {"timeout": "1s"}, {"timeout"}),
        ({"timeout": "none"}, {"timeout": "1s"}, set()),
        ({"retry": "none", "breaker": {}}, {"retry": {}, "breaker": {}}, {"breaker"}),
        ({"cache": {"ttl": "1s"}}, {}, {"cache", "coalesce"}),
        ({"cache": {"ttl": "1s"}, "coalesce": False}, {}, {"cache"}),
        ({"cache": {"ttl": "1s"}}, {"coalesce": False}, {"cache"}),
        ({"cache": "none"}, {"cache": {"ttl": "1s"}}, set()),
        ({"coalesce": False}, {"coalesce": True}, set()),
        ({"limit": "none"}, {"limit": {"concurrency": 1}}, set()),
        ({"rate": "none"}, {"rate": "1/s"}, set()),
    ],
    ids=repr,
)
async def test_what_is_written_is_in_the_stack(
    service: dict[str, Any], profile: dict[str, Any], there: set[str]
) -> None:
    config = {
        "profiles": {"p": profile},
        "services": {"s": {"kind": "http", "url": "http://api.test", "use": "p", **service}},
        "tools": {"t": {"calls": {"a": get()}}},
    }
    inner = ScriptedService()
    built = build(config, record=lambda _event: None, services={"s": inner})
    (node,) = built.tools["t"].plan.nodes
    found = set()
    guarded: Any = node.invoke
    while guarded is not inner:
        found.add(type(guarded._policy).__name__.lower())
        guarded = guarded._inner
    assert found == there


async def test_the_stack_of_a_write_has_nothing_that_makes_it_twice() -> None:
    config = {
        "services": {"s": {"kind": "http", "url": "http://api.test", **ALL}},
        "tools": {"t": {"calls": {"a": {"service": "s", "post": "/"}}}},
    }
    inner = ScriptedService()
    built = build(config, record=lambda _event: None, services={"s": inner})
    (node,) = built.tools["t"].plan.nodes
    names = []
    guarded: Any = node.invoke
    while guarded is not inner:
        names.append(type(guarded._policy).__name__)
        guarded = guarded._inner
    assert names == ["Breaker", "Rate", "Limit", "Timeout", "Fault"]


async def test_refusals_come_at_once_and_are_no_failures_to_try_again(
    autojump_clock: MockClock,
) -> None:
    service = ScriptedService().hang()
    keys = {"retry": {}, "limit": {"concurrency": 1, "queue": 0}}
    async with (
        driven({"a": get("a")}, {"a": service}, of_service={"a": keys}) as gateway,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(gateway.call, 5)
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
        with pytest.raises(GatewayError, match="all 1 places of its limit"):
            await gateway.call(5)
        assert trio.current_time() == start
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("wait", "took_s", "label"),
    [("first", 0.1, "b=skipped, c=skipped"), (2, 0.2, "c=skipped")],
)
async def test_the_first_or_so_many_count_and_the_losers_end_with_all_they_began(
    autojump_clock: MockClock, wait: Any, took_s: float, label: str
) -> None:
    services = {
        "a": ScriptedService().reply(1, after_s=0.1),
        "b": ScriptedService().reply(2, after_s=0.2),
        "c": ScriptedService().hang(),
    }
    keys = {**ALL, "timeout": "5s"}
    calls = {name: get(name) for name in services}
    of_service = dict.fromkeys(services, keys)
    async with driven(calls, services, wait=wait, of_service=of_service) as gateway:
        reply = await gateway.call()
        assert trio.current_time() == pytest.approx(took_s)
        assert reply.partial_label == label
        assert gateway.events.last.outcome == "ok"  # what nobody waited for is not missed
        assert [service.active for service in services.values()] == [0, 0, 0]
        assert gateway.events.of(BreakerChanged) == []


MISTAKES: tuple[tuple[str, str], ...] = (
    ("retry = { attempts = 1 }", "attempts: expected"),
    ("retry = { attempts = 21 }", "attempts: expected"),
    ("retry = { backoff = 1 }", "backoff: expected a duration"),
    ('retry = { max_backoff = "1 parsec" }', "max_backoff: expected a duration"),
    ("retry = { on = [200] }", "on"),
    ('retry = { on = ["unreachible"] }', "on"),
    ('retry = { budget = "120%" }', "budget: expected"),
    ("retry = { attemps = 3 }", "attemps: unknown key; did you mean"),
    ('hedge = { after = "p0" }', 'after: expected a percentile such as "p95" or a duration'),
    ('hedge = { after = "p100" }', 'after: expected a percentile such as "p95" or a duration'),
    ("hedge = { max = 6 }", "max: expected"),
    ('breaker = { failures = "0%" }', "failures: expected"),
    ("breaker = { of = 0 }", "of: expected"),
    ('breaker = { window = "none" }', "window: expected"),
    ('breaker = { open = "x" }', "open: expected"),
    ("limit = {}", "concurrency: missing"),
    ("limit = { concurrency = 0 }", "concurrency: expected"),
    ('limit = { concurrency = "adaptable" }', "concurrency: expected"),
    ("limit = { concurrency = 1, queue = -1 }", "queue: expected"),
    ('rate = "100"', "rate: expected a rate such as"),
    ("rate = 100", "rate: expected a rate such as"),
    ('cache = { stale = "1s" }', "ttl: missing"),
    ('cache = { ttl = "1s", max_entries = 0 }', "max_entries: expected"),
    ('cache = { ttl = "1s", max_size = 1 }', "max_size: expected a size"),
    ('cache = { ttl = "1s", vary = ["user"] }', "vary"),
    ('coalesce = "yes"', "coalesce: expected true or false"),
    ("fault = { abort = 200 }", "abort: expected"),
    ('fault = { delay = "1s", delay_share = 5 }', "delay_share: expected"),
    ('fault = { hang_share = "x" }', "hang_share: expected"),
)


@pytest.mark.parametrize(("line", "message"), MISTAKES)
@pytest.mark.parametrize("table", ["services.s", "profiles.p"])
def test_a_mistake_is_told_with_its_line(
    tmp_path: Any, line: str, message: str, table: str
) -> None:
    service = '[services.s]\nkind = "http"\nurl = "http://api.test"\n'
    text = service + (line if table == "services.s" else f"\n[profiles.p]\n{line}")
    number = text[: text.index(line)].count("\n") + 1
    path = tmp_path / "gateway.toml"
    path.write_text(text + "\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    (told,) = str(caught.value).strip().splitlines()[-1:]
    assert f"gateway.toml:{number}: {table}." in told
    assert message in told


async def test_it_opens_and_closes_again_and_again() -> None:
    config = {
        "services": {"s": {"kind": "http", "url": "http://api.test", **ALL}},
        "tools": {"t": {"calls": {"a": get()}}},
    }
    for _ in range(2):
        app = create_app(config, services={"s": ScriptedService().reply(1)})
        async with app.running():
            assert (await app.call(request())).value == {"a": 1}
