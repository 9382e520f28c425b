"""The client over Streamable HTTP: both eras, what goes along, what is asked back, cancelling."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gateway.core.errors import BadReply, GatewayError, Rejected, Unreachable
from gateway.core.messages import Partial, Progress
from gateway.core.peer import JsonRpcError
from tests.adapters.mcp.behind import behind
from tests.http_service import Received, http, raw
from tests.mcp_server import McpServer, error, events, json_reply, result, tool, unanswered

LEGACY = "2025-11-25"
TEXT = {"content": [{"type": "text", "text": "hi"}]}
ERAS = pytest.mark.parametrize("legacy", ["", LEGACY, "2025-06-18", "2025-03-26"])


def says(text: str, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], **more}


def answer_to(request: Received, value: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": json.loads(request.body)["id"], "result": value}


# ------------------------------------------------------------------ eras


@ERAS
async def test_every_revision_is_spoken(autojump_clock: MockClock, legacy: str) -> None:
    server = McpServer({"tools/call": lambda _: TEXT}, legacy=legacy)
    async with behind(server) as it:
        assert [await it.call() for _ in range(3)] == ["hi"] * 3
    asked = server.asked("tools/call")[0]
    assert asked.header("mcp-protocol-version") == (legacy or "2026-07-28")
    assert asked.header("accept") == "application/json, text/event-stream"
    # It is asked once which it is.
    assert len(server.messages("server/discover")) == 1
    assert len(server.messages("initialize")) == (1 if legacy else 0)


async def test_in_the_modern_era_every_request_stands_alone(autojump_clock: MockClock) -> None:
    server = McpServer({"tools/call": lambda _: TEXT})
    async with behind(server) as it:
        with trio.fail_after(7):
            await it.call("grüße")
    request = server.asked("tools/call")[0]
    assert request.header("mcp-method") == "tools/call"
    assert request.header("mcp-name") == "=?base64?Z3LDvMOfZQ==?="
    assert request.header("x-request-timeout-ms") == "7000"
    assert request.header("mcp-session-id") is None
    meta = json.loads(request.body)["params"]["_meta"]
    assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert meta["io.modelcontextprotocol/clientCapabilities"] == {}
    assert meta["io.modelcontextprotocol/clientInfo"]["name"] == "gateway"
    assert meta["gateway/timeoutMs"] == 7000
    assert meta["traceparent"] == request.header("traceparent")
    assert "progressToken" not in meta


async def test_in_a_legacy_era_there_is_a_session(autojump_clock: MockClock) -> None:
    server = McpServer({"tools/call": lambda _: TEXT}, legacy=LEGACY)
    async with behind(server) as it:
        await it.call()
    initialized = server.asked("notifications/initialized")[0]
    assert initialized.header("mcp-session-id") == "session-1"
    assert server.asked("tools/call")[0].header("mcp-session-id") == "session-1"
    assert server.asked("tools/call")[0].header("mcp-method") is None
    ended = server.requests[-1]
    assert (ended.method, ended.header("mcp-session-id")) == ("DELETE", "session-1")


async def test_a_lost_session_is_begun_anew(autojump_clock: MockClock) -> None:
    server = McpServer({"tools/call": lambda _: TEXT}, legacy=LEGACY)
    async with behind(server) as it:
        server.sessions = {"another"}
        assert await it.call() == "hi"
        assert await it.call() == "hi"
    assert len(server.messages("initialize")) == 2


@pytest.mark.parametrize(("before", "after"), [("", LEGACY), (LEGACY, "")])
async def test_a_server_that_changes_its_era_is_asked_again(
    autojump_clock: MockClock, before: str, after: str
) -> None:
    server = McpServer({"tools/call": lambda _: TEXT}, legacy=before)
    async with behind(server) as it:
        assert await it.call() == "hi"
        server.legacy, server.sessions = after, set()
        if after:
            server.on["tools/call"] = lambda r: (
                TEXT if r.header("mcp-session-id") else http(400, "no session")
            )
        else:
            server.on["tools/call"] = lambda r: (
                http(404, "no session") if r.header("mcp-session-id") else TEXT
            )
        assert await it.call() == "hi"


async def test_a_server_of_another_revision_is_told_apart(autojump_clock: MockClock) -> None:
    def unknown(request: Received) -> Any:
        return error(request, -32022, "No", 400, {"supported": ["2099-01-01"]})

    async with behind(McpServer({"server/discover": unknown})) as it:
        with pytest.raises(BadReply, match="error -32022: No"):
            await it.call()


async def test_an_outage_says_nothing_about_the_era(autojump_clock: MockClock) -> None:
    server = McpServer(
        {"server/discover": lambda _: http(503, "later"), "tools/call": lambda _: TEXT}
    )
    async with behind(server) as it:
        with pytest.raises(BadReply, match="answered 503: later"):
            await it.call()
        del server.on["server/discover"]
        assert await it.call() == "hi"
    assert not server.messages("initialize")


async def test_many_calls_agree_once(autojump_clock: MockClock) -> None:
    server = McpServer({"tools/call": lambda _: TEXT})
    slow = {"supportedVersions": ["2026-07-28"], "capabilities": {}}
    server.on["server/discover"] = lambda r: events(2, answer_to(r, slow))
    async with behind(server) as it, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(it.call)
    assert len(server.messages("server/discover")) == 1
    assert len(server.messages("tools/call")) == 20


async def test_who_waits_for_an_agreement_may_leave(autojump_clock: MockClock) -> None:
    server = McpServer({"server/discover": lambda _: unanswered})
    async with behind(server) as it:
        with trio.move_on_after(1) as scope:
            await it.call()
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(1.25)


@pytest.mark.parametrize("session_id", ["a b", "x" * 1025])
async def test_a_session_has_an_id_that_headers_carry(
    autojump_clock: MockClock, session_id: str
) -> None:
    agreed = {"protocolVersion": LEGACY, "capabilities": {}}
    server = McpServer(legacy=LEGACY)
    server.on["initialize"] = lambda r: result(r, agreed, mcp_session_id=session_id)
    async with behind(server) as it:
        with pytest.raises(BadReply, match="its session's id is no visible ASCII"):
            await it.call()


# ------------------------------------------------------------------ what comes back


@pytest.mark.parametrize(
    ("came", "value"),
    [
        (says("hello"), "hello"),
        (says('{"n": [1]}'), {"n": [1]}),
        (says("text", structuredContent={"n": 2}), {"n": 2}),
        (says("text", structuredContent=[1]), [1]),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb"),
        ({"content": [{"type": "image", "data": "eA=="}]}, [{"type": "image", "data": "eA=="}]),
        ({"content": []}, ""),
    ],
)
async def test_a_plan_sees_what_is_in_a_result(
    autojump_clock: MockClock, came: Any, value: Any
) -> None:
    async with behind(McpServer({"tools/call": lambda _: came})) as it:
        assert await it.call() == value


async def test_a_client_is_given_the_result_as_it_came(autojump_clock: MockClock) -> None:
    came = {
        **TEXT,
        "resultType": "complete",
        "isError": True,
        "x": {"y": [None]},
        "_meta": {"k": 1},
    }
    async with behind(McpServer({"tools/call": lambda _: came}, tools=[tool("x")])) as it:
        assert await it.ask("tools/call", name="x", arguments={}) == came


@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [
        (-32602, Rejected, 422),
        (-32002, Rejected, 404),
        (-32601, BadReply, 502),
        (-32603, BadReply, 502),
        (-31000, BadReply, 502),
    ],
)
async def test_errors_mean_one_of_ours(
    autojump_clock: MockClock, code: int, kind: type[GatewayError], status: int
) -> None:
    async with behind(McpServer({"tools/call": lambda r: error(r, code, "No.")})) as it:
        with pytest.raises(kind, match=rf"s gave error {code}: No\.") as caught:
            await it.call()
        assert caught.value.status == status


async def test_a_client_is_given_the_error_as_it_came(autojump_clock: MockClock) -> None:
    server = McpServer(
        {"tools/call": lambda r: error(r, -32042, "Go there", data={"url": "x"})}, tools=[tool("x")]
    )
    async with behind(server) as it:
        with pytest.raises(JsonRpcError, match="Go there") as caught:
            await it.ask("tools/call", name="x")
        assert (caught.value.code, caught.value.data) == (-32042, {"url": "x"})


async def test_what_is_refused_by_http_alone(autojump_clock: MockClock) -> None:
    server = McpServer({"tools/call": lambda _: http(429, "slow down", retry_after="7")})
    async with behind(server) as it:
        with pytest.raises(Rejected, match="s answered 429: slow down") as caught:
            await it.call()
        assert (caught.value.status, caught.value.retry_after_s) == (503, 7)


@pytest.mark.parametrize("legacy", ["", LEGACY])
async def test_events_of_any_form_are_read(autojump_clock: MockClock, legacy: str) -> None:
    def call(request: Received) -> Any:
        note = {"jsonrpc": "2.0", "method": "notifications/unheard-of"}
        other = {"jsonrpc": "2.0", "id": 999_999, "result": {}}
        return events(note, other, answer_to(request, TEXT), end=False)

    async with behind(McpServer({"tools/call": call}, legacy=legacy)) as it:
        with trio.fail_after(1):
            assert await it.call() == "hi"


async def test_a_batch_is_taken_apart(autojump_clock: MockClock) -> None:
    def call(request: Received) -> Any:
        note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x"}}
        return json_reply([note, answer_to(request, TEXT)])

    async with behind(McpServer({"tools/call": call}, legacy="2025-03-26")) as it:
        assert await it.call() == "hi"


async def test_event_streams_have_bounds(autojump_clock: MockClock) -> None:
    note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x" * 900}}
    streams = [events({**note, "params": {"data": "x" * 2000}}), events(*[note] * 20)]
    server = McpServer({"tools/call": lambda _: streams.pop(0)})
    async with behind(server, max_reply=1024) as it:
        with pytest.raises(BadReply, match="an event of the reply is over 1024 bytes"):
            await it.call()
        with pytest.raises(BadReply, match="the event stream of the reply is over 8192 bytes"):
            await it.call()


async def test_a_stream_that_ends_too_early(autojump_clock: MockClock) -> None:
    async with behind(McpServer({"tools/call": lambda _: events()})) as it:
        with pytest.raises(Unreachable, match="ended before the answer"):
            await it.call()


def resumable(request: Received, *more: bytes) -> Any:
    """The beginning of a stream that ends where it may be gone on with."""
    return sse(b"id: 1\ndata:\n\n", b"retry: 2000\n\n", *more)


def sse(*pieces: bytes) -> Any:
    body = b"".join(pieces)
    return http(200, body, content_type="text/event-stream", length=len(body))


async def test_a_legacy_stream_goes_on_where_it_ended(autojump_clock: MockClock) -> None:
    calls: list[Received] = []

    def call(request: Received) -> Any:
        calls.append(request)
        return resumable(request)

    def go_on(request: Received) -> Any:
        if request.header("last-event-id") == "1":
            note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}
            return sse(b"id: 2\ndata: " + json.dumps(note).encode() + b"\n\n")
        assert request.header("last-event-id") == "2"
        return events(answer_to(calls[0], TEXT))

    server = McpServer({"tools/call": call, "GET": go_on}, legacy=LEGACY)
    async with behind(server) as it:
        assert await it.call() == "hi"
        assert trio.current_time() == 4
    assert len(calls) == 1
    assert not server.messages("notifications/cancelled")


@pytest.mark.parametrize("how", ["refused", "no events", "modern"])
async def test_a_stream_that_cannot_go_on(autojump_clock: MockClock, how: str) -> None:
    go_on = http(405) if how == "refused" else sse(b": nothing\n\n")
    server = McpServer(
        {"tools/call": resumable, "GET": lambda _: go_on}, legacy="" if how == "modern" else LEGACY
    )
    async with behind(server) as it:
        with pytest.raises(Unreachable, match="its events ended before the answer"):
            await it.call()
    tried = len([request for request in server.requests if request.method == "GET"])
    assert tried == {"refused": 1, "no events": 5, "modern": 0}[how]


async def test_an_answered_stream_leaves_its_connection_to_others(
    autojump_clock: MockClock,
) -> None:
    server = McpServer({"tools/call": lambda r: events(answer_to(r, TEXT), 0.001)})
    async with behind(server) as it:
        for _ in range(10):
            assert await it.call() == "hi"
        assert server.accepted == 2  # one for calls, one for the rest


async def test_what_follows_an_answer_is_nobodys_concern(autojump_clock: MockClock) -> None:
    def call(request: Received) -> Any:
        event = b"data: " + json.dumps(answer_to(request, TEXT)).encode() + b"\n\n"
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9999\r\n\r\n"
        return raw(head + event, close=True)

    async with behind(McpServer({"tools/call": call})) as it:
        assert await it.call() == "hi"


async def test_a_stream_without_an_end_is_waited_for_once(autojump_clock: MockClock) -> None:
    server = McpServer({"tools/call": lambda r: events(answer_to(r, TEXT), end=False)})
    async with behind(server) as it:
        for _ in range(10):
            assert await it.call() == "hi"
        assert trio.current_time() == pytest.approx(0.02)


# ------------------------------------------------------------------ progress


def working(request: Received) -> Any:
    token = json.loads(request.body)["params"]["_meta"].get("progressToken")
    notes = [
        {
            "jsonrpc": "2.0",
            "method": "notifications/progress",
            "params": {"progressToken": about, **params},
        }
        for about, params in (
            (token, {"progress": 1, "total": 2, "message": "half"}),
            ("another", {"progress": 1}),
            (token, {"progress": "much"}),
            (token, {"progress": 2.0, "total": True}),
        )
    ]
    return events(*notes, answer_to(request, TEXT))


@pytest.mark.parametrize("legacy", ["", LEGACY])
async def test_progress_goes_out(autojump_clock: MockClock, legacy: str) -> None:
    heard: list[Partial] = []

    async def emit(partial: Partial) -> None:
        heard.append(partial)

    async with behind(McpServer({"tools/call": working}, legacy=legacy)) as it:
        assert await it.call(emit=emit) == "hi"
    assert heard == [Progress(1, 2, "half"), Progress(2.0)]


async def test_nobody_listens_to_no_progress(autojump_clock: MockClock) -> None:
    server = McpServer({"tools/call": working})
    async with behind(server) as it:
        assert await it.call() == "hi"
    assert "progressToken" not in server.messages("tools/call")[0]["params"]["_meta"]


# ------------------------------------------------------------------ headers


async def test_headers_go_along(autojump_clock: MockClock) -> None:
    server = McpServer({"tools/call": lambda _: TEXT})
    keys = {"headers": {"x-fixed": "1"}, "forward": ("accept-language", "x-request-id", "x-bad")}
    client = {"accept-language": "de", "x-other": "no", "x-bad": "a\r\nb: c"}
    async with behind(server, **keys) as it:
        await it.call(headers=client)
    request = server.asked("tools/call")[0]
    assert request.header("x-fixed") == "1"
    assert request.header("accept-language") == "de"
    assert request.header("x-request-id") == "r"
    assert request.header("x-other") is None
    assert request.header("x-bad") is None
    assert request.target == "/mcp"


async def test_what_belongs_to_a_call_has_its_client_s_headers(
    autojump_clock: MockClock,
) -> None:
    server = McpServer({"tools/call": asks("ping", {})}, legacy=LEGACY)
    async with behind(server, forward=("authorization",)) as it:
        await it.call(headers={"authorization": "mine"})
        server.on["tools/call"] = lambda _: unanswered
        with trio.move_on_after(1):
            await it.call(headers={"authorization": "mine"})
        await trio.sleep(1)
    [told] = server.asked("notifications/cancelled")
    [answered] = [r for r in server.requests if r.body and b'"result"' in r.body]
    assert told.header("authorization") == answered.header("authorization") == "mine"
    assert server.asked("tools/list")[0].header("authorization") is None


async def test_arguments_are_repeated_in_headers(autojump_clock: MockClock) -> None:
    inner = {"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "N"}}}
    schema = {
        "type": "object",
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "really": {"type": "boolean", "x-mcp-header": "Really"},
            "absent": {"type": "string", "x-mcp-header": "Absent"},
            "deep": inner,
        },
    }
    server = McpServer({"tools/call": lambda _: TEXT}, tools=[tool("x", inputSchema=schema)])
    async with behind(server) as it:
        await it.call(
            "x", {"region": "süd", "really": True, "deep": {"n": 7}, "other": 1, "absent": None}
        )
    request = server.asked("tools/call")[0]
    assert request.header("mcp-param-region") == "=?base64?c8O8ZA==?="
    assert request.header("mcp-param-really") == "true"
    assert request.header("mcp-param-n") == "7"
    assert request.header("mcp-param-absent") is None


async def test_a_header_that_does_not_match_has_the_list_fetched_again(
    autojump_clock: MockClock,
) -> None:
    server = McpServer({"tools/call": lambda r: error(r, -32020, "Header mismatch", 400)})
    async with behind(server) as it:
        assert len(server.messages("tools/list")) == 1
        with pytest.raises(BadReply, match="-32020"):
            await it.call()
        await trio.sleep(2)
        assert len(server.messages("tools/list")) == 2


# ------------------------------------------------------------------ what is asked back


class Peer:
    """A client that can be asked."""

    capabilities: Mapping[str, Any] = {"elicitation": {"form": {}}, "experimental": {}}
    in_rounds = False

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    async def __call__(self, method: str, params: Mapping[str, Any], /) -> Mapping[str, Any]:
        self.asked.append((method, params))
        if params.get("message") == "refuse":
            raise JsonRpcError(-1, "No, thanks")
        return {"action": "accept", "content": {"name": "Ada"}}


class Slow(Peer):
    """One that takes a second for each question."""

    async def __call__(self, method: str, params: Mapping[str, Any], /) -> Mapping[str, Any]:
        await trio.sleep(1)
        return await super().__call__(method, params)


def asks(method: str, params: Any) -> Any:
    question = {"jsonrpc": "2.0", "id": "q", "method": method, "params": params}

    def call(request: Received) -> Any:
        return events(question, 0.1, answer_to(request, TEXT))

    return call


@pytest.mark.parametrize(
    ("peer", "method", "params", "answer"),
    [
        (True, "elicitation/create", {"message": "?"}, {"action": "accept"}),
        (True, "elicitation/create", {"message": "refuse"}, -1),
        (True, "sampling/createMessage", {}, -1),
        (True, "ping", {}, {}),
        (False, "elicitation/create", {"message": "?"}, {"action": "decline"}),
        (False, "sampling/createMessage", {}, -1),
        (False, "roots/list", {}, {"roots": []}),
        (False, "what/ever", {}, -32601),
    ],
)
async def test_a_legacy_server_asks_by_requests(
    autojump_clock: MockClock, peer: bool, method: str, params: Any, answer: Any
) -> None:
    server = McpServer({"tools/call": asks(method, params)}, legacy=LEGACY)
    asked = Peer() if peer else None
    async with behind(server) as it:
        assert await it.call(peer=asked) == "hi"
    answered = next(message for message in server.messages() if "method" not in message)
    assert answered["id"] == "q"
    if isinstance(answer, int):
        assert answered["error"]["code"] == answer
    else:
        assert answered["result"].items() >= answer.items()
    assert server.asked("initialize")[0].body.count(b"elicitation") == 1


async def test_a_modern_server_asks_by_a_result(autojump_clock: MockClock) -> None:
    question = {"method": "elicitation/create", "params": {"message": "?"}}
    needs = {"resultType": "input_required", "inputRequests": {"k": question}, "requestState": "s"}
    results = [needs, {"resultType": "input_required", "requestState": "t"}, TEXT]
    server = McpServer({"tools/call": lambda _: results.pop(0)})
    peer = Peer()
    async with behind(server) as it:
        assert await it.call("x", {"a": 1}, peer=peer) == "hi"
    assert peer.asked == [("elicitation/create", {"message": "?"})]
    first, second, third = (message["params"] for message in server.messages("tools/call"))
    assert "requestState" not in first
    assert second["inputResponses"] == {"k": {"action": "accept", "content": {"name": "Ada"}}}
    assert second["requestState"] == "s"
    assert (third["requestState"], "inputResponses" in third) == ("t", False)
    assert third["arguments"] == {"a": 1}
    capabilities = first["_meta"]["io.modelcontextprotocol/clientCapabilities"]
    assert capabilities == {"elicitation": {"form": {}}}
    assert len({message["id"] for message in server.messages("tools/call")}) == 3


async def test_all_that_is_required_is_asked_at_once(autojump_clock: MockClock) -> None:
    requests = {
        name: {"method": "elicitation/create", "params": {"message": message}}
        for name, message in (("a", "?"), ("b", "??"))
    }
    results = [{"resultType": "input_required", "inputRequests": requests}, TEXT]
    server = McpServer({"tools/call": lambda _: results.pop(0)})
    peer = Slow()
    async with behind(server) as it:
        assert await it.call(peer=peer) == "hi"
    assert trio.current_time() == 1
    answers = server.messages("tools/call")[1]["params"]["inputResponses"]
    assert set(answers) == {"a", "b"}
    requests["b"]["params"]["message"] = "refuse"
    results[:] = [{"resultType": "input_required", "inputRequests": requests}]
    async with behind(server) as it:
        with pytest.raises(BadReply, match="gave error -1"):
            await it.call(peer=peer)


async def test_a_client_in_rounds_is_given_what_requires_input(autojump_clock: MockClock) -> None:
    needs = {"resultType": "input_required", "inputRequests": {"k": {"method": "roots/list"}}}
    server = McpServer({"tools/call": lambda _: needs}, tools=[tool("x")])
    peer = Peer()
    peer.in_rounds = True
    async with behind(server) as it:
        assert await it.ask("tools/call", peer=peer, name="x") == needs
        with pytest.raises(BadReply, match="again and again"):  # a plan has to have its answer
            await it.call(peer=peer)


async def hear(_partial: Partial) -> None: ...


async def test_the_level_of_logs_is_told_where_they_are_heard(autojump_clock: MockClock) -> None:
    key = "io.modelcontextprotocol/logLevel"
    for legacy, heard in (("", "info"), (LEGACY, None)):
        server = McpServer({"tools/call": lambda _: TEXT}, legacy=legacy)
        async with behind(server) as it:
            await it.call(log_level="info", emit=hear)
            await it.call(log_level="info")
            await it.call(emit=hear)
        sent = [call["params"].get("_meta", {}).get(key) for call in server.messages("tools/call")]
        assert sent == [heard, None, None]


async def test_without_a_client_to_ask_it_is_said(autojump_clock: MockClock) -> None:
    needs = {"resultType": "input_required", "inputRequests": {"k": {"method": "roots/list"}}}
    async with behind(McpServer({"tools/call": lambda _: needs}, tools=[tool("x")])) as it:
        with pytest.raises(Rejected, match="requires input"):
            await it.call()
        assert await it.ask("tools/call", name="x") == needs


async def test_input_is_not_given_for_ever(autojump_clock: MockClock) -> None:
    needs = {"resultType": "input_required", "requestState": "s"}
    server = McpServer({"tools/call": lambda _: needs})
    async with behind(server) as it:
        with pytest.raises(BadReply, match="again and again"):
            await it.call()
    assert len(server.messages("tools/call")) == 10


# ------------------------------------------------------------------ cancelling


@pytest.mark.parametrize("legacy", ["", LEGACY])
@pytest.mark.parametrize("streams", [False, True])
async def test_a_cancelled_call_is_cancelled_there(
    autojump_clock: MockClock, legacy: str, streams: bool
) -> None:
    began = {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}
    hangs = events(began, end=False) if streams else unanswered
    server = McpServer({"tools/call": lambda _: hangs}, legacy=legacy)
    async with behind(server) as it:
        with trio.move_on_after(1) as scope:
            await it.call()
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(1)
        await trio.testing.wait_all_tasks_blocked()
        assert server.active == 0
        told = server.messages("notifications/cancelled")
        call = server.messages("tools/call")[0]
        assert [one["params"]["requestId"] for one in told] == ([call["id"]] if legacy else [])
        server.on["tools/call"] = lambda _: TEXT
        assert await it.call() == "hi"


async def test_cancelling_waits_for_nobody(autojump_clock: MockClock) -> None:
    """Nor for a server that does not answer when it is told."""
    never = {"tools/call": lambda _: unanswered, "notifications/cancelled": lambda _: unanswered}
    server = McpServer(never, legacy=LEGACY)
    async with behind(server, max_connections=1) as it:
        for number in range(1, 4):
            with trio.move_on_after(1):
                await it.call()
            assert trio.current_time() == pytest.approx(number)
        await trio.sleep(6)
        assert server.active == 0


@pytest.mark.parametrize(
    "answer",
    [
        lambda r: result(r, TEXT),
        lambda r: error(r, -32603, "No"),
        lambda _: http(403, "No"),
        lambda _: http(404, "No"),
    ],
)
async def test_an_answered_call_is_not_cancelled(autojump_clock: MockClock, answer: Any) -> None:
    server = McpServer({"tools/call": answer}, legacy=LEGACY)
    async with behind(server) as it:
        with contextlib.suppress(GatewayError):
            await it.call()
        await trio.sleep(1)
    assert not server.messages("notifications/cancelled")


async def test_a_call_that_never_left_is_not_cancelled(autojump_clock: MockClock) -> None:
    server = McpServer({"tools/call": lambda _: raw(b"", close=True)}, legacy=LEGACY)
    async with behind(server) as it:
        it.net.serve("10.0.0.1", 80, OSError(111, "Connection refused"))
        for _ in range(3):
            with pytest.raises(Unreachable):
                await it.call()
        await trio.sleep(1)
    assert not server.messages("notifications/cancelled")
