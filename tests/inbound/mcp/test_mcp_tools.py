"""`tools/list` and `tools/call`, in both eras: pages, budgets, answers, partial answers, failures."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp_types.methods import validate_server_result

from gateway.core import errors
from gateway.core.errors import DeadlineExceeded, GatewayError, Unreachable
from tests.inbound.mcp.driver import (
    ENVELOPE,
    LEGACY,
    MODERN,
    ScriptedFront,
    fails,
    legacy,
    mcp,
    modern,
    returns,
    tool,
)

ERAS = pytest.mark.parametrize(("speak", "version"), [(legacy, LEGACY), (modern, MODERN)])


async def called(speak: Any, version: str, script: Any) -> dict[str, Any]:
    response = await speak(
        mcp(ScriptedFront({"t": script})),
        "tools/call",
        {"name": "t"},
        headers={"x-request-id": "r1"},
    )
    assert response.status == 200
    validate_server_result("tools/call", version, response.result)
    result: dict[str, Any] = response.result
    return result


@ERAS
async def test_a_list_comes_in_pages(speak: Any, version: str) -> None:
    front = ScriptedFront()
    front.tools = {f"tool_{number}": tool(f"tool_{number}") for number in range(250)}
    app = mcp(front)
    seen: list[str] = []
    params: dict[str, Any] = {}
    for size in (100, 100, 50):
        response = await speak(app, "tools/list", params)
        validate_server_result("tools/list", version, response.result)
        assert len(response.result["tools"]) == size
        seen += [entry["name"] for entry in response.result["tools"]]
        params = {"cursor": response.result.get("nextCursor")}
    assert params == {"cursor": None}
    assert seen == list(front.tools)


@ERAS
@pytest.mark.parametrize("count", [0, 1, 100])
async def test_one_page_has_no_cursor(speak: Any, version: str, count: int) -> None:
    front = ScriptedFront()
    front.tools = {f"tool_{number}": tool(f"tool_{number}") for number in range(count)}
    response = await speak(mcp(front), "tools/list")
    validate_server_result("tools/list", version, response.result)
    assert len(response.result["tools"]) == count
    assert "nextCursor" not in response.result


@ERAS
@pytest.mark.parametrize("cursor", ["", "nonsense", 1, [], {}, "cGFnZToy", "cGFnZTow"])
async def test_a_cursor_that_is_none_of_ours(speak: Any, version: str, cursor: Any) -> None:
    front = ScriptedFront()
    front.tools = {f"tool_{number}": tool(f"tool_{number}") for number in range(101)}
    response = await speak(mcp(front), "tools/list", {"cursor": cursor})
    assert response.error["code"] == -32602


@ERAS
async def test_the_list_follows_the_tools(speak: Any, version: str) -> None:
    front = ScriptedFront({"a": returns(1)})
    app = mcp(front)
    assert [entry["name"] for entry in (await speak(app, "tools/list")).result["tools"]] == ["a"]
    front.tools = {"b": tool("b")}
    assert [entry["name"] for entry in (await speak(app, "tools/list")).result["tools"]] == ["b"]


@ERAS
async def test_what_a_list_says_of_a_tool(speak: Any, version: str) -> None:
    front = ScriptedFront()
    front.tools = {
        "reads": tool("reads", read_only=True, idempotent=True),
        "puts": tool("puts", idempotent=True),
        "posts": tool("posts"),
    }
    reads, puts, posts = (await speak(mcp(front), "tools/list")).result["tools"]
    assert reads == {
        "name": "reads",
        "description": "Does reads.",
        "inputSchema": {"type": "object", "properties": {"id": {"type": "integer"}}},
        "annotations": {"readOnlyHint": True, "idempotentHint": True},
    }
    assert puts["annotations"] == {
        "readOnlyHint": False,
        "idempotentHint": True,
        "destructiveHint": True,
    }
    assert posts["annotations"]["idempotentHint"] is False


async def test_a_modern_list_says_how_long_it_holds_and_for_whom() -> None:
    result = (await modern(mcp(ScriptedFront()), "tools/list")).result
    assert result["ttlMs"] == 60_000
    assert result["cacheScope"] == "private"


@ERAS
async def test_an_answer(speak: Any, version: str) -> None:
    value = {"id": 1, "name": "Zoë", "tags": ["a", None, 1.5], "nested": {"_errors": 1}}
    result = await called(speak, version, returns(value))
    assert result["structuredContent"] == value
    (block,) = result["content"]
    assert block["type"] == "text"
    assert json.loads(block["text"]) == value
    assert result["isError"] is False


@pytest.mark.parametrize("value", [[1, 2], "text", 7, 1.5, True, None, []])
async def test_a_value_that_is_no_object(value: Any) -> None:
    old = await called(legacy, LEGACY, returns(value))
    new = await called(modern, MODERN, returns(value))
    assert "structuredContent" not in old
    assert new["structuredContent"] == value
    for result in (old, new):
        (block,) = result["content"]
        assert json.loads(block["text"]) == value


MISSING = (
    DeadlineExceeded("no answer within 2 s", call="orders", service="shop"),
    Unreachable("connection\nrefused", call="crm", service="crm"),
)


@ERAS
async def test_a_partial_answer(speak: Any, version: str) -> None:
    value = {"user": 1, "_errors": "a former value", "orders": None, "crm": None}
    result = await called(speak, version, returns(value, *MISSING))
    structured = result["structuredContent"]
    assert list(structured) == ["user", "orders", "crm", "_errors"]
    assert structured["_errors"] == [error.problem() for error in MISSING]
    whole, note = result["content"]
    assert list(json.loads(whole["text"]).items()) == list(structured.items())
    assert note["text"] == (
        "Partial answer: orders is missing (deadline_exceeded: no answer within 2 s); "
        "crm is missing (unreachable: connection refused)."
    )
    assert result["isError"] is False


@ERAS
async def test_what_was_only_skipped_does_not_make_an_answer_partial(
    speak: Any, version: str
) -> None:
    skipped = errors.Skipped("not called: vip is false", call="gift", service="shop")
    result = await called(speak, version, returns({"gift": None}, skipped))
    assert result["content"][1]["text"] == (
        "Complete answer, but gift was skipped (skipped: not called: vip is false)."
    )
    both = await called(speak, version, returns({"gift": None}, skipped, *MISSING))
    assert both["content"][1]["text"].startswith("Partial answer: orders is missing (")
    assert "gift was skipped" in both["content"][1]["text"]
    assert both["structuredContent"]["_errors"][0]["code"] == "skipped"


@ERAS
async def test_a_partial_answer_that_is_no_object(speak: Any, version: str) -> None:
    result = await called(speak, version, returns([1], *MISSING))
    whole, note = result["content"]
    assert json.loads(whole["text"]) == [1]
    assert note["text"].startswith("Partial answer: orders is missing (")
    assert result.get("structuredContent", [1]) == [1]


FAILURES: dict[str, tuple[GatewayError, str]] = {
    "arguments": (
        errors.InvalidArguments(
            "2 arguments are wrong",
            errors=(
                {"pointer": "/id", "detail": '"x" is not of type "integer"'},
                {"pointer": "", "detail": '"name" is a required property'},
            ),
        ),
        (
            'invalid_arguments: /id: "x" is not of type "integer"; '
            'arguments: "name" is a required property'
        ),
    ),
    "many breaches": (
        errors.InvalidArguments(
            errors=tuple({"pointer": f"/{n}", "detail": "no"} for n in range(30))
        ),
        "invalid_arguments: "
        + "; ".join(f"/{number}: no" for number in range(20))
        + "; and 10 more",
    ),
    "limited": (
        errors.RateLimited("10 a second", retry_after_s=1.5),
        "rate_limited: 10 a second; try again in 1.5 s",
    ),
    "timeout": (DeadlineExceeded("10 s are over"), "deadline_exceeded: 10 s are over"),
    "silent": (Unreachable(), "unreachable: Service unreachable"),
    "lines": (errors.BadReply("not\n JSON"), "bad_reply: not JSON"),
    "a service's 404": (
        errors.Rejected("no such user", service_status=404, call="user"),
        "rejected: no such user",
    ),
    "a missing thing below": (errors.NotFound("no job", call="job"), "not_found: no job"),
    "forbidden": (errors.Forbidden("not yours"), "forbidden: not yours"),
}


@ERAS
@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_is_a_result(speak: Any, version: str, name: str) -> None:
    error, line = FAILURES[name]
    result = await called(speak, version, fails(error))
    assert result["isError"] is True
    assert result["content"] == [{"type": "text", "text": line}]
    assert result["structuredContent"] == error.problem("r1")


@ERAS
async def test_a_bug_shows_nothing(speak: Any, version: str) -> None:
    result = await called(speak, version, fails(errors.Internal("password = hunter2")))
    assert "hunter2" not in json.dumps(result)
    assert result["content"][0]["text"].startswith("internal: ")
    assert result["structuredContent"]["request_id"] == "r1"
    missing = errors.Internal("password = hunter2", call="a")
    result = await called(speak, version, returns({}, missing))
    assert "hunter2" not in json.dumps(result)


@ERAS
async def test_lines_are_bounded(speak: Any, version: str) -> None:
    result = await called(speak, version, fails(errors.BadReply("x" * 10_000)))
    assert len(result["content"][0]["text"]) == 2000
    result = await called(speak, version, returns({}, errors.BadReply("x" * 10_000, call="a")))
    assert len(result["content"][1]["text"]) == 2000


@ERAS
async def test_an_unknown_tool_is_the_protocols_error(speak: Any, version: str) -> None:
    response = await speak(mcp(ScriptedFront()), "tools/call", {"name": "x" * 1000})
    assert response.error == {"code": -32602, "message": f"Unknown tool: {'x' * 128}"}


@ERAS
async def test_arguments_and_headers_arrive(speak: Any, version: str) -> None:
    front = ScriptedFront({"t": returns({})})
    params = {"name": "t", "arguments": {"id": 1, "deep": [{}]}}
    headers = {"authorization": "Bearer a", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    await speak(mcp(front), "tools/call", params, headers=headers)
    (request,) = front.requests
    assert request.name == "t"
    assert request.arguments == {"id": 1, "deep": [{}]}
    assert request.context.headers["authorization"] == "Bearer a"
    assert request.context.trace.trace_id == "a" * 32


BUDGETS: list[tuple[dict[str, str], Any, float]] = [
    ({}, None, 10.0),  # the server's deadline
    ({"x-request-timeout-ms": "1500"}, None, 1.5),
    ({"grpc-timeout": "2S"}, None, 2.0),
    ({"x-envoy-expected-rq-timeout-ms": "700"}, None, 0.7),
    ({}, 250, 0.25),
    ({}, "250", 0.25),
    ({}, 0, 0.0),
    ({"x-request-timeout-ms": "1500"}, 250, 0.25),
    ({"x-request-timeout-ms": "100", "grpc-timeout": "2S"}, 250, 0.1),
]


@ERAS
@pytest.mark.parametrize(("headers", "meta", "budget"), BUDGETS)
async def test_the_smallest_budget_wins(
    speak: Any, version: str, headers: dict[str, str], meta: Any, budget: float
) -> None:
    front = ScriptedFront({"t": returns({})})
    envelope = ENVELOPE if speak is modern else {}
    named = {} if meta is None else {"gateway/timeoutMs": meta}
    params = {"name": "t", "_meta": {**envelope, **named}}
    assert (await speak(mcp(front), "tools/call", params, headers=headers)).result
    assert front.budgets == [pytest.approx(budget, abs=0.1)]


@ERAS
@pytest.mark.parametrize("value", ["", "1.5", "-1", "soon", 1.5, -1, True, None, [], {}])
async def test_a_malformed_budget_is_refused(speak: Any, version: str, value: Any) -> None:
    front = ScriptedFront({"t": returns({})})
    envelope = ENVELOPE if speak is modern else {}
    params = {"name": "t", "_meta": {**envelope, "gateway/timeoutMs": value}}
    response = await speak(mcp(front), "tools/call", params)
    assert response.error["code"] == -32602
    assert "gateway/timeoutMs" in response.error["message"]
    assert response.status == (400 if speak is modern else 200)
    if isinstance(value, str):
        headers = {"x-request-timeout-ms": value}
        response = await speak(mcp(front), "tools/call", {"name": "t"}, headers=headers)
        assert (response.status, response.error["code"]) == (400, -32602)
    assert front.requests == []
