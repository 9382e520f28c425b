"""`oauth2` of a service: which token goes along, when it is fetched, and for how many."""

from __future__ import annotations

import base64
import errno
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway import ConfigError, load_config
from gateway.app import Gateway, create_app
from gateway.core.errors import BadReply, GatewayError, Rejected, Unreachable
from gateway.core.messages import Context, Request
from tests.http_service import Received, Scripted, http, raw
from tests.network import Network, network

SECRET = "s3cret:/ü"
KEYS = {"token_url": "http://id.test/token", "client_id": "gate way", "client_secret": SECRET}
JSON = "application/json"


def granted(token: str, after_s: float = 0, **more: Any) -> Any:
    said = {"access_token": token, "token_type": "Bearer", "expires_in": 3600, **more}
    return http(200, json.dumps(said), after_s=after_s, content_type=JSON)


class Issuer(Scripted):
    """A token endpoint that grants `t1`, `t2`, … for as long as is said."""

    def __init__(self, after_s: float = 0, **more: Any) -> None:
        async def grant(request: Received, stream: trio.abc.Stream) -> None:
            self.granted += 1
            await granted(f"t{self.granted}", after_s, **more)(request, stream)

        super().__init__(grant)
        self.granted = 0


class Api(Scripted):
    """A service that takes the tokens it is told to, and replies with the one that came."""

    def __init__(self, *takes: str) -> None:
        async def reply(request: Received, stream: trio.abc.Stream) -> None:
            token = (request.header("authorization") or "").removeprefix("Bearer ")
            if self.takes and token not in self.takes:
                await http(401, f"no: {token}")(request, stream)  # type: ignore[operator]
            else:
                await http(200, json.dumps(token), content_type=JSON)(request, stream)  # type: ignore[operator]

        super().__init__(reply)
        self.takes = takes


@attrs.frozen
class Bench:
    app: Gateway
    net: Network

    async def __call__(self, timeout_s: float = 60) -> Any:
        request = Request("t", {}, Context(request_id="r"))
        return (await self.app.call(request, timeout_s=timeout_s)).value


@asynccontextmanager
async def bench(
    api: Any, issuer: Any, call: Any = None, url: Any = "http://api.test", **keys: Any
) -> AsyncGenerator[Bench]:
    service = {"kind": "http", "url": url, "allow_private": True, "oauth2": {**KEYS, **keys}}
    config = {
        "server": {"deadline": "60s"},
        "services": {"s": service},
        "tools": {"t": {"output": "a", "calls": {"a": {"service": "s", **(call or {"get": "/"})}}}},
    }
    async with network() as net:
        for number, name in enumerate(("api.test", "id.test", "b.test"), 1):
            net.name(name, f"10.0.0.{number}")
        net.serve("10.0.0.1", 80, api)
        net.serve("10.0.0.3", 80, api)
        net.serve("10.0.0.2", 80, issuer)
        app = create_app(config)
        async with app.running():
            yield Bench(app, net)
        await wait_all_tasks_blocked()
        assert not net.open


async def failure(call: Bench, timeout_s: float = 60) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await call(timeout_s)
    return caught.value


# ------------------------------------------------------------------ what is asked for


async def test_a_token_is_asked_for_once_and_goes_along(autojump_clock: MockClock) -> None:
    api, issuer = Api(), Issuer()
    async with bench(api, issuer, scope="a b", audience="urn:x") as call:
        assert [await call() for _ in range(3)] == ["t1"] * 3
    (asked,) = issuer.requests
    assert (asked.method, asked.target) == ("POST", "/token")
    assert asked.header("content-type") == "application/x-www-form-urlencoded"
    assert dict(parse_qsl(asked.body.decode())) == {
        "grant_type": "client_credentials",
        "scope": "a b",
        "audience": "urn:x",
    }
    sent = base64.b64decode((asked.header("authorization") or "").removeprefix("Basic "))
    assert sent == b"gate+way:s3cret%3A%2F%C3%BC"


async def test_id_and_secret_may_go_in_the_body(autojump_clock: MockClock) -> None:
    issuer = Issuer()
    async with bench(Api(), issuer, auth="body") as call:
        await call()
    (asked,) = issuer.requests
    assert asked.header("authorization") is None
    assert dict(parse_qsl(asked.body.decode())) == {
        "grant_type": "client_credentials",
        "client_id": "gate way",
        "client_secret": SECRET,
    }


@pytest.mark.parametrize(
    ("call", "settings"),
    [
        ({"post": "/", "json": {"a": 1}}, {}),
        ({"get": "/", "pages": {"next": "nothing", "items": "[@]"}}, {}),
        ({"get": "/"}, {"url": ["http://api.test", "http://b.test"]}),
    ],
    ids=["post", "pages", "replicas"],
)
async def test_every_way_of_calling_carries_it(
    autojump_clock: MockClock, call: Any, settings: Any
) -> None:
    async with bench(Api(), Issuer(), call, **settings) as made:
        assert await made() in ("t1", ["t1"])


async def test_health_checks_carry_it(autojump_clock: MockClock) -> None:
    api = Api()
    config: dict[str, Any] = {
        "services": {
            "s": {
                "kind": "http",
                "url": "http://api.test",
                "allow_private": True,
                "oauth2": KEYS,
                "health": {"path": "/health"},
            }
        }
    }
    async with network() as net:
        net.name("api.test", "10.0.0.1")
        net.name("id.test", "10.0.0.2")
        net.serve("10.0.0.1", 80, api)
        net.serve("10.0.0.2", 80, Issuer())
        async with create_app(config).running():
            await trio.sleep(1)
    assert api.requests[0].header("authorization") == "Bearer t1"


# ------------------------------------------------------------------ when


@pytest.mark.parametrize(
    ("expires_in", "times", "tokens"),
    [
        (100, (0, 79, 81, 82), ["t1", "t1", "t1", "t2"]),
        ("100", (0, 79, 81, 82), ["t1", "t1", "t1", "t2"]),
        (100, (0, 95), ["t1", "t2"]),
        (None, (0, 239, 241, 242), ["t1", "t1", "t1", "t2"]),
        (0, (0, 1), ["t1", "t2"]),
        (-5, (0, 1), ["t1", "t2"]),
    ],
)
async def test_it_is_fetched_anew_before_it_ends(
    autojump_clock: MockClock, expires_in: Any, times: tuple[float, ...], tokens: list[str]
) -> None:
    got = []
    async with bench(Api(), Issuer(expires_in=expires_in)) as call:
        for at in times:
            await trio.sleep_until(at)
            got.append(await call())
    assert got == tokens


async def test_who_calls_meanwhile_does_not_wait(autojump_clock: MockClock) -> None:
    issuer = Issuer(after_s=7, expires_in=100)
    async with bench(Api(), issuer) as call:
        await call()
        await trio.sleep(85)
        before = trio.current_time()
        assert [await call(), await call()] == ["t1", "t1"]
        assert trio.current_time() == before
        await trio.sleep(8)
        assert await call() == "t2"
    assert len(issuer.requests) == 2


async def test_a_fetch_ahead_that_fails_costs_nobody_and_is_tried_again(
    autojump_clock: MockClock,
) -> None:
    issuer = Scripted(granted("t1", expires_in=100), http(503), http(503), granted("t4"))
    async with bench(Api(), issuer) as call:
        for at in (0, 81, 82, 83, 86.5, 87):
            await trio.sleep_until(at)
            assert await call() == "t1"
            await wait_all_tasks_blocked()
        assert len(issuer.requests) == 3  # with a pause between them
        await trio.sleep_until(95)
        assert await call() == "t4"


async def test_a_refused_token_is_fetched_anew_once(autojump_clock: MockClock) -> None:
    api, issuer = Api("t1"), Issuer()
    async with bench(api, issuer) as call:
        assert await call() == "t1"
        await trio.sleep(60)
        api.takes = ("t2",)
        assert await call() == "t2"
        assert len(issuer.requests) == 2
        assert [each.header("authorization") for each in api.requests] == [
            *("Bearer t1", "Bearer t1", "Bearer t2")
        ]


async def test_a_service_that_refuses_every_token_is_not_flooded(autojump_clock: MockClock) -> None:
    api, issuer = Api("none"), Issuer()
    async with bench(api, issuer) as call:
        for _ in range(20):
            error = await failure(call)
            assert isinstance(error, Rejected)
            assert error.service_status == 401
        assert (len(issuer.requests), len(api.requests)) == (1, 20)
        await trio.sleep(11)
        await failure(call)
        await failure(call)
    assert (len(issuer.requests), len(api.requests)) == (2, 23)


async def test_many_who_are_refused_at_once_fetch_once(autojump_clock: MockClock) -> None:
    api, issuer = Api("t1"), Issuer(after_s=1)
    async with bench(api, issuer) as call:
        await call()
        await trio.sleep(60)
        api.takes = ("t2",)
        got = []

        async def ask() -> None:
            got.append(await call())

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(ask)
    assert got == ["t2"] * 50
    assert len(issuer.requests) == 2


# ------------------------------------------------------------------ for how many


async def test_many_at_once_fetch_once(autojump_clock: MockClock) -> None:
    issuer = Issuer(after_s=1)
    got = []
    async with bench(Api(), issuer) as call:

        async def ask() -> None:
            got.append(await call())

        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(ask)
    assert got == ["t1"] * 200
    assert len(issuer.requests) == 1


async def test_who_leaves_takes_it_from_nobody(autojump_clock: MockClock) -> None:
    issuer = Issuer(after_s=2)
    async with bench(Api(), issuer) as call:
        async with trio.open_nursery() as nursery:

            async def leave() -> None:
                with trio.move_on_after(1):
                    await call()

            async def stay() -> None:
                assert await call() == "t1"
                assert trio.current_time() == 2

            nursery.start_soon(leave)  # it begins the fetch
            await wait_all_tasks_blocked()
            nursery.start_soon(stay)
        assert len(issuer.requests) == 1


async def test_when_all_left_the_fetch_ends(autojump_clock: MockClock) -> None:
    issuer = Issuer(after_s=20)
    async with bench(Api(), issuer) as call:
        with trio.move_on_after(1):
            await call()
        assert trio.current_time() == 1
        await wait_all_tasks_blocked()
        assert issuer.active == 0
        assert not call.net.open
        assert await call(timeout_s=30) == "t2"


async def test_the_callers_budget_holds(autojump_clock: MockClock) -> None:
    async with bench(Api(), Issuer(after_s=20)) as call:
        assert (await failure(call, timeout_s=3)).code == "deadline_exceeded"
        assert trio.current_time() == 3


async def test_a_token_endpoint_that_hangs_is_waited_for_so_long(autojump_clock: MockClock) -> None:
    async with bench(Api(), Issuer(after_s=100)) as call:
        error = await failure(call, timeout_s=50)
        assert isinstance(error, Unreachable)
        assert error.detail == "no token: the token endpoint did not answer within 30s"
        assert trio.current_time() == 30


# ------------------------------------------------------------------ failures


@pytest.mark.parametrize(
    ("issuer", "kind", "says"),
    [
        (OSError(errno.ECONNREFUSED, "Connection refused"), Unreachable, "cannot connect"),
        (raw(b"", close=True), Unreachable, "broke"),
        (raw(b"nonsense\r\n\r\n"), BadReply, "not HTTP"),
        (http(500, SECRET), Unreachable, "answered 500"),
        (http(302, location="http://api.test"), Unreachable, "answered 302"),
        (http(401, '{"error": "invalid_client"}'), Rejected, "answered 401: invalid_client"),
        (
            http(400, '{"error": "invalid_scope", "error_description": "no such scope"}'),
            Rejected,
            "answered 400: invalid_scope: no such scope",
        ),
        (http(404, "no such page"), Rejected, "answered 404"),
        (http(401, json.dumps({"error": f"got {SECRET}"})), Rejected, "answered 401"),
        (http(401, json.dumps({"error": "not\nfit"})), Rejected, "answered 401"),
        (http(401, "[1]"), Rejected, "answered 401"),
        (http(200, "{"), BadReply, "not JSON"),
        (http(200, "[]"), BadReply, "no access_token"),
        (http(200, '{"access_token": 1}'), BadReply, "no access_token"),
        (granted(""), BadReply, "no access_token"),
        (granted("a b"), BadReply, "no access_token"),
        (granted("a\r\nx: y"), BadReply, "no access_token"),
        (granted("x", token_type="mac"), BadReply, "no bearer token"),
        (http(200, b'"' + b"x" * 70_000 + b'"'), BadReply, "over 65536 bytes"),
    ],
)
async def test_what_goes_wrong_names_the_token_endpoint(
    autojump_clock: MockClock, issuer: Any, kind: type[GatewayError], says: str
) -> None:
    served = issuer if isinstance(issuer, OSError) else Scripted(issuer)
    api = Api()
    async with bench(api, served) as call:
        error = await failure(call)
    assert type(error) is kind
    assert error.detail.startswith("no token: ")
    assert "token endpoint" in error.detail
    assert says in error.detail
    assert SECRET not in error.detail
    assert error.status == 502
    assert not api.requests


async def test_when_it_may_be_asked_again_is_told(autojump_clock: MockClock) -> None:
    async with bench(Api(), Scripted(http(429, retry_after="7"))) as call:
        assert (await failure(call)).retry_after_s == 7


async def test_all_who_wait_are_told_and_the_next_tries_anew(autojump_clock: MockClock) -> None:
    issuer = Scripted(http(503, after_s=1), granted("t2"))
    errors = []
    async with bench(Api(), issuer) as call:

        async def ask() -> None:
            errors.append(await failure(call))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
        assert await call() == "t2"
    assert len(issuer.requests) == 2
    assert len({id(error) for error in errors}) == 3


async def test_a_failure_is_not_the_replicas(autojump_clock: MockClock) -> None:
    urls = ["http://api.test", "http://b.test"]
    async with bench(Api(), Scripted(http(500)), url=urls) as call:
        for _ in range(20):
            await failure(call)
        adapter: Any = call.app._built.adapters["s"]
        assert all(replica.is_in for replica in adapter.replicas.all)
        assert not any(replica.fails_in_a_row for replica in adapter.replicas.all)


async def test_nobody_is_shown_a_token(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with bench(Api("other"), Scripted(granted("t0k3n-1"), granted("t0k3n-2"))) as call:
            error = await failure(call)
            assert "no: ***" in error.detail
            await trio.sleep(60)
            again = await failure(call)  # the new one is refused too
    shown = f"{error.detail} {error.problem()} {again.detail} {caplog.text}"
    assert "t0k3n" not in shown
    assert SECRET not in shown
    assert "s3cret" not in repr(load(oauth2={**KEYS}).services)


# ------------------------------------------------------------------ the file


def load(call: Any = None, **settings: Any) -> Any:
    service = {"kind": "http", "url": "http://api.test", **settings}
    return load_config(
        {
            "services": {"s": service},
            "tools": {"t": {"calls": {"a": {"service": "s", **(call or {"get": "/"})}}}},
        }
    )


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"oauth2": {"client_id": "a", "client_secret": "b"}},
            "services.s.oauth2.token_url: missing",
        ),
        ({"oauth2": {**KEYS, "client_id": ""}}, "oauth2.client_id: expected at least 1"),
        ({"oauth2": {**KEYS, "auth": "header"}}, 'oauth2.auth: expected one of "basic", "body"'),
        ({"oauth2": {**KEYS, "scopes": "a"}}, 'oauth2.scopes: unknown key; did you mean "scope"?'),
        ({"oauth2": {**KEYS, "token_url": "id.test"}}, "oauth2.token_url: expected a URL"),
        (
            {"oauth2": KEYS, "headers": {"Authorization": "env:HOME"}},
            "headers: with oauth2, authorization is the token's",
        ),
        (
            {"oauth2": KEYS, "forward": ["authorization"]},
            "forward: with oauth2, authorization is the token's",
        ),
        ({"oauth2": KEYS, "url": "http://u:p@api.test"}, "oauth2: url names a user"),
    ],
)
def test_mistakes_are_told(settings: Any, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(**settings)
    assert says in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_call_writes_no_authorization_of_its_own() -> None:
    with pytest.raises(ConfigError, match="authorization is the token's"):
        load({"get": "/", "headers": {"Authorization": "{'x'}"}}, oauth2=KEYS)
