"""Generators of `kind = "python"`: each item goes out as it comes, all of them are the reply."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gateway.adapters.python.items import MAX_ITEMS
from gateway.app import Gateway, create_app
from gateway.core.errors import BadReply, GatewayError
from gateway.core.messages import Chunk, Partial, Request
from gateway.telemetry.events import AbandonedThreadEnded, ThreadAbandoned
from tests.adapters import functions
from tests.adapters.functions import CLOSED, GATES, Gate
from tests.apps import Events, request

BOTH = pytest.mark.parametrize("ending", ["", "_async"])


@asynccontextmanager
async def opened(
    function: str, arguments: dict[str, Any], events: Events | None = None, **keys: Any
) -> AsyncGenerator[Gateway]:
    call = {"service": "s", "function": function, "arguments": arguments}
    written = {
        "services": {"s": {"kind": "python", "module": functions.__name__, **keys}},
        "tools": {"t": {"output": "a", "calls": {"a": call}}},
    }
    CLOSED.clear()
    app = create_app(written, listeners=[] if events is None else [events.append])
    async with app.running():
        yield app


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = GATES["items"] = Gate()
    yield made
    made.opened.set()


async def until(condition: Any) -> None:
    with trio.fail_after(10):
        while not condition():
            await trio.lowlevel.checkpoint()


class Heard(list[Any]):
    """What went out on the way."""

    async def __call__(self, partial: Partial) -> None:
        if isinstance(partial, Chunk):
            self.append(partial.data)
        await trio.lowlevel.checkpoint()


@BOTH
async def test_items_go_out_as_they_come_and_are_the_reply(ending: str) -> None:
    heard = Heard()
    async with opened(f"count_up{ending}", {"a": 3}) as app:
        assert (await app.call(request(), heard)).value == [1, 2, 3]
    assert heard == [1, 2, 3]
    assert [f"count_up{ending}"] == CLOSED


@BOTH
async def test_whom_nobody_listens_to_has_them_gathered(ending: str) -> None:
    async with opened(f"count_up{ending}", {"a": 3}) as app:
        assert (await app.call(request())).value == [1, 2, 3]


async def test_the_next_item_is_not_made_before_the_last_has_gone_out() -> None:
    made: list[int] = []

    async def slow(partial: Partial) -> None:
        if isinstance(partial, Chunk):
            for _ in range(20):
                await trio.lowlevel.checkpoint()
            made.append(len(counted))

    counted: list[int] = []
    functions.VALUES["counted"] = counted
    async with opened("count_into", {"name": "counted", "a": 4}) as app:
        await app.call(request(), slow)
    assert made == [1, 2, 3, 4]


async def test_all_of_a_blocking_one_runs_in_one_thread() -> None:
    async with opened("thread_names", {"a": 5}) as app:
        names = (await app.call(request(), Heard())).value
    assert len(set(names)) == 1
    assert names[0] != threading.get_ident()


@pytest.mark.parametrize("listening", [True, False])
@BOTH
async def test_what_it_raises_is_one_bare_failure(ending: str, listening: bool) -> None:
    heard = Heard()
    async with opened(f"fail_later{ending}", {"name": "value"}) as app:
        with pytest.raises(BadReply, match=r"raised ValueError$"):
            await app.call(request(), *[heard][:listening])
    assert heard == [1][:listening]


@BOTH
async def test_an_item_without_json_form_is_a_bad_reply(ending: str) -> None:
    async with opened(f"values_of{ending}", {"name": "object"}) as app:
        with pytest.raises(BadReply, match="no JSON form"):
            await app.call(request())


@pytest.mark.parametrize("listening", [True, False])
@BOTH
async def test_all_items_together_are_bounded(ending: str, listening: bool) -> None:
    heard = Heard()
    async with opened(f"without_end{ending}", {}, max_reply="1KiB") as app:
        with pytest.raises(BadReply, match="over 100000 items or 1024 bytes"):
            await app.call(request(), *[heard][:listening])
    assert len(heard) == (10 if listening else 0)


async def test_items_are_bounded_in_number() -> None:
    async with opened("count_up", {"a": MAX_ITEMS + 1}) as app:
        with pytest.raises(BadReply, match=f"over {MAX_ITEMS} items"):
            await app.call(request())


@BOTH
async def test_who_cannot_hear_any_more_ends_it(ending: str) -> None:
    async def broken(partial: Partial) -> None:
        await trio.lowlevel.checkpoint()
        raise BadReply("nobody is there")

    async with opened(f"count_up{ending}", {"a": 3}) as app:
        with pytest.raises(GatewayError, match="nobody is there"):
            await app.call(request(), broken)
        await until(lambda: [f"count_up{ending}"] == CLOSED)


async def test_an_async_one_ends_at_the_deadline(autojump_clock: MockClock) -> None:
    heard = Heard()
    async with opened("forever_items", {}) as app:
        with pytest.raises(GatewayError) as caught:
            await app.call(request(), heard, timeout_s=2)
    assert caught.value.code == "deadline_exceeded"
    assert heard == [1]
    assert trio.current_time() == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("listening", [True, False])
async def test_a_blocking_one_is_abandoned_and_closed_between_two_items(
    gate: Gate, listening: bool
) -> None:
    events = Events()
    async with opened("held_items", {"gate": "items"}, events, threads=1) as app:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(app.call, request(), *[Heard()][:listening])
                await until(lambda: gate.inside == 1)
                scope.cancel()
        assert events.of(ThreadAbandoned) == [ThreadAbandoned("s")]
        gate.opened.set()
        await until(lambda: events.of(AbandonedThreadEnded))


async def test_a_blocking_one_that_waits_for_its_listener_ends_with_it() -> None:
    """The thread waits for what it gave to go out: nobody leaves it waiting."""
    events = Events()

    async def never(partial: Partial) -> None:
        if isinstance(partial, Chunk):
            hears.set()
        await trio.sleep_forever()

    hears = trio.Event()
    async with opened("count_up", {"a": 3}, events) as app:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(app.call, Request("t", {}, request().context), never)
                await hears.wait()
                scope.cancel()
        await until(lambda: CLOSED == ["count_up"])
        await until(lambda: len(events.of(AbandonedThreadEnded)) == len(events.of(ThreadAbandoned)))
