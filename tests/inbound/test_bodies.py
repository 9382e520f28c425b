"""Reading a request's body is part of the request: its budget, its drain, its count."""

from __future__ import annotations

import json
import math
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from gateway.app import Gateway
from gateway.net.asgi import read_body
from gateway.testing import ScriptedService
from tests.apps import driven, get

CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "t", "arguments": {}},
}
BODIES = {"/tools/t": b"{}", "/mcp": json.dumps(CALL).encode()}

PATHS = pytest.mark.parametrize("path", BODIES)


@attrs.frozen
class Answered:
    """An answer, and when it came."""

    status: int
    text: str
    at: float


async def dribble(
    app: Gateway, path: str, *, every_s: float, pieces: int, budget: str | None = None
) -> Answered:
    """POST a right body behind `pieces` spaces, one of them every `every_s` seconds."""
    left = [*[b" "] * pieces, BODIES[path]]
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    if budget is not None:
        headers.append((b"x-request-timeout-ms", budget.encode()))
    sent: list[Any] = []
    start = trio.current_time()

    async def receive() -> Any:
        if not left:
            await trio.sleep_forever()
        await trio.sleep(every_s)
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 5000),
    }
    await app(scope, receive, send)
    head, body = sent
    return Answered(head["status"], body["body"].decode(), trio.current_time() - start)


@PATHS
async def test_a_body_that_dribbles_ends_at_the_clients_budget(
    autojump_clock: MockClock, path: str
) -> None:
    async with driven({"a": get()}) as made:
        answer = await dribble(made.app, path, every_s=0.2, pieces=200, budget="500")
        assert answer.status == 504
        assert "within the budget of 500ms" in answer.text
        assert answer.at == pytest.approx(0.5, abs=1e-6)
        made.events.assert_balanced()


@PATHS
async def test_without_a_budget_the_servers_deadline_holds(
    autojump_clock: MockClock, path: str
) -> None:
    async with driven({"a": get()}, server={"deadline": "3s"}) as made:
        answer = await dribble(made.app, path, every_s=1.9, pieces=200)
    assert (answer.status, answer.at) == (504, pytest.approx(3, abs=1e-6))


async def test_over_http_the_tools_deadline_holds_too(autojump_clock: MockClock) -> None:
    async with driven({"a": get()}, deadline="2s") as made:
        answer = await dribble(made.app, "/tools/t", every_s=0.9, pieces=200)
        assert (answer.status, answer.at) == (504, pytest.approx(2, abs=1e-6))
        assert json.loads(answer.text)["code"] == "deadline_exceeded"
        assert made.events.last.code == "deadline_exceeded"


@PATHS
async def test_what_the_body_took_is_gone_from_the_budget(
    autojump_clock: MockClock, path: str
) -> None:
    async with driven({"a": get()}, {"s": ScriptedService().hang()}) as made:
        answer = await dribble(made.app, path, every_s=0.4, pieces=1, budget="1000")
        assert "deadline_exceeded" in answer.text
        assert answer.at == pytest.approx(1, abs=1e-6)
        assert made.events.last.budget_s == pytest.approx(0.2)


@PATHS
async def test_a_body_on_its_way_is_in_flight_and_drained(
    autojump_clock: MockClock, path: str
) -> None:
    async with driven({"a": get()}) as made:
        answers: list[Answered] = []

        async def ask() -> None:
            answers.append(await dribble(made.app, path, every_s=0.9, pieces=200))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(1)
            assert made.app.in_flight == 1
            made.app.begin_drain(2)
        assert [(one.status, one.at) for one in answers] == [(504, pytest.approx(3, abs=1e-6))]
        assert made.app.in_flight == 0


async def test_empty_pieces_are_no_progress(autojump_clock: MockClock) -> None:
    async def receive() -> Any:
        await trio.sleep(0.6)
        return {"type": "http.request", "body": b"", "more_body": True}

    with trio.fail_after(1.1), pytest.raises(Exception, match="nothing came for 1 s"):
        await read_body(receive, max_bytes=10, timeout_s=1)


async def test_a_body_is_put_together_from_its_pieces() -> None:
    pieces = [b"", b"ab", b"", b"c", b""]

    async def receive() -> Any:
        await trio.lowlevel.checkpoint()
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    assert await read_body(receive, max_bytes=3, timeout_s=math.inf) == b"abc"
