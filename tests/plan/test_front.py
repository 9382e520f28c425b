"""Refused at the front: a required call that would be sent away ends the request before it began."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gateway.core.errors import Overloaded, Unreachable
from gateway.core.messages import Context, Request
from gateway.inbound.front import context_of
from gateway.telemetry.events import Refused
from gateway.testing import ScriptedService
from tests.apps import Events, gateway, get

FULL = {"limit": {"concurrency": 1, "queue": 0}}
CALLS = {"a": get("narrow"), "b": get("wide")}


def asked(priority: Any = "normal") -> Request:
    return Request("t", {}, Context(request_id="r", priority=priority))


@pytest.mark.parametrize(
    ("calls", "narrow", "tool", "refused"),
    [
        (CALLS, FULL, {}, True),
        (CALLS, {**FULL, "retry": {}}, {}, True),
        (CALLS, {**FULL, "retry": {"on": ["overloaded"]}}, {}, False),
        (CALLS, {**FULL, "cache": {"ttl": "1s"}}, {}, False),
        ({**CALLS, "a": get("narrow", optional=True)}, FULL, {}, False),
        ({**CALLS, "a": get("narrow", when="`true`")}, FULL, {}, False),
        (CALLS, FULL, {"wait": "first"}, False),
        (CALLS, {"limit": {"concurrency": 1}}, {}, False),
    ],
    ids=[
        "plain",
        "retried",
        "retried for it",
        "cached",
        "optional",
        "conditional",
        "first",
        "line",
    ],
)
async def test_a_full_limit_refuses_the_request_before_any_call(
    autojump_clock: MockClock,
    calls: Mapping[str, Any],
    narrow: Mapping[str, Any],
    tool: Mapping[str, Any],
    refused: bool,
) -> None:
    events = Events()
    services = {"narrow": ScriptedService().reply(1, after_s=1), "wide": ScriptedService()}
    app = gateway(calls, services, events=events, of_service={"narrow": narrow}, **tool)
    async with app.running(), trio.open_nursery() as nursery:
        nursery.start_soon(app.call, asked())
        await trio.sleep(0.5)
        before = len(services["wide"].requests)
        if refused:
            with pytest.raises(Overloaded, match="with 0 in line") as caught:
                await app.call(asked())
            assert (caught.value.call, caught.value.service) == ("a", "narrow")
            assert trio.current_time() == 0.5
            assert [event.by for event in events.of(Refused)] == ["limit"]
        else:
            # It may be refused by the call itself: the other one was made.
            with trio.move_on_after(0.1), contextlib.suppress(Overloaded):
                await app.call(asked())
        assert (len(services["wide"].requests) == before) is refused
        nursery.cancel_scope.cancel()
    events.assert_balanced()


async def test_an_open_breaker_does_until_it_may_be_probed(autojump_clock: MockClock) -> None:
    services = {"narrow": ScriptedService().fail(Unreachable("x")), "wide": ScriptedService()}
    breaker = {"breaker": {"of": 1, "open": "1s"}}
    app = gateway(CALLS, services, of_service={"narrow": breaker})
    async with app.running():
        with pytest.raises(Unreachable):
            await app.call(asked())
        before = len(services["wide"].requests)
        with pytest.raises(Overloaded, match="breaker"):
            await app.call(asked())
        assert len(services["wide"].requests) == before
        await trio.sleep(1)
        with pytest.raises(Unreachable):
            await app.call(asked())


@pytest.mark.parametrize(
    ("header", "priority"),
    [
        (None, "normal"),
        ("", "normal"),
        ("u=3", "normal"),
        ("u=0", "normal"),
        ("u=4", "low"),
        ("u=7, i", "low"),
        ("i, u=5", "low"),
        ("u=5;x", "low"),
        ("u=9", "normal"),
        ("u=55", "normal"),
        ("xu=5", "normal"),
        ("i", "normal"),
    ],
)
def test_a_client_may_say_that_it_can_wait(header: str | None, priority: str) -> None:
    headers = {} if header is None else {"priority": header}
    assert context_of(headers, "http").priority == priority
