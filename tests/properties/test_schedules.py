"""Any schedule of a plan: delays, failures, budgets, what is required, waited for, read.

A model that shares nothing with the code says what the answer must be and when: it first works out
how each call would end if nothing cut it off, then where the plan is cut.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import attrs
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from gateway.core.errors import ERRORS, GatewayError, Skipped
from gateway.core.messages import Reply
from gateway.testing import ScriptedService
from tests.apps import Driven, driven, request

FAILURES = {error.code: error for error in ERRORS if error is not Skipped}
NEVER = math.inf


@attrs.frozen
class Call:
    """One call; times in µs, so that no two ends of a schedule ever fall together."""

    name: str
    delay: float
    outcome: str  # "ok", a code, or "bug"
    flag: bool  # what its reply holds under `ok`
    optional: bool
    default: Literal["none", "true", "false"]  # whether one is written, and the flag it holds
    timeout: int | None
    reads: tuple[str, ...]
    when: tuple[str, bool] | None  # a call, and the flag it must have


@attrs.frozen
class Schedule:
    calls: tuple[Call, ...]  # each after those it reads
    written: tuple[str, ...]  # their order in the file
    budget: int
    wait: int | None


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    count = draw(st.integers(1, 5))
    steps = st.integers(1, 12).map(lambda step: step * 20_000)
    calls: list[Call] = []
    for number in range(count):
        earlier = [call.name for call in calls]
        own = 100 << number  # what tells this call's ends from every other's
        when = None
        if earlier and draw(st.booleans()):
            when = (draw(st.sampled_from(earlier)), draw(st.booleans()))
        timeout = draw(st.none() | steps)
        hangs = draw(st.integers(0, 5)) == 0
        reads: list[str] = []
        if earlier:
            reads = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=2))
        calls.append(
            Call(
                name=f"c{number}",
                delay=NEVER if hangs else draw(steps) + own,
                outcome=draw(st.just("ok") | st.just("ok") | st.sampled_from([*FAILURES, "bug"])),
                flag=draw(st.booleans()),
                optional=draw(st.booleans()),
                default=draw(st.sampled_from(["none", "none", "true", "false"])),
                timeout=None if timeout is None else timeout + own + 7,
                reads=tuple(reads),
                when=when,
            )
        )
    return Schedule(
        calls=tuple(calls),
        written=tuple(draw(st.permutations([call.name for call in calls]))),
        budget=draw(st.integers(0, 30)) * 20_000 + draw(st.sampled_from([0, 3_003])),
        wait=draw(st.none() | st.integers(1, count)),
    )


# ------------------------------------------------------------------ the model


@attrs.frozen
class End:
    """How a call would end if nothing cut it off."""

    at: float
    code: str  # "ok", "skipped", or a failure's
    began: float | None = None
    culprit: str | None = None  # of a failure, and of a skip that a failure is behind


@attrs.frozen
class Expected:
    """What the client must get."""

    at: float
    cut: str  # what calls that had not ended by then are labelled
    missing: dict[str, str] | None = None  # the answer's labels; `None` if the request fails
    errors: frozenset[tuple[str, str]] = frozenset()  # code and call to blame; each is as good


def ends_of(schedule: Schedule) -> dict[str, End]:
    ends: dict[str, End] = {}
    by_name = {call.name: call for call in schedule.calls}

    def flag(name: str) -> bool:
        call = by_name[name]
        return call.flag if ends[name].code == "ok" else call.default == "true"

    for call in schedule.calls:
        waits = {*call.reads, *([call.when[0]] if call.when else [])}
        ready = max((ends[name].at for name in waits), default=0)
        lacking = [
            ends[name]
            for name in call.reads
            if ends[name].code != "ok" and by_name[name].default == "none"
        ]
        if ready == NEVER:
            ends[call.name] = End(NEVER, "")
        elif lacking:
            culprits = [end.culprit for end in lacking if end.culprit]
            ends[call.name] = End(ready, "skipped", culprit=min(culprits, default=None))
        elif call.when and flag(call.when[0]) != call.when[1]:
            ends[call.name] = End(ready, "skipped")
        elif call.timeout is not None and call.timeout < call.delay:
            ends[call.name] = End(
                ready + call.timeout, "deadline_exceeded", began=ready, culprit=call.name
            )
        else:
            code = "internal" if call.outcome == "bug" else call.outcome
            if code == "invalid_arguments" and call.reads:
                code = "bad_reply"  # nothing it is asked comes from the client
            culprit = None if code == "ok" else call.name
            ends[call.name] = End(ready + call.delay, code, began=ready, culprit=culprit)
    return ends


def cut_of(schedule: Schedule, ends: dict[str, End]) -> tuple[float, str]:
    """When the plan is over before all of its calls are, and why."""
    moments = sorted({end.at for end in ends.values() if end.at < NEVER})
    for at in moments:
        ended = {name: end for name, end in ends.items() if end.at <= at}
        if schedule.wait is None:
            for call in schedule.calls:
                if call.name in ended and not call.optional and ended[call.name].culprit:
                    return at, "failed"
        else:
            good = sum(end.code == "ok" for end in ended.values())
            if good >= schedule.wait:
                return at, "enough"
            open_calls = len(ends) - len(ended)
            if good + open_calls < schedule.wait and any(end.culprit for end in ended.values()):
                return at, "failed"
    return NEVER, ""


def expected_of(schedule: Schedule) -> Expected:
    ends = ends_of(schedule)
    if schedule.budget < 1000:
        return Expected(0, "", errors=frozenset({("deadline_exceeded", "")}))
    at, why = cut_of(schedule, ends)
    if at > schedule.budget:
        at, why = min(max(end.at for end in ends.values()), schedule.budget), "time"
    cut = "deadline_exceeded" if why == "time" else "skipped"
    ended = {name: end for name, end in ends.items() if end.at <= at}
    first_failed = sorted((end.at, name) for name, end in ended.items() if end.culprit == name)
    in_file = sorted(schedule.calls, key=lambda call: schedule.written.index(call.name))
    under_way = [
        call
        for call in in_file
        if call.name not in ended and (began := ends[call.name].began) is not None and began <= at
    ]
    rest = [call for call in in_file if call.name not in ended and call not in under_way]
    if why == "failed":
        if schedule.wait is None:
            blame = {
                end.culprit
                for name, end in ended.items()
                if end.at == at and end.culprit and not _optional(schedule, name)
            }
        else:
            blame = {first_failed[0][1]}
        errors = frozenset((ends[culprit].code, culprit) for culprit in blame if culprit)
        return Expected(at, cut, errors=errors)
    if why == "time" and schedule.wait is None:
        blame = set(required(under_way)[:1]) or {
            held_up(schedule, n, ended) for n in required(rest)
        }
        if blame:
            return Expected(at, cut, errors=frozenset(("deadline_exceeded", n) for n in blame))
    if why == "time" and schedule.wait is not None and (first_failed or under_way):
        if under_way:
            return Expected(at, cut, errors=frozenset({(cut, under_way[0].name)}))
        name = first_failed[0][1]
        return Expected(at, cut, errors=frozenset({(ends[name].code, name)}))
    labels = {
        call.name: ended[call.name].code if call.name in ended else cut for call in schedule.calls
    }
    return Expected(at, cut, missing={name: code for name, code in labels.items() if code != "ok"})


def required(calls: list[Call]) -> list[str]:
    return [call.name for call in calls if not call.optional]


def held_up(schedule: Schedule, name: str, ended: Mapping[str, End]) -> str:
    """The call under way that one which never began waited for, by way of others perhaps."""
    call = next(call for call in schedule.calls if call.name == name)
    waits = {*call.reads, *([call.when[0]] if call.when else [])}
    pending = sorted(waits - set(ended))
    return held_up(schedule, pending[0], ended) if pending else name


def _optional(schedule: Schedule, name: str) -> bool:
    return next(call.optional for call in schedule.calls if call.name == name)


# ------------------------------------------------------------------ the gateway


def written(call: Call) -> dict[str, Any]:
    keys: dict[str, Any] = {"service": call.name, "get": "/x", "optional": call.optional}
    if call.reads:
        keys["get"] += "".join(f"/{{{name}.id}}" for name in call.reads)
    if call.when:
        name, flag = call.when
        keys["when"] = f"{name}.ok" if flag else f"!({name}.ok)"
    if call.timeout is not None:
        keys["timeout"] = f"{call.timeout / 1000:.3f}ms"
    if call.default != "none":
        keys["default"] = {"id": "d", "ok": call.default == "true"}
    return keys


def scripted(call: Call) -> ScriptedService:
    service = ScriptedService()
    after_s = call.delay / 1e6
    if call.outcome == "ok":
        return service.reply({"id": call.name, "ok": call.flag}, after_s=after_s)
    if call.outcome == "bug":
        return service.fail(RuntimeError("a bug"), after_s=after_s)
    return service.fail(FAILURES[call.outcome]("no"), after_s=after_s)


async def run(schedule: Schedule) -> None:
    services = {call.name: scripted(call) for call in schedule.calls}
    by_name = {call.name: call for call in schedule.calls}
    calls = {name: written(by_name[name]) for name in schedule.written}
    wait = {} if schedule.wait is None else {"wait": schedule.wait}
    async with driven(calls, services, server={"deadline": "60s"}, **wait) as gateway:
        tasks = trio.lowlevel.current_statistics().tasks_living
        start = trio.current_time()
        result: Reply | GatewayError
        try:
            result = await gateway.app.call(request(), timeout_s=schedule.budget / 1e6)
        except GatewayError as error:
            result = error
        took = trio.current_time() - start
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        assert gateway.app.in_flight == 0
        assert all(service.active == 0 for service in services.values())
        gateway.events.assert_balanced()
        check(schedule, result, took, gateway)


def check(schedule: Schedule, result: Reply | GatewayError, took: float, gateway: Driven) -> None:
    expected = expected_of(schedule)
    assert took <= schedule.budget / 1e6 + 1e-9
    assert took == pytest.approx(expected.at / 1e6, abs=1e-9)
    if isinstance(result, GatewayError):
        assert (result.code, result.call or "") in expected.errors
    else:
        assert expected.missing == {error.call: error.code for error in result.missing}
        assert [branch.call for branch in result.branches] == list(schedule.written)
        for call in schedule.calls:
            assert result.value[call.name] == value_of(call, expected.missing or {})
    for name, end in ends_of(schedule).items():
        branch = gateway.events.ended.get(name)
        if end.at < expected.at and schedule.budget >= 1000:
            assert branch is not None
            assert ("ok" if branch.error is None else branch.error.code) == end.code
            assert branch.ended_s == pytest.approx(end.at / 1e6, abs=1e-9)
            began = None if end.began is None else pytest.approx(end.began / 1e6, abs=1e-9)
            assert branch.started_s == began
        elif end.at > expected.at and schedule.budget >= 1000:
            assert branch is not None
            assert branch.error is not None
            assert branch.error.code == expected.cut


def value_of(call: Call, missing: dict[str, str]) -> Any:
    if call.name not in missing:
        return {"id": call.name, "ok": call.flag}
    return None if call.default == "none" else {"id": "d", "ok": call.default == "true"}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schedules())
def test_any_schedule_is_answered_as_the_model_says(schedule: Schedule) -> None:
    trio.run(run, schedule, clock=MockClock(autojump_threshold=0))
