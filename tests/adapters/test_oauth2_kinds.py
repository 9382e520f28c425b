"""`oauth2` of services of other kinds that speak over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gateway import ConfigError, load_config
from gateway.app import Gateway, create_app
from gateway.core.errors import GatewayError, Rejected
from tests.adapters.test_http_oauth2 import KEYS, Issuer, granted
from tests.adapters.test_websocket_kind import Server
from tests.apps import request
from tests.http_service import Received, Scripted, http
from tests.mcp_server import McpServer
from tests.network import network

GRAPHQL = {"kind": "graphql", "url": "http://api.test/graphql"}
MCP = {"kind": "mcp", "url": "http://api.test/mcp"}
WEBSOCKET = {"kind": "websocket", "url": "ws://api.test/feed"}
DATA = http(200, json.dumps({"data": {"n": 1}}), content_type="application/json")


@asynccontextmanager
async def opened(settings: Any, call: Any, service: Any, issuer: Any) -> AsyncGenerator[Gateway]:
    config = {
        "server": {"deadline": "60s"},
        "services": {"s": {**settings, "allow_private": True, "oauth2": KEYS}},
        "tools": {"t": {"output": "a", "calls": {"a": {"service": "s", **call}}}},
    }
    async with network() as net:
        net.name("api.test", "10.0.0.1")
        net.name("id.test", "10.0.0.2")
        net.serve("10.0.0.1", 80, service)
        net.serve("10.0.0.2", 80, issuer)
        app = create_app(config)
        async with app.running():
            yield app
        assert not net.open


def tokens(service: Scripted) -> set[str | None]:
    return {one.header("authorization") for one in service.requests}


async def test_graphql(autojump_clock: MockClock) -> None:
    service, issuer = Scripted(DATA, http(401), DATA), Issuer()
    async with opened(GRAPHQL, {"query": "{ n }"}, service, issuer) as app:
        assert (await app.call(request())).value == {"n": 1}
        await trio.sleep(60)
        assert (await app.call(request())).value == {"n": 1}
    assert [one.header("authorization") for one in service.requests] == [
        *("Bearer t1", "Bearer t1", "Bearer t2")
    ]
    assert service.requests[1].body == service.requests[2].body


@pytest.mark.parametrize(
    "says", [{"errors": [{"message": "not t0k3n-1"}]}, {"data": {"n": 1}, "errors": ["t0k3n-1"]}]
)
async def test_what_graphql_says_of_a_token_is_not_shown(
    autojump_clock: MockClock, says: Any
) -> None:
    service = Scripted(http(200, json.dumps(says)))
    async with opened(GRAPHQL, {"query": "{ n }"}, service, Scripted(granted("t0k3n-1"))) as app:
        try:
            error = (await app.call(request())).missing[0]
        except GatewayError as caught:
            error = caught  # type: ignore[assignment]
    assert "t0k3n" not in error.detail


async def test_mcp(autojump_clock: MockClock) -> None:
    service = McpServer({"tools/call": {"content": [], "structuredContent": {"n": 1}}})
    issuer = Issuer(after_s=1)
    async with opened(MCP, {"tool": "x"}, service, issuer) as app:
        assert (await app.call(request())).value == {"n": 1}
    assert tokens(service) == {"Bearer t1"}
    assert len(issuer.requests) == 1


async def test_mcp_with_a_token_that_is_refused(autojump_clock: MockClock) -> None:
    refuse = False

    def call(received: Received) -> Any:
        if refuse and received.header("authorization") == "Bearer t0k3n-1":
            return http(401, "not t0k3n-1")
        return {"content": [], "structuredContent": {"n": 1}}

    service = McpServer({"tools/call": call})
    issuer = Scripted(granted("t0k3n-1"), http(400, '{"error": "t0k3n-1"}'), granted("t0k3n-2"))
    async with opened(MCP, {"tool": "x"}, service, issuer) as app:
        await app.call(request())
        refuse = True
        with pytest.raises(Rejected) as caught:  # it is fetched anew as soon as it is needed
            await app.call(request())
        assert "***" in caught.value.detail
        assert "t0k3n" not in caught.value.detail
        await trio.sleep(60)
        with pytest.raises(GatewayError) as caught_too:
            await app.call(request())
        assert "no token: the token endpoint answered 400" in caught_too.value.detail
        assert (await app.call(request())).value == {"n": 1}
    assert tokens(service) == {"Bearer t0k3n-1", "Bearer t0k3n-2"}


@pytest.mark.parametrize(
    ("settings", "call"),
    [
        ({}, {"send": {"a": 1}}),
        ({"correlation": "id"}, {"send": {"a": 1}}),
        ({}, {"subscribe": True, "send": {"a": 1}, "messages": 1}),
    ],
    ids=["own", "shared", "subscription"],
)
async def test_websocket(autojump_clock: MockClock, settings: Any, call: Any) -> None:
    async def echo(say: Any, text: str) -> None:
        await say(text)

    server, issuer = Server(echo), Issuer(after_s=1)
    server.takes = {b"Bearer t1"}
    async with opened({**WEBSOCKET, **settings}, call, server, issuer) as app:
        value = (await app.call(request())).value
        assert (value[0] if "subscribe" in call else value)["a"] == 1
    assert len(issuer.requests) == len(server.heads) == 1


async def test_websocket_with_a_token_that_is_refused(autojump_clock: MockClock) -> None:
    async def echo(say: Any, text: str) -> None:
        await say(text)

    server, issuer = Server(echo), Issuer()
    server.takes = {b"Bearer t1"}
    async with opened(WEBSOCKET, {"send": "1"}, server, issuer) as app:
        assert (await app.call(request())).value == 1
        await trio.sleep(60)
        server.takes = {b"Bearer t2"}
        assert (await app.call(request())).value == 1
        server.takes = set()
        for _ in range(5):
            with pytest.raises(Rejected) as caught:
                await app.call(request())
            assert caught.value.service_status == 401
        adapter: Any = app._built.adapters["s"]
        assert adapter._client.pool.taken == 0
    assert len(issuer.requests) == 2


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({**WEBSOCKET, "url": "ws://a:b@api.test"}, "oauth2: url names a user"),
        ({**GRAPHQL, "headers": {"authorization": "x"}}, "authorization is the token's"),
        ({**MCP, "forward": ["authorization"]}, "authorization is the token's"),
        ({"kind": "mcp", "program": ["x"]}, "oauth2: a program takes none; it goes with url"),
    ],
)
def test_mistakes_are_told(settings: Any, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config({"services": {"s": {**settings, "oauth2": KEYS}}})
    assert says in str(caught.value)
