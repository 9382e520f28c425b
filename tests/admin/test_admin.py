from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from gateway.admin.app import Admin
from gateway.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from gateway.admin.app import Status


@attrs.frozen
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    path: str,
    method: str = "GET",
    *,
    status: Status = "ready",
    accept: str = "",
    host: str | None = "localhost:9901",
    hosts: tuple[str, ...] = (),
) -> Answer:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("no body is read here")

    async def send(message: Any) -> None:
        sent.append(message)

    admin = Admin(lambda: status, Metrics().render, hosts=hosts)
    named = [] if host is None else [(b"host", host.encode())]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(b"accept", accept.encode()), *named],
    }
    await admin(scope, receive, send)
    start, body = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], headers, body["body"])


@pytest.mark.parametrize("status", ["starting", "ready", "draining"])
async def test_live_whatever_happens(status: Status) -> None:
    answer = await ask("/health/live", status=status)
    assert (answer.status, answer.json) == (200, {"status": "live"})


@pytest.mark.parametrize(("status", "code"), [("starting", 503), ("ready", 200), ("draining", 503)])
async def test_ready_only_while_requests_are_served(status: Status, code: int) -> None:
    answer = await ask("/health/ready", status=status)
    assert (answer.status, answer.json) == (code, {"status": status})


async def test_metrics_in_the_form_asked_for() -> None:
    plain = await ask("/metrics", accept="*/*")
    assert plain.status == 200
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"gateway_requests_in_flight 0.0" in plain.body
    other = await ask("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert other.headers["content-type"].startswith("application/openmetrics-text")


async def test_the_index_lists_what_there_is() -> None:
    answer = await ask("/")
    assert set(answer.json) == {"/health/live", "/health/ready", "/metrics"}
    for path in answer.json:
        assert (await ask(path)).status == 200


async def test_elsewhere_there_is_nothing() -> None:
    answer = await ask("/debug\x1b[2J")
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["code"] == "not_found"
    assert "\x1b" not in answer.json["detail"]


async def test_nothing_can_be_changed_here() -> None:
    answer = await ask("/metrics", method="POST")
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["code"] == "not_found"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LocalHost:9901", 200),
        ("127.0.0.1:9901", 200),
        ("[::1]:9901", 200),
        ("10.0.0.7:9901", 200),  # as probes and scrapers call it
        (None, 200),
        ("metrics.test", 200),
        ("evil.test", 403),
        ("127.0.0.1.evil.test", 403),
        ("", 403),
        ("a b:c", 403),
    ],
)
async def test_a_name_that_was_rebound_is_refused(host: str | None, status: int) -> None:
    for path in ("/metrics", "/health/ready", "/none" if status == 403 else "/"):
        answer = await ask(path, host=host, hosts=("metrics.test",))
        assert answer.status == status
    if status == 403:
        assert answer.json["code"] == "forbidden"
    assert (await ask("/", host=host, hosts=("*",))).status == 200


async def test_head_tells_what_get_would() -> None:
    answer = await ask("/health/ready", method="HEAD", status="draining")
    assert answer.status == 503
    assert answer.headers["content-length"] == str(len(b'{"status":"draining"}'))


@pytest.mark.parametrize("path", ["/", "/health/live", "/metrics", "/nowhere"])
async def test_nothing_is_cached(path: str) -> None:
    assert (await ask(path)).headers["cache-control"] == "no-store"


async def test_websockets_are_refused() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await Admin(lambda: "ready", Metrics().render)({"type": "websocket"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
