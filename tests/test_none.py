"""`"none"` says no limit, in words."""

from __future__ import annotations

import math

import trio
from trio.testing import MockClock

from gateway import create_app, load_config
from gateway.core.messages import Context, Request
from gateway.testing import ScriptedService

NONE = {
    "server": {"deadline": "none", "drain": "none", "keep_alive": "none", "send_timeout": "none"},
    "services": {"s": {"kind": "http", "url": "http://127.0.0.1:1", "timeout": "none"}},
    "tools": {
        "t": {
            "deadline": "none",
            "calls": {"a": {"service": "s", "get": "/", "timeout": "none"}},
        }
    },
}


def test_no_limit_is_infinite() -> None:
    config = load_config(NONE)
    assert config.server.deadline == config.server.drain == math.inf
    assert config.tools["t"].calls["a"].common.timeout == math.inf


async def test_a_call_without_limits_takes_its_time(autojump_clock: MockClock) -> None:
    slow = ScriptedService().reply(1, after_s=86_400)
    app = create_app(NONE, services={"s": slow})
    async with app.running():
        reply = await app.call(Request("t", {}, Context(request_id="r")))
        assert reply.value == {"a": 1}
        assert reply.branches[0].budget_left_s == math.inf
        assert trio.current_time() >= 86_400
