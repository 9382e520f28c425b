"""What the tests of `kind = "python"` call."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import datetime as dt
import decimal
import enum
import functools
import logging
import os
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import attrs
import structlog
import trio

from gateway.core.caller import Caller
from gateway.core.errors import NotFound, Overloaded

NOT_A_FUNCTION = 5
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


async def tells(caller: Caller, times: int = 1) -> dict[str, Any]:
    for number in range(times):
        await caller.progress(number, times, "so far")
        await caller.log("info", {"number": number}, "functions")
    return dict(caller.capabilities)


async def asks(caller: Caller) -> Any:
    return await caller.ask("roots/list", {}, key="where")


def asks_in_a_thread(caller: Caller) -> Any:
    return trio.from_thread.run(caller.ask, "roots/list", {})


def with_an_input(caller: str) -> str:
    return caller


class Gate:
    """Holds threads until it is opened; counts them."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.lock = threading.Lock()
        self.inside = 0
        self.most = 0
        self.ended = 0

    def pass_through(self) -> None:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        try:
            assert self.opened.wait(10)
        finally:
            with self.lock:
                self.inside -= 1
                self.ended += 1


GATES: dict[str, Gate] = {}


def held(gate: str) -> str:
    GATES[gate].pass_through()
    return "out"


def block(seconds: float) -> str:
    time.sleep(seconds)
    return "done"


# ------------------------------------------------------------------ arguments


def add(a: int, b: int = 10) -> int:
    return a + b


async def add_async(a: int, b: int = 10) -> int:
    await trio.lowlevel.checkpoint()
    return a + b


def everything(**values: Any) -> dict[str, Any]:
    return values


def by_position(a: int, /) -> int:
    return a


def left(timeout: float | None) -> float | None:
    return timeout


async def left_async(a: int = 0, timeout: float | None = None) -> float | None:  # noqa: ASYNC109
    await trio.lowlevel.checkpoint()
    return timeout


def spoil(values: list[int], more: dict[str, Any] | None = None) -> int:
    values.append(len(values))
    return len(values)


class Adder:
    def __call__(self, a: int) -> int:
        return a + 1


class AsyncAdder:
    async def __call__(self, a: int) -> int:
        await trio.lowlevel.checkpoint()
        return a + 2


adder = Adder()
async_adder = AsyncAdder()
five = functools.partial(add, 2, 3)


# ------------------------------------------------------------------ values


@dataclass
class Point:
    x: int
    at: dt.datetime


@attrs.frozen
class Shape:
    points: tuple[Point, ...]


class Colour(enum.Enum):
    RED = "red"


_LOOP: list[Any] = []
_LOOP.append(_LOOP)
_DEEP: list[Any] = []
for _ in range(200):
    _DEEP = [_DEEP]
_DAY = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)

VALUES: dict[str, Any] = {
    "none": None,
    "point": Point(1, _DAY),
    "shape": Shape((Point(2, _DAY),)),
    "decimal": decimal.Decimal("1.10"),
    "date": dt.date(2024, 5, 1),
    "duration": dt.timedelta(seconds=90),
    "uuid": uuid.UUID(int=5),
    "enum": Colour.RED,
    "set": {1},
    "tuple": (1, 2),
    "bytes": b"ab",
    "keys": {1: "a"},
    "big": 2**70,
    "nan": float("nan"),
    "surrogate": "\ud800",
    "object": object(),
    "loop": _LOOP,
    "deep": _DEEP,
    "surrogate_key": {"\ud800": 1},
    "complex": 1j,
    "module": sys,
}


def value(name: str) -> Any:
    return VALUES[name]


async def value_async(name: str) -> Any:
    await trio.lowlevel.checkpoint()
    return VALUES[name]


# ------------------------------------------------------------------ failures


def _errors() -> dict[str, BaseException]:
    return {
        "value": ValueError("s3cret text"),
        "key": KeyError("s3cret"),
        "stop": StopIteration("s3cret"),
        "group": ExceptionGroup("s3cret", [OSError("s3cret")]),
        "exit": SystemExit("s3cret"),
        "not_found": NotFound("no such person"),
        "unsayable": NotFound("s3cret \ud800"),
        "overloaded": Overloaded("try later", retry_after_s=3),
        "timeout": TimeoutError("s3cret"),
        "assertion": AssertionError(),
    }


def fail(name: str) -> NoReturn:
    raise _errors()[name]


async def fail_async(name: str) -> NoReturn:
    await trio.lowlevel.checkpoint()
    raise _errors()[name]


def fail_oddly(name: str) -> NoReturn:
    """What only a thread may raise: on the loop it would mean something."""
    raise {
        "interrupt": KeyboardInterrupt("s3cret"),
        "asyncio": asyncio.CancelledError("s3cret"),
        "futures": concurrent.futures.CancelledError("s3cret"),
        "generator": GeneratorExit("s3cret"),
        "base": BaseException("s3cret"),
    }[name]


# ------------------------------------------------------------------ generators

CLOSED: list[str] = []
"""The generators that were closed or ended, by name."""


def count_up(a: int = 2) -> Iterator[int]:
    try:
        for number in range(a):
            yield number + 1
    finally:
        CLOSED.append("count_up")


async def count_up_async(a: int = 2) -> AsyncIterator[int]:
    try:
        for number in range(a):
            await trio.lowlevel.checkpoint()
            yield number + 1
    finally:
        CLOSED.append("count_up_async")


def endless_count_up() -> Iterator[int]:
    try:
        for number in range(1_000_000):
            if number >= 3:
                time.sleep(0.01)
            yield min(number + 1, 3)
    finally:
        CLOSED.append("endless_count_up")


async def endless_count_up_async() -> AsyncIterator[int]:
    try:
        for number in range(3):
            yield number + 1
        await trio.sleep_forever()
    finally:
        CLOSED.append("endless_count_up_async")


def count_into(name: str, a: int) -> Iterator[int]:
    for number in range(a):
        VALUES[name].append(number)
        yield number


def thread_names(a: int) -> Iterator[int]:
    for _ in range(a):
        yield threading.get_ident()


def values_of(name: str) -> Iterator[Any]:
    yield 1
    yield VALUES[name]


async def values_of_async(name: str) -> AsyncIterator[Any]:
    yield 1
    yield VALUES[name]


def fail_later(name: str) -> Iterator[int]:
    yield 1
    raise _errors()[name]


async def fail_later_async(name: str) -> AsyncIterator[int]:
    await trio.lowlevel.checkpoint()
    yield 1
    raise _errors()[name]


def held_items(gate: str) -> Iterator[str]:
    yield "first"
    GATES[gate].pass_through()
    yield "second"


async def forever_items() -> AsyncIterator[int]:
    yield 1
    await trio.sleep_forever()


def without_end() -> Iterator[str]:
    while True:
        yield "x" * 100


async def without_end_async() -> AsyncIterator[str]:
    while True:
        await trio.lowlevel.checkpoint()
        yield "x" * 100


def a_lot() -> str:
    return "x" * 2000


async def a_lot_async() -> str:
    await trio.lowlevel.checkpoint()
    return "x" * 2000


# ------------------------------------------------------------------ hints


@dataclass
class Line:
    start: Point
    colours: list[Colour]


def typed(line: Line, when: dt.datetime | None = None, **rest: int) -> dict[str, Any]:
    assert when is None or isinstance(when, dt.datetime)
    assert all(isinstance(colour, Colour) for colour in line.colours)
    return {"x": line.start.x, "day": line.start.at.day, "rest": rest}


async def typed_async(line: Line) -> int:
    await trio.lowlevel.checkpoint()
    return line.start.x


def hinted_oddly(a: threading.Event, b: "NoSuchType" = None) -> str:  # type: ignore[name-defined] # noqa: F821, UP037
    return type(a).__name__


# ------------------------------------------------------------------ where functions run


def process_id() -> int:
    return os.getpid()


def leave_python(status: int) -> NoReturn:
    os._exit(status)


def compute(seconds: float) -> int:
    """Hold a core, and every lock Python has, for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return os.getpid()


def logs() -> dict[str, Any]:
    logging.getLogger("mine").warning("from a process")
    return structlog.contextvars.get_contextvars()


async def naps_on_the_loop(gate: str) -> str:
    """Block the loop until the gate is open."""
    GATES[gate].pass_through()
    await trio.lowlevel.checkpoint()
    return "out"


# ------------------------------------------------------------------ what follows


def context() -> dict[str, Any]:
    return {"variable": VARIABLE.get(), **structlog.contextvars.get_contextvars()}


async def context_async() -> dict[str, Any]:
    await trio.lowlevel.checkpoint()
    return context()


def thread_name() -> int:
    return threading.get_ident()


async def forever() -> NoReturn:
    await trio.sleep_forever()
    raise AssertionError


def call_back() -> float:
    """From a thread back into the loop, as anyio's and Trio's libraries do."""
    trio.from_thread.run(trio.sleep, 0)
    return 1.0


def noop() -> None: ...
