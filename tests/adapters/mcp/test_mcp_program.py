"""A program in memory: many requests over one pipe, cancelling, ends and restarts."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from gateway.adapters.mcp import channel as channel_module
from gateway.adapters.mcp.messages import Told
from gateway.core.errors import BadReply, DeadlineExceeded, Overloaded, Unreachable
from gateway.core.messages import Partial, Progress
from gateway.core.peer import JsonRpcError
from gateway.core.service import discard
from tests.adapters.mcp.programs import Fake, Started, dies, echoes, hangs, started

MODERN, LEGACY = "2026-07-28", "2025-11-25"


# ------------------------------------------------------------------ requests


@pytest.mark.parametrize("legacy", ["", LEGACY, "2025-03-26"])
async def test_either_era_is_spoken(autojump_clock: MockClock, legacy: str) -> None:
    async with started({"tools/call": echoes}, legacy=legacy) as it:
        assert await it.call("a") == {"name": "a"}
        assert await it.call("b") == {"name": "b"}
        received = it.program.life.received
    methods = [message["method"] for message in received]
    begin = ["server/discover", "initialize", "notifications/initialized"] if legacy else []
    assert methods == [*(begin or ["server/discover"]), "tools/call", "tools/call"]
    meta = received[-1]["params"]["_meta"]
    assert ("io.modelcontextprotocol/protocolVersion" in meta) == (not legacy)


async def test_many_at_once_each_get_their_own(autojump_clock: MockClock) -> None:
    waiting: list[Any] = []

    async def in_reverse(life: Fake, message: Any) -> None:
        waiting.append(message)
        if len(waiting) == 20:
            for one in reversed(waiting):
                await echoes(life, one)

    async with started({"tools/call": in_reverse}) as it:

        async def call(name: str) -> None:
            assert await it.call(name) == {"name": name}

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(call, str(number))
    assert len(waiting) == 20


async def test_errors_and_progress_are_their_own_too(autojump_clock: MockClock) -> None:
    async def works(life: Fake, message: Any) -> None:
        meta = message["params"]["_meta"]
        note = {"progressToken": meta["progressToken"], "progress": 1}
        other = {"progressToken": 999, "progress": 5}
        for params in (note, other):
            told = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
            await life.say(told)
        await life.say(
            {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -1, "message": "No"}}
        )

    heard: list[Partial] = []

    async def emit(partial: Partial) -> None:
        heard.append(partial)

    async with started({"tools/call": works}) as it:
        with pytest.raises(JsonRpcError, match="No"):
            await it.call(emit=emit)
    assert heard == [Progress(1)]


async def test_progress_that_nobody_takes_is_bounded(autojump_clock: MockClock) -> None:
    async def works(life: Fake, message: Any) -> None:
        token = message["params"]["_meta"]["progressToken"]
        for number in range(1000):
            params = {"progressToken": token, "progress": number}
            told = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
            await life.say(told)
        await echoes(life, message)

    heard: list[Partial] = []

    async def emit(partial: Partial) -> None:
        await trio.sleep(1)
        heard.append(partial)

    async with started({"tools/call": works}) as it:
        assert await it.call(emit=emit) == {"name": "x"}
    assert 0 < len(heard) < 200


async def test_what_is_no_message_is_logged_and_left_alone(autojump_clock: MockClock) -> None:
    async def chatty(life: Fake, message: Any) -> None:
        for line in (b"Listening on port 1", b"", b"{}", b'{"jsonrpc":"2.0","id":999,"result":{}}'):
            await life.say(line)
        await echoes(life, message)

    async with started({"tools/call": chatty}) as it:
        assert await it.call() == {"name": "x"}
        assert len([line for line in it.program.said if line.startswith("no message")]) == 2


async def test_a_message_has_a_bound(autojump_clock: MockClock) -> None:
    async def much(life: Fake, message: Any) -> None:
        if message["params"]["name"] == "much":
            await life.answer(message, {"x": "y" * 50_000})
        elif message["params"]["name"] == "unknown":
            text = {"result": {"x": "y" * 50_000}, "id": message["id"], "jsonrpc": "2.0"}
            await life.say(text)

    async with started({"tools/call": much}) as it, trio.open_nursery() as nursery:
        outcomes: dict[str, str] = {}

        async def call(name: str) -> None:
            with pytest.raises(BadReply, match="over 10000 bytes") as caught:
                await it.call(name)
            outcomes[name] = caught.value.detail

        nursery.start_soon(call, "other")
        await trio.testing.wait_all_tasks_blocked()
        await call("much")
        assert list(outcomes) == ["much"]  # its beginning says whose it is
        await call("unknown")
        await trio.testing.wait_all_tasks_blocked()
        assert set(outcomes) == {"much", "other", "unknown"}


async def test_so_many_are_under_way_at_once(autojump_clock: MockClock) -> None:
    async with started({"tools/call": hangs}) as it, trio.open_nursery() as nursery:
        await it.client.era()
        for _ in range(channel_module._MAX_WAITING):
            nursery.start_soon(it.call)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Overloaded, match="1000 requests to s are under way"):
            await it.call()
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------------ cancelling


@pytest.mark.parametrize("legacy", ["", LEGACY])
async def test_a_cancelled_call_is_cancelled_there_at_once(
    autojump_clock: MockClock, legacy: str
) -> None:
    asked: list[tuple[Fake, Any]] = []

    async def late(life: Fake, message: Any) -> None:
        asked.append((life, message))

    async with started({"tools/call": late}, legacy=legacy) as it:
        with trio.move_on_after(1):
            await it.call()
        assert trio.current_time() == 1
        await trio.testing.wait_all_tasks_blocked()
        [told] = it.program.life.asked("notifications/cancelled")
        assert told["params"] == {"requestId": asked[0][1]["id"]}
        await echoes(*asked[0])  # the answer comes too late, and is nobody's
        it.program.on["tools/call"] = echoes
        assert await it.call("next") == {"name": "next"}


async def test_a_program_that_does_not_read_holds_nobody_up(autojump_clock: MockClock) -> None:
    async with started({"tools/call": echoes}) as it:
        await it.call()
        sending = it.program.life.stdin
        sending.send_all_hook = trio.sleep_forever
        for number in range(1, 4):
            with trio.move_on_after(1) as scope:
                await it.call("x" * 600_000)
            assert scope.cancelled_caught
            assert trio.current_time() == number
        channel = it.link._channel
        assert channel is not None
        # What never left is not sent, and not cancelled either.
        assert channel._unsent_bytes < 1000
        assert not channel._waiting


async def test_what_waits_to_be_written_has_a_bound(autojump_clock: MockClock) -> None:
    async with started({"tools/call": echoes}) as it, trio.open_nursery() as nursery:
        await it.call()
        it.program.life.stdin.send_all_hook = trio.sleep_forever
        for _ in range(20):
            nursery.start_soon(it.call, "x" * 200_000)
        await trio.testing.wait_all_tasks_blocked()
        assert it.link._channel is not None
        assert it.link._channel._unsent_bytes < 1_400_000
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------------ what is asked back


class Peer:
    capabilities: Mapping[str, Any] = {"elicitation": {}}

    def __init__(self, name: str) -> None:
        self.name = name

    async def __call__(self, _method: str, _params: Any, /) -> Any:
        await trio.sleep(1)
        return {"action": "accept", "content": {"name": self.name}}


async def asks(life: Fake, message: Any) -> None:
    question = {"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {}}
    await life.say(question)


async def passes_on(life: Fake, message: Any) -> None:
    call = life.asked("tools/call")[-1]
    await life.answer(call, message.get("result", message.get("error")))


async def test_it_asks_the_client_whose_request_it_is(autojump_clock: MockClock) -> None:
    async with started({"tools/call": asks, "answer": passes_on}, legacy=LEGACY) as it:
        given = await it.call(peer=Peer("Ada"))
        assert given == {"action": "accept", "content": {"name": "Ada"}}
        assert await it.call() == {"action": "decline"}


async def test_where_several_might_be_meant_nobody_is_asked(autojump_clock: MockClock) -> None:
    on = {"tools/call": hangs, "answer": passes_on}
    async with started(on, legacy=LEGACY) as it, trio.open_nursery() as nursery:
        nursery.start_soon(it.call, "other", discard, Peer("Eve"))
        await trio.testing.wait_all_tasks_blocked()
        it.program.on["tools/call"] = asks
        assert await it.call(peer=Peer("Ada")) == {"action": "decline"}
        nursery.cancel_scope.cancel()


async def logs(life: Fake, message: Any) -> None:
    said = {"level": "info", "data": message["params"]["name"]}
    await life.say({"jsonrpc": "2.0", "method": "notifications/message", "params": said})
    await life.answer(message, {})


@pytest.mark.parametrize("legacy", ["", LEGACY])
async def test_what_it_logs_is_told_where_it_is_certain_to_whom(
    autojump_clock: MockClock, legacy: str
) -> None:
    async def emit(partial: Partial) -> None:
        heard.append(partial.data)

    heard: list[Any] = []
    async with started({"tools/call": logs}, legacy=legacy) as it, trio.open_nursery() as nursery:
        await it.call("alone", emit)
        assert heard == ([] if legacy else ["alone"])
        it.program.on["tools/call"] = hangs
        nursery.start_soon(it.call, "other")
        await trio.testing.wait_all_tasks_blocked()
        it.program.on["tools/call"] = logs
        await it.call("one of two", emit)
        nursery.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
    assert heard == ([] if legacy else ["alone"])


async def test_what_it_logs_once_a_call_was_given_up(autojump_clock: MockClock) -> None:
    async def emit(partial: Partial) -> None:
        raise AssertionError(partial)  # it may be about the other one still

    async with started({"tools/call": hangs}) as it:
        with trio.move_on_after(1):
            await it.call("given up")
        it.program.on["tools/call"] = logs
        await it.call("after that", emit)
        assert [told.params["data"] for told in it.program.heard] == ["after that"]


async def test_what_is_no_call_s_is_answered_at_once(autojump_clock: MockClock) -> None:
    async def pings(life: Fake, _message: Any) -> None:
        await asks(life, None)
        await life.say({"jsonrpc": "2.0", "id": "p", "method": "ping"})
        await life.say({"jsonrpc": "2.0", "id": "r", "method": "roots/list"})

    async def notes(life: Fake, message: Any) -> None:
        answers.append((message["id"], trio.current_time()))
        if message["id"] == "q":
            await passes_on(life, message)

    answers: list[tuple[str, float]] = []
    async with started({"tools/call": pings, "answer": notes}, legacy=LEGACY) as it:
        await it.call(peer=Peer("Ada"))
    assert answers == [("p", 0), ("r", 0), ("q", 1)]


async def test_with_no_time_left_nothing_is_sent(autojump_clock: MockClock) -> None:
    async with started({"tools/call": echoes}) as it:
        await it.client.era()
        with trio.move_on_after(0.0005):
            with pytest.raises(DeadlineExceeded, match="less than 1 ms"):
                await it.call()
        assert not it.program.life.asked("tools/call")


async def test_what_it_tells_beside_requests_is_heard(autojump_clock: MockClock) -> None:
    async def tells(life: Fake, message: Any) -> None:
        await life.say({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        await echoes(life, message)

    async with started({"tools/call": tells}) as it:
        await it.call()
        assert it.program.heard == [Told("notifications/tools/list_changed", {})]


# ------------------------------------------------------------------ ends and beginnings


async def test_one_that_dies_fails_its_calls_and_is_started_again(
    autojump_clock: MockClock,
) -> None:
    async with started({"tools/call": hangs}) as it:
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                with pytest.raises(Unreachable, match="the program of s is gone"):
                    await it.call()

            for _ in range(3):
                nursery.start_soon(call)
            await trio.sleep(1)
            it.program.life.end(3)
        assert trio.current_time() == 1
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Unreachable, match="it ended with status 3; it starts again"):
            await it.call()
        it.program.on["tools/call"] = echoes
        await trio.sleep(0.6)
        assert await it.call() == {"name": "x"}
        assert it.link.life == 2
        assert len(it.program.life.asked("server/discover")) == 1


async def test_it_is_started_ever_more_rarely(autojump_clock: MockClock) -> None:
    async with started(refuses=PermissionError(13, "Permission denied")) as it:
        await trio.sleep(100)
        assert it.program.attempts == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 61.5, 91.5]
        it.program.refuses = None
        await trio.sleep(100)
        it.program.life.end(1)  # it ran for long: its end says nothing about the next
        await trio.sleep(1)
        assert it.program.attempts[9:] == [121.5, 200.5]


async def test_one_that_ends_when_probed_is_begun_with_otherwise(
    autojump_clock: MockClock,
) -> None:
    on = {"server/discover": dies, "tools/call": echoes}
    async with started(on, legacy=LEGACY) as it:
        with pytest.raises(Unreachable):
            await it.call()
        await trio.sleep(1)
        assert await it.call() == {"name": "x"}
        assert it.program.life.received[0]["method"] == "initialize"


async def test_one_that_is_slow_to_begin_is_probed_again(autojump_clock: MockClock) -> None:
    async def slow(life: Fake, message: Any) -> None:
        if len(life.asked("server/discover")) > 1:
            found = {"supportedVersions": [MODERN], "capabilities": {}}
            await life.answer(message, found)

    async def refuses(life: Fake, message: Any) -> None:
        error = {"code": -32022, "message": "No", "data": {"supported": [MODERN]}}
        await life.say({"jsonrpc": "2.0", "id": message["id"], "error": error})

    on = {"server/discover": slow, "initialize": refuses, "tools/call": echoes}
    async with started(on) as it:
        assert await it.call() == {"name": "x"}
        assert not it.program.life.asked("notifications/cancelled")


async def test_one_that_cannot_be_started_is_said_to_be(autojump_clock: MockClock) -> None:
    async with started(refuses=FileNotFoundError(2, "No such file or directory")) as it:
        with pytest.raises(Unreachable, match="cannot be started: No such file"):
            await it.call()
        it.program.refuses = None
        it.program.on["tools/call"] = echoes
        await trio.sleep(1)
        assert await it.call() == {"name": "x"}


@pytest.mark.parametrize(
    ("obeys", "hears_end", "signals", "took_s"),
    [
        ((), True, [signal.SIGKILL], 0),
        ((signal.SIGTERM,), False, [signal.SIGTERM, signal.SIGKILL], 0.5),
        ((), False, [signal.SIGTERM, signal.SIGKILL], 1.5),
    ],
)
async def test_it_is_ended_gently_and_then_not(
    autojump_clock: MockClock,
    obeys: tuple[int, ...],
    hears_end: bool,
    signals: list[int],
    took_s: float,
) -> None:
    """What it started and left behind is killed in any case."""
    on = {"tools/call": echoes}
    async with started(on, obeys=obeys, hears_end=hears_end) as it:
        await it.call()
        start = trio.current_time()
    assert it.program.life.signals == signals
    assert trio.current_time() - start == took_s


async def test_when_it_is_closed_nobody_waits_on(autojump_clock: MockClock) -> None:
    outcomes: list[str] = []

    async def call(it: Started) -> None:
        with pytest.raises(Unreachable) as caught:
            await it.call()
        outcomes.append(caught.value.detail)

    async with trio.open_nursery() as nursery:
        async with started({"tools/call": hangs}) as it:
            await it.client.era()
            nursery.start_soon(call, it)
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Unreachable, match="s is not open"):
            await it.call()
    assert outcomes == ["the program of s is gone: it ended"]


async def test_what_it_says_is_passed_on_line_by_line(autojump_clock: MockClock) -> None:
    async def complains(life: Fake, message: Any) -> None:
        for data in (b"one\ntw", b"o\n\n", b"x" * 100_000, b"\n\xff\n"):
            await life.complaints.send_all(data)
        await echoes(life, message)

    async with started({"tools/call": complains}) as it:
        await it.call()
        await trio.testing.wait_all_tasks_blocked()
        assert it.program.said == ["one", "two", "x" * 200, "\ufffd"]


async def test_in_a_hurry_it_is_killed_at_once(autojump_clock: MockClock) -> None:
    async with started({"tools/call": echoes}, obeys=(), hears_end=False) as it:
        await it.call()
        left = trio.current_time()
        it.client.hurry()
    assert it.program.lives[0].signals[0] == signal.SIGKILL
    assert trio.current_time() == left
