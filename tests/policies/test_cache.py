"""The cache: good, stale, gone; and never the reply to another question."""

from __future__ import annotations

import datetime as dt
import logging
import math
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway.core.content import Content
from gateway.core.errors import Unreachable
from gateway.core.messages import Context, Progress, Reply, Request
from gateway.core.service import CallFacts, Emit, Service, discard
from gateway.policies.cache import Entries
from gateway.telemetry.events import CacheAsked
from gateway.testing import ScriptedService
from tests.apps import request
from tests.policies.stacks import WRITE, Stack, outcomes_of, stacked


def found(stack: Stack) -> list[str]:
    return [event.found for event in stack.events.of(CacheAsked)]


def counting(after_s: float = 0) -> tuple[ScriptedService, Service]:
    """A service that replies with how many calls there were."""
    inner = ScriptedService()
    inner.reply(lambda _: len(inner.requests), after_s=after_s)
    return inner, inner


async def values(service: Service, times: tuple[float, ...]) -> list[Any]:
    """What it says at each of these times."""
    said = []
    for at in times:
        await trio.sleep_until(at)
        said.append((await service(request(), discard)).value)
        await wait_all_tasks_blocked()
    return said


@pytest.mark.parametrize(
    ("keys", "times", "said", "told"),
    [
        ({"ttl": "10s"}, (0, 1, 9.9), [1, 1, 1], ["miss", "hit", "hit"]),
        ({"ttl": "10s"}, (0, 10, 11), [1, 2, 2], ["miss", "miss", "hit"]),
        (
            {"ttl": "10s", "stale": "1m"},
            (0, 11, 12, 69),
            [1, 1, 2, 2],
            ["miss", "stale", "hit", "stale"],
        ),
        ({"ttl": "10s", "stale": "1m"}, (0, 70), [1, 2], ["miss", "miss"]),
    ],
)
async def test_how_long_a_reply_is_good(
    autojump_clock: MockClock,
    keys: dict[str, str],
    times: tuple[float, ...],
    said: list[int],
    told: list[str],
) -> None:
    async with stacked(cache=keys) as stack:
        assert await values(stack.around(counting()[0]), times) == said
    assert found(stack) == told


async def test_a_stale_reply_is_better_than_a_failure(autojump_clock: MockClock) -> None:
    inner = ScriptedService().reply(1).fail(Unreachable("x"))
    async with stacked(cache={"ttl": "10s", "stale": "1m"}) as stack:
        service = stack.around(inner)
        assert await values(service, (0, 20, 40, 69)) == [1, 1, 1, 1]
        assert len(inner.requests) == 4
        await trio.sleep_until(71)
        with pytest.raises(Unreachable):
            await service(request(), discard)


async def test_of_many_who_find_it_stale_one_fetches_it_anew(autojump_clock: MockClock) -> None:
    inner, service = counting(after_s=1)
    async with stacked(cache={"ttl": "10s", "stale": "1m"}) as stack:
        service = stack.around(inner)
        await service(request(), discard)
        await trio.sleep(20)
        ended = await outcomes_of(1000, 0, lambda _: service(request(), discard))
        assert ended == [(0, "ok")] * 1000
        await trio.sleep(2)
    assert len(inner.requests) == 2


async def test_of_many_who_find_it_gone_one_fetches_it(autojump_clock: MockClock) -> None:
    inner, _ = counting(after_s=1)
    async with stacked(cache={"ttl": "10s"}, coalesce=True) as stack:
        service = stack.around(inner)
        await service(request(), discard)
        await trio.sleep(10)
        await outcomes_of(1000, 0, lambda _: service(request(), discard))
    assert len(inner.requests) == 2


async def test_a_refresh_that_hangs_ends_and_another_may_begin(autojump_clock: MockClock) -> None:
    inner = ScriptedService().reply(1).hang().reply(3)
    async with stacked(cache={"ttl": "10s", "stale": "10m"}) as stack:
        service = stack.around(inner)
        assert await values(service, (0, 20, 49, 51, 52)) == [1, 1, 1, 1, 3]
        assert (inner.active, inner.cancelled) == (0, 1)


@pytest.mark.parametrize("bug", [ValueError("a bug"), SystemExit(3)], ids=repr)
async def test_a_bug_in_a_refresh_is_logged_and_ends_nothing(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, bug: BaseException
) -> None:
    made = 0

    async def inner(_request: Request, _emit: Emit, /) -> Reply:
        nonlocal made
        made += 1
        await trio.lowlevel.checkpoint()
        if made == 2:
            raise bug
        return Reply(made)

    with caplog.at_level(logging.ERROR):
        async with stacked(cache={"ttl": "10s", "stale": "1m"}) as stack:
            assert await values(stack.around(inner), (0, 20, 30, 31)) == [1, 1, 1, 3]
    (record,) = caplog.records
    assert record.msg["event"] == "refresh failed"
    assert record.msg["exc_info"] is bug


@pytest.mark.parametrize(
    "inner",
    [
        lambda: ScriptedService().fail(Unreachable("x")),
        lambda: ScriptedService().reply(object()),
        lambda: ScriptedService().reply(
            Content((msgspec.Raw(b"{}"),), msgspec.Raw(b"{}"), structured=True)
        ),
    ],
    ids=["failure", "no JSON", "content"],
)
async def test_what_is_not_kept(autojump_clock: MockClock, inner: Any) -> None:
    await _is_not_kept(inner())


@pytest.mark.called  # what is begun emits nothing
async def test_a_stream_is_not_kept(autojump_clock: MockClock) -> None:
    await _is_not_kept(ScriptedService().reply(1, emit=(Progress(1),)))


async def _is_not_kept(service: ScriptedService) -> None:
    async with stacked(cache={"ttl": "10s"}) as stack:
        await outcomes_of(3, 0.001, lambda _: stack.around(service)(request(), discard))
    assert len(service.requests) == 3


async def test_only_what_changes_nothing_is_kept() -> None:
    async with stacked(WRITE, cache={"ttl": "10s"}) as stack:
        assert stack.policies == ()


async def test_nobodys_changes_reach_another(autojump_clock: MockClock) -> None:
    inner = ScriptedService().reply({"tags": []})
    async with stacked(cache={"ttl": "10s"}) as stack:
        for _ in range(3):
            reply = await stack.around(inner)(request(), discard)
            assert reply.value == {"tags": []}
            reply.value["tags"].append("mine")
    assert len(inner.requests) == 1


async def test_to_whom_nobody_looks_into_it_stays_json_as_it_is(autojump_clock: MockClock) -> None:
    inner = ScriptedService().reply(msgspec.Raw(b'{"n":1}'))
    opaque = Request("c", {}, Context(request_id="r"), opaque=True)
    async with stacked(cache={"ttl": "10s"}) as stack:
        for _ in range(2):
            reply = await stack.around(inner)(opaque, discard)
            assert bytes(reply.value) == b'{"n":1}'
    assert len(inner.requests) == 1


DAY = dt.date(2030, 1, 2)


@pytest.mark.parametrize(
    ("one", "other", "kept"),
    [
        ({"x": 1}, {"x": 1}, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"x": 1}, {"x": 2}, False),
        ({"x": 1}, {"x": "1"}, False),
        ({"x": 1}, {"x": 1.0}, False),
        ({"x": 1}, {"x": True}, False),
        ({"x": None}, {}, False),
        ({"x": b"abc"}, {"x": "YWJj"}, False),
        ({"x": DAY}, {"x": "2030-01-02"}, False),
        ({"x": DAY}, {"x": DAY}, False),  # none of JSON's: never kept
        ({"x": {1: 2}}, {"x": {"1": 2}}, False),
        ({"x": math.nan}, {"x": math.nan}, False),
    ],
    ids=repr,
)
async def test_what_is_the_same(
    autojump_clock: MockClock, one: dict[str, Any], other: dict[str, Any], kept: bool
) -> None:
    inner = ScriptedService().reply(1)
    async with stacked(cache={"ttl": "10s"}) as stack:
        for arguments in (one, other):
            await stack.around(inner)(request("c", **arguments), discard)
    assert len(inner.requests) == (1 if kept else 2)


@pytest.mark.parametrize(
    ("vary", "headers", "one", "other", "kept"),
    [
        ([], (), {"principal": "ann"}, {"principal": "bob"}, True),
        (["principal"], (), {"principal": "ann"}, {"principal": "bob"}, False),
        (["principal"], (), {"principal": "ann"}, {"principal": "ann"}, True),
        ([], ("accept-language",), {"headers": {"accept-language": "de"}}, {}, False),
        ([], ("accept-language",), {"headers": {"x-other": "de"}}, {}, True),
        ([], ("a", "b"), {"headers": {"a": "x"}}, {"headers": {"b": "x"}}, False),
        ([], (), {"headers": {"accept-language": "de"}}, {}, True),
        ([], (), {"request_id": "1"}, {"request_id": "2"}, True),
    ],
)
@pytest.mark.parametrize("key", ["cache", "coalesce"])
async def test_what_else_a_reply_follows_from(  # noqa: PLR0917 - one table for both
    autojump_clock: MockClock,
    key: str,
    vary: list[str],
    headers: tuple[str, ...],
    one: dict[str, Any],
    other: dict[str, Any],
    kept: bool,
) -> None:
    inner = ScriptedService().reply(1, after_s=1)
    facts = CallFacts(name="c", idempotent=True, read_only=True, identity="get", headers=headers)
    # The cache says what replies follow from, and calls are coalesced by the same.
    keys: dict[str, Any] = {"cache": {"ttl": "1h"} | ({"vary": vary} if vary else {})}
    if key == "coalesce":
        keys["coalesce"] = True
    async with stacked(facts, **keys) as stack:
        service = stack.around(inner)
        async with trio.open_nursery() as nursery:
            for context in (one, other):
                made = Request("c", {}, Context(**{"request_id": "r", **context}))
                nursery.start_soon(service, made, discard)
                if key == "cache":
                    await trio.sleep(2)
    assert len(inner.requests) == (1 if kept else 2)


async def test_calls_that_are_not_the_same_share_nothing(autojump_clock: MockClock) -> None:
    other = CallFacts(name="d", idempotent=True, read_only=True, identity="get /other")
    same = CallFacts(name="e", idempotent=True, read_only=True, identity="get")
    inner = counting()[0]
    async with stacked(cache={"ttl": "10s"}) as stack:
        said = [
            (await stack.around(inner, facts)(request("c"), discard)).value
            for facts in (None, other, same)
        ]
    assert said == [1, 2, 1]


def test_entries_are_bound_by_number_and_by_size() -> None:
    async def main() -> None:
        entries = Entries(3, 1600)
        for number in range(5):
            entries.put(b"%d" % number, b"x" * 50, 1, 0)
            entries.get(b"2")
        assert [entries.get(b"%d" % number) is not None for number in range(5)] == [
            False,
            False,
            True,
            True,
            True,
        ]
        entries.put(b"large", b"x" * 96, 1, 0)  # more than a sixteenth
        entries.put(b"k" * 101, b"", 1, 0)  # what was asked counts too
        assert (len(entries), entries.size_bytes) == (3, 3 * 51)
        entries.put(b"2", b"y", 1, 0)
        assert entries.size_bytes == 2 * 51 + 2
        by_size = Entries(1000, 1600)
        for number in range(100):
            by_size.put(b"%02d" % number, b"x" * 98, 1, 0)
        assert (len(by_size), by_size.size_bytes) == (16, 1600)

    trio.run(main)


encode = msgspec.json.Encoder(order="sorted").encode
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, 1.0, "", "1", "a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)


@settings(max_examples=100, deadline=None)
@given(
    asked=st.lists(
        st.tuples(json_values, st.sampled_from(["ann", "bob"]), st.sampled_from([None, "", "de"])),
        max_size=12,
    )
)
def test_it_never_answers_for_another_key(asked: list[tuple[Any, str, str | None]]) -> None:
    async def main() -> None:
        async def inner(asked: Request, _emit: Emit, /) -> Reply:
            await trio.lowlevel.checkpoint()
            context = asked.context
            language = context.headers.get("accept-language")
            return Reply([dict(asked.arguments), context.principal, language])

        facts = CallFacts(
            name="c",
            idempotent=True,
            read_only=True,
            identity="get",
            headers=("accept-language",),
        )
        keys: dict[str, Any] = {"cache": {"ttl": "1h", "vary": ["principal"]}, "coalesce": True}
        async with stacked(facts, **keys) as stack:
            service = stack.around(inner)
            for value, principal, language in asked:
                headers = {} if language is None else {"accept-language": language}
                context = Context(request_id="r", principal=principal, headers=headers)
                reply = await service(Request("c", {"x": value}, context), discard)
                # As JSON: to Python 1, 1.0 and True are the same.
                assert encode(reply.value) == encode([{"x": value}, principal, language])

    trio.run(main, clock=MockClock(autojump_threshold=0))
