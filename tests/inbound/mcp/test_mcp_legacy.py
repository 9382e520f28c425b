"""The revisions that begin with `initialize`: negotiation, sessions, cancelling, batches."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing
from mcp_types import InitializeResult, JSONRPCResponse
from mcp_types.methods import validate_server_result

from gateway.config.settings import McpSettings
from gateway.core.errors import CannotAsk
from gateway.core.messages import Context, Log, Reply, Request
from gateway.core.service import Emit
from gateway.inbound.mcp import Mcp
from gateway.inbound.mcp.batches import MAX_BATCH
from gateway.inbound.mcp.sessions import IDLE_S, MAX_CALLS, Session, Sessions
from gateway.inbound.mcp.signing import Signer
from gateway.net.asgi import Incoming
from tests.inbound.mcp.driver import (
    LEGACY,
    NoAnswerError,
    Response,
    Script,
    ScriptedFront,
    Tells,
    hangs,
    initialize,
    legacy,
    mcp,
    notification,
    request,
    returns,
    send,
    told,
)

REVISIONS = ["2025-03-26", "2025-06-18", "2025-11-25"]


@pytest.mark.parametrize(
    ("asked", "offered"),
    [(version, version) for version in REVISIONS]
    + [("2024-11-05", LEGACY), ("2026-07-28", LEGACY), ("9999-99-99", LEGACY), ("", LEGACY)],
)
@pytest.mark.parametrize("header", [None, LEGACY, "2026-07-28", "nonsense"])
async def test_initialize(asked: str, offered: str, header: str | None) -> None:
    params = {
        "protocolVersion": asked,
        "capabilities": {},
        "clientInfo": {"name": "c", "version": "1"},
    }
    headers = {"mcp-protocol-version": header}
    response = await send(
        mcp(ScriptedFront()), request("initialize", params, id="a"), headers=headers
    )
    assert response.status == 200
    assert JSONRPCResponse.model_validate(response.json).id == "a"
    validate_server_result("initialize", offered, response.result)
    result = InitializeResult.model_validate(response.result)
    assert result.protocol_version == offered
    assert response.result["capabilities"] == {"tools": {"listChanged": False}, "logging": {}}
    assert result.server_info.name == "gateway"
    assert result.server_info.version
    assert response.headers["mcp-session-id"].isascii()


@pytest.mark.parametrize("params", [None, {}, {"protocolVersion": 1}])
async def test_initialize_must_ask_for_a_revision(params: Any) -> None:
    response = await legacy(mcp(ScriptedFront()), "initialize", params)
    assert response.error["code"] == -32602
    assert "mcp-session-id" not in response.headers


@pytest.mark.parametrize("version", REVISIONS)
async def test_the_first_minutes_of_a_client(version: str) -> None:
    app = mcp(ScriptedFront({"t": returns({"a": 1})}))
    session = await initialize(app, version)
    headers = {"mcp-session-id": session, "mcp-protocol-version": version}
    ready = await send(app, notification("notifications/initialized"), headers=headers)
    assert (ready.status, ready.body) == (202, b"")
    for method, params in (("ping", None), ("tools/list", None), ("tools/call", {"name": "t"})):
        response = await legacy(app, method, params, headers=headers)
        assert response.status == 200
        validate_server_result(method, version, response.result)
    gone = await send(app, method="DELETE", headers=headers)
    assert (gone.status, gone.body) == (204, b"")
    for again in (
        await legacy(app, "ping", headers=headers),
        await send(app, notification("notifications/initialized"), headers=headers),
        await send(app, method="DELETE", headers=headers),
    ):
        assert (again.status, again.error["code"]) == (404, -32600)


async def test_gateways_of_one_key_know_each_others_sessions() -> None:
    fronts = [ScriptedFront({"t": returns({"a": 1})}) for _ in range(2)]
    first, second = (Mcp(front, McpSettings(), key=b"k", shared=True) for front in fronts)
    stranger = Mcp(ScriptedFront(), McpSettings(), key=b"other", shared=True)
    session = await initialize(first, elicitation={})
    for app in (first, second):
        response = await legacy(app, "tools/call", {"name": "t"}, session=session)
        assert response.result["structuredContent"] == {"a": 1}
    for front in fronts:  # the answer might come to the other one: no question is asked
        peer = front.requests[0].context.peer
        assert peer is not None
        with pytest.raises(CannotAsk, match=r"\[state\] key"):
            await peer("elicitation/create", {})
    assert (await legacy(stranger, "ping", session=session)).status == 404
    assert (await send(second, method="DELETE", headers={"mcp-session-id": session})).status == 204
    assert (await legacy(second, "ping", session=session)).status == 404
    assert (await legacy(first, "ping", session=session)).status == 200  # nobody told it


def workers(*scripts: Script) -> tuple[list[Mcp], list[ScriptedFront]]:
    """Workers of one server, each with its own `t`; what one is told the others hear."""
    fronts = [ScriptedFront({"t": script}, workers=len(scripts)) for script in scripts]
    apps = [Mcp(front, McpSettings(), key=b"k") for front in fronts]
    for front, own in zip(fronts, apps, strict=True):
        others = [app for app in apps if app is not own]

        async def tell(message: bytes, others: list[Mcp] = others) -> None:
            await trio.lowlevel.checkpoint()
            for app in others:
                app.hear(message)

        front.tell_others = tell
    return apps, fronts


async def test_what_a_client_says_reaches_the_worker_that_it_is_for() -> None:
    (first, second, third), (front, *_) = workers(hangs, hangs, hangs)
    session = await initialize(first)
    headers = {"mcp-session-id": session, "mcp-protocol-version": LEGACY}
    async with trio.open_nursery() as nursery:
        for number in (7, 8):
            nursery.start_soon(
                lambda number=number: legacy(
                    first, "tools/call", {"name": "t"}, session=session, id=number
                )
            )
        await trio.testing.wait_all_tasks_blocked()
        cancel = notification("notifications/cancelled", {"requestId": 7})
        assert (await send(second, cancel, headers=headers)).status == 202
        await trio.testing.wait_all_tasks_blocked()
        assert front.running == 1
        assert (await send(third, method="DELETE", headers=headers)).status == 204
    assert front.running == 0
    for app in (first, second, third):
        assert (await legacy(app, "ping", session=session)).status == 404


async def test_a_level_holds_at_every_worker() -> None:
    async def tells(_request: Request, emit: Emit) -> Reply:
        await emit(Log("warning", "x"))
        return Reply({})

    (first, second), _ = workers(Tells(tells), Tells(tells))
    session = await initialize(first)
    silent = await legacy(second, "tools/call", {"name": "t"}, session=session)
    assert silent.headers["content-type"] == "application/json"
    await legacy(first, "logging/setLevel", {"level": "info"}, session=session)
    told = await legacy(second, "tools/call", {"name": "t"}, session=session)
    assert told.events[0]["params"] == {"level": "warning", "data": "x"}
    await legacy(first, "logging/setLevel", {"level": "error"}, session=session)
    silent = await legacy(second, "tools/call", {"name": "t"}, session=session)
    assert silent.headers["content-type"] == "application/json"


async def test_an_answer_reaches_the_worker_that_asked() -> None:
    async def asks(request: Request) -> Reply:
        assert request.context.peer is not None
        return Reply(dict(await request.context.peer("elicitation/create", {})))

    (first, second, third), _ = workers(asks, asks, asks)
    session = await initialize(second, elicitation={})
    asked: list[Any] = []

    async def take(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        asked.extend(told(message))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(post, first, request("tools/call", {"name": "t"}), session, take)
        await trio.testing.wait_all_tasks_blocked()
        (question,) = asked
        answer = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}}
        headers = {"mcp-session-id": session, "mcp-protocol-version": LEGACY}
        for app in (third, second):  # the second time it is for nobody
            assert (await send(app, answer, headers=headers)).status == 202
    assert asked[1]["result"]["structuredContent"] == {"action": "accept"}


async def post(app: Mcp, message: Any, session: str, take: Any) -> None:
    """One request whose answer is looked at as it comes."""
    pending = [{"type": "http.request", "body": json.dumps(message).encode()}]
    headers = {
        "content-type": "application/json",
        "mcp-session-id": session,
        "mcp-protocol-version": LEGACY,
    }

    async def receive() -> Any:
        if not pending:
            await trio.sleep_forever()
        return pending.pop()

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": raw}
    await app(Incoming.of(scope), receive, take)


async def test_a_client_without_a_session_is_served() -> None:
    app = mcp(ScriptedFront({"t": returns({"a": 1})}))
    for version in (None, *REVISIONS):
        headers = {"mcp-protocol-version": version}
        response = await legacy(app, "tools/call", {"name": "t"}, headers=headers)
        assert response.result["structuredContent"] == {"a": 1}


@pytest.mark.parametrize(
    "method",
    ["resources/list", "prompts/list", "server/discover", "nonsense"],
)
async def test_an_unknown_method_is_an_answer_like_any_other(method: str) -> None:
    response = await legacy(mcp(ScriptedFront()), method)
    assert (response.status, response.error["code"]) == (200, -32601)


@pytest.mark.parametrize(
    "params",
    [None, {"name": 1}, {"name": "t", "arguments": [1]}, {"name": "t", "arguments": "a"},
     {"name": "t", "_meta": 1}, {"name": "absent"}],
)  # fmt: skip
async def test_wrong_parameters_of_a_call(params: Any) -> None:
    response = await legacy(mcp(ScriptedFront({"t": returns(1)})), "tools/call", params)
    assert (response.status, response.error["code"]) == (200, -32602)


async def test_arguments_may_be_absent_or_null() -> None:
    front = ScriptedFront({"t": returns({})})
    for params in ({"name": "t"}, {"name": "t", "arguments": None, "_meta": None}):
        await legacy(mcp(front), "tools/call", params)
        assert front.requests[-1].arguments == {}


class Calls:
    """Calls under way, and their answers."""

    def __init__(self, app: Any, nursery: trio.Nursery) -> None:
        self.app = app
        self.nursery = nursery
        self.answers: dict[Any, Response | None] = {}

    async def start(self, key: Any, **options: Any) -> None:
        async def call() -> None:
            try:
                self.answers[key] = await legacy(self.app, "tools/call", {"name": "t"}, **options)
            except NoAnswerError:
                self.answers[key] = None

        self.nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()

    async def cancel(self, request_id: Any, session: str | None) -> None:
        message = notification("notifications/cancelled", {"requestId": request_id})
        response = await send(self.app, message, headers={"mcp-session-id": session})
        assert (response.status, response.body) == (202, b"")
        await trio.testing.wait_all_tasks_blocked()


def is_cancelled(response: Response | None) -> bool:
    assert response is not None
    assert (response.status, response.body) == (200, b"")
    assert response.headers["content-type"] == "text/event-stream"
    return True


async def test_a_cancel_ends_the_call_it_names_and_no_other() -> None:
    front = ScriptedFront({"t": hangs})
    app = mcp(front)
    mine, other = await initialize(app), await initialize(app)
    async with trio.open_nursery() as nursery:
        calls = Calls(app, nursery)
        await calls.start("a", session=mine, id=1)
        await calls.start("b", session=mine, id="1")
        await calls.start("c", session=other, id=1)
        await calls.start("d", id=1)
        for request_id, session in (
            (1, None),  # nobody's
            (2, mine),
            ("2", mine),
            (True, mine),
            (1.0, mine),
            (None, mine),
            ({}, mine),
        ):
            await calls.cancel(request_id, session)
        assert (front.running, calls.answers) == (4, {})
        await calls.cancel(1, mine)
        assert front.running == 3
        assert set(calls.answers) == {"a"}
        assert is_cancelled(calls.answers["a"])
        await calls.cancel(1, mine)  # too late, and ignored
        await calls.cancel("1", mine)
        assert is_cancelled(calls.answers["b"])
        assert front.running == 2
        nursery.cancel_scope.cancel()


async def test_a_cancel_without_params_is_ignored() -> None:
    app = mcp(ScriptedFront())
    headers = {"mcp-session-id": await initialize(app)}
    assert (await send(app, notification("notifications/cancelled"), headers=headers)).status == 202


async def test_a_call_that_ends_while_it_is_cancelled_has_no_answer_either() -> None:
    async def finishes(request: Any) -> Reply:
        with trio.CancelScope(shield=True):
            await finish.wait()
        return Reply({})

    finish = trio.Event()
    front = ScriptedFront({"t": finishes})
    app = mcp(front)
    session = await initialize(app)
    async with trio.open_nursery() as nursery:
        calls = Calls(app, nursery)
        await calls.start("a", session=session, id=1)
        await calls.cancel(1, session)
        assert calls.answers == {}
        finish.set()
    assert is_cancelled(calls.answers["a"])


async def test_an_id_that_is_in_flight_already_is_refused() -> None:
    front = ScriptedFront({"t": hangs})
    app = mcp(front)
    session, other = await initialize(app), await initialize(app)
    async with trio.open_nursery() as nursery:
        calls = Calls(app, nursery)
        await calls.start("first", session=session, id=1)
        second = await legacy(app, "tools/call", {"name": "t"}, session=session, id=1)
        assert (second.status, second.error["code"]) == (200, -32600)
        await calls.start("text", session=session, id="1")
        await calls.start("other", session=other, id=1)
        assert front.running == 3
        await calls.cancel(1, session)
        assert is_cancelled(calls.answers["first"])
        nursery.cancel_scope.cancel()


async def test_an_id_may_be_used_again_after_its_answer() -> None:
    app = mcp(ScriptedFront({"t": returns({})}))
    session = await initialize(app)
    for _ in range(2):
        assert (await legacy(app, "tools/call", {"name": "t"}, session=session)).result


async def test_the_end_of_a_session_ends_its_calls() -> None:
    front = ScriptedFront({"t": hangs})
    app = mcp(front)
    session = await initialize(app)
    async with trio.open_nursery() as nursery:
        calls = Calls(app, nursery)
        await calls.start("a", session=session, id=1)
        assert (await send(app, method="DELETE", headers={"mcp-session-id": session})).status == 204
    assert is_cancelled(calls.answers["a"])
    assert front.running == 0


async def test_a_session_has_a_bound_of_calls() -> None:
    front = ScriptedFront({"t": hangs})
    app = mcp(front)
    session = await initialize(app)
    async with trio.open_nursery() as nursery:
        for number in range(MAX_CALLS):
            nursery.start_soon(
                lambda number=number: legacy(
                    app, "tools/call", {"name": "t"}, session=session, id=number
                )
            )
        await trio.testing.wait_all_tasks_blocked()
        assert front.running == MAX_CALLS
        response = await legacy(app, "tools/call", {"name": "t"}, session=session, id="more")
        assert response.result["isError"] is True
        assert response.result["structuredContent"]["code"] == "overloaded"
        nursery.cancel_scope.cancel()


def made(**bounds: Any) -> Sessions:
    return Sessions(Signer("session", b"key"), **bounds)


def forked(sessions: Sessions) -> Sessions:
    """The same, in another worker."""
    return Sessions(sessions._signer)


def by(principal: str = "ann", client: str = "") -> Context:
    return Context(request_id="r", principal=principal, client=client)


def used(sessions: Sessions, client: str = "") -> Session:
    session = sessions.find(sessions.open(LEGACY, "ann", {}), by(client=client))
    assert session is not None
    return session


async def test_a_session_outlasts_what_is_kept_of_it(autojump_clock: trio.abc.Clock) -> None:
    app = mcp(ScriptedFront())
    session = await initialize(app)
    assert (await legacy(app, "ping", session=session)).status == 200
    await trio.sleep(IDLE_S * 100)
    assert (await legacy(app, "ping", session=session)).status == 200


async def test_a_token_is_its_principals_alone() -> None:
    sessions = made()
    token = sessions.open(LEGACY, "ann", {"roots": {}})
    assert sessions.find(token, by("bob")) is None
    session = sessions.find(token, by("ann"))
    assert session is not None
    assert (session.version, session.capabilities) == (LEGACY, {"roots": {}})
    assert sessions.find(token, by("bob")) is None
    assert sessions.find(token, by("ann")) is session


@pytest.mark.parametrize("change", [
    lambda token: "", lambda token: token[:-1], lambda token: token + "A",
    lambda token: token + "=", lambda token: token + "\n", lambda token: "!" + token,
    lambda token: token[:50] + ("A" if token[50] != "A" else "B") + token[51:],
    lambda token: Signer("state", b"key").signed(Signer("session", b"key").opened(token) or b""),
    lambda token: Signer("session", b"other").signed(b"[]"), lambda token: "\xe9",
])  # fmt: skip
async def test_a_token_that_was_changed_is_none(change: Any) -> None:
    sessions = made()
    token = sessions.open(LEGACY, "ann", {})
    assert sessions.find(change(token), by()) is None
    assert sessions.find(token, by()) is not None


async def test_tokens_differ_and_fit_a_header() -> None:
    sessions = made()
    huge = {"elicitation": {"x": "y" * 5000}, "roots": {}}
    tokens = {sessions.open(LEGACY, "ann", huge) for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) < 500 and token.isprintable() for token in tokens)
    session = sessions.find(tokens.pop(), by())
    assert session is not None
    assert session.capabilities == {"elicitation": {}, "roots": {}}


async def test_opening_keeps_nothing_and_use_has_a_bound() -> None:
    sessions = made(limit=3)
    for _ in range(1000):
        sessions.open(LEGACY, "ann", {})
    assert len(sessions) == 0
    first, second, third = (used(sessions) for _ in range(3))
    assert sessions.find(first.id, by()) is first
    used(sessions)
    assert len(sessions) == 3
    assert sessions.find(third.id, by()) is third
    assert sessions.find(first.id, by()) is first
    again = sessions.find(second.id, by())
    assert again is not None
    assert again is not second  # the one used least recently: what was kept of it went


async def test_a_client_has_a_bound_of_its_own() -> None:
    sessions = made(limit=10, of_client=3)
    other = used(sessions, "10.0.0.1")
    for _ in range(20):
        used(sessions, "10.0.0.2")
    assert len(sessions) == 4
    assert sessions.find(other.id, by(client="10.0.0.1")) is other
    for _ in range(20):
        used(sessions)  # no address, no bound of its own
    assert len(sessions) == 10


async def test_ended_sessions_are_remembered_within_bounds() -> None:
    sessions = made(limit=3)
    ended = [used(sessions) for _ in range(4)]
    for session in ended:
        sessions.close(session)
    assert len(sessions) == 0
    assert [sessions.find(session.id, by()) is None for session in ended] == [False, *[True] * 3]


async def test_what_is_idle_is_not_kept(autojump_clock: trio.abc.Clock) -> None:
    sessions = made(idle_s=10)
    for _ in range(5):
        used(sessions)
        await trio.sleep(3)
    # Used at 0, 3, 6, 9 and 12 s; now it is 15 s.
    used(sessions)
    assert len(sessions) == 4


class TestBatches:
    async def test_a_batch_is_answered_in_its_order(self) -> None:
        app = mcp(ScriptedFront({"t": returns({"a": 1})}))
        batch = [
            request("tools/call", {"name": "t"}, id="call"),
            notification("notifications/initialized"),
            request("nonsense", id=2),
            {"jsonrpc": "2.0", "id": 3, "result": {}},
            7,
            request("initialize", {"protocolVersion": "2025-03-26"}, id=4),
            request("ping", id=5),
        ]
        response = await send(app, batch, headers={"mcp-protocol-version": "2025-03-26"})
        assert response.status == 200
        assert response.headers["content-type"] == "application/json"
        called, unknown, malformed, initialized, ping = response.json
        assert (called["id"], called["result"]["structuredContent"]) == ("call", {"a": 1})
        assert (unknown["id"], unknown["error"]["code"]) == (2, -32601)
        assert (malformed["id"], malformed["error"]["code"]) == (None, -32600)
        assert (initialized["id"], initialized["error"]["code"]) == (4, -32600)
        assert ping == {"jsonrpc": "2.0", "id": 5, "result": {}}

    async def test_its_calls_run_at_once(self, autojump_clock: trio.abc.Clock) -> None:
        async def slow(request: Any) -> Reply:
            await trio.sleep(3)
            return Reply({})

        batch = [request("tools/call", {"name": "t"}, id=number) for number in range(10)]
        response = await send(mcp(ScriptedFront({"t": slow})), batch)
        assert trio.current_time() == pytest.approx(3)
        assert [answer["id"] for answer in response.json] == list(range(10))

    async def test_a_cancelled_call_is_left_out(self) -> None:
        front = ScriptedFront({"t": hangs, "u": returns({})})
        app = mcp(front)
        session = await initialize(app, "2025-03-26")
        answers: list[Response] = []

        async def call() -> None:
            batch = [request("tools/call", {"name": name}, id=name) for name in ("t", "u")]
            answers.append(await send(app, batch, headers={"mcp-session-id": session}))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await trio.testing.wait_all_tasks_blocked()
            await Calls(app, nursery).cancel("t", session)
        assert [answer["id"] for answer in answers[0].json] == ["u"]

    async def test_leaving_cancels_all_of_it(self) -> None:
        front = ScriptedFront({"t": hangs})
        batch = [request("tools/call", {"name": "t"}, id=number) for number in range(3)]
        leaving = trio.Event()

        async def call() -> None:
            with pytest.raises(NoAnswerError):
                await send(mcp(front), batch, leaving=leaving)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await trio.testing.wait_all_tasks_blocked()
            assert front.running == 3
            leaving.set()
        assert (front.running, len(front.cancelled)) == (0, 3)

    async def test_nothing_but_notifications_is_accepted(self) -> None:
        batch = [notification("notifications/initialized")] * 2
        response = await send(mcp(ScriptedFront()), batch)
        assert (response.status, response.body) == (202, b"")

    @pytest.mark.parametrize("batch", [[], [request("ping")] * (MAX_BATCH + 1)])
    async def test_its_size_is_bounded(self, batch: Any) -> None:
        response = await send(mcp(ScriptedFront()), batch)
        assert (response.status, response.error["code"]) == (400, -32600)

    @pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25"])
    async def test_later_revisions_have_none(self, version: str) -> None:
        app = mcp(ScriptedFront())
        by_header = {"mcp-protocol-version": version}
        by_session = {"mcp-session-id": await initialize(app, version)}
        for headers in (by_header, by_session):
            response = await send(app, [request("ping")], headers=headers)
            assert (response.status, response.error["code"]) == (400, -32600)
