from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from gateway.server import siblings as module
from gateway.server.siblings import Siblings


@pytest.fixture
def siblings() -> Iterator[Siblings]:
    made = Siblings(3)
    yield made
    made.close()
    made.close()


async def test_each_tells_its_page(
    siblings: Siblings, autojump_clock: trio.testing.MockClock
) -> None:
    asked: list[str] = []

    def page(accept: str) -> tuple[bytes, str]:
        asked.append(accept)
        return b"x" * 1_000_000 + b"\n", "text/plain"

    siblings.mark(0, "ready")
    siblings.mark(1, "starting")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(siblings.answer, 1, page)
        for _ in range(3):
            pages = await siblings.pages(0, "text/plain;q=0.5")
            assert pages == {1: b"x" * 1_000_000 + b"\n", 2: None}
        nursery.cancel_scope.cancel()
    assert asked == ["text/plain;q=0.5"] * 3


async def test_one_that_is_gone_is_not_waited_for(
    siblings: Siblings, autojump_clock: trio.testing.MockClock
) -> None:
    siblings.mark(1, "ready")
    siblings.mark(1, None)
    with trio.fail_after(0.5):
        assert await siblings.pages(0, "") == {1: None, 2: None}


async def test_one_that_does_not_answer_is_waited_for_a_second(
    siblings: Siblings, autojump_clock: trio.testing.MockClock
) -> None:
    siblings.mark(1, "ready")
    siblings.mark(2, "ready")
    start = trio.current_time()
    assert await siblings.pages(0, "") == {1: None, 2: None}
    assert trio.current_time() - start == 1


async def test_questions_that_nobody_takes_do_not_pile_up(
    siblings: Siblings, autojump_clock: trio.testing.MockClock
) -> None:
    siblings.mark(1, "ready")
    for _ in range(500):
        assert await siblings.pages(0, "x" * 100_000) == {1: None, 2: None}


async def test_a_page_that_fails_or_is_cut_short_is_none(
    siblings: Siblings, autojump_clock: trio.testing.MockClock
) -> None:
    siblings.mark(1, "ready")
    siblings.mark(2, "ready")

    def fails(_accept: str) -> tuple[bytes, str]:
        raise RuntimeError("a bug")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(siblings.answer, 1, fails)
        nursery.start_soon(siblings.answer, 2, lambda _accept: (b"half a li", ""))
        for _ in range(2):
            assert await siblings.pages(0, "") == {1: None, 2: None}
        nursery.cancel_scope.cancel()


async def test_an_answer_for_an_asker_that_is_gone_harms_nobody(
    siblings: Siblings, autojump_clock: trio.testing.MockClock
) -> None:
    siblings.mark(1, "ready")
    ours, theirs = socket.socketpair()
    socket.send_fds(siblings._ask[1], [b"*/*"], [theirs.fileno()])
    ours.close()
    theirs.close()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(siblings.answer, 1, lambda _accept: (b"a 1\n", ""))
        assert (await siblings.pages(0, ""))[1] == b"a 1\n"
        nursery.cancel_scope.cancel()


def no_page(_accept: str) -> tuple[bytes, str]:
    raise AssertionError


async def test_what_one_tells_all_others_have_heard(
    siblings: Siblings, autojump_clock: trio.testing.MockClock
) -> None:
    heard: dict[int, list[bytes]] = {1: [], 2: []}
    for number in range(3):
        siblings.mark(number, "ready")
    async with trio.open_nursery() as nursery:
        for number, said in heard.items():
            nursery.start_soon(siblings.answer, number, no_page, said.append)
        for size in (1, 1_000_000):
            await siblings.tell(0, b"x" * size)
            assert [len(said.pop()) for said in heard.values()] == [size, size]
        async with trio.open_nursery() as tellers:  # more than a socket holds
            for number in range(40):
                tellers.start_soon(siblings.tell, 0, b"%d" % number)
        for said in heard.values():
            assert sorted(map(int, said)) == list(range(40))
        nursery.cancel_scope.cancel()


async def test_one_that_does_not_hear_is_waited_for_a_second(
    siblings: Siblings, autojump_clock: trio.testing.MockClock
) -> None:
    siblings.mark(1, "ready")
    start = trio.current_time()
    for _ in range(500):
        await siblings.tell(0, b"x" * 1_000_000)
    assert trio.current_time() - start == 500
    siblings.mark(1, None)
    await siblings.tell(0, b"x")
    assert trio.current_time() - start == 500


async def test_one_that_fails_to_heed_goes_on(
    siblings: Siblings,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    siblings.mark(1, "ready")
    heard: list[bytes] = []

    def hear(message: bytes) -> None:
        heard.append(message)
        raise RuntimeError("a bug")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(siblings.answer, 1, no_page, hear)
        await siblings.tell(0, b"a")
        await siblings.tell(0, b"b")
        nursery.cancel_scope.cancel()
    assert heard == [b"a", b"b"]
    assert caplog.text.count("what another worker told failed") == 2


def test_the_whole_is_ready_as_soon_as_one_is(siblings: Siblings) -> None:
    assert siblings.whole("starting") == "starting"
    siblings.mark(2, "ready")
    assert siblings.whole("starting") == siblings.whole("draining") == "ready"
    siblings.mark(2, "draining")
    assert siblings.whole("draining") == "draining"


def test_ahead_is_who_has_clearly_more_than_another_that_is_ready(siblings: Siblings) -> None:
    for number in range(3):
        siblings.mark(number, "ready")
    assert not siblings.ahead(0, 0)
    assert not siblings.ahead(1, module._SLACK)
    assert siblings.ahead(1, module._SLACK + 1)
    assert not siblings.ahead(0, 0)
    for number in (0, 2):
        siblings.mark(number, None)
    assert not siblings.ahead(1, 100)


def test_a_cell_is_what_the_machine_says() -> None:
    assert memoryview(bytes(8)).cast("I").itemsize == module._CELL
