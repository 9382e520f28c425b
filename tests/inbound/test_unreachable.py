"""A service that is out of reach is named to clients; where it lives is the log's to say."""

from __future__ import annotations

import errno
from typing import Any

import pytest
import trio

from gateway.app import create_app
from gateway.core.errors import Unreachable
from gateway.testing import InMemoryClient
from tests.apps import Events
from tests.network import network

CONFIG = {
    "services": {"crm": {"kind": "http", "url": "http://crm.internal:8123/v2"}},
    "tools": {
        "needed": {"calls": {"a": {"service": "crm", "get": "/"}}},
        "partly": {"calls": {"a": {"service": "crm", "get": "/", "optional": True}}},
    },
    "proxies": {"p": {"path": "/p/", "service": "crm"}},
}
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "needed"}}
ASKS: dict[str, tuple[str, str, Any]] = {
    "tool": ("POST", "/tools/needed", {}),
    "partial": ("POST", "/tools/partly", {}),
    "proxy": ("GET", "/p/x", None),
    "mcp": ("POST", "/mcp", CALL),
}
REASONS: dict[str, tuple[str | None, bool, str]] = {
    "nobody listens": ("10.9.8.7", True, "cannot connect: Connection refused"),
    "a private address": ("10.9.8.7", False, "its address is private"),
    "a metadata address": ("169.254.169.254", True, "its address is a cloud's metadata address"),
    "no name": (None, True, "its name does not resolve"),
}


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("ask", ASKS)
async def test_clients_are_told_who_and_not_where(
    ask: str, reason: str, autojump_clock: trio.testing.MockClock
) -> None:
    address, allow_private, why = REASONS[reason]
    method, target, body = ASKS[ask]
    events = Events()
    service = {**CONFIG["services"]["crm"], "allow_private": allow_private}
    app = create_app({**CONFIG, "services": {"crm": service}}, listeners=[events.append])
    async with network() as net, app.running():
        if address is not None:
            net.name("crm.internal", address)
            net.serve(address, 8123, OSError(errno.ECONNREFUSED, "refused"))
        answer = await InMemoryClient(app).request(
            method,
            target,
            json=body,
            headers={"accept": "application/json, text/event-stream", "x-request-id": "r"},
        )
    text = answer.body.decode()
    assert '"service":"crm"' in text
    assert why in text
    for where in ("crm.internal", "8123", "10.9.8.7", "169.254"):
        assert where not in text
    ended = events.last
    error = ended.missing[0] if ended.error is None else ended.error
    assert isinstance(error, Unreachable)
    assert "crm.internal" in error.where
