"""Pieces of replies as MCP's progress: what clients are told, and that it always grows."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gateway.app import create_app
from gateway.core.messages import Chunk, Log, Progress, Reply, Request
from gateway.core.service import Emit, discard
from gateway.testing import ScriptedService
from tests.apps import driven, get
from tests.inbound.taker import McpTaker, telling

LEVEL = "io.modelcontextprotocol/logLevel"


async def called(services: Any, *, taker: Any = None, **options: Any) -> McpTaker:
    calls = {name: get(name) for name in services}
    async with driven(calls, services, **options) as gateway:
        client = McpTaker(gateway.app, **(taker or {}))
        await client()
    assert gateway.app.in_flight == 0
    return client


def said(client: McpTaker) -> list[tuple[float, float | None, str | None]]:
    """Each note; that they grow is held here."""
    notes = client.notes
    assert all(note["progressToken"] == 7 for note in notes)
    measures = [note["progress"] for note in notes]
    assert measures == sorted(set(measures))
    return [(note["progress"], note.get("total"), note.get("message")) for note in notes]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("text\nas it is", "text\nas it is"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        ("7", "7"),
        (7, "7"),
        ("é".encode(), "é"),
        (b"\xff", '{"base64":"/w=="}'),
        ("x" * 3000, "x" * 1999 + "…"),
        ("x" * 2000, "x" * 2000),
    ],
)
async def test_a_piece_is_a_message(data: Any, message: str) -> None:
    client = await called({"a": telling(Chunk(data), Chunk("last"))})
    assert said(client) == [(1, None, message), (2, None, "last")]
    assert client.result["structuredContent"] == {"a": "done"}


async def test_a_call_of_its_own_measure_goes_on_growing() -> None:
    partials = (Progress(2.5, 10, "begun"), Chunk("x"), Progress(5, 10), Progress(6), Chunk("y"))
    client = await called({"a": telling(*partials)})
    assert said(client) == [
        (2.5, 10, "begun"),
        (3.5, None, "x"),
        (4.5, None, "5 of 10"),
        (5.5, None, None),
        (6.5, None, "y"),
    ]


async def test_its_own_measure_is_kept_where_there_are_no_pieces() -> None:
    client = await called({"a": telling(Progress(0.1, 1), Progress(1, 1, "done"))})
    assert said(client) == [(0.1, 1, None), (1, 1, "done")]


async def test_several_calls_are_told_apart(autojump_clock: MockClock) -> None:
    services = {
        "a": telling(Chunk("x"), Progress(1, 2), Chunk("y"), every_s=1),
        "b": ScriptedService().reply(1, after_s=0.5),
    }
    client = await called(services)
    assert said(client) == [
        (1, 2, "b: ok"),
        (2, None, "a: x"),
        (3, None, "a: y"),  # its own progress has no measure in common with the other's
        (4, None, "2 of 2: a: ok"),
    ]


async def test_the_output_hides_what_it_leaves_out() -> None:
    services = {"a": telling(Chunk("t0ps3cret"), value={"name": "Ann"}), "b": telling(Chunk("b"))}
    client = await called(services, output={"name": "a.name", "b": "b"})
    assert [message for _, _, message in said(client) if "b: b" in str(message)]
    assert "t0ps3cret" not in repr(client.events)


async def test_log_messages_of_several_calls_are_told() -> None:
    services = {"a": telling(Log("error", "x")), "b": telling(Log("debug", "y"), Log("info", "z"))}
    client = await called(services, taker={"meta": {LEVEL: "info"}})
    assert sorted(note["data"] for note in client.notes) == ["x", "z"]


@pytest.mark.parametrize("meta", [{}, {"progressToken": [7]}])
async def test_who_wants_no_progress_costs_none(meta: dict[str, Any]) -> None:
    emits: list[Emit] = []

    async def serve(_request: Request, emit: Emit, /) -> Reply:
        await trio.lowlevel.checkpoint()
        emits.append(emit)
        return Reply(1)

    client = await called({"a": serve, "b": serve}, taker={"meta": meta})
    assert client.headers["content-type"] == "application/json"
    assert emits == [discard] * 2


async def test_a_client_that_wants_logs_alone_has_no_pieces() -> None:
    client = await called({"a": telling(Chunk(1))}, taker={"meta": {LEVEL: "info"}})
    assert client.headers["content-type"] == "application/json"


async def test_a_tool_that_was_searched_for_tells_too(autojump_clock: MockClock) -> None:
    config = {
        "services": {"s": {"kind": "http", "url": "http://api.test"}},
        "tools": {"t": {"calls": {"a": get(), "b": get()}}},
        "mcp": {"tools": "search"},
    }
    app = create_app(config, services={"s": telling(Chunk("x"))})
    async with app.running():
        client = McpTaker(app, name="call_tool", arguments={"name": "t"})
        await client()
    assert {message for _, _, message in said(client)} >= {"a: x", "b: x"}
    assert client.result["isError"] is False


async def test_a_slow_reader_holds_the_call_back(autojump_clock: MockClock) -> None:
    made: list[int] = []

    async def serve(_request: Request, emit: Emit, /) -> Reply:
        for number in range(5):
            made.append(number)
            await emit(Chunk(number))
        return Reply(1)

    async with driven({"a": get("a")}, {"a": serve}) as gateway:
        client = McpTaker(gateway.app, reads=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client)
            await trio.sleep(1)
            assert made == [0, 1]
            client.reading.set()
    assert [message for _, _, message in said(client)] == ["0", "1", "2", "3", "4"]


async def test_who_asked_for_notes_and_hears_none_hears_beats(autojump_clock: MockClock) -> None:
    service = ScriptedService().reply(1, after_s=20)
    client = await called({"a": service}, server={"deadline": "60s"})
    assert client.beats == pytest.approx([15])
    assert client.result["structuredContent"] == {"a": 1}


async def test_the_budget_of_who_does_not_read_cuts_no_message(autojump_clock: MockClock) -> None:
    async def serve(_request: Request, emit: Emit, /) -> Reply:
        while True:
            await emit(Chunk("x"))

    async with driven({"a": get("a")}, {"a": serve}) as gateway:
        meta = {"progressToken": 7, "gateway/timeoutMs": 1000}
        client = McpTaker(gateway.app, meta=meta, reads=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client)
            await trio.sleep(5)
            assert gateway.app.in_flight == 0
            client.reading.set()
    assert said(client) == [(1, None, "x")]
    assert client.result["structuredContent"]["code"] == "deadline_exceeded"
