"""The ASGI side of a connection."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gateway.net.asgi import (
    FIELDS,
    ClientLeft,
    Fields,
    headers_of,
    path_of,
    respond,
    while_connected,
)

GONE = {"type": "http.disconnect"}


@pytest.mark.parametrize(
    ("raw", "headers"),
    [
        ([], {}),
        ([(b"Host", b"x"), (b"A", b"1"), (b"a", b"2")], {"host": "x", "a": "1, 2"}),
        ([(b"x", "é".encode("latin-1"))], {"x": "é"}),
    ],
)
def test_headers(raw: Any, headers: dict[str, str]) -> None:
    assert headers_of({"headers": raw}) == headers
    assert headers_of({"headers": raw, "extensions": {FIELDS: Fields(raw)}}) == headers


def test_headers_are_found_once_and_again_where_something_before_us_changed_them() -> None:
    raw = [(b"a", b"1"), (b"b", b"2")]
    scope: dict[str, Any] = {"headers": raw.copy(), "extensions": {FIELDS: Fields(raw)}}
    found = headers_of(scope)
    assert headers_of(scope | {"headers": raw.copy()}) is found
    scope["headers"][1] = (b"b", b"3")
    assert headers_of(scope) == {"a": "1", "b": "3"}
    assert headers_of(scope | {"headers": (*raw, (b"c", b"4"))}) == {"a": "1", "b": "2", "c": "4"}
    assert found == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ({"path": "/a b", "raw_path": b"/a%20b"}, "/a%20b"),
        ({"path": "/a/b", "raw_path": b"/a%2Fb"}, "/a%2Fb"),
        ({"path": "/a", "raw_path": b"/a?x=1"}, "/a"),
        ({"path": "/a b"}, "/a%20b"),
        ({"path": "/100%", "raw_path": None}, "/100%25"),
        ({"path": "/é"}, "/%C3%A9"),
        ({"path": "/"}, "/"),
        ({"path": ""}, "/"),
        ({"path": "/gw/a", "raw_path": b"/gw/a", "root_path": "/gw"}, "/a"),
        ({"path": "/gw", "raw_path": b"/gw", "root_path": "/gw"}, "/"),
        ({"path": "/gw/", "raw_path": b"/gw/", "root_path": "/gw/"}, "/"),
        ({"path": "/gwx", "raw_path": b"/gwx", "root_path": "/gw"}, "/gwx"),
        ({"path": "/a", "raw_path": b"/a", "root_path": "/gw"}, "/a"),
        ({"path": "/gä/a", "raw_path": b"/g%C3%A4/a", "root_path": "/gä"}, "/a"),
        ({"path": "/gw/gw/a", "raw_path": b"/gw/gw/a", "root_path": "/gw"}, "/gw/a"),
        ({"path": "/gw/a", "root_path": "/gw"}, "/a"),
    ],
)
def test_the_path_below_the_mount(scope: dict[str, Any], path: str) -> None:
    assert path_of(scope) == path


async def test_an_answer_is_a_head_and_a_body_with_its_length() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    await respond(send, 200, [("x-é", "é")], b"abc")
    assert sent[0]["headers"] == [
        ("x-é".encode("latin-1"), "é".encode("latin-1")),
        (b"content-length", b"3"),
    ]
    await respond(send, 204, [])
    assert sent[2]["headers"] == []


# ------------------------------------------------------------------ the client's leaving


def leaves_after(seconds: float, *before: Any) -> Any:
    messages = [*before]

    async def receive() -> Any:
        await trio.lowlevel.checkpoint()
        if messages:
            return messages.pop(0)
        await trio.sleep(seconds)
        return GONE

    return receive


async def test_work_for_a_client_that_stays_is_done(autojump_clock: MockClock) -> None:
    async def work() -> str:
        await trio.sleep(1)
        return "done"

    assert await while_connected({}, leaves_after(2), work) == "done"
    assert trio.current_time() == pytest.approx(1, abs=1e-6)


async def test_work_for_a_client_that_leaves_is_cancelled(autojump_clock: MockClock) -> None:
    ended: list[float] = []

    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    with pytest.raises(ClientLeft):
        await while_connected({}, leaves_after(1), work)
    assert ended == [pytest.approx(1, abs=1e-6)]


async def test_what_else_arrives_is_no_leaving(autojump_clock: MockClock) -> None:
    async def work() -> str:
        await trio.sleep(1)
        return "done"

    more = {"type": "http.request", "body": b"", "more_body": False}
    assert await while_connected({}, leaves_after(2, more, more), work) == "done"


@pytest.mark.parametrize("error", [ValueError("x"), ExceptionGroup("g", [OSError()])])
async def test_what_work_raises_stays_bare(autojump_clock: MockClock, error: Exception) -> None:
    async def work() -> None:
        await trio.sleep(1)
        raise error

    with pytest.raises(type(error)) as caught:
        await while_connected({}, leaves_after(2), work)
    assert caught.value is error


async def test_what_receive_raises_stays_bare_and_ends_the_work(
    autojump_clock: MockClock,
) -> None:
    error = OSError("the connection broke")

    async def breaks() -> Any:
        await trio.sleep(1)
        raise error

    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("of the clean-up: the second one")

    with pytest.raises(OSError, match="broke") as caught:
        await while_connected({}, breaks, work)
    assert caught.value is error
    with pytest.raises(OSError, match="broke"):
        await while_connected({}, breaks, trio.sleep_forever)


async def test_a_result_that_came_before_the_leaving_counts(autojump_clock: MockClock) -> None:
    async def work() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
        return "done"

    assert await while_connected({}, leaves_after(1), work) == "done"


async def test_cancellation_from_outside_is_no_leaving(autojump_clock: MockClock) -> None:
    with trio.move_on_after(1) as scope:
        await while_connected({}, leaves_after(9), trio.sleep_forever)
    assert scope.cancelled_caught
