"""HTTP's side: methods, media types, bodies, and every way a message can be malformed."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from mcp_types import JSONRPCError

from gateway.core.messages import Context, Reply
from tests.inbound.mcp.driver import (
    ENVELOPE,
    LEGACY,
    MODERN,
    NoAnswerError,
    Response,
    ScriptedFront,
    hangs,
    initialize,
    legacy,
    mcp,
    modern,
    notification,
    request,
    returns,
    send,
)

PING = request("ping")
LEGACY_HEADER = {"mcp-protocol-version": LEGACY}
MODERN_HEADER = {"mcp-protocol-version": MODERN}


def is_error(response: Response, status: int, code: int) -> bool:
    parsed = JSONRPCError.model_validate_json(response.body)
    assert response.headers["content-type"] == "application/json"
    assert (response.status, parsed.error.code) == (status, code), response.json
    return True


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "OPTIONS", "DELETE"])
async def test_other_methods_are_refused(method: str) -> None:
    response = await send(mcp(ScriptedFront()), method=method)
    assert is_error(response, 405, -32600)
    assert response.headers["allow"] == "POST, DELETE"


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (None, 200),
        ("*/*", 200),
        ("application/*", 200),
        ("application/json", 200),
        ("application/json;q=0.9, text/event-stream", 200),
        ("text/event-stream, Application/JSON", 200),
        ("text/event-stream", 406),
        ("text/html", 406),
        ("application/json;q=0, */*", 406),
        ("", 406),
    ],
)
async def test_accept(accept: str | None, status: int) -> None:
    response = await send(mcp(ScriptedFront()), PING, headers={"accept": accept})
    assert response.status == status
    if status == 200:
        assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        (None, 415),
        ("text/plain", 415),
        ("application/json-seq", 415),
    ],
)
async def test_content_type(content_type: str | None, status: int) -> None:
    response = await send(mcp(ScriptedFront()), PING, headers={"content-type": content_type})
    assert response.status == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"ping"}',
        b'"\xff"',
        b"[" * 100_000,
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + b'{"a":' * 50_000,
        b"1e400",
        b"9" * 5_000,
    ],
    ids=["empty", "cut", "text", "bom", "latin", "deep", "deep-params", "huge", "digits"],
)
@pytest.mark.parametrize("headers", [{}, LEGACY_HEADER, MODERN_HEADER])
async def test_what_is_not_json_is_a_parse_error(body: bytes, headers: dict[str, str]) -> None:
    response = await send(mcp(ScriptedFront()), body, headers=headers)
    assert is_error(response, 400, -32700)
    assert response.json["id"] is None


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (1, None),
        ("ping", None),
        (None, None),
        ({}, None),
        ({"id": 7, "method": "ping"}, 7),
        ({"jsonrpc": "1.0", "id": 7, "method": "ping"}, 7),
        ({"jsonrpc": "2.0", "id": 7}, 7),
        ({"jsonrpc": "2.0", "id": 7, "method": 5}, 7),
        ({"jsonrpc": "2.0", "id": 7, "method": "ping", "params": [1]}, 7),
        ({"jsonrpc": "2.0", "id": 7, "method": "ping", "params": "a"}, 7),
        ({"jsonrpc": "2.0", "id": None, "method": "ping"}, None),
        ({"jsonrpc": "2.0", "id": True, "method": "ping"}, None),
        ({"jsonrpc": "2.0", "id": 1.5, "method": "ping"}, None),
        ({"jsonrpc": "2.0", "id": {}, "method": "ping"}, None),
        ({"jsonrpc": "2.0", "method": "ping", "params": []}, None),
    ],
)
@pytest.mark.parametrize("headers", [LEGACY_HEADER, MODERN_HEADER])
async def test_what_is_no_message_is_an_invalid_request(
    body: Any, named: Any, headers: dict[str, str]
) -> None:
    response = await send(mcp(ScriptedFront()), body, headers=headers)
    assert is_error(response, 400, -32600)
    assert response.json["id"] == named


async def test_a_body_over_the_bound_is_refused() -> None:
    response = await send(mcp(ScriptedFront(max_body=100)), b" " * 101)
    assert is_error(response, 413, -32600)


async def test_a_body_that_stops_is_refused(autojump_clock: trio.abc.Clock) -> None:
    response = await send(mcp(ScriptedFront(body_timeout=3.0)), stalled=True)
    assert trio.current_time() == pytest.approx(3)
    assert is_error(response, 400, -32600)


async def test_a_client_that_leaves_half_way_through_its_body_gets_no_answer() -> None:
    leaving = trio.Event()
    leaving.set()
    with pytest.raises(NoAnswerError):
        await send(mcp(ScriptedFront()), stalled=True, leaving=leaving)


@pytest.mark.parametrize("message", [notification("notifications/whatever", {"a": 1})])
@pytest.mark.parametrize("headers", [{}, LEGACY_HEADER, MODERN_HEADER])
async def test_a_notification_is_accepted_without_a_body(
    message: Any, headers: dict[str, str]
) -> None:
    response = await send(mcp(ScriptedFront()), message, headers=headers)
    assert (response.status, response.body) == (202, b"")
    assert "content-type" not in response.headers


RESPONSES = [
    {"jsonrpc": "2.0", "id": 1, "result": {}},
    {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "no"}},
]


@pytest.mark.parametrize("message", RESPONSES)
async def test_a_response_is_accepted_in_the_legacy_era_alone(message: Any) -> None:
    app = mcp(ScriptedFront())
    assert (await send(app, message)).status == 202
    assert (await send(app, message, headers=LEGACY_HEADER)).status == 202
    assert is_error(await send(app, message, headers=MODERN_HEADER), 400, -32600)


async def test_the_request_id_is_echoed_or_made() -> None:
    front = ScriptedFront({"t": returns({})})
    app = mcp(front)
    given = {"x-request-id": "abc-1"}
    for speak in (legacy, modern):
        response = await speak(app, "tools/call", {"name": "t"}, headers=given)
        assert response.headers["x-request-id"] == "abc-1"
        assert front.requests[-1].context.request_id == "abc-1"
        assert front.requests[-1].context.protocol == "mcp"
    refused = await send(app, b"{")
    assert len(refused.headers["x-request-id"]) == 32
    accepted = await send(app, notification("notifications/initialized"))
    assert len(accepted.headers["x-request-id"]) == 32


@pytest.mark.parametrize("speak", [legacy, modern])
@pytest.mark.parametrize("id_", [0, -5, 2**70, "", "a", "日本"])
async def test_ids_come_back_as_they_came(speak: Any, id_: Any) -> None:
    response = await speak(mcp(ScriptedFront()), "tools/list", id=id_)
    assert response.json["id"] == id_
    assert type(response.json["id"]) is type(id_)


@pytest.mark.parametrize("speak", [legacy, modern])
async def test_the_clients_leaving_cancels_its_call(
    speak: Any, autojump_clock: trio.abc.Clock
) -> None:
    front = ScriptedFront({"t": hangs})
    leaving = trio.Event()

    async def call() -> None:
        with pytest.raises(NoAnswerError):
            await speak(mcp(front), "tools/call", {"name": "t"}, leaving=leaving)
        ended.set()

    ended = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await front.started.wait()
        await trio.sleep(2)
        assert front.running == 1
        leaving.set()
        await ended.wait()
    assert front.cancelled == [pytest.approx(2)]
    assert front.running == 0


@pytest.mark.parametrize("speak", [legacy, modern])
async def test_a_bug_is_not_hidden(speak: Any) -> None:
    # `front.call` turns bugs into `Internal`; one in a front reaches whoever stands before us.
    async def broken(request: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await speak(mcp(ScriptedFront({"t": broken})), "tools/call", {"name": "t"})


@pytest.mark.parametrize("method", ["tools/call", "tools/list", "ping"])
async def test_meta_that_is_no_object(method: str) -> None:
    app = mcp(ScriptedFront({"t": returns({})}))
    headers = {"mcp-protocol-version": MODERN, "mcp-method": method, "mcp-name": "t"}
    params = {"name": "t", "_meta": json.dumps(ENVELOPE)}
    assert is_error(await send(app, request(method, params), headers=headers), 400, -32602)


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope after so many steps of any task."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self.scope = scope
        self.left = step

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()


@pytest.mark.parametrize("speak", [legacy, modern])
async def test_cancelled_at_any_step_it_leaves_nothing(speak: Any) -> None:
    async def slow(request: Any) -> Reply:
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        return Reply({})

    front = ScriptedFront({"t": slow})
    app = mcp(front)
    options = {"session": await initialize(app)} if speak is legacy else {}
    tasks = trio.lowlevel.current_statistics().tasks_living
    step, completed = 0, False
    while not completed:
        step += 1
        with trio.CancelScope() as scope:
            canceller = CancelAtStep(scope, step)
            trio.lowlevel.add_instrument(canceller)
            try:
                await speak(app, "tools/call", {"name": "t"}, **options)
                completed = not scope.cancel_called
            finally:
                trio.lowlevel.remove_instrument(canceller)
        assert front.running == 0
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        if speak is legacy:
            session = app._legacy._sessions.find(options["session"], Context(request_id="r"))
            assert session is not None
            assert session.calls == {}
    assert step > 10


REFUSALS: list[tuple[Any, dict[str, str | None], str]] = [
    (b"{", {}, "invalid_request"),
    (PING, {"content-type": "text/plain"}, "invalid_request"),
    (PING, {"accept": "text/html"}, "invalid_request"),
    (PING, {"mcp-session-id": "none"}, "not_found"),
    (b" " * 101, {}, "too_large"),
    ({"jsonrpc": "2.0", "id": 1, "method": "none"}, {}, "not_found"),
    ({"jsonrpc": "2.0", "id": 1, "method": 5}, {}, "invalid_request"),
    ([{"jsonrpc": "2.0"}], {}, "invalid_request"),
    (request("tools/call", {"name": "t"}), {"x-request-timeout-ms": "soon"}, "invalid_request"),
    (request("tools/call", {"name": 5}), {}, "invalid_request"),
]


@pytest.mark.parametrize(("body", "headers", "code"), REFUSALS)
async def test_refusals_are_told(body: Any, headers: dict[str, str | None], code: str) -> None:
    front = ScriptedFront({"t": returns({})}, max_body=100)
    await send(mcp(front), body, headers=headers)
    assert [error.code for error in front.refused] == [code]


async def test_what_a_call_has_told_is_not_told_again() -> None:
    front = ScriptedFront()
    await send(mcp(front), request("tools/call", {"name": "none"}))
    await send(mcp(front), PING)
    assert front.refused == []
