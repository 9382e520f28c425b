"""Tools over HTTP as event streams: who gets one, what is in it, how it ends."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway.core.content import Text
from gateway.core.errors import GatewayError, Overloaded, Rejected, Unreachable
from gateway.core.messages import Chunk, Log, Progress, Reply, Request
from gateway.core.service import Emit, discard
from gateway.testing import ScriptedService
from tests.apps import driven, get
from tests.inbound.taker import Taker, telling

TICKS = telling(Chunk(1), Chunk({"n": 2}), value=[1, {"n": 2}])
ONE: dict[str, Any] = {"calls": {"a": get()}, "services": {"s": TICKS}, "output": "a"}


async def taken(
    calls: Any = None, services: Any = None, *, taker: Any = None, **options: Any
) -> Taker:
    """What a client takes of the tool `t`; by default that of one call."""
    if calls is None:
        calls, services = ONE["calls"], services or ONE["services"]
        options.setdefault("output", "a")
    async with driven(calls, services, **options) as gateway:
        client = await Taker(gateway.app, **(taker or {}))()
        await wait_all_tasks_blocked()
        assert gateway.app.in_flight == 0
    gateway.events.assert_balanced()
    return client


# ------------------------------------------------------------------ who gets one


@pytest.mark.parametrize(
    ("accept", "streams"),
    [
        (None, False),
        ("*/*", False),
        ("application/json", False),
        ("text/html", False),
        ("text/event-stream", True),
        ("text/*", True),
        ("application/json, text/event-stream", False),
        ("text/event-stream, application/json;q=0.9", True),
        ("text/event-stream;q=0.5, application/json;q=0.9", False),
        ("text/event-stream, */*;q=0.1", True),
        ("text/event-stream, */*", False),
        ("text/event-stream;q=0", False),
        ("text/event-stream;q=0, */*", False),
    ],
)
async def test_who_would_rather_have_events_gets_them(accept: str | None, streams: bool) -> None:
    client = await taken(taker={"accept": accept})
    assert client.status == 200
    if streams:
        assert client.told[-1] == ("answer", [1, {"n": 2}])
        return
    assert client.headers["content-type"] == "application/json"
    assert client.rest == b'[1,{"n":2}]'


async def test_who_gets_json_takes_the_shortest_way() -> None:
    emits: list[Emit] = []

    async def serve(_request: Request, emit: Emit, /) -> Reply:
        await trio.lowlevel.checkpoint()
        emits.append(emit)
        return Reply(1)

    for accept in (None, "application/json", "*/*"):
        await taken(services={"s": serve}, taker={"accept": accept})
    assert emits == [discard] * 3


@pytest.mark.parametrize(
    ("method", "target"), [("POST", "/tools/t"), ("GET", "/things/7"), ("HEAD", "/things/7")]
)
async def test_every_route_of_a_tool_streams(method: str, target: str) -> None:
    client = await taken(
        http="GET /things/{id}",
        input={"properties": {"id": "integer"}},
        taker={"method": method, "target": target, "x_request_id": "r7"},
    )
    assert client.headers == {
        "content-type": "text/event-stream",
        "cache-control": "no-cache, no-transform",
        "x-accel-buffering": "no",
        "x-request-id": "r7",
    }
    assert client.answer == [1, {"n": 2}]


async def test_the_document_is_json_for_all() -> None:
    client = await taken(taker={"method": "GET", "target": "/openapi.json"})
    assert client.headers["content-type"] == "application/json"


# ------------------------------------------------------------------ what is in it


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("text\nof two lines", "text\nof two lines"),
        ({"a": [1, None]}, {"a": [1, None]}),
        (None, None),
        ("é".encode(), "é"),
        (b"\xff\x00", {"base64": "/wA="}),
        ({"in": b"\xff"}, {"in": "/w=="}),
    ],
)
async def test_a_piece_is_json(data: Any, value: Any) -> None:
    client = await taken(services={"s": telling(Chunk(data))})
    assert client.told[0] == ("chunk", {"call": "a", "value": value})


async def test_a_piece_without_a_json_form_is_a_bad_reply() -> None:
    for partial in (Chunk(object()), Log("info", object()), Progress(1, message="\ud800")):
        client = await taken(services={"s": telling(Chunk(1), partial)})
        assert client.told[0] == ("chunk", {"call": "a", "value": 1})
        assert (client.error["code"], client.error["call"]) == ("bad_reply", "a")


async def test_notes_and_log_messages_are_events() -> None:
    client = await taken(
        services={
            "s": telling(
                Progress(0.5), Progress(1, 2, "half"), Log("debug", [1], "db"), Log("x", None)
            )
        }
    )
    assert client.told == [
        ("progress", {"call": "a", "progress": 0.5}),
        ("progress", {"call": "a", "progress": 1, "total": 2, "message": "half"}),
        ("log", {"call": "a", "level": "debug", "logger": "db", "data": [1]}),
        ("log", {"call": "a", "level": "x", "data": None}),
        ("answer", "done"),
    ]


async def test_several_calls_are_told_apart(autojump_clock: MockClock) -> None:
    client = await taken(
        {"a": get("a"), "b": get("b", optional=True), "c": get("c", "/{a}", optional=True)},
        {
            "a": telling(Chunk("a1"), Chunk("a2"), value="A", every_s=1),
            "b": ScriptedService().fail(Unreachable("gone"), after_s=1.5),
            "c": telling(Chunk("c1"), value={"c": 3}, every_s=1),
        },
    )
    problem = {
        "type": "about:blank",
        "title": "Service unreachable",
        "status": 502,
        "code": "unreachable",
        "detail": "gone",
        "call": "b",
        "service": "b",
    }
    assert [(round(event.at_s, 3), event.name, event.data) for event in client.events] == [
        (1, "chunk", {"call": "a", "value": "a1"}),
        (1.5, "branch", {"call": "b", "service": "b", "outcome": "error", "problem": problem}),
        (2, "chunk", {"call": "a", "value": "a2"}),
        (2, "branch", {"call": "a", "service": "a", "outcome": "ok", "value": "A"}),
        (3, "chunk", {"call": "c", "value": "c1"}),
        (3, "branch", {"call": "c", "service": "c", "outcome": "ok", "value": {"c": 3}}),
        (3, "partial", [problem]),
        (3, "answer", {"a": "A", "b": None, "c": {"c": 3}, "_errors": [problem]}),
    ]


async def test_content_is_its_plain_json() -> None:
    async def say(_request: Request, emit: Emit, /) -> Reply:
        await emit(Chunk({"a": 1}))
        return Reply([Text("x")])

    client = await taken({"a": get("a"), "b": get("b")}, {"a": say, "b": telling(value=1)})
    branches = {data["call"]: data["value"] for data in client.of("branch")}
    assert branches["a"] == [{"type": "text", "text": "x"}] == client.answer["a"]


async def test_the_output_hides_what_it_leaves_out() -> None:
    secret = telling(Chunk("t0ps3cret"), Progress(1), value={"name": "Ann", "token": "t0ps3cret"})
    calls = {"a": get("a"), "b": get("b")}
    services = {"a": secret, "b": telling(Chunk(1), value=[1])}
    client = await taken(calls, services, output={"name": "a.name", "list": "b"})
    assert client.answer == {"name": "Ann", "list": [1]}
    assert client.pieces == [1]
    assert list(client.of("progress")) == [{"call": "a", "progress": 1}]
    branches = {data["call"]: data for data in client.of("branch")}
    assert branches["a"] == {"call": "a", "service": "a", "outcome": "ok"}
    assert branches["b"]["value"] == [1]
    assert "t0ps3cret" not in repr(client.events)


async def test_a_call_that_is_passed_on_as_it_came_is_a_branch() -> None:
    """JSON as it came, which nothing decoded."""
    raw = telling(value=msgspec.Raw(b'{"x": [1]}'))
    client = await taken({"a": get("a"), "b": get("b")}, {"a": raw, "b": raw})
    assert {data["call"]: data["value"] for data in client.of("branch")} == client.answer


# ------------------------------------------------------------------ how it ends


@pytest.mark.parametrize(
    ("error", "status"), [(Unreachable("x"), 502), (Rejected("x", service_status=404), 404)]
)
async def test_a_failure_before_any_event_is_a_problem(error: GatewayError, status: int) -> None:
    failing, hanging = ScriptedService().fail(error), ScriptedService().hang()
    for services in ({"a": failing}, {"a": failing, "b": hanging}):
        client = await taken({name: get(name) for name in services}, services)
        assert client.status == status
        assert client.headers["content-type"] == "application/problem+json"
        assert not client.events


@pytest.mark.parametrize(
    ("taker", "status"),
    [
        ({"body": {"n": "x"}}, 422),
        ({"body": [1]}, 400),
        ({"target": "/tools/none"}, 404),
        ({"method": "GET"}, 405),
        ({"x_request_timeout_ms": "0"}, 504),
    ],
)
async def test_a_refusal_is_a_problem(taker: dict[str, Any], status: int) -> None:
    client = await taken(taker=taker, input={"properties": {"n": "integer"}})
    assert (client.status, client.headers["content-type"]) == (status, "application/problem+json")


async def test_a_failure_after_an_event_is_the_last_one() -> None:
    async def serve(_request: Request, emit: Emit, /) -> Reply:
        await emit(Chunk(1))
        raise Overloaded("too much", retry_after_s=2)

    client = await taken(services={"s": serve}, taker={"x_request_id": "r7"})
    assert client.status == 200
    assert client.pieces == [1]
    assert client.error == {
        "type": "about:blank",
        "title": "Overloaded",
        "status": 503,
        "code": "overloaded",
        "detail": "too much",
        "retry_after_s": 2,
        "request_id": "r7",
        "call": "a",
        "service": "s",
    }


async def test_the_call_that_decides_is_told_by_the_error_alone(autojump_clock: MockClock) -> None:
    services = {
        "a": ScriptedService().reply(1),
        "b": ScriptedService().fail(Unreachable("x"), after_s=1),
    }
    client = await taken({"a": get("a"), "b": get("b")}, services)
    assert [event.name for event in client.events] == ["branch", "error"]
    assert client.error["call"] == "b"


async def test_a_bug_is_not_shown() -> None:
    async def serve(_request: Request, emit: Emit, /) -> Reply:
        await emit(Chunk(1))
        raise RuntimeError("the password is swordfish")

    client = await taken(services={"s": serve})
    assert (client.error["code"], client.error["status"]) == ("internal", 500)
    assert "swordfish" not in repr(client.events)


@pytest.mark.parametrize("optional", [True, False])
async def test_the_budget_ends_it_in_time(autojump_clock: MockClock, optional: bool) -> None:
    ticking = telling(*map(Chunk, range(100)), every_s=0.3)
    client = await taken(
        {"a": get("a", optional=optional)},
        {"a": ticking},
        output="a",
        taker={"x_request_timeout_ms": "1000"},
    )
    assert client.pieces == [0, 1, 2]
    last = client.events[-1]
    assert last.at_s == pytest.approx(1)
    if optional:
        assert client.answer is None  # no object: `partial` says what the header would
        ((missing,),) = client.of("partial")
        assert (missing["code"], missing["call"]) == ("deadline_exceeded", "a")
    else:
        assert (client.error["code"], client.error["call"]) == ("deadline_exceeded", "a")


async def test_a_list_that_was_cut_is_never_taken_for_whole() -> None:
    async def cut(_request: Request, emit: Emit, /) -> Reply:
        await emit(Chunk(1))
        return Reply([1], missing=(Unreachable("all after item 1 is missing"),))

    client = await taken(services={"s": cut})
    assert client.answer == [1]
    assert [name for name, _ in client.told] == ["chunk", "partial", "answer"]


async def test_who_is_silent_beats(autojump_clock: MockClock) -> None:
    server = {"deadline": "60s"}
    client = await taken(services={"s": ScriptedService().reply(1, after_s=40)}, server=server)
    assert client.beats == pytest.approx([15, 30])
    assert client.answer == 1
    failed = ScriptedService().fail(Unreachable("x"), after_s=20)
    client = await taken(services={"s": failed}, server=server)
    assert (client.status, client.beats) == (200, pytest.approx([15]))
    assert client.error["code"] == "unreachable"


# ------------------------------------------------------------------ who does not read, who leaves


async def test_a_slow_reader_holds_the_call_back(autojump_clock: MockClock) -> None:
    made: list[int] = []

    async def serve(_request: Request, emit: Emit, /) -> Reply:
        for number in range(10):
            made.append(number)
            await emit(Chunk(number))
        return Reply("done")

    async with driven(ONE["calls"], {"s": serve}, output="a") as gateway:
        client = Taker(gateway.app, reads=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client)
            await trio.sleep(5)
            # One is on its way, the next one waits for its turn.
            assert made == [0, 1]
            client.reading.set()
    assert client.pieces == list(range(10))
    assert client.answer == "done"


async def test_the_budget_of_who_does_not_read_ends_his_calls(autojump_clock: MockClock) -> None:
    """His answer waits until he reads; what he asked for does not."""
    ended: list[float] = []

    async def serve(_request: Request, emit: Emit, /) -> Reply:
        try:
            while True:
                await emit(Chunk("x"))
        finally:
            ended.append(trio.current_time() - start)

    async with driven(ONE["calls"], {"s": serve}, output="a") as gateway:
        client = Taker(gateway.app, reads=False, x_request_timeout_ms="1000")
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client)
            await trio.sleep(5)
            assert ended == pytest.approx([1])
            client.reading.set()
    # What was under way is whole, and the end of it is told.
    assert client.pieces == ["x"]
    assert client.error["code"] == "deadline_exceeded"


@pytest.mark.parametrize("reads", [True, False])
async def test_leaving_ends_every_call_at_once(autojump_clock: MockClock, reads: bool) -> None:
    hanging = ScriptedService().hang()

    async def serve(_request: Request, emit: Emit, /) -> Reply:
        for number in range(1000):
            await emit(Chunk(number))
        await trio.sleep_forever()
        raise AssertionError

    calls = {"a": get("a"), "b": get("b")}
    async with driven(calls, {"a": serve, "b": hanging}) as gateway:
        client = Taker(gateway.app, reads=reads)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client)
            await trio.sleep(1)
            assert gateway.app.in_flight == 1
            left_at = trio.current_time()
            client.leaving.set()
        assert trio.current_time() == left_at
        assert (gateway.app.in_flight, hanging.cancelled) == (0, 1)
    assert not client.is_whole
    assert gateway.events.last.outcome == "client_left"
    gateway.events.assert_balanced()


async def test_who_cannot_be_told_has_left(autojump_clock: MockClock) -> None:
    """Its server says so by `send` alone, as ours does of a client that does not read for long."""

    async def serve(_request: Request, emit: Emit, /) -> Reply:
        while True:
            await emit(Chunk("x"))
            await trio.sleep(1)

    class Deaf(Taker):
        async def _send(self, message: Any) -> None:
            await trio.sleep(0.6)
            if self.events:
                raise OSError
            await super()._send(message)

    async with driven(ONE["calls"], {"s": serve}, output="a") as gateway:
        client = await Deaf(gateway.app)()
        assert gateway.app.in_flight == 0
    assert not client.is_whole
    assert gateway.events.last.outcome == "client_left"


async def test_a_drain_ends_it_in_order(autojump_clock: MockClock) -> None:
    ticking = telling(*map(Chunk, range(100)), every_s=1)
    async with driven(ONE["calls"], {"s": ticking}, output="a") as gateway:
        client = Taker(gateway.app)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client)
            await client.came.wait()
            gateway.app.begin_drain(2.5)
    assert client.error["code"] == "deadline_exceeded"
    assert client.events[-1].at_s == pytest.approx(3.5)
