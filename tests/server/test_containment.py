from __future__ import annotations

import pytest
import trio

from gateway.server.containment import contained, leaves


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), SystemExit(3), trio.BusyResourceError(), MemoryError()]
)
def test_nothing_leaves(error: BaseException) -> None:
    reported: list[BaseException] = []
    with contained(reported.append):
        raise error
    assert reported == [error]


def test_an_interrupt_leaves() -> None:
    reported: list[BaseException] = []
    with pytest.raises(KeyboardInterrupt), contained(reported.append):
        raise KeyboardInterrupt
    assert reported == []


async def test_cancellation_leaves() -> None:
    reported: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        with contained(reported.append):
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert reported == []


def test_of_a_group_only_what_may_leave_leaves() -> None:
    reported: list[BaseException] = []
    bug, interrupt = RuntimeError("a bug"), KeyboardInterrupt()
    with pytest.RaisesGroup(KeyboardInterrupt), contained(reported.append):
        raise BaseExceptionGroup("both", [bug, interrupt])
    assert [leaf for error in reported for leaf in leaves(error)] == [bug]


async def test_cancellation_in_a_group_reaches_its_scope() -> None:
    reported: list[BaseException] = []

    async def fails() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise RuntimeError("while cancelled")

    with trio.CancelScope() as scope:
        with contained(reported.append):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fails)
                nursery.start_soon(trio.sleep_forever)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert [str(leaf) for error in reported for leaf in leaves(error)] == ["while cancelled"]


def test_leaves_are_found_at_any_depth() -> None:
    one, two, three = ValueError(1), ValueError(2), ValueError(3)
    group = ExceptionGroup("a", [one, ExceptionGroup("b", [two, three])])
    assert leaves(group) == [one, two, three]
    assert leaves(one) == [one]
