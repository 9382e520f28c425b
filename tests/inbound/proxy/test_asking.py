"""A proxy before a service with `oauth2`: which token goes along, and what comes of a refusal."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import wsproto
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import AcceptConnection

from gateway.testing import Cancellable, cancel_at_every_checkpoint
from tests.adapters.test_http_oauth2 import KEYS, SECRET, Api, Issuer
from tests.http_service import Scripted, http
from tests.inbound.proxy.bench import Bench, bench
from tests.inbound.proxy.test_conversation import browsing


@asynccontextmanager
async def behind_tokens(api: Any, issuer: Any, **keys: Any) -> AsyncGenerator[Bench]:
    """`bench`, whose service has `oauth2`."""
    async with bench(api, of_service={"oauth2": KEYS, **keys}) as b:
        b.net.name("id.test", "10.0.0.2")
        b.net.serve("10.0.0.2", 80, issuer)
        yield b


def tokens_sent(api: Scripted) -> list[str | None]:
    return [request.header("authorization") for request in api.requests]


# ------------------------------------------------------------------ what goes along


@pytest.mark.parametrize("service", [{}, {"follow_redirects": True}])
async def test_the_services_token_goes_along_and_the_clients_does_not(service: Any) -> None:
    api, issuer = Api(), Issuer()
    async with behind_tokens(api, issuer, **service) as b:
        client = b.client()
        for _ in range(3):
            await client.get("/files/x", "authorization: Bearer mine", "authorization_: kept")
            await client.hear(b'"t1"')
    assert tokens_sent(api) == ["Bearer t1"] * 3
    assert len(issuer.requests) == 1
    assert api.requests[0].header("authorization_") == "kept"


async def test_many_at_once_fetch_once(autojump_clock: MockClock) -> None:
    api, issuer = Api(), Issuer(after_s=1)
    statuses = []
    async with behind_tokens(api, issuer) as b:

        async def ask() -> None:
            statuses.append((await b.asgi.request("GET", "/files/x")).status)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
    assert statuses == [200] * 20
    assert len(issuer.requests) == 1


async def test_a_handshake_carries_it(autojump_clock: MockClock) -> None:
    sent = []

    async def converse(stream: trio.abc.Stream) -> None:
        ws = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        ws.receive_data(bytes(await stream.receive_some()))
        (request,) = ws.events()
        headers = dict(request.extra_headers)  # type: ignore[union-attr]
        sent.append(headers[b"authorization"])
        if len(sent) == 1:
            await stream.send_all(b"HTTP/1.1 401 No\r\nconnection: close\r\n\r\n")
        else:
            await stream.send_all(ws.send(AcceptConnection()))
        await trio.sleep_forever()

    issuer = Issuer()
    async with behind_tokens(converse, issuer) as b:
        await b.app._built.adapters["s"].tokens.token()  # type: ignore[attr-defined]
        await trio.sleep(60)
        async with browsing(b) as browser:
            await browser.expect("websocket.accept")
            browser.said.send_nowait({"type": "websocket.disconnect", "code": 1006})
    assert sent == [b"Bearer t1", b"Bearer t2"]


# ------------------------------------------------------------------ a token that is refused


@pytest.mark.parametrize("content", [b"", b"whole"])
async def test_a_whole_request_is_sent_again_with_a_new_token(
    autojump_clock: MockClock, content: bytes
) -> None:
    api, issuer = Api("t1"), Issuer()
    async with behind_tokens(api, issuer) as b:
        await b.asgi.request("GET", "/files/x")
        await trio.sleep(60)
        api.takes = ("t2",)
        answer = await b.asgi.request("PUT", "/files/x", content=content)
        assert (answer.status, answer.json()) == (200, "t2")
    assert [request.body for request in api.requests] == [b"", content, content]
    assert len(issuer.requests) == 2


async def test_a_service_that_refuses_every_token_has_its_refusal_passed_on(
    autojump_clock: MockClock,
) -> None:
    api, issuer = Api("none"), Issuer()
    async with behind_tokens(api, issuer) as b:
        for _ in range(20):
            assert (await b.asgi.request("GET", "/files/x")).status == 401
        assert (len(issuer.requests), len(api.requests)) == (1, 20)
        await trio.sleep(11)
        assert (await b.asgi.request("GET", "/files/x")).status == 401
        assert (len(issuer.requests), len(api.requests)) == (2, 22)


@pytest.mark.parametrize("framing", ["content-length: 5", "transfer-encoding: chunked"])
async def test_a_body_that_streams_is_sent_once_and_the_next_request_has_a_new_token(
    autojump_clock: MockClock, framing: str
) -> None:
    api, issuer = Api("t1"), Issuer()
    pieces = ("2\nhe\n", "3\nllo\n0\n\n") if "chunked" in framing else ("he", "llo")
    async with behind_tokens(api, issuer) as b:
        client = b.client()
        await client.get()
        await client.hear(b'"t1"')
        await trio.sleep(60)
        api.takes = ("t2",)
        await client.say(f"PUT /files/x HTTP/1.1\nhost: gw.test\n{framing}\n\n")
        for piece in pieces:
            await wait_all_tasks_blocked()
            await client.say(piece)
        assert (await client.hear(b"no: t1")).startswith(b"HTTP/1.1 401 ")
        await client.get()
        await client.hear(b'"t2"')
    assert [request.body for request in api.requests] == [b"", b"hello", b""]
    assert len(issuer.requests) == 2


# ------------------------------------------------------------------ no token


@pytest.mark.parametrize(
    ("issuer", "code", "says"),
    [
        (OSError(errno.ECONNREFUSED, "Connection refused"), "unreachable", "cannot connect"),
        (Scripted(http(500, SECRET)), "unreachable", "answered 500"),
        (Scripted(http(401, '{"error": "invalid_client"}')), "rejected", "401: invalid_client"),
        (Scripted(http(200, "{")), "bad_reply", "not JSON"),
    ],
)
@pytest.mark.parametrize("streams", [False, True])
async def test_without_a_token_nothing_is_sent(
    issuer: Any, code: str, says: str, streams: bool
) -> None:
    api = Api()
    async with behind_tokens(api, issuer) as b:
        client = b.client()
        if streams:
            await client.say("PUT /files/x HTTP/1.1\nhost: gw.test\ncontent-length: 5\n\n")
        else:
            await client.get()
        heard = (await client.hear(b"}")).decode()
        assert heard.startswith("HTTP/1.1 502 ")
        assert f'"{code}"' in heard
        assert '"service":"s"' in heard
        assert "no token: " in heard
        assert says in heard
        assert SECRET not in heard
        assert b.events.last.code == code
    assert not api.requests


@pytest.mark.parametrize("streams", [False, True])
async def test_waiting_for_it_is_part_of_the_time_there_is_and_is_told(
    autojump_clock: MockClock, streams: bool
) -> None:
    async with behind_tokens(Api(), Issuer(after_s=20), timeout="3s") as b:
        client = b.client()
        if streams:
            await client.say("PUT /files/x HTTP/1.1\nhost: gw.test\ncontent-length: 5\n\n")
        else:
            await client.get()
        heard = (await client.hear(b"}")).decode()
        assert heard.startswith("HTTP/1.1 504 ")
        assert '"detail":"no token for the service had come within the time there was"' in heard
        assert "id.test" not in heard
        assert trio.current_time() == pytest.approx(3, abs=0.01)


async def test_a_service_that_does_not_answer_is_told_apart_from_its_token(
    autojump_clock: MockClock,
) -> None:
    async def never(_request: Any, _stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    async with behind_tokens(Scripted(never), Issuer(), timeout="3s") as b:
        answer = await b.asgi.request("GET", "/files/x")
    assert answer.status == 504
    assert answer.json()["detail"] == "no answer had begun within the time there was"


async def test_a_handshake_that_waits_for_it_says_so(autojump_clock: MockClock) -> None:
    async with behind_tokens(Api(), Issuer(after_s=20), timeout="3s") as b, browsing(b) as browser:
        start = await browser.expect("websocket.http.response.start")
        assert start["status"] == 504
        body = await browser.expect("websocket.http.response.body")
        assert b"no token for the service had come" in body["body"]


def test_cancelled_anywhere_nothing_is_left() -> None:
    async def scenario(cancellable: Cancellable) -> None:
        api, issuer = Api("t1"), Issuer(after_s=0.01)
        async with behind_tokens(api, issuer) as b:
            assert (await b.asgi.request("GET", "/files/x")).status == 200
            await trio.sleep(60)
            api.takes = ("t2", "t3")  # a fetch that was cancelled may have been granted
            with contextlib.suppress(AssertionError):  # the far side's own tasks
                await cancellable(
                    lambda: b.asgi.request("PUT", "/files/x", content=b"body"), settle_s=0.001
                )
            await wait_all_tasks_blocked()
            assert (b.pool.taken, b.pool.waiting) == (0, 0)
            assert api.active == issuer.active == 0
            assert api.connections + issuer.connections == len(b.net.open)
            b.events.assert_balanced()
            assert (await b.asgi.request("GET", "/files/x")).status == 200

    assert cancel_at_every_checkpoint(scenario) > 10
