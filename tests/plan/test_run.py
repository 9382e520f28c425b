"""One request's way through a plan: when calls start, and what becomes of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway.core.errors import (
    ERRORS,
    BadReply,
    DeadlineExceeded,
    GatewayError,
    Internal,
    Overloaded,
    Rejected,
    Skipped,
    Unreachable,
)
from gateway.core.messages import Branch, Reply, Request
from gateway.core.service import Service
from gateway.testing import ScriptedService
from tests.apps import Prompt, driven, get, request, services_are

MADE: dict[str, Callable[[Service], Service]] = {
    "called": lambda service: service,
    "begun": Prompt,
    "finished": partial(Prompt, slow=True),
}


@pytest.fixture(autouse=True, params=MADE)
def one_task_or_many(request: pytest.FixtureRequest) -> Iterator[None]:
    """The same holds whether calls run in tasks of their own, or are waited for in one."""
    before = services_are.set(MADE[request.param])
    yield
    services_are.reset(before)


def after(seconds: float, value: Any = "ok") -> ScriptedService:
    return ScriptedService().reply(value, after_s=seconds)


def fails(error: Exception | None = None, *, after_s: float = 0) -> ScriptedService:
    return ScriptedService().fail(error or Unreachable("connection refused"), after_s=after_s)


def hangs() -> ScriptedService:
    return ScriptedService().hang()


def outcomes(branches: Mapping[str, Branch]) -> dict[str, str]:
    return {name: branch.error.code if branch.error else "ok" for name, branch in branches.items()}


# ------------------------------------------------------------------ when calls start


async def test_calls_run_at_once_and_a_dependent_one_starts_the_moment_its_inputs_are_there(
    autojump_clock: MockClock,
) -> None:
    calls = {
        "user": get("users"),
        "slow": get("slow"),
        "posts": get("posts", "/{user}"),
        "likes": get("likes", "/{posts}"),
    }
    services = {
        "users": after(0.25, 7),
        "slow": after(2),
        "posts": after(0.5, 8),
        "likes": after(0.125),
    }
    async with driven(calls, services) as gateway:
        start = trio.current_time()
        reply = await gateway.call()
        assert trio.current_time() - start == pytest.approx(2, abs=1e-9)
    times = {branch.call: (branch.started_s, branch.ended_s) for branch in reply.branches}
    assert times == {
        "user": (0, pytest.approx(0.25)),
        "slow": (0, pytest.approx(2)),
        "posts": (pytest.approx(0.25), pytest.approx(0.75)),
        "likes": (pytest.approx(0.75), pytest.approx(0.875)),
    }
    assert [branch.call for branch in reply.branches] == list(calls)
    assert services["likes"].requests[0].arguments == {"get": "/8"}


async def test_a_call_with_two_inputs_waits_for_the_later_one_alone(
    autojump_clock: MockClock,
) -> None:
    calls = {
        "a": get("a"),
        "b": get("b"),
        "c": get("c"),
        "both": get("both", "/{a}/{b}"),
    }
    services = {"a": after(0.1, 1), "b": after(0.3, 2), "c": after(0.9), "both": after(0)}
    async with driven(calls, services) as gateway:
        branch = (await gateway.call()).branches[3]
    assert branch.started_s == pytest.approx(0.3)
    assert services["both"].requests[0].arguments["get"] == "/1/2"


async def test_a_chain_of_1000_calls_runs(autojump_clock: MockClock) -> None:
    calls = {"c0": get("s", "/")} | {
        f"c{number}": get("s", f"/{{c{number - 1}}}") for number in range(1, 1000)
    }
    async with driven(calls, {"s": after(0, 1)}) as gateway:
        reply = await gateway.call()
    assert len(reply.value) == 1000
    assert not reply.missing


async def test_a_condition_is_waited_for_like_an_input(autojump_clock: MockClock) -> None:
    calls = {"flag": get("flag"), "then": get("then", when="flag")}
    async with driven(calls, {"flag": after(0.2, True)}) as gateway:
        assert (await gateway.call()).branches[1].started_s == pytest.approx(0.2)


async def test_every_finished_call_is_emitted_at_its_end(autojump_clock: MockClock) -> None:
    calls = {"a": get("a"), "b": get("b", "/{a}"), "c": get("c", optional=True)}
    services = {"a": after(0.1, 1), "b": after(0.1, 2), "c": fails(after_s=0.15)}
    seen: list[tuple[float, str, str]] = []
    async with driven(calls, services) as gateway:
        start = trio.current_time()

        async def emit(partial: Any) -> None:
            seen.append((trio.current_time() - start, partial.call, partial.outcome))

        await gateway.app.call(request(), emit)
    assert seen == [
        (pytest.approx(0.1), "a", "ok"),
        (pytest.approx(0.15), "c", "error"),
        (pytest.approx(0.2), "b", "ok"),
    ]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    ("error", "told"), [(OSError("the wire broke"), Internal), (Overloaded("too slow"), Overloaded)]
)
async def test_an_emit_that_fails_fails_the_request_bare_and_ends_its_calls(
    autojump_clock: MockClock, count: int, error: Exception, told: type[GatewayError]
) -> None:
    calls = {f"c{number}": get(f"s{number}") for number in range(count)}
    hanging = hangs()
    services = dict(list({"s0": after(0.1), "s1": hanging}.items())[:count])

    async def emit(_partial: Any) -> None:
        raise error

    async with driven(calls, services) as gateway:
        with pytest.raises(told):
            await gateway.app.call(request(), emit)
        await wait_all_tasks_blocked()  # what was begun has a task in these tests, which ends now
        assert hanging.active == 0
    gateway.events.assert_balanced()


class Panic(BaseException):
    """As compiled libraries raise it: no `Exception`."""


@pytest.mark.parametrize(
    "bug", [Panic("x"), SystemExit(3), BaseExceptionGroup("g", [Panic("x")])], ids=repr
)
async def test_what_is_no_exception_is_internal_too(
    autojump_clock: MockClock, bug: BaseException
) -> None:
    async def serve(_request: Any, _emit: Any, /) -> Reply:
        await trio.lowlevel.checkpoint()
        raise bug

    async with driven({"a": get("a"), "b": get("b")}, {"a": serve}) as gateway:
        problem = (await gateway.post()).json()
    assert (problem["status"], problem["code"], problem["call"]) == (500, "internal", "a")
    gateway.events.assert_balanced()


async def test_what_an_expression_does_not_fit_is_not_shown(autojump_clock: MockClock) -> None:
    secret = {"headers": {"authorization": "t0ps3cret"}}
    for broken in ({"output": "abs(a)"}, {"output": {"x": "merge(a, b.c)"}}):
        async with driven({"a": get("a"), "b": get("b")}, {"a": after(0, secret)}, **broken) as gw:
            answer = await gw.post()
        assert answer.json()["code"] == "bad_reply"
        assert b"t0ps3cret" not in answer.body
        assert len(answer.body) < 500


async def test_a_quorum_that_time_runs_out_on_blames_the_time(autojump_clock: MockClock) -> None:
    calls = {"a": get("a"), "b": get("b"), "c": get("c")}
    services = {"a": fails(after_s=0.01), "b": hangs(), "c": hangs()}
    async with driven(calls, services, wait="first", deadline="1s") as gateway:
        problem = (await gateway.post()).json()
    assert (problem["status"], problem["code"], problem["call"]) == (504, "deadline_exceeded", "b")


async def test_the_call_that_decides_is_emitted_too(autojump_clock: MockClock) -> None:
    seen: list[str] = []

    async def emit(partial: Any) -> None:
        seen.append(partial.call)

    calls = {"slow": get("slow"), "quick": get("quick")}
    services = {"slow": after(1), "quick": after(0.1)}
    async with driven(calls, services, wait="first") as gateway:
        await gateway.app.call(request(), emit)
    assert seen == ["quick"]
    async with driven(calls, {**services, "quick": fails()}) as gateway:
        with pytest.raises(GatewayError):
            await gateway.app.call(request(), emit)
    assert seen == ["quick", "quick"]


# ------------------------------------------------------------------ required and optional


EVERY_FAILURE = [
    *(error("no") for error in ERRORS if error is not Skipped),
    Rejected("gone", service_status=404),
    Rejected("slow down", service_status=429, retry_after_s=3),
]


@pytest.mark.parametrize("error", EVERY_FAILURE, ids=lambda error: f"{error.code}-{error.status}")
async def test_a_required_failure_is_the_answer_and_ends_the_rest(
    autojump_clock: MockClock, error: GatewayError
) -> None:
    calls = {"a": get("a"), "b": get("b"), "c": get("c", "/{b}")}
    services = {"a": fails(error, after_s=0.1), "b": hangs(), "c": ScriptedService()}
    async with driven(calls, services) as gateway:
        with pytest.raises(type(error)) as caught:
            await gateway.call()
        assert trio.current_time() < 1
        assert (caught.value.call, caught.value.service) == ("a", "a")
        assert caught.value.status == error.status
        await wait_all_tasks_blocked()  # the task that does what was begun
        assert services["b"].cancelled == 1
        assert not services["c"].requests
        assert gateway.events.last.outcome == "error"
        assert outcomes(gateway.events.ended) == {"a": error.code, "b": "skipped", "c": "skipped"}
    gateway.events.assert_balanced()


@pytest.mark.parametrize("error", EVERY_FAILURE, ids=lambda error: f"{error.code}-{error.status}")
async def test_an_optional_failure_is_labelled_and_the_rest_goes_on(
    autojump_clock: MockClock, error: GatewayError
) -> None:
    calls = {"a": get("a", optional=True), "b": get("b")}
    async with driven(calls, {"a": fails(error), "b": after(0.5, 5)}) as gateway:
        answer = await gateway.post()
    assert answer.status == 200
    assert answer.headers["x-gateway-partial"] == f"a={error.code}"
    body = answer.json()
    assert list(body) == ["a", "b", "_errors"]
    assert (body["a"], body["b"]) == (None, 5)
    (problem,) = body["_errors"]
    assert (problem["call"], problem["service"], problem["code"]) == ("a", "a", error.code)
    assert gateway.events.last.outcome == "partial"
    gateway.events.assert_balanced()


@pytest.mark.parametrize(
    "bug", [ValueError("x"), ZeroDivisionError(), ExceptionGroup("g", [OSError()])]
)
@pytest.mark.parametrize("optional", [True, False])
async def test_a_bug_in_a_service_is_internal_and_not_shown(
    autojump_clock: MockClock, bug: Exception, optional: bool
) -> None:
    async with driven({"a": get(optional=optional), "b": get("b")}, {"s": fails(bug)}) as gateway:
        answer = await gateway.post()
    assert answer.status == (200 if optional else 500)
    problem = answer.json()["_errors"][0] if optional else answer.json()
    assert problem["code"] == "internal"
    assert problem["detail"].startswith("something went wrong inside the gateway")
    error = gateway.events.ended["a"].error
    assert error is not None
    assert error.__cause__ is bug


@pytest.mark.parametrize("default", [None, [], 0, {"n": 1}, "none"])
async def test_a_missing_call_has_its_default(autojump_clock: MockClock, default: Any) -> None:
    call = get(optional=True) if default is None else get(optional=True, default=default)
    async with driven({"a": call, "b": get("b")}, {"s": fails()}) as gateway:
        assert (await gateway.post()).json()["a"] == default


async def test_a_call_that_is_there_never_gets_its_default(autojump_clock: MockClock) -> None:
    calls = {"a": get(optional=True, default=[1])}
    async with driven(calls, {"s": ScriptedService().reply(None)}) as gateway:
        answer = await gateway.post()
    assert answer.json() == {"a": None}
    assert "x-gateway-partial" not in answer.headers


async def test_several_missing_calls_are_labelled_in_the_plans_order(
    autojump_clock: MockClock,
) -> None:
    calls = {name: get(name, optional=True) for name in ("z", "a", "m")}
    services = {"z": fails(after_s=0.3), "a": fails(BadReply("x"), after_s=0.1), "m": hangs()}
    async with driven(calls, services, deadline="1s") as gateway:
        answer = await gateway.post()
    assert answer.headers["x-gateway-partial"] == "z=unreachable, a=bad_reply, m=deadline_exceeded"
    assert [one["call"] for one in answer.json()["_errors"]] == ["z", "a", "m"]


async def test_errors_stand_last_whatever_the_value_holds(autojump_clock: MockClock) -> None:
    """A gateway behind this one may have labelled its own."""
    calls = {"a": get("a", optional=True), "b": get("b")}
    services = {"a": fails(), "b": after(0, {"_errors": [], "name": 2})}
    async with driven(calls, services, output="b") as gateway:
        body = (await gateway.post()).json()
    assert list(body) == ["name", "_errors"]
    assert body["_errors"][0]["call"] == "a"


@pytest.mark.parametrize(
    ("output", "value"), [("b", 5), ("[b, a]", [5, None]), ("a", None), ("to_string(b)", "5")]
)
async def test_an_answer_that_is_no_object_is_labelled_in_the_header_alone(
    autojump_clock: MockClock, output: str, value: Any
) -> None:
    calls = {"a": get("a", optional=True), "b": get("b")}
    async with driven(calls, {"a": fails(), "b": after(0, 5)}, output=output) as gateway:
        answer = await gateway.post()
    assert answer.json() == value
    assert answer.headers["x-gateway-partial"] == "a=unreachable"


# ------------------------------------------------------------------ what depends on what is missing


@pytest.mark.parametrize("optional", [True, False])
async def test_a_call_that_needs_a_missing_one_is_skipped_all_the_way_down(
    autojump_clock: MockClock, optional: bool
) -> None:
    calls = {
        "a": get("a", optional=True),
        "b": get("b", "/{a.id}", optional=True),
        "c": get("c", "/{b.id}", optional=optional),
        "d": get("d"),
    }
    async with driven(calls, {"a": fails(after_s=0.1), "d": after(0.5, 4)}) as gateway:
        answer = await gateway.post()
    assert outcomes(gateway.events.ended)["b"] == "skipped"
    assert sorted(gateway.events.started) == ["a", "d"]
    if optional:
        assert answer.headers["x-gateway-partial"] == "a=unreachable, b=skipped, c=skipped"
        assert answer.json()["d"] == 4
    else:  # a required call lacks what failed: the failure is to blame, at once
        assert answer.status == 502
        assert (answer.json()["call"], answer.json()["code"]) == ("a", "unreachable")
        assert gateway.events.last.duration_s == pytest.approx(0.1)


async def test_a_written_default_feeds_the_calls_that_read_it(autojump_clock: MockClock) -> None:
    calls = {"a": get("a", optional=True, default={"id": 3}), "b": get("b", "/{a.id}")}
    b = after(0, "b")
    async with driven(calls, {"a": fails(), "b": b}) as gateway:
        answer = await gateway.post()
    assert b.requests[0].arguments["get"] == "/3"
    assert answer.headers["x-gateway-partial"] == "a=unreachable"
    assert answer.json()["b"] == "b"


async def test_a_written_null_is_a_default_too(autojump_clock: MockClock) -> None:
    calls = {
        "a": get("a", optional=True, when="x", default={}),
        "b": {"service": "b", "post": "/", "json": {"a": "{a.id}"}},
    }
    b = ScriptedService()
    async with driven(calls, {"b": b}, input={"properties": {"x": "boolean"}}) as gateway:
        await gateway.post(x=False)
    assert b.requests[0].arguments["json"] == {"a": None}


# ------------------------------------------------------------------ conditions


WHEN = {
    "true": True,
    "1": True,
    "0": True,  # JMESPath: numbers are true
    '"x"': True,
    "[0]": True,
    "false": False,
    "null": False,
    '""': False,
    "[]": False,
    "{}": False,
}


@pytest.mark.parametrize(("value", "made"), WHEN.items())
async def test_a_condition_holds_as_jmespath_says(
    autojump_clock: MockClock, value: str, made: bool
) -> None:
    calls = {"a": get("a", when=f"`{value}`"), "b": get("b")}
    async with driven(calls, {"a": after(0, "made")}) as gateway:
        answer = await gateway.post()
    assert answer.status == 200
    assert answer.json()["a"] == ("made" if made else None)
    assert answer.headers.get("x-gateway-partial") == (None if made else "a=skipped")
    assert gateway.events.last.outcome == "ok"


@pytest.mark.parametrize(
    ("when", "made"),
    [("user.active", False), ("!user", True), ("!(user.active)", True), ("user || n", True)],
)
async def test_a_condition_may_read_a_call_that_is_missing(
    autojump_clock: MockClock, when: str, made: bool
) -> None:
    calls = {"user": get("users", optional=True), "then": get("then", when=when)}
    schema = {"properties": {"n": "integer"}}
    async with driven(calls, {"users": fails()}, input=schema) as gateway:
        reply = await gateway.call(n=1)
    assert reply.branches[1].outcome == ("ok" if made else "skipped")


async def test_a_condition_that_does_not_fit_the_data_skips_the_call(
    autojump_clock: MockClock,
) -> None:
    calls = {"a": get("a"), "b": get("b", when="length(a) > `1`")}
    async with driven(calls, {"a": after(0, 5)}) as gateway:
        reply = await gateway.call()
    assert reply.branches[1].outcome == "skipped"
    assert "length" in reply.missing[0].detail


async def test_a_required_call_that_reads_a_skipped_one_is_skipped_and_fails_nothing(
    autojump_clock: MockClock,
) -> None:
    calls = {"a": get("a", when="`false`"), "b": get("b", "/{a.id}"), "c": get("c")}
    async with driven(calls) as gateway:
        reply = await gateway.call()
    assert reply.partial_label == "a=skipped, b=skipped"


# ------------------------------------------------------------------ timeouts and deadlines


@pytest.mark.parametrize("optional", [True, False])
@pytest.mark.parametrize("where", ["call", "service"])
async def test_a_timeout_ends_its_call_alone(
    autojump_clock: MockClock, optional: bool, where: str
) -> None:
    own = {"timeout": "300ms"} if where == "call" else {}
    of_service = {"a": {"timeout": "300ms"}} if where == "service" else {}
    calls = {"a": get("a", optional=optional, **own), "b": get("b")}
    a = hangs()
    async with driven(calls, {"a": a, "b": after(0.5, 5)}, of_service=of_service) as gateway:
        answer = await gateway.post()
    assert a.cancelled == 1
    branch = gateway.events.ended["a"]
    assert (branch.outcome, branch.ended_s) == ("timeout", pytest.approx(0.3))
    if optional:
        assert answer.headers["x-gateway-partial"] == "a=deadline_exceeded"
        assert gateway.events.last.duration_s == pytest.approx(0.5)
    else:
        assert (answer.status, answer.json()["call"]) == (504, "a")
        assert gateway.events.last.duration_s == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("call", "service", "seconds"), [("1s", "2s", 1), ("2s", "1s", 1), ("9s", "9s", 5)]
)
async def test_the_smallest_of_call_service_and_budget_holds(
    autojump_clock: MockClock, call: str, service: str, seconds: float
) -> None:
    calls = {"a": get("a", timeout=call)}
    of_service = {"a": {"timeout": service}}
    options = {"of_service": of_service, "deadline": "5s"}
    async with driven(calls, {"a": hangs()}, **options) as gateway:
        with pytest.raises(DeadlineExceeded):
            await gateway.call()
        assert gateway.events.last.duration_s == pytest.approx(seconds)


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_a_required_call_that_hangs_is_a_504_naming_it_at_exactly_the_deadline(
    autojump_clock: MockClock,
    count: int,
) -> None:
    calls = {f"c{number}": get(f"s{number}", optional=number > 0) for number in range(count)}
    services = {"s0": hangs()}
    async with driven(calls, services, deadline="1500ms") as gateway:
        start = trio.current_time()
        answer = await gateway.post()
        assert trio.current_time() - start == pytest.approx(1.5, abs=1e-9)
    problem = answer.json()
    assert answer.status == problem["status"] == 504
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["code"], problem["call"], problem["service"]) == (
        "deadline_exceeded",
        "c0",
        "s0",
    )
    assert "1500ms" in problem["detail"] or "1.5s" in problem["detail"]
    assert services["s0"].active == 0


async def test_a_required_call_that_waits_for_a_hanging_one_does_not_take_the_blame(
    autojump_clock: MockClock,
) -> None:
    calls = {
        "profile": get("innocent", path="/{hint.id}/{quick}"),
        "hint": get("slow", optional=True),
        "quick": get("fast"),
    }
    async with driven(calls, {"slow": hangs()}, deadline="1s") as gateway:
        problem = (await gateway.post()).json()
    assert (problem["code"], problem["call"], problem["service"]) == (
        "deadline_exceeded",
        "hint",
        "slow",
    )


BUDGETS = [
    # client, tool, server → the one that holds
    (0.5, "2s", "10s", 0.5),
    (5, "2s", "10s", 2),
    (math.inf, "2s", "1s", 1),
    (math.inf, None, "3s", 3),
    (7, None, "3s", 3),
    (0.001, "2s", "10s", 0.001),
]


@pytest.mark.parametrize(("client", "tool", "server", "seconds"), BUDGETS)
async def test_the_smallest_budget_holds(
    autojump_clock: MockClock, client: float, tool: str | None, server: str, seconds: float
) -> None:
    deadline = {} if tool is None else {"deadline": tool}
    options = {"server": {"deadline": server}, **deadline}
    async with driven({"a": get("a")}, {"a": hangs()}, **options) as gateway:
        with pytest.raises(DeadlineExceeded):
            await gateway.call(client)
        assert gateway.events.last.duration_s == pytest.approx(seconds, abs=1e-9)
        assert gateway.events.last.budget_s == pytest.approx(seconds)


@pytest.mark.parametrize("budget", ["0", "0ms"])
async def test_a_budget_of_nothing_calls_nothing(autojump_clock: MockClock, budget: str) -> None:
    headers = {"x-request-timeout-ms": "0"} if budget == "0" else {"grpc-timeout": "0m"}
    service = ScriptedService()
    async with driven({"a": get()}, {"s": service}) as gateway:
        answer = await gateway.client.request("POST", "/tools/t", headers=headers)
    assert (answer.status, answer.json()["code"]) == (504, "deadline_exceeded")
    assert not service.requests
    gateway.events.assert_balanced()


async def test_at_the_deadline_every_call_under_way_is_a_timeout_of_its_own(
    autojump_clock: MockClock,
) -> None:
    """The first that is booked must not turn the others into calls nobody waited for."""
    calls = {"a": get("a"), "b": get("b"), "c": get("c", optional=True), "d": get("d", "/{c}")}
    services = {name: hangs() for name in "abc"}
    async with driven(calls, services, deadline="1s") as gateway:
        with pytest.raises(DeadlineExceeded) as caught:
            await gateway.call()
    assert caught.value.call == "a"
    assert outcomes(gateway.events.ended) == dict.fromkeys("abcd", "deadline_exceeded")
    error = gateway.events.ended["d"].error
    assert error is not None
    assert error.detail.endswith("it waited for c")
    gateway.events.assert_balanced()


async def test_a_required_call_that_never_began_does_not_hide_the_one_that_hung(
    autojump_clock: MockClock,
) -> None:
    calls = {"d": get("d", "/{a}"), "a": get("a")}
    async with driven(calls, {"a": hangs()}, deadline="1s") as gateway:
        with pytest.raises(DeadlineExceeded) as caught:
            await gateway.call()
    assert caught.value.call == "a"


async def test_whatever_the_files_order_the_call_that_held_the_others_up_is_to_blame(
    autojump_clock: MockClock,
) -> None:
    calls = {
        "d": get("d", "/{c}"),
        "c": get("c", "/{b}", optional=True),
        "b": get("b", optional=True),
    }
    async with driven(calls, {"b": hangs()}, deadline="1s") as gateway:
        with pytest.raises(DeadlineExceeded) as caught:
            await gateway.call()
    assert caught.value.call == "b"


async def test_a_call_whose_own_timeout_fired_before_did_not_hold_others_up(
    autojump_clock: MockClock,
) -> None:
    calls = {
        "a": get("a", optional=True, default={}, timeout="100ms"),
        "b": get("b", optional=True),
        "c": get("c", "/{a}/{b}"),
    }
    async with driven(calls, {"a": hangs(), "b": hangs()}, deadline="1s") as gateway:
        with pytest.raises(DeadlineExceeded) as caught:
            await gateway.call()
    assert caught.value.call == "b"
    error = gateway.events.ended["c"].error
    assert error is not None
    assert error.detail.endswith("it waited for b")


async def test_what_is_there_at_the_deadline_is_answered(autojump_clock: MockClock) -> None:
    calls = {"a": get("a"), "b": get("b", optional=True, default=[])}
    async with driven(calls, {"a": after(0.2, 1), "b": hangs()}, deadline="1s") as gateway:
        answer = await gateway.post()
    assert answer.status == 200
    assert answer.json()["a"] == 1
    assert answer.json()["b"] == []
    assert answer.headers["x-gateway-partial"] == "b=deadline_exceeded"
    assert gateway.events.last.duration_s == pytest.approx(1, abs=1e-9)


async def test_a_host_that_sets_a_nearer_deadline_cancels_from_outside(
    autojump_clock: MockClock,
) -> None:
    service = hangs()
    async with driven({"a": get()}, {"s": service}) as gateway:
        with trio.move_on_after(1) as scope:
            await gateway.call()
        assert scope.cancelled_caught
        await wait_all_tasks_blocked()  # what was begun has a task in these tests
        assert service.active == 0
        assert gateway.events.last.outcome == "cancelled"
    gateway.events.assert_balanced()


async def test_a_branch_tells_what_was_left_of_the_budget(autojump_clock: MockClock) -> None:
    async with driven({"a": get()}, {"s": after(0.25)}, deadline="1s") as gateway:
        (branch,) = (await gateway.call()).branches
    assert branch.budget_left_s == pytest.approx(0.75)


# ------------------------------------------------------------------ how many are waited for


@pytest.mark.parametrize(
    ("wait", "seconds", "label"),
    [
        ("first", 0.1, "b=skipped, c=skipped"),
        (1, 0.1, "b=skipped, c=skipped"),
        (2, 0.2, "c=skipped"),
        (3, 0.3, ""),
        ("all", 0.3, ""),
    ],
)
async def test_as_many_calls_are_waited_for_as_the_tool_says(
    autojump_clock: MockClock, wait: Any, seconds: float, label: str
) -> None:
    calls = {name: get(name) for name in "abc"}
    services = {"a": after(0.1), "b": after(0.2), "c": after(0.3)}
    async with driven(calls, services, wait=wait) as gateway:
        reply = await gateway.call()
        assert gateway.events.last.duration_s == pytest.approx(seconds)
    assert reply.partial_label == label
    assert gateway.events.last.outcome == "ok"
    gateway.events.assert_balanced()
    assert all(service.active == 0 for service in services.values())


async def test_under_a_number_no_call_is_required_by_itself(autojump_clock: MockClock) -> None:
    calls = {name: get(name) for name in "abc"}
    services = {"a": fails(after_s=0.1), "b": after(0.2, 2), "c": hangs()}
    async with driven(calls, services, wait=1) as gateway:
        reply = await gateway.call()
    assert reply.partial_label == "a=unreachable, c=skipped"


async def test_too_few_that_can_still_answer_end_the_request_at_once(
    autojump_clock: MockClock,
) -> None:
    calls = {name: get(name, optional=True) for name in "abc"}
    services = {"a": fails(after_s=0.1), "b": fails(BadReply("x"), after_s=0.2), "c": hangs()}
    async with driven(calls, services, wait=2) as gateway:
        with pytest.raises(Unreachable) as caught:
            await gateway.call()
        assert gateway.events.last.duration_s == pytest.approx(0.2)
    assert caught.value.call == "a"
    assert services["c"].active == 0


async def test_at_the_deadline_too_few_is_a_timeout(autojump_clock: MockClock) -> None:
    calls = {name: get(name) for name in "abc"}
    services = {"a": after(0.1), "b": hangs(), "c": hangs()}
    async with driven(calls, services, wait=2, deadline="1s") as gateway:
        with pytest.raises(DeadlineExceeded):
            await gateway.call()
    assert outcomes(gateway.events.ended) == {
        "a": "ok",
        "b": "deadline_exceeded",
        "c": "deadline_exceeded",
    }


async def test_calls_that_their_conditions_skip_do_not_fail_a_number(
    autojump_clock: MockClock,
) -> None:
    """Nothing failed, so what can answer is waited for."""
    calls = {
        "a": get("a", when="`false`"),
        "b": get("b", when="`false`"),
        "c": get("c"),
    }
    async with driven(calls, {"c": after(0.5, 3)}, wait=2) as gateway:
        reply = await gateway.call()
    assert reply.value == {"a": None, "b": None, "c": 3}
    assert reply.partial_label == "a=skipped, b=skipped"


async def test_a_number_that_conditions_leave_out_of_reach_still_fails_by_a_failure(
    autojump_clock: MockClock,
) -> None:
    calls = {"a": get("a", when="`false`"), "b": get("b"), "c": get("c")}
    services = {"b": fails(after_s=0.1), "c": hangs()}
    async with driven(calls, services, wait=2) as gateway:
        with pytest.raises(Unreachable):
            await gateway.call()
        assert gateway.events.last.duration_s == pytest.approx(0.1)


# ------------------------------------------------------------------ commits


def commit(service: str = "s", **keys: Any) -> dict[str, Any]:
    return {"service": service, "post": "/", "commit": True, **keys}


async def test_a_commit_goes_on_when_its_client_leaves(autojump_clock: MockClock) -> None:
    service = after(3, "written")
    calls = {"write": commit(timeout="5s"), "other": get("o")}
    async with driven(calls, {"s": service, "o": hangs()}) as gateway:
        left = await gateway.client.leave("POST", "/tools/t", after_s=1)
        assert left is None
        assert trio.current_time() == pytest.approx(1, abs=1e-6)
        assert service.active == 1
        assert gateway.events.last.outcome == "client_left"
        (write,) = (b for b in gateway.events.last.branches if b.call == "write")
        assert write.error is not None
        assert "goes on" in write.error.detail
        assert "write" not in gateway.events.ended
        await trio.sleep(2.5)
        assert service.completed == 1
        branch = gateway.events.ended["write"]
        assert (branch.outcome, branch.ended_s) == ("ok", pytest.approx(3))
    gateway.events.assert_balanced()


@pytest.mark.parametrize("optional", [True, False])
async def test_a_commit_goes_on_after_the_deadline_and_its_label_says_so(
    autojump_clock: MockClock, optional: bool
) -> None:
    service = after(3)
    calls = {"write": commit(timeout="5s", optional=optional), "other": get("o")}
    async with driven(calls, {"s": service}, deadline="1s") as gateway:
        answer = await gateway.post()
        assert trio.current_time() == pytest.approx(1, abs=1e-6)
        problem = answer.json()["_errors"][0] if optional else answer.json()
        assert (problem["call"], problem["code"]) == ("write", "deadline_exceeded")
        assert "goes on" in problem["detail"]
        assert answer.status == (200 if optional else 504)
        await trio.sleep(2.5)
        assert gateway.events.ended["write"].outcome == "ok"
    gateway.events.assert_balanced()


@pytest.mark.parametrize(
    ("keys", "of_service", "seconds"),
    [
        ({"timeout": "2s"}, {}, 2),
        ({}, {"s": {"timeout": "4s"}}, 4),
        ({"timeout": "2s"}, {"s": {"timeout": "4s"}}, 2),
        ({}, {}, 10),
    ],
)
async def test_a_commit_is_bounded_by_its_own_timeout(
    autojump_clock: MockClock, keys: dict[str, Any], of_service: dict[str, Any], seconds: float
) -> None:
    service = hangs()
    options = {"of_service": of_service, "deadline": "1s", "server": {"deadline": "10s"}}
    async with driven({"write": commit(**keys)}, {"s": service}, **options) as gateway:
        with pytest.raises(DeadlineExceeded):
            await gateway.call()
        await trio.sleep(20)
        assert service.cancelled == 1
        branch = gateway.events.ended["write"]
        assert (branch.outcome, branch.ended_s) == ("timeout", pytest.approx(seconds))
    gateway.events.assert_balanced()


async def test_a_commit_that_fails_after_its_client_left_is_told(autojump_clock: MockClock) -> None:
    service = fails(after_s=2)
    async with driven({"write": commit()}, {"s": service}) as gateway:
        await gateway.client.leave("POST", "/tools/t", after_s=1)
        await trio.sleep(2)
        assert outcomes(gateway.events.ended) == {"write": "unreachable"}
    gateway.events.assert_balanced()


async def test_a_commit_that_had_not_begun_never_begins(autojump_clock: MockClock) -> None:
    service = ScriptedService()
    calls = {"read": get("r"), "write": commit(json={"a": "{read}"})}
    async with driven(calls, {"r": hangs(), "s": service}) as gateway:
        await gateway.client.leave("POST", "/tools/t", after_s=1)
        await trio.sleep(20)
        assert not service.requests


async def test_commits_are_bounded_in_number(autojump_clock: MockClock) -> None:
    hanging = hangs()
    calls = {"a": get("a", commit=True, timeout="1m"), "b": get("b")}
    async with driven(calls, {"a": hanging}) as gateway:
        for _ in range(1000):
            with trio.move_on_after(0.001):
                await gateway.call()
        with pytest.raises(Overloaded, match="1000 commits"):
            await gateway.call()
        assert len(hanging.requests) == hanging.active == 1000
        await trio.sleep(60)
        assert hanging.active == 0
        with trio.move_on_after(1):
            await gateway.call()
        assert hanging.active == 1


async def test_a_commit_in_time_is_a_call_like_every_other(autojump_clock: MockClock) -> None:
    calls = {"write": commit(), "then": get("t", "/{write.id}")}
    async with driven(calls, {"s": after(0.5, {"id": 9}), "t": after(0)}) as gateway:
        reply = await gateway.call()
    assert reply.branches[1].started_s == pytest.approx(0.5)
    gateway.events.assert_balanced()


async def test_a_failed_sibling_does_not_end_a_commit(autojump_clock: MockClock) -> None:
    service = after(2)
    calls = {"write": commit(), "bad": get("bad")}
    async with driven(calls, {"s": service, "bad": fails(after_s=1)}) as gateway:
        with pytest.raises(Unreachable):
            await gateway.call()
        await trio.sleep(2)
        assert (service.completed, service.cancelled) == (1, 0)
    gateway.events.assert_balanced()


async def test_closing_waits_for_commits_and_cuts_them_at_the_drains_end(
    autojump_clock: MockClock,
) -> None:
    services = {"quick": after(3), "slow": hangs()}
    calls = {"quick": commit("quick"), "slow": commit("slow", timeout="60s")}
    options = {"server": {"drain": "4s"}, "deadline": "1s"}
    async with driven(calls, services, **options) as gateway:
        with pytest.raises(DeadlineExceeded):
            await gateway.call()
    assert trio.current_time() == pytest.approx(5, abs=1e-6)
    assert services["quick"].completed == 1
    assert services["slow"].cancelled == 1
    assert outcomes(gateway.events.ended) == {"quick": "ok", "slow": "deadline_exceeded"}
    gateway.events.assert_balanced()


async def test_a_commit_that_comes_after_the_close_is_refused_not_a_bug(
    autojump_clock: MockClock,
) -> None:
    calls = {"read": get("r"), "write": commit(json={"a": "{read}"})}
    replies: list[GatewayError] = []

    async def late() -> None:
        try:
            await gateway.call()
        except GatewayError as error:
            replies.append(error)

    options = {"server": {"drain": "9s"}, "deadline": "5s"}
    async with (
        trio.open_nursery() as nursery,
        driven(calls, {"r": after(1)}, **options) as gateway,
    ):
        nursery.start_soon(late)
        await trio.testing.wait_all_tasks_blocked()
    assert [error.code for error in replies] == ["overloaded"]
    gateway.events.assert_balanced()


# ------------------------------------------------------------------ drain


async def test_a_drain_shortens_what_is_in_flight_and_answers_with_what_is_there(
    autojump_clock: MockClock,
) -> None:
    calls = {"a": get("a"), "b": get("b", optional=True)}
    answers: list[tuple[float, Any]] = []
    async with driven(calls, {"a": after(0.1, 1), "b": hangs()}, deadline="10s") as gateway:

        async def ask() -> None:
            answer = await gateway.post()
            answers.append((trio.current_time(), answer))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(2)
            assert gateway.app.in_flight == 1
            assert gateway.app.ready
            gateway.app.begin_drain(1)
            assert not gateway.app.ready
    ((at, answer),) = answers
    assert at == pytest.approx(3, abs=1e-6)
    assert answer.status == 200
    assert answer.headers["x-gateway-partial"] == "b=deadline_exceeded"


async def test_a_drain_never_lengthens_a_deadline_and_a_second_one_only_shortens(
    autojump_clock: MockClock,
) -> None:
    async with driven({"a": get()}, {"s": hangs()}, deadline="2s") as gateway:
        gateway.app.begin_drain(30)
        gateway.app.begin_drain(60)
        with pytest.raises(DeadlineExceeded):
            await gateway.call()
        assert gateway.events.last.duration_s == pytest.approx(2)
        gateway.app.begin_drain(1)
        with pytest.raises(DeadlineExceeded):
            await gateway.call()
        assert gateway.events.last.duration_s == pytest.approx(1)


async def test_after_the_drains_end_nothing_is_called(autojump_clock: MockClock) -> None:
    service = ScriptedService()
    async with driven({"a": get()}, {"s": service}) as gateway:
        gateway.app.begin_drain(1)
        await trio.sleep(2)
        with pytest.raises(DeadlineExceeded):
            await gateway.call()
    assert service.completed == 0
    gateway.events.assert_balanced()


# ------------------------------------------------------------------ leaving


async def test_a_client_that_leaves_ends_every_call(autojump_clock: MockClock) -> None:
    calls = {"a": get("a"), "b": get("b"), "c": get("c"), "d": get("d", "/{a}")}
    services = {"a": after(0.5), "b": hangs(), "c": hangs(), "d": hangs()}
    async with driven(calls, services) as gateway:
        assert await gateway.client.leave("POST", "/tools/t", after_s=1) is None
        assert trio.current_time() == pytest.approx(1, abs=1e-6)
        assert [service.active for service in services.values()] == [0, 0, 0, 0]
        assert outcomes(gateway.events.ended) == {
            "a": "ok",
            "b": "skipped",
            "c": "skipped",
            "d": "skipped",
        }
    gateway.events.assert_balanced()


async def test_a_client_that_leaves_after_the_answer_changes_nothing(
    autojump_clock: MockClock,
) -> None:
    async with driven({"a": get()}, {"s": after(1)}) as gateway:
        answer = await gateway.client.leave("POST", "/tools/t", after_s=2)
    assert answer is not None
    assert answer.status == 200
    assert gateway.events.last.outcome == "ok"


# ------------------------------------------------------------------ requests do not touch each other


async def test_100_requests_at_once_keep_apart(autojump_clock: MockClock) -> None:
    def echo(request: Request) -> Any:
        return {"id": request.arguments["get"]}

    service = ScriptedService().reply(echo, after_s=0.5)
    calls = {"a": get("s", "/{n}"), "b": get("s", "/{a.id}")}
    replies: dict[int, Reply] = {}
    schema = {"properties": {"n": "integer"}}
    async with driven(calls, {"s": service}, input=schema) as gateway:

        async def ask(number: int) -> None:
            replies[number] = await gateway.call(n=number)

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(ask, number)
    assert trio.current_time() == pytest.approx(1, abs=1e-6)
    for number, reply in replies.items():
        assert reply.value == {"a": {"id": f"/{number}"}, "b": {"id": f"/%2F{number}"}}
