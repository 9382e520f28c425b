"""Who holds the loop: told while it does, with the function and its stack."""

from __future__ import annotations

import json
import logging
import threading
from io import StringIO
from typing import Any

import pytest
import trio

from gateway.app import create_app
from gateway.core.messages import Context, Request
from gateway.server.http1 import in_new_context
from gateway.telemetry.events import Event, LoopBlocked
from gateway.telemetry.logs import configure
from tests.adapters import functions
from tests.adapters.functions import GATES, Gate

pytestmark = pytest.mark.end_to_end


def written(**telemetry: Any) -> dict[str, Any]:
    call = {"service": "ldap", "function": "naps_on_the_loop", "arguments": {"gate": "watchdog"}}
    return {
        "telemetry": telemetry,
        "services": {"ldap": {"kind": "python", "module": functions.__name__}},
        "tools": {"t": {"calls": {"a": call}}},
    }


@pytest.mark.parametrize("served", [False, True])
async def test_what_holds_the_loop_is_told_with_its_stack(*, served: bool) -> None:
    """The function holds the loop until it was told that it does."""
    gate = GATES["watchdog"] = Gate()
    events: list[LoopBlocked] = []

    def listen(event: Event) -> None:
        # On a machine that stands still for a while it may be told of other steps too.
        if isinstance(event, LoopBlocked) and event.service == "ldap":
            events.append(event)
            gate.opened.set()

    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    out = StringIO()
    configure(log="json", level="warning", stream=out)
    try:
        app = create_app(written(blocked_after="20ms"), listeners=[listen])
        async with app.running():
            call = app.call(Request("t", {}, Context(request_id="r-7")))
            # Our server runs each request in a context of its own.
            await (in_new_context(call) if served else call)
        page = app.metrics.render()[0].decode()
    finally:
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)
    assert events == [LoopBlocked("ldap")]
    assert 'gateway_loop_blocked_total{service="ldap"} 1.0' in page
    lines = map(json.loads, out.getvalue().splitlines())
    during, after = (line for line in lines if line.get("service") == "ldap")
    assert during["event"] == "the loop is blocked"
    assert during["function"] == "naps_on_the_loop"
    assert during["request_id"] == "r-7"
    assert any(line.endswith(" naps_on_the_loop") for line in during["stack"])
    assert any(functions.__file__ in line for line in during["stack"])
    assert after["event"] == "the loop goes on"
    assert after["request_id"] == "r-7"
    assert after["blocked_ms"] >= 20


async def test_where_it_is_off_nothing_watches() -> None:
    app = create_app(written())
    async with app.running():
        assert "gateway's watchdog" not in {one.name for one in threads()}
    app = create_app(written(blocked_after="1s"))
    async with app.running():
        assert "gateway's watchdog" in {one.name for one in threads()}
        await trio.lowlevel.checkpoint()
    assert "gateway's watchdog" not in {one.name for one in threads()}


def threads() -> list[Any]:

    return threading.enumerate()
