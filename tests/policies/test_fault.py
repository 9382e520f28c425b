"""Faults: by share, by chance that can be had again, and loud."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from gateway.core.content import Content
from gateway.core.errors import GatewayError
from gateway.core.service import discard
from gateway.telemetry.events import FaultInjected
from gateway.testing import ScriptedService
from tests.apps import request
from tests.policies.stacks import Stack, stacked


def told(stack: Stack) -> Counter[str]:
    return Counter(event.fault for event in stack.events.of(FaultInjected))


@pytest.mark.parametrize(
    ("abort", "code", "service_status"),
    [
        ("unreachable", "unreachable", None),
        ("deadline_exceeded", "deadline_exceeded", None),
        (503, "bad_reply", 503),
        (404, "rejected", 404),
    ],
)
async def test_an_abort_is_what_an_adapter_would_raise(
    autojump_clock: MockClock, abort: Any, code: str, service_status: int | None
) -> None:
    inner = ScriptedService()
    async with stacked(fault={"abort": abort}) as stack:
        with pytest.raises(GatewayError, match="a fault that was asked for") as caught:
            await stack.around(inner)(request(), discard)
    assert (caught.value.code, caught.value.service_status) == (code, service_status)
    assert inner.requests == []
    assert told(stack) == {"abort": 1}


async def test_a_delay_holds_a_call_back(autojump_clock: MockClock) -> None:
    async with stacked(fault={"delay": "3s"}) as stack:
        assert (await stack.around(ScriptedService().reply(1))(request(), discard)).value == 1
    assert trio.current_time() == 3
    assert told(stack) == {"delay": 1}


async def test_a_call_that_hangs_ends_with_its_deadline(autojump_clock: MockClock) -> None:
    async with stacked(fault={"hang_share": "100%"}) as stack:
        with trio.move_on_after(2) as scope:
            await stack.around(ScriptedService())(request(), discard)
    assert scope.cancelled_caught
    assert told(stack) == {"hang": 1}


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({"name": "Ann"}, '{"name"'),
        ("Grüße", '"Gr'),
        (None, "nu"),
        (msgspec.Raw(b'[1,2,"ab"]'), "[1,2,"),
        (Content((msgspec.Raw(b"{}"),), msgspec.Raw(b'{"a":"bcd"}'), structured=True), '{"a":'),
        (object(), ""),
    ],
)
async def test_a_corrupt_reply_is_half_of_it(
    autojump_clock: MockClock, value: Any, wanted: str
) -> None:
    async with stacked(fault={"corrupt_share": "100%"}) as stack:
        reply = await stack.around(ScriptedService().reply(value))(request(), discard)
    assert reply.value == wanted
    assert told(stack) == {"corrupt": 1}


async def run(count: int, /, *, drawn: int = 1, **fault: Any) -> list[str]:
    codes: list[str] = []
    async with stacked(seed=drawn, fault=fault) as stack:
        for _ in range(count):
            start = trio.current_time()
            try:
                await stack.around(ScriptedService().reply(1))(request(), discard)
            except GatewayError as error:
                codes.append(error.code)
            else:
                codes.append("late" if trio.current_time() > start else "ok")
    return codes


SHARES = {
    "delay": "1ms",
    "delay_share": "10%",
    "abort": "unreachable",
    "abort_share": "20%",
}


async def test_shares_are_kept(autojump_clock: MockClock) -> None:
    found = Counter(await run(4000, **SHARES))
    assert 0.17 < found["unreachable"] / 4000 < 0.23
    assert 0.06 < found["late"] / 4000 < 0.10  # of those that are not aborted


async def test_the_same_seed_has_the_same_faults(autojump_clock: MockClock) -> None:
    first = await run(200, drawn=1, **SHARES)
    assert first == await run(200, drawn=1, **SHARES)
    assert first != await run(200, drawn=2, **SHARES)
    written = {"seed": 9, **SHARES}
    assert await run(200, drawn=1, **written) == await run(200, drawn=2, **written)


async def test_one_share_moves_nothing_of_what_the_others_draw(autojump_clock: MockClock) -> None:
    without = await run(300, abort="unreachable", abort_share="20%")
    beside = await run(300, **SHARES)
    assert [code == "unreachable" for code in without] == [code == "unreachable" for code in beside]


async def test_it_says_so_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "gateway.policies.fault"):
        async with stacked(fault={"abort": 503}):
            pass
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.msg["event"] == "faults are injected on purpose"
    assert record.msg["service"] == "s"
