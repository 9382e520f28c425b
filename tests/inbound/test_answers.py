"""Answers are encoded once, for every protocol, within what telemetry books."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.errors import BadReply, Unreachable
from gateway.core.messages import Reply
from gateway.testing import ScriptedService
from tests.apps import driven, get

CALLS = {"a": {"service": "s", "post": "/", "json": {"bad": "{bad}"}}}
INPUT = {"properties": {"bad": "boolean"}}


def moody() -> ScriptedService:
    """A service whose reply has no JSON form where the call says so."""
    return ScriptedService().reply(
        lambda request: object() if request.arguments["json"]["bad"] else {"fine": True}
    )


def message(number: int, *, bad: bool) -> dict[str, Any]:
    params = {"name": "t", "arguments": {"bad": bad}}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


async def test_an_answer_without_a_json_form_is_booked_as_a_bad_reply() -> None:
    async with driven(CALLS, {"s": moody()}, input=INPUT) as made:
        answer = await made.post(bad=True)
        assert (answer.status, answer.json()["code"]) == (502, "bad_reply")
        assert (made.events.last.outcome, made.events.last.code) == ("error", "bad_reply")
        result = (await made.client.request("POST", "/mcp", json=message(1, bad=True))).json()
        assert result["result"]["isError"]
        assert result["result"]["structuredContent"]["code"] == "bad_reply"
        assert made.events.last.code == "bad_reply"


async def test_one_bad_answer_costs_a_batch_no_other() -> None:
    async with driven(CALLS, {"s": moody()}, input=INPUT) as made:
        batch = [message(number, bad=number == 3) for number in range(6)]
        answer = await made.client.request("POST", "/mcp", json=batch)
        results = {one["id"]: one["result"]["isError"] for one in answer.json()}
    assert results == {number: number == 3 for number in range(6)}


async def test_both_protocols_send_the_same_bytes() -> None:
    async with driven({"a": get()}, {"s": ScriptedService().reply({"x": "é"})}) as made:
        over_http = await made.post()
        over_mcp = await made.client.request("POST", "/mcp", json=message(1, bad=False))
        result = over_mcp.json()["result"]
    assert result["content"][0]["text"].encode() == over_http.body
    assert result["structuredContent"] == over_http.json() == {"a": {"x": "é"}}


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ({"a": 1}, b'{"a":1,"_errors":[%s]}'),
        ({"_errors": ["inner"], "a": 1}, b'{"a":1,"_errors":[%s]}'),
        ([1], b"[1]"),
        (None, b"null"),
    ],
)
def test_what_is_missing_stands_last(value: Any, encoded: bytes) -> None:
    problem = (
        b'{"type":"about:blank","title":"Service unreachable","status":502,'
        b'"code":"unreachable","detail":"refused","call":"b"}'
    )
    sealed = Reply(value, missing=(Unreachable("refused", call="b"),)).sealed()
    assert sealed.value == value
    assert sealed.encoded == (encoded % problem if b"%s" in encoded else encoded)


def test_what_nests_for_ever_has_no_json_form() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(BadReply, match="no JSON form"):
        Reply(value).sealed()
