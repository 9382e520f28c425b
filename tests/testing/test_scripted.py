"""`gateway.testing`: what others' tests stand on has to be right itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import gateway.testing
from gateway.core.errors import Unreachable
from gateway.core.messages import Progress
from gateway.core.service import discard
from gateway.testing import (
    Cancellable,
    InMemoryClient,
    ScriptedService,
    cancel_at_every_checkpoint,
    open_client,
)
from tests.apps import gateway as gateway_of
from tests.apps import get, request

# ------------------------------------------------------------------ scripted services


async def test_without_a_script_it_replies_with_its_arguments() -> None:
    assert (await ScriptedService()(request(x=1), discard)).value == {"x": 1}


async def test_each_call_takes_the_next_step_and_the_last_repeats(
    autojump_clock: MockClock,
) -> None:
    service = ScriptedService().reply(1).fail(Unreachable("x"), after_s=2).reply(3, after_s=1)
    assert (await service(request(), discard)).value == 1
    with pytest.raises(Unreachable):
        await service(request(), discard)
    assert trio.current_time() == pytest.approx(2)
    for _ in range(2):
        assert (await service(request(), discard)).value == 3
    assert trio.current_time() == pytest.approx(4)
    assert (len(service.requests), service.completed, service.active) == (4, 4, 0)


async def test_a_reply_may_be_worked_out() -> None:
    service = ScriptedService().reply(lambda asked: asked.arguments["x"] * 2)
    assert (await service(request(x=4), discard)).value == 8


async def test_a_failure_is_told_apart_between_calls() -> None:
    """A shared exception's traceback would grow, and blame would stick to it."""
    error = Unreachable("x")
    service = ScriptedService().fail(error)
    caught = []
    for _ in range(2):
        with pytest.raises(Unreachable) as info:
            await service(request(), discard)
        caught.append(info.value)
    assert caught[0] is not caught[1]
    assert error not in caught
    bug = ValueError("x")
    with pytest.raises(ValueError, match="x") as info_of_bug:
        await ScriptedService().fail(bug)(request(), discard)
    assert info_of_bug.value is bug


async def test_it_counts_what_was_cancelled(autojump_clock: MockClock) -> None:
    service = ScriptedService().hang()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service, request(), discard)
        nursery.start_soon(service, request(), discard)
        await trio.sleep(1)
        assert service.active == 2
        nursery.cancel_scope.cancel()
    assert (service.active, service.cancelled, service.completed) == (0, 2, 0)


async def test_partials_go_out_first() -> None:
    seen: list[Any] = []

    async def emit(partial: Any) -> None:
        seen.append(partial)

    note = Progress(0.5)
    reply = await ScriptedService().reply(1, emit=(note,))(request(), emit)
    assert (seen, reply.value) == ([note], 1)


# ------------------------------------------------------------------ the client


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI app that answers with what it got."""
    message = await receive()
    body = b"|".join(
        [
            scope["method"].encode(),
            scope["path"].encode(),
            scope["raw_path"],
            scope["query_string"],
            *(name + b"=" + value for name, value in scope["headers"]),
            message["body"],
        ]
    )
    await send({"type": "http.response.start", "status": 201, "headers": [(b"X-A", b"\xe9")]})
    await send({"type": "http.response.body", "body": body[:5], "more_body": True})
    await send({"type": "http.response.body", "body": body[5:]})


async def test_the_client_sends_what_it_is_told() -> None:
    client = InMemoryClient(echo, root_path="/gw")
    answer = await client.request("PUT", "/a%20b?c=%20d", json={"e": 1}, headers={"Host": "h"})
    assert answer.status == 201
    assert answer.headers == {"x-a": "é"}
    assert answer.body.split(b"|") == [
        b"PUT",
        b"/gw/a b",
        b"/gw/a%20b",
        b"c=%20d",
        b"host=h",
        b"content-type=application/json",
        b'{"e":1}',
    ]


async def test_an_app_that_does_not_answer_is_noticed() -> None:
    async def silent(_scope: Any, _receive: Any, _send: Any) -> None:
        await trio.lowlevel.checkpoint()

    with pytest.raises(AssertionError, match="without answering"):
        await InMemoryClient(silent).request("GET", "/")


async def test_the_client_leaves_when_it_says_and_not_before(autojump_clock: MockClock) -> None:
    seen: list[tuple[float, str]] = []

    async def watch(_scope: Any, receive: Any, _send: Any) -> None:
        for _ in range(2):
            message = await receive()
            seen.append((trio.current_time(), message["type"]))

    assert await InMemoryClient(watch).leave("GET", "/", after_s=3) is None
    assert seen == [(0, "http.request"), (pytest.approx(3), "http.disconnect")]


async def test_the_client_is_gone_once_it_has_its_answer() -> None:
    types: list[str] = []

    async def polite(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, send)
        types.append((await receive())["type"])

    await InMemoryClient(polite).request("GET", "/")
    assert types == ["http.disconnect"]


async def test_a_clients_app_is_open_while_it_lasts() -> None:
    app = gateway_of({"a": get()})
    async with open_client(app) as client:
        assert app.ready
        assert (await client.request("POST", "/tools/t")).status == 200
    assert not app.ready


async def test_a_failing_assertion_leaves_the_client_bare() -> None:
    with pytest.raises(AssertionError, match="mine"):
        async with open_client(gateway_of({"a": get()})):
            raise AssertionError("mine")


# ------------------------------------------------------------------ cancel everywhere


def rounds_of(request_of: Callable[[], Awaitable[Any]]) -> list[float]:
    """When each round's request ended."""
    ends: list[float] = []

    async def scenario(cancellable: Cancellable) -> None:
        await cancellable(request_of)
        ends.append(trio.current_time())

    count = cancel_at_every_checkpoint(scenario)
    assert len(ends) == count + 1  # the last one completes
    return ends


def test_every_point_of_one_task_is_tried() -> None:
    """Before it begins, in each wait, and the whole of it."""

    async def three_waits() -> None:
        for _ in range(3):
            await trio.sleep(1)

    ends = rounds_of(three_waits)
    assert {round(end, 6) for end in ends} == {0, 1, 2, 3}
    assert ends == sorted(ends)


def test_a_request_without_a_wait_is_tried_before_it_begins() -> None:
    begun = 0

    async def no_wait() -> None:
        nonlocal begun
        begun += 1
        await trio.lowlevel.checkpoint_if_cancelled()

    assert len(rounds_of(no_wait)) >= 2
    assert begun >= 2


def test_a_clean_up_that_a_cancel_skips_is_found_in_some_round() -> None:
    permits = 0

    async def scenario(cancellable: Cancellable) -> None:
        nonlocal permits
        permits = 1

        async def leaky() -> None:
            nonlocal permits
            permits -= 1
            await trio.sleep(1)
            permits += 1  # not in a finally

        await cancellable(leaky)
        assert permits == 1

    with pytest.raises(AssertionError):
        cancel_at_every_checkpoint(scenario)


def test_a_task_left_behind_is_found() -> None:
    async def scenario(cancellable: Cancellable) -> None:
        async with trio.open_nursery() as nursery:

            async def leaky() -> None:
                nursery.start_soon(trio.sleep, 5)
                await trio.sleep(1)

            await cancellable(leaky)

    with pytest.raises(ExceptionGroup) as caught:
        cancel_at_every_checkpoint(scenario)
    assert "outlived" in str(caught.value.exceptions[0])


def test_what_may_outlive_a_request_gets_its_time() -> None:
    async def scenario(cancellable: Cancellable) -> None:
        async with trio.open_nursery() as nursery:

            async def commits() -> None:
                nursery.start_soon(trio.sleep, 5)
                await trio.sleep(1)

            await cancellable(commits, settle_s=6)

    assert cancel_at_every_checkpoint(scenario) > 1


def test_a_request_without_end_is_given_up() -> None:
    async def scenario(cancellable: Cancellable) -> None:
        async def endless() -> None:
            while True:
                await trio.lowlevel.checkpoint()

        await cancellable(endless)

    with pytest.raises(AssertionError, match="within 50 steps"):
        cancel_at_every_checkpoint(scenario, at_most=50)


def test_what_completes_is_said() -> None:
    completed: list[bool] = []

    async def scenario(cancellable: Cancellable) -> None:
        completed.append(await cancellable(partial(trio.sleep, 1)))

    cancel_at_every_checkpoint(scenario)
    assert completed[-1] is True
    assert not any(completed[:-2])


# ------------------------------------------------------------------ the documentation


def test_every_public_name_is_documented() -> None:
    for name in gateway.testing.__all__:
        assert getattr(gateway.testing, name).__doc__


def test_the_example_in_the_documentation_runs() -> None:
    """Its lines, with a configuration in place of a file."""
    assert gateway.testing.__doc__ is not None
    example = gateway.testing.__doc__.split("```")[1].removeprefix("python")
    config = {
        "services": {"crm": {"kind": "http", "url": "http://crm.test"}},
        "tools": {
            "t": {
                "http": "GET /customers/{id}",
                "input": {"properties": {"id": "integer"}},
                "calls": {"crm": {**get("crm"), "optional": True}},
            }
        },
    }
    names: dict[str, Any] = {**vars(gateway.testing), "config": config}
    names["create_app"] = gateway.create_app
    exec(example.replace('"gateway.toml"', "config"), names)
    trio.run(
        names["test_a_hanging_service_is_labelled"], None, clock=MockClock(autojump_threshold=0)
    )
