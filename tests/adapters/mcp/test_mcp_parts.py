"""What needs no I/O: events, lines, what is offered."""

from __future__ import annotations

import itertools
import json
import logging
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from gateway.adapters.mcp.channel import LineReader, TooLong
from gateway.adapters.mcp.messages import Asked, Response, Told, read
from gateway.adapters.mcp.offer import Found, Names, Offer
from gateway.adapters.mcp.results import Errors
from gateway.adapters.mcp.said import Said
from gateway.adapters.mcp.sse import EventReader
from gateway.config.fields import Secret
from gateway.core.errors import BadReply
from gateway.core.mcp import header_text
from gateway.net.process import inherited
from tests.mcp_server import tool

STREAM = b"""\xef\xbb\xbf: hello
event: message
data: one

data:two
data: more
id: 7

event: other
data: left out

id: 8
data

retry: 5
data: \xc3\xa4
event:

"""
FOUND = [b"one", b"two\nmore", b"\xc3\xa4"]


@given(
    ends=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    cuts=st.lists(st.integers(0, len(STREAM) * 2), max_size=20),
)
def test_events_are_found_however_they_come(ends: bytes, cuts: list[int]) -> None:
    stream = STREAM.replace(b"\n", ends)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reader = EventReader(1000)
    found = []
    for start, end in itertools.pairwise(places):
        found += reader.feed(stream[start:end])
    assert found == FOUND
    assert (reader.last_id, reader.retry_s) == ("8", 0.005)


@pytest.mark.parametrize("piece", [b"data: xxxx\n", b"data: xxxx", b": xxxx\n"])
def test_an_event_has_a_bound(piece: bytes) -> None:
    reader = EventReader(100)
    while reader._size + reader._rest + len(piece) <= 100:
        assert not reader.feed(piece)
    with pytest.raises(BadReply, match="over 100 bytes"):
        reader.feed(piece)
    reader = EventReader(100)
    with pytest.raises(BadReply, match="over 100 bytes"):
        reader.feed(piece * 20 + b"\n\n\n")


@given(st.lists(st.integers(0, 60), max_size=10))
def test_lines_are_found_however_they_come(cuts: list[int]) -> None:
    data = b"one\n\n  \r\ntwo\r\n" + b"x" * 30 + b"\nthree\n"
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    reader = LineReader(20)
    found = []
    for start, end in itertools.pairwise(places):
        found += reader.feed(data[start:end])
    assert found == [b"one", b"two\r", TooLong(b"x" * 30), b"three"]


def test_of_a_line_that_never_ends_little_is_kept() -> None:
    reader = LineReader(1000)
    for _ in range(1000):
        assert not reader.feed(b"x" * 1000)
    assert sum(len(part) for part in reader._parts) <= 1000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'"x"',
        b"[1]",
        b'{"id": 1, "result": {}}',
        b'{"jsonrpc": "2.0", "id": 1}',
        b'{"jsonrpc": "2.0", "id": 1, "result": []}',
        b'{"jsonrpc": "2.0", "id": [], "method": "x"}',
        b'{"jsonrpc": "2.0", "id": true, "method": "x"}',
        b"[" * 300 + b"]" * 300,
        json.dumps([{"jsonrpc": "2.0", "method": "x"}] * 101).encode(),
    ],
)
def test_what_is_no_message_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(BadReply):
        read(data)


def test_messages_are_told_apart() -> None:
    assert read(b'{"jsonrpc":"2.0","id":1,"result":{"x":[]}}') == [Response(1, {"x": []})]
    assert read(b'{"jsonrpc":"2.0","id":"a","method":"m"}') == [Asked("a", "m", {})]
    assert read(b'{"jsonrpc":"2.0","method":"m","params":{"a":1}}') == [Told("m", {"a": 1})]
    [response] = read(b'{"jsonrpc":"2.0","id":null,"error":{"code":"x"}}')
    assert isinstance(response, Response)
    assert response.error is not None
    assert (response.error.code, response.error.message) == (0, "")


# ------------------------------------------------------------------ what is offered


def offered(items: list[Any], name: Any = "tools", **names: Any) -> Offer:
    found = Found(name)
    for item in items:
        found.take(item)
    return found.offered(Names(**names))


def names(offer: Offer) -> list[str]:
    return [item["name"] for item in offer.items]


def test_names_are_chosen_and_changed() -> None:
    tools = [tool(name, x=1) for name in ("get_a", "get_b", "search_code", "drop")]
    offer = offered(
        tools,
        prefix="gh_",
        allow=("get_*", "search_*"),
        deny=("*_b",),
        rename={"search_code": "find"},
    )
    assert names(offer) == ["gh_get_a", "gh_find"]
    assert offer.own == {"gh_get_a": "get_a", "gh_find": "search_code"}
    assert offer.items[0]["x"] == 1
    assert offer.hidden == {"get_b", "drop"}


def test_two_of_one_name_are_offered_as_neither() -> None:
    offer = offered([tool("a"), tool("b"), tool("c")], prefix="p_", rename={"a": "b"})
    assert names(offer) == ["p_c"]
    assert offer.clashes == ("p_b would be the name of a and of b",)


def test_resources_keep_their_uri() -> None:
    items = [{"name": "x", "uri": "a://x"}, {"name": "y", "uri": "a://y"}]
    offer = offered(items, "resources", prefix="p_", deny=("y",))
    assert offer.items == ({"name": "x", "uri": "a://x"},)
    assert offer.hidden == {"a://y"}


def marked(schema: Any) -> dict[str, Any]:
    return tool("x", inputSchema=schema)


def text(**more: Any) -> dict[str, Any]:
    return {"type": "string", **more}


def deep(levels: int) -> Any:
    schema: Any = {}
    for _ in range(levels):
        schema = {"properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        (7, "no object"),
        ({}, "without name"),
        ({"name": ""}, "without name"),
        ({"name": "x"}, "x: its inputSchema is no object"),
        (tool("x" * 257), "over 256 characters"),
        (tool("x", description="y" * 300_000), "x: over 262144 bytes"),
        (marked(deep(40)), "nested deeper than 64"),
        (marked({"properties": {"a": text(**{"x-mcp-header": "a b"})}}), "name of a header"),
        (marked({"properties": {"a": {"type": "number", "x-mcp-header": "A"}}}), "A is no text"),
        (
            marked({"properties": {k: text(**{"x-mcp-header": k}) for k in ("a", "A")}}),
            "is given twice",
        ),
        (marked({"x-mcp-header": "A"}), "cannot be told"),
        (marked({"items": {"properties": {"a": text(**{"x-mcp-header": "A"})}}}), "cannot be told"),
        (marked({"anyOf": [{"properties": {"a": text(**{"x-mcp-header": "A"})}}]}), "cannot be"),
    ],
)
def test_what_cannot_be_offered_costs_the_others_nothing(item: Any, problem: str) -> None:
    offer = offered([tool("before"), item, tool("after")])
    assert names(offer) == ["before", "after"]
    [said] = offer.problems
    assert problem in said


def test_a_mark_among_data_is_none() -> None:
    schema = {"properties": {"x-mcp-header": text(), "a": text(default={"x-mcp-header": 1})}}
    assert names(offered([marked(schema)])) == ["x"]


def test_a_list_has_a_bound() -> None:
    with pytest.raises(BadReply, match="more tools than 10000"):
        offered([tool("x")] * 10_001)


# ------------------------------------------------------------------ secrets, headers


def test_secrets_are_not_shown() -> None:
    errors = Errors("s", [Secret("Bearer s3cret-token"), "plain"])
    assert errors.shown(" it said s3cret-token, plain ") == "it said ***, plain"
    assert errors.shown("x" * 490 + "s3cret-token").endswith("x***")


async def test_so_many_lines_a_second_are_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    say = Said("s", Errors("s", [Secret("s3cret")]))
    for number in range(300):
        say(f"line {number} s3cret\x1b" + "x" * 5000)
    await trio.sleep(1)
    say("last")
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith("s: line 0 *** xxx")
    assert len(said[0]) == 2003
    assert len(said) == 102
    assert said[-2:] == ["s: 200 lines left out", "s: last"]


@pytest.mark.parametrize(
    ("value", "header"),
    [
        ("us-west1", "us-west1"),
        ("", ""),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
    ],
)
def test_headers_carry_any_text(value: str, header: str) -> None:
    """The specification's own examples."""
    assert header_text(value) == header


def test_programs_are_given_no_secrets_of_ours() -> None:
    ours = {"PATH": "/bin", "LC_ALL": "C", "AWS_SECRET_ACCESS_KEY": "x", "GITHUB_TOKEN": "y"}
    assert inherited(ours) == {"PATH": "/bin", "LC_ALL": "C"}
