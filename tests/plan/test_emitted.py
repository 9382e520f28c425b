"""What the calls of a plan emit: under whose name it goes out, and what of it clients may see."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gateway.core.messages import Chunk, Log, Progress, Reply
from gateway.core.service import discard
from gateway.testing import ScriptedService
from tests.apps import driven, get, request
from tests.apps import gateway as gateway_of


async def test_what_calls_emit_goes_out_under_their_names(autojump_clock: MockClock) -> None:
    seen: list[Any] = []

    async def emit(partial: Any) -> None:
        seen.append(partial)

    told = (Chunk(1), Progress(0.5), Log("info", "x"))
    service = ScriptedService().reply(1, emit=told)
    async with driven({"only": get()}, {"s": service}) as gateway:
        await gateway.app.call(request(), emit)
    *partials, ended = seen
    assert partials == [
        Chunk(1, "only"),
        Progress(0.5, call="only"),
        Log("info", "x", call="only"),
    ]
    assert (ended.call, ended.outcome) == ("only", "ok")


async def test_several_calls_emit_as_they_come(autojump_clock: MockClock) -> None:
    """The one that waits for another, too."""
    seen: list[Any] = []

    async def emit(partial: Any) -> None:
        seen.append((trio.current_time() - start, partial))

    def ticking(every_s: float) -> Any:
        async def tick(_request: Any, emit: Any, /) -> Reply:
            for number in range(2):
                await trio.sleep(every_s)
                await emit(Chunk(number))
            return Reply("x")

        return tick

    calls = {"a": get("a"), "b": get("b"), "c": get("c", "/{a}")}
    services = {"a": ticking(0.1), "b": ticking(0.15), "c": ticking(0.3)}
    async with driven(calls, services) as gateway:
        start = trio.current_time()
        await gateway.app.call(request(), emit)
    chunks = [(round(at, 3), one.call, one.data) for at, one in seen if isinstance(one, Chunk)]
    assert chunks == [
        (0.1, "a", 0),
        (0.15, "b", 0),
        (0.2, "a", 1),
        (0.3, "b", 1),
        (0.5, "c", 0),
        (0.8, "c", 1),
    ]


async def test_who_takes_no_partial_output_has_calls_that_emit_to_nobody() -> None:
    emits: list[Any] = []

    async def serve(_request: Any, emit: Any, /) -> Reply:
        await trio.lowlevel.checkpoint()
        emits.append(emit)
        return Reply(1)

    async with driven({"a": get("a"), "b": get("b")}, {"a": serve, "b": serve}) as gateway:
        await gateway.call()
    assert emits == [discard] * 2


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (None, {"a", "b-c"}),
        ("a", {"a"}),
        ('"b-c"', {"b-c"}),
        ("a.x", set()),
        ("[a]", set()),
        ("@", set()),
        ("id", set()),
        ({"first": "a", "second": '"b-c" | [0]'}, {"a"}),
        ({"one": " a ", "two": '"b-c"'}, {"a", "b-c"}),
    ],
)
def test_what_an_output_hides_is_told_to_nobody(output: Any, told: set[str]) -> None:
    keys = {} if output is None else {"output": output}
    app = gateway_of({"a": get("s"), "b-c": get("s")}, input={"properties": {"id": {}}}, **keys)
    assert app.tools["t"].plan.told == told
