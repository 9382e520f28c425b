"""Answers that begin before they are there: progress, log messages, questions."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import attrs
import pytest
import trio
import trio.testing

from gateway.core.errors import CannotAsk
from gateway.core.messages import Branch, Chunk, Log, Partial, Progress, Reply, Request
from gateway.core.peer import JsonRpcError
from gateway.core.service import Emit, discard
from gateway.inbound.mcp.questions import MAX_QUESTIONS, Questions
from gateway.inbound.mcp.stream import EventStream
from gateway.net.asgi import ClientLeft
from tests.inbound.mcp.driver import (
    ENVELOPE,
    LEGACY,
    Client,
    ScriptedFront,
    Tells,
    fails,
    initialize,
    legacy,
    mcp,
    modern,
    notification,
    request,
    send,
    told,
    tool,
)

LEVEL_KEY = "io.modelcontextprotocol/logLevel"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
ERAS = pytest.mark.parametrize("era", [legacy, modern])
ASKED = {"message": "Who are you?", "requestedSchema": {"type": "object"}}
ANN = {"action": "accept", "content": {"name": "Ann"}}


def telling(*partials: Partial) -> Tells:
    async def script(_request: Request, emit: Emit) -> Reply:
        for partial in partials:
            await emit(partial)
        return Reply({"done": True})

    return Tells(script)


def with_meta(era: Callable[..., Any], meta: dict[str, Any], **params: Any) -> dict[str, Any]:
    return {"name": "t", **params, "_meta": {**ENVELOPE, **meta} if era is modern else meta}


def branch(call: str, outcome: Any = "ok") -> Branch:
    return Branch(call=call, service="s", outcome=outcome, ended_s=0, budget_left_s=0)


# -------------------------------------------------------------------- progress


@ERAS
@pytest.mark.parametrize("token", ["p", 7])
async def test_progress_goes_out_before_the_answer(era: Callable[..., Any], token: Any) -> None:
    front = ScriptedFront({"t": telling(Progress(1), Progress(2.5, 3, "nearly"), Chunk(b"x"))})
    params = with_meta(era, {"progressToken": token})
    response = await era(mcp(front), "tools/call", params, id=5)
    *notes, answer = response.events
    assert [note["method"] for note in notes] == ["notifications/progress"] * 2
    assert [note["params"] for note in notes] == [
        {"progressToken": token, "progress": 1},
        {"progressToken": token, "progress": 2.5, "total": 3, "message": "nearly"},
    ]
    assert (answer["id"], answer["result"]["structuredContent"]) == (5, {"done": True})
    assert response.headers["x-request-id"] == front.requests[0].context.request_id


@ERAS
async def test_calls_of_a_plan_are_its_progress(era: Callable[..., Any]) -> None:
    front = ScriptedFront({"t": telling(branch("a"), branch("b", "timeout"))})
    plan = cast("Any", SimpleNamespace(nodes=(1, 2)))
    front.tools = {"t": attrs.evolve(tool("t"), plan=plan)}
    response = await era(mcp(front), "tools/call", with_meta(era, {"progressToken": 1}))
    said = [event["params"] for event in response.events[:-1]]
    assert [(each["progress"], each["total"], each["message"]) for each in said] == [
        (1, 2, "a: ok"),
        (2, 2, "b: timeout"),
    ]


@ERAS
async def test_the_only_call_of_a_plan_is_no_progress(era: Callable[..., Any]) -> None:
    front = ScriptedFront({"t": telling(branch("a"))})
    plan = cast("Any", SimpleNamespace(nodes=(1,)))
    front.tools = {"t": attrs.evolve(tool("t"), plan=plan)}
    response = await era(mcp(front), "tools/call", with_meta(era, {"progressToken": 1}))
    assert response.result["structuredContent"] == {"done": True}


@ERAS
@pytest.mark.parametrize(
    ("meta", "accept"),
    [({}, None), ({"progressToken": 1}, "application/json"), ({"progressToken": [1]}, None)],
)
async def test_who_wants_no_notes_costs_none(
    era: Callable[..., Any], meta: dict[str, Any], accept: str | None
) -> None:
    emits: list[Emit] = []

    async def script(_request: Request, emit: Emit) -> Reply:
        emits.append(emit)
        return Reply(1)

    app = mcp(ScriptedFront({"t": Tells(script)}))
    headers = {} if accept is None else {"accept": accept}
    response = await era(app, "tools/call", with_meta(era, meta), headers=headers)
    assert response.headers["content-type"] == "application/json"
    assert emits == [discard]


async def test_a_failure_after_notes_is_their_last_event() -> None:
    async def script(_request: Request, emit: Emit) -> Reply:
        await emit(Progress(1))
        raise CannotAsk("no", capability="roots")

    app = mcp(ScriptedFront({"t": Tells(script)}))
    response = await modern(app, "tools/call", with_meta(modern, {"progressToken": 1}))
    assert response.status == 200
    assert response.events[-1]["error"]["code"] == -32021


async def test_branches_that_tell_at_once_take_turns() -> None:
    sent: list[bytes] = []

    async def slowly(message: Any) -> None:
        if message["type"] == "http.response.body":
            sent.append(message["body"])
            await trio.testing.wait_all_tasks_blocked()
            sent.append(b"|")

    stream = EventStream(slowly, {}, "r")
    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(stream.put, {"number": number})
    assert b"".join(sent).count(b"\n\n|") == 3


async def test_a_note_that_nobody_takes_says_that_the_client_left() -> None:
    async def gone(_message: Any) -> None:
        raise OSError

    with pytest.raises(ClientLeft):
        await EventStream(gone, {}, "r").put({})


async def test_a_batch_has_no_stream() -> None:
    app = mcp(ScriptedFront({"t": telling(Progress(1))}))
    params = {"name": "t", "_meta": {"progressToken": 1}}
    response = await send(app, [request("tools/call", params)])
    assert response.json[0]["result"]["structuredContent"] == {"done": True}


async def test_a_call_that_is_cancelled_after_notes_has_no_answer() -> None:
    told = trio.Event()

    async def script(_request: Request, emit: Emit) -> Reply:
        await emit(Progress(1))
        told.set()
        await trio.sleep_forever()
        raise AssertionError

    app = mcp(ScriptedFront({"t": Tells(script)}))
    session = await initialize(app)
    responses = []

    async def call() -> None:
        params = {"name": "t", "_meta": {"progressToken": 1}}
        responses.append(await legacy(app, "tools/call", params, session=session, id=9))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await told.wait()
        headers = {"mcp-session-id": session, "mcp-protocol-version": LEGACY}
        await send(app, notification("notifications/cancelled", {"requestId": 9}), headers=headers)
    (event,) = responses[0].events
    assert event["method"] == "notifications/progress"


# ------------------------------------------------------------------------ logs

LOGS = telling(Log("debug", "a"), Log("warning", {"b": 1}, "db"), Log("error", None), Log("?", "c"))


def logged(response: Any) -> list[Any]:
    return [event["params"] for event in response.events if "params" in event]


async def test_a_legacy_client_sets_its_level() -> None:
    app = mcp(ScriptedFront({"t": LOGS}))
    session = await initialize(app)
    before = await legacy(app, "tools/call", {"name": "t"}, session=session)
    assert before.headers["content-type"] == "application/json"
    done = await legacy(app, "logging/setLevel", {"level": "warning"}, session=session)
    assert done.result == {}
    after = await legacy(app, "tools/call", {"name": "t"}, session=session)
    assert logged(after) == [
        {"level": "warning", "data": {"b": 1}, "logger": "db"},
        {"level": "error", "data": None},
    ]


@pytest.mark.parametrize("level", [None, "loud", 3, ["error"]])
async def test_a_level_that_is_none(level: Any) -> None:
    app = mcp(ScriptedFront({"t": LOGS}))
    response = await legacy(app, "logging/setLevel", {"level": level})
    assert response.error["code"] == -32602
    if level is not None:
        params = with_meta(modern, {LEVEL_KEY: level})
        assert (await modern(app, "tools/call", params)).error["code"] == -32602


async def test_a_modern_client_names_its_level_in_each_request() -> None:
    app = mcp(ScriptedFront({"t": LOGS}))
    response = await modern(app, "tools/call", with_meta(modern, {LEVEL_KEY: "error"}))
    assert logged(response) == [{"level": "error", "data": None}]
    quiet = await modern(app, "tools/call", with_meta(modern, {}))
    assert quiet.headers["content-type"] == "application/json"
    assert (await modern(app, "logging/setLevel", {"level": "error"})).status == 404


# ------------------------------------------------------------ questions, legacy


async def asks(request: Request) -> Reply:
    assert request.context.peer is not None
    try:
        return Reply(dict(await request.context.peer("elicitation/create", ASKED)))
    except JsonRpcError as error:
        return Reply({"code": error.code, "message": error.message, "data": error.data})


@pytest.mark.parametrize(
    ("answer", "given"),
    [
        ({"result": ANN}, ANN),
        (
            {"error": {"code": -1, "message": "no", "data": [1]}},
            {"code": -1, "message": "no", "data": [1]},
        ),
        ({"error": "odd"}, {"code": -32603, "data": None}),
        ({"result": 5}, {"code": -32603, "data": None}),
    ],
)
async def test_a_legacy_client_is_asked_on_the_stream_of_its_call(
    answer: dict[str, Any], given: dict[str, Any]
) -> None:
    app = mcp(ScriptedFront({"t": asks}))
    client = Client(app, await initialize(app, elicitation={}), **answer)
    got = await client.call()
    assert {key: got[key] for key in given} == given
    (asked,) = client.asked
    assert (asked["method"], asked["params"]) == ("elicitation/create", ASKED)


async def test_who_cannot_be_asked_is_no_peer() -> None:
    front = ScriptedFront({"t": telling()})
    app = mcp(front)
    able = await initialize(app, elicitation={}, sampling={"tools": {}}, roots=1, other={})
    cases = [
        {"session": await initialize(app)},
        {},
        {"session": able, "headers": {"accept": "application/json"}},
        {"session": able},
    ]
    for options in cases:
        await legacy(app, "tools/call", {"name": "t"}, **options)
    *nobody, peer = [each.context.peer for each in front.requests]
    assert nobody == [None, None, None]
    assert peer is not None
    assert peer.capabilities == {"elicitation": {}, "sampling": {"tools": {}}}


async def test_questions_are_bounded_and_end_with_their_call() -> None:
    questions = Questions()
    names: list[str] = []

    async def noted(message: Any) -> None:
        names.extend(one["id"] for one in told(message))

    stream = EventStream(noted, {}, "r")
    async with trio.open_nursery() as nursery:
        for _ in range(MAX_QUESTIONS):
            nursery.start_soon(questions.ask, stream, "roots/list", {})
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Exception, match="too many questions"):
            await questions.ask(stream, "roots/list", {})
        nursery.cancel_scope.cancel()
    assert len(set(names)) == MAX_QUESTIONS
    assert not questions.hear({"id": names[0], "result": {}})  # too late: for nobody
    async with trio.open_nursery() as nursery:
        nursery.start_soon(questions.ask, stream, "roots/list", {})
        await trio.testing.wait_all_tasks_blocked()
        for name in (names[0], 5, None):
            assert not questions.hear({"id": name, "result": {}})
        assert questions.hear({"id": names[-1], "result": {}})


# ------------------------------------------------------------ questions, modern


def able(**params: Any) -> dict[str, Any]:
    return with_meta(modern, {CAPABILITIES_KEY: {"elicitation": {}, "roots": {}}}, **params)


async def ask_twice(request: Request) -> Reply:
    peer = request.context.peer
    assert peer is not None
    first = await peer("elicitation/create", ASKED)
    again = await peer("elicitation/create", ASKED)
    roots = await peer("roots/list", {}, key="roots")
    return Reply([first["content"]["name"], again["content"]["name"], roots["roots"]])


async def test_a_call_is_made_again_with_each_answer() -> None:
    front = ScriptedFront({"t": ask_twice})
    app = mcp(front)
    given: dict[str, Any] = {}
    names = iter(("Ann", "Bob"))
    for rounds in (1, 2, 3):
        result = (await modern(app, "tools/call", able(**given))).result
        assert result["resultType"] == "input_required"
        assert len(front.cancelled) == rounds
        ((key, asked),) = result["inputRequests"].items()
        if rounds < 3:
            assert asked == {"method": "elicitation/create", "params": ASKED}
            answer: Any = {"action": "accept", "content": {"name": next(names)}}
        else:
            assert (key, asked) == ("roots", {"method": "roots/list", "params": {}})
            answer = {"roots": []}
        given = {"inputResponses": {key: answer}, "requestState": result["requestState"]}
    result = (await modern(app, "tools/call", able(**given))).result
    assert (result["resultType"], result["structuredContent"]) == ("complete", ["Ann", "Bob", []])


async def test_questions_that_come_up_at_once_are_asked_at_once() -> None:
    async def script(request: Request) -> Reply:
        peer = request.context.peer
        assert peer is not None
        async with trio.open_nursery() as nursery:
            for key in ("a", "b"):
                nursery.start_soon(lambda key=key: peer("roots/list", {}, key=key))
        return Reply(1)

    result = (await modern(mcp(ScriptedFront({"t": script})), "tools/call", able())).result
    assert set(result["inputRequests"]) == {"a", "b"}


async def test_a_state_is_for_its_request_alone() -> None:
    app = mcp(ScriptedFront({"t": ask_twice, "u": ask_twice}))
    first = (await modern(app, "tools/call", able(arguments={"id": 1}))).result
    state = first["requestState"]
    assert (await modern(app, "tools/call", able(arguments={"id": 1}, requestState=state))).result
    other = mcp(ScriptedFront({"t": ask_twice}))
    cases = [
        (app, {"requestState": state + "A"}),
        (app, {"requestState": state[:-1]}),
        (app, {"requestState": "é"}),
        (app, {"requestState": 5}),
        (app, {"requestState": "", "arguments": {"id": 1}}),
        (app, {"requestState": state, "arguments": {"id": 2}}),
        (app, {"requestState": state, "arguments": {"id": 1}, "name": "u"}),
        (other, {"requestState": state, "arguments": {"id": 1}}),
    ]
    for where, params in cases:
        response = await modern(where, "tools/call", able(**params))
        assert (response.status, response.error["code"]) == (400, -32602), params


@pytest.mark.parametrize("given", [None, 5, [], {"a": 5}, {"a": None}])
async def test_answers_that_are_none(given: Any) -> None:
    app = mcp(ScriptedFront({"t": ask_twice}))
    response = await modern(app, "tools/call", able(inputResponses=given))
    assert (response.status, response.error["code"]) == (400, -32602)


async def test_a_capability_that_is_missing_is_named() -> None:
    app = mcp(ScriptedFront({"t": fails(CannotAsk("no", capability="sampling"))}))
    response = await modern(app, "tools/call", able())
    assert (response.status, response.error["code"]) == (400, -32021)
    assert response.error["data"] == {"requiredCapabilities": {"sampling": {}}}
    result = (await legacy(app, "tools/call", {"name": "t"})).result
    assert result["isError"]


# --------------------------------------------------------- arguments in headers

MARKED = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "deep": {"type": "object", "properties": {"on": {"type": "boolean", "x-mcp-header": "On"}}},
        "odd": {"type": "string", "x-mcp-header": 5},
    },
}


@pytest.mark.parametrize(
    ("arguments", "headers", "fits"),
    [
        ({}, {}, True),
        ({"region": "eu"}, {"mcp-param-region": "eu"}, True),
        ({"region": "é"}, {"mcp-param-region": "=?base64?w6k=?="}, True),
        ({"deep": {"on": True}}, {"mcp-param-on": "true"}, True),
        ({"odd": "x"}, {}, True),
        ({"region": "eu"}, {}, False),
        ({}, {"mcp-param-region": "eu"}, False),
        ({"region": "eu"}, {"mcp-param-region": "us"}, False),
        ({"region": "é"}, {"mcp-param-region": "=?base64?w6k?="}, False),
        ({"deep": {"on": True}}, {"mcp-param-on": "1"}, False),
        ({"deep": 1}, {"mcp-param-on": "true"}, False),
        ([], {"mcp-param-region": "eu"}, False),
    ],
)
async def test_arguments_are_what_their_headers_say(
    arguments: Any, headers: dict[str, str | None], fits: bool
) -> None:
    front = ScriptedFront({"t": telling(), "u": telling()})
    schema = cast("Any", SimpleNamespace(schema=MARKED))
    front.tools["t"] = attrs.evolve(front.tools["t"], arguments=schema)
    app = mcp(front)
    response = await modern(
        app, "tools/call", {"name": "t", "arguments": arguments}, headers=headers
    )
    if fits:
        assert response.status == 200
    else:
        assert (response.status, response.error["code"]) == (400, -32020)
    plain = {"name": "u", "arguments": {"region": "eu"}}
    assert (await modern(app, "tools/call", plain)).status == 200
    old = {"name": "t", "arguments": {"region": "eu"}}
    assert (await legacy(app, "tools/call", old)).status == 200
