"""`kind = "python"`: blocking functions in threads, async ones on the loop."""

from __future__ import annotations

import logging
import math
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from gateway.app import Gateway, create_app
from gateway.core.errors import (
    BadReply,
    DeadlineExceeded,
    GatewayError,
    NotFound,
    Overloaded,
    Unreachable,
)
from gateway.core.messages import Context, Request
from gateway.telemetry.events import AbandonedThreadEnded, ThreadAbandoned
from tests.adapters import functions
from tests.adapters.functions import GATES, VARIABLE, Gate
from tests.apps import Events

MODULE = functions.__name__


@attrs.frozen
class Bench:
    """One function behind a gateway."""

    app: Gateway
    events: Events

    async def __call__(self, timeout_s: float = math.inf, /, **values: Any) -> Any:
        context = Context(request_id="r", principal="ann")
        reply = await self.app.call(Request("t", values, context), timeout_s=timeout_s)
        return reply.value

    async def failure(self, timeout_s: float = math.inf, /, **values: Any) -> GatewayError:
        with pytest.raises(GatewayError) as caught:
            await self(timeout_s, **values)
        return caught.value

    @property
    def threads(self) -> trio.CapacityLimiter:
        limiter: trio.CapacityLimiter = self.app._built.adapters["f"]._limiter  # type: ignore[attr-defined]
        return limiter


def config(function: str, call: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    names = ("a", "b", "name", "gate", "seconds", "values", "timeout", "x")
    return {
        "server": {"deadline": "30s"},
        "services": {"f": {"kind": "python", "module": MODULE, **keys}},
        "tools": {
            "t": {
                "input": {"properties": {name: {} for name in names}},
                "output": "r",
                "calls": {"r": {"service": "f", "function": function, **(call or {})}},
            }
        },
    }


@asynccontextmanager
async def bench(
    function: str, call: dict[str, Any] | None = None, **keys: Any
) -> AsyncGenerator[Bench]:
    events = Events()
    app = create_app(config(function, call, **keys), listeners=[events.append])
    async with app.running():
        yield Bench(app, events)


@pytest.fixture
def gate(request: pytest.FixtureRequest) -> Iterator[Gate]:
    """A gate of the test's own name; opened at the end whatever happens."""
    made = GATES["gate"] = Gate()
    yield made
    made.opened.set()


# ------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    ("function", "call", "values", "result"),
    [
        ("add", {}, {"a": 1, "b": 2}, 3),
        ("add", {}, {"a": 1}, 11),
        ("add", {}, {"a": 1, "x": 5}, 11),
        ("add_async", {}, {"a": 1, "b": 2, "x": 5}, 3),
        ("add", {"arguments": {"a": "{x}", "b": 7}}, {"x": 1}, 8),
        ("add", {"arguments": {"a": "{x.n}"}}, {"x": {"n": 4}}, 14),
        ("everything", {}, {"a": 1, "x": [2]}, {"a": 1, "x": [2]}),
        ("everything", {"arguments": {}}, {"a": 1}, {}),
        ("everything", {"arguments": {"k": "{x}"}}, {"x": None}, {"k": None}),
        ("adder", {}, {"a": 1}, 2),
        ("async_adder", {}, {"a": 1}, 3),
        ("five", {"arguments": {}}, {}, 5),
    ],
)
async def test_a_function_gets_its_arguments(
    function: str, call: dict[str, Any], values: dict[str, Any], result: Any
) -> None:
    async with bench(function, call) as made:
        assert await made(**values) == result


@pytest.mark.parametrize("function", ["add", "add_async", "by_position"])
async def test_arguments_that_do_not_fit_are_told_and_nothing_is_called(function: str) -> None:
    async with bench(function, {}) as made:
        error = await made.failure()
    assert isinstance(error, BadReply)
    assert f"{function}() does not take these arguments" in error.detail


@pytest.mark.parametrize("function", ["left", "left_async"])
async def test_a_function_that_takes_a_timeout_gets_the_seconds_left(
    autojump_clock: MockClock, function: str
) -> None:
    """On a clock that stands still: what is left is exact, also in a thread."""
    async with bench(function) as made:
        with trio.CancelScope(shield=True):
            autojump_clock.autojump_threshold = math.inf
            assert await made(2.5) == pytest.approx(2.5)
            assert await made() == pytest.approx(30)
            assert await made(2.5, timeout="the client's own") == pytest.approx(2.5)


@pytest.mark.parametrize("left_s", [0.25, 0.001, 0.0005])
async def test_waiting_for_a_thread_takes_from_the_timeout(
    autojump_clock: MockClock, gate: Gate, left_s: float
) -> None:
    autojump_clock.autojump_threshold = math.inf
    got: list[Any] = []
    both = config("held", threads=1)
    both["tools"]["u"] = {
        "input": {"properties": {}},
        "output": "r",
        "calls": {"r": {"service": "f", "function": "left"}},
    }
    app = create_app(both)
    limiter = app._built.adapters["f"]._limiter  # type: ignore[attr-defined]

    async def ask() -> None:
        try:
            got.append(
                (await app.call(Request("u", {}, Context(request_id="r")), timeout_s=2)).value
            )
        except DeadlineExceeded as error:
            got.append(error)

    async with app.running(), trio.open_nursery() as nursery:
        nursery.start_soon(app.call, Request("t", {"gate": "gate"}, Context(request_id="r")))
        await until(lambda: gate.inside == 1)
        nursery.start_soon(ask)
        await until(lambda: limiter.statistics().tasks_waiting == 1)
        autojump_clock.jump(2 - left_s)
        gate.opened.set()
        await until(lambda: got)
    if left_s < 0.001:
        assert isinstance(got[0], DeadlineExceeded)
    else:
        assert got == [pytest.approx(left_s)]


async def test_a_timeout_that_the_file_writes_is_the_functions() -> None:
    async with bench("left", {"arguments": {"timeout": 7}}) as made:
        assert await made(2) == 7


async def test_what_a_function_does_to_its_arguments_is_its_own_affair() -> None:
    call = {"arguments": {"values": [1], "more": {"a": [2]}}}
    async with bench("spoil", call) as made:
        assert [await made(), await made()] == [2, 2]
    async with bench("spoil", {"arguments": {"values": "{values}"}}) as made:
        values = [1, 2]
        await made(values=values)
        assert values == [1, 2]


# ------------------------------------------------------------------ values


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("none", None),
        ("point", {"x": 1, "at": "2024-05-01T12:00:00Z"}),
        ("shape", {"points": [{"x": 2, "at": "2024-05-01T12:00:00Z"}]}),
        ("decimal", "1.10"),
        ("date", "2024-05-01"),
        ("duration", "PT90S"),
        ("uuid", "00000000-0000-0000-0000-000000000005"),
        ("enum", "red"),
        ("set", [1]),
        ("tuple", [1, 2]),
        ("bytes", "YWI="),
        ("keys", {"1": "a"}),
        ("big", 2**70),
        ("nan", None),
    ],
)
@pytest.mark.parametrize("function", ["value", "value_async"])
async def test_a_value_becomes_json_types(function: str, name: str, result: Any) -> None:
    async with bench(function) as made:
        got = await made(name=name)
    assert got == result


@pytest.mark.parametrize(
    "name", ["object", "loop", "deep", "complex", "module", "surrogate", "surrogate_key"]
)
@pytest.mark.parametrize("function", ["value", "value_async"])
async def test_a_value_without_json_form_is_a_bad_reply(function: str, name: str) -> None:
    async with bench(function) as made:
        error = await made.failure(name=name)
    assert isinstance(error, BadReply)
    assert "no JSON form" in error.detail


# ------------------------------------------------------------------ failures


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("value", "ValueError"),
        ("key", "KeyError"),
        ("stop", "StopIteration"),
        ("unsayable", "NotFound"),
        ("group", "ExceptionGroup"),
        ("exit", "SystemExit"),
        ("timeout", "TimeoutError"),
        ("assertion", "AssertionError"),
    ],
)
@pytest.mark.parametrize("function", ["fail", "fail_async"])
async def test_an_exception_shows_its_type_and_logs_its_message(
    function: str, name: str, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    if (function, name) == ("fail_async", "stop"):
        shown = "RuntimeError"  # Python's own: a coroutine may not raise StopIteration
    async with bench(function) as made:
        error = await made.failure(name=name)
    assert isinstance(error, BadReply)
    assert error.detail == f"{function}() raised {shown}"
    assert "s3cret" not in str(error.problem())
    (record,) = [one for one in caplog.records if one.exc_info]
    assert record.levelno == logging.WARNING
    assert record.exc_info is not None
    assert name == "assertion" or "s3cret" in str(record.exc_info[1]) or name == "stop"


@pytest.mark.parametrize("name", ["interrupt", "asyncio", "futures", "generator", "base"])
async def test_nothing_a_thread_raises_gets_past_its_call(name: str) -> None:
    async with bench("fail_oddly") as made:
        error = await made.failure(name=name)
        assert isinstance(error, BadReply)
        assert "s3cret" not in error.detail
        assert made.threads.borrowed_tokens == 0


@pytest.mark.parametrize(("name", "kind"), [("not_found", NotFound), ("overloaded", Overloaded)])
@pytest.mark.parametrize("function", ["fail", "fail_async"])
async def test_an_error_of_ours_speaks_for_itself(
    function: str, name: str, kind: type[GatewayError]
) -> None:
    async with bench(function) as made:
        error = await made.failure(name=name)
    assert isinstance(error, kind)
    assert (error.call, error.service) == ("r", "f")
    assert error.retry_after_s == (3 if name == "overloaded" else None)


# ------------------------------------------------------------------ what is found at start


@pytest.mark.parametrize(
    ("module", "later", "said"),
    [
        ("fickle_a", "", "services.f: fickle_a has no function 'noop'"),
        (
            "fickle_b",
            "1 / 0",
            "services.f.module: expected an importable module, got 'fickle_b': Zero",
        ),
    ],
)
async def test_what_went_away_since_keeps_the_gateway_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, later: str, said: str
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    file, code = tmp_path / "gateway.toml", tmp_path / f"{module}.py"
    file.write_text(
        f'[services.f]\nkind = "python"\nmodule = "{module}"\n'
        '[tools.t]\ncalls.a = { service = "f", function = "noop" }\n'
    )
    code.write_text("def noop(): ...\n")
    app = create_app(file)
    code.write_text(later)
    with pytest.raises(ValueError, match=r"services\.f") as caught:
        async with app.running():
            raise AssertionError
    sys.modules.pop(module, None)
    assert said in str(caught.value)
    assert not app.ready


@pytest.mark.parametrize(
    ("module", "files"),
    [
        ("beside_it", {"beside_it.py": "WHO"}),
        ("beside_pkg", {"beside_pkg/__init__.py": "WHO"}),
        ("beside_in.part", {"beside_in/__init__.py": "", "beside_in/part.py": "WHO"}),
        ("beside_bare.part", {"beside_bare/part.py": "WHO"}),
        (
            "beside_rel.part",
            {
                "beside_rel/__init__.py": "from .other import who",
                "beside_rel/part.py": "from . import who",
                "beside_rel/other.py": "WHO",
            },
        ),
        ("colorsys", {"colorsys.py": "WHO"}),
    ],
)
async def test_each_file_has_the_modules_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, files: dict[str, str]
) -> None:
    """Also where another file, opened before in this process, has one of the same name."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    before = set(sys.modules)
    text = (
        f'[services.s]\nkind = "python"\nmodule = "{module}"\n'
        '[tools.t]\noutput = "a"\ncalls.a = { service = "s", function = "who" }\n'
    )
    told = []
    for who in ("first", "second", "first"):
        folder = tmp_path / who
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            code = content.replace("WHO", f"def who():\n    return {who!r}\n")
            (folder / name).write_text(code)
        (folder / "gateway.toml").write_text(text)
        app = create_app(folder / "gateway.toml")
        async with app.running():
            told.append((await app.call(Request("t", {}, Context(request_id="r")))).value)
    for name in set(sys.modules) - before:
        if "beside" in name or "colorsys" in name:
            del sys.modules[name]
    assert told == ["first", "second", "first"]


async def test_a_module_that_is_there_already_is_not_loaded_again() -> None:
    """It stands beside the file, which is in the current folder, and is imported here too."""
    async with bench("noop") as made:
        await made()
        assert made.app._built.adapters["f"]._functions["noop"].function is functions.noop  # type: ignore[attr-defined]


async def test_a_call_before_the_gateway_is_open_is_unreachable() -> None:
    app = create_app(config("noop"))
    with pytest.raises(Unreachable, match="not open"):
        await app.call(Request("t", {}, Context(request_id="r")))


# ------------------------------------------------------------------ where it runs


async def test_blocking_functions_run_in_threads_and_async_ones_on_the_loop() -> None:
    async with bench("thread_name") as made:
        assert await made() != threading.get_ident()
    async with bench("context_async") as made:
        assert (await made())["variable"] == "unset"


@pytest.mark.parametrize("function", ["context", "context_async"])
async def test_context_follows(function: str) -> None:
    token = VARIABLE.set("mine")
    async with bench(function) as made:
        got = await made()
    VARIABLE.reset(token)
    assert got == {"variable": "mine", "request_id": "r", "tool": "t", "principal": "ann"}


async def test_a_thread_may_call_back_into_the_loop() -> None:
    async with bench("call_back") as made:
        assert await made() == 1


async def test_an_async_function_is_cancelled_at_the_deadline(autojump_clock: MockClock) -> None:
    async with bench("forever") as made:
        assert isinstance(await made.failure(1.5), DeadlineExceeded)
        assert trio.current_time() == pytest.approx(1.5, abs=1e-6)
    made.events.assert_balanced()


# ------------------------------------------------------------------ threads


async def until(condition: Any) -> None:
    """Wait for other threads, which no clock of Trio's knows."""
    with trio.fail_after(10):
        while not condition():
            await trio.lowlevel.checkpoint()


async def test_no_more_threads_than_the_service_has(gate: Gate) -> None:
    async with bench("held", threads=3) as made, trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(lambda: made(gate="gate"))
        await until(lambda: gate.inside == 3)
        assert made.threads.borrowed_tokens == 3
        gate.opened.set()
    assert (gate.most, gate.ended) == (3, 10)
    assert made.threads.borrowed_tokens == 0


async def test_services_have_threads_of_their_own(gate: Gate) -> None:
    """One service's threads that all hang do not keep another's from running."""
    both = config("held", threads=1)
    both["services"]["g"] = {"kind": "python", "module": MODULE, "threads": 1}
    both["tools"]["u"] = {"calls": {"r": {"service": "g", "function": "noop"}}}
    app = create_app(both)
    async with app.running(), trio.open_nursery() as nursery:
        nursery.start_soon(app.call, Request("t", {"gate": "gate"}, Context(request_id="r")))
        await until(lambda: gate.inside == 1)
        await app.call(Request("u", {}, Context(request_id="r")))
        gate.opened.set()


async def leaving(made: Bench, gate: Gate, nursery: trio.Nursery) -> trio.CancelScope:
    """A call that is in its thread, and the scope that ends it."""
    scope = trio.CancelScope()

    async def call() -> None:
        with scope:
            await made(gate="gate")

    before = gate.inside
    nursery.start_soon(call)
    await until(lambda: gate.inside == before + 1)
    return scope


async def test_an_abandoned_thread_is_told_keeps_its_token_and_is_told_again_at_its_end(
    gate: Gate,
) -> None:
    async with bench("held", threads=2) as made:
        async with trio.open_nursery() as nursery:
            scope = await leaving(made, gate, nursery)
            assert not made.events.of(ThreadAbandoned)
            scope.cancel()
        assert made.events.of(ThreadAbandoned) == [ThreadAbandoned("f")]
        assert not made.events.of(AbandonedThreadEnded)
        assert made.threads.borrowed_tokens == 1
        assert b'abandoned_threads{service="f"} 1.0' in made.app.metrics.render()[0]
        gate.opened.set()
        await until(lambda: made.events.of(AbandonedThreadEnded))
        await until(lambda: not made.threads.borrowed_tokens)
        assert made.events.of(AbandonedThreadEnded) == [AbandonedThreadEnded("f")]
        text = made.app.metrics.render()[0]
        assert b'abandoned_threads{service="f"} 0.0' in text
        assert b'threads_abandoned_total{service="f"} 1.0' in text


async def test_a_thread_that_nobody_abandoned_is_not_told() -> None:
    async with bench("noop") as made:
        for _ in range(50):
            await made()
        await trio.lowlevel.checkpoint()
    made.events.assert_balanced()


async def test_a_call_that_waits_for_a_thread_leaves_nothing_when_it_goes(gate: Gate) -> None:
    async with bench("held", threads=1) as made:
        async with trio.open_nursery() as nursery:
            await leaving(made, gate, nursery)
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as waiting:
                    waiting.start_soon(lambda: made(gate="gate"))
                    await until(lambda: made.threads.statistics().tasks_waiting == 1)
                    scope.cancel()
            assert not made.events.of(ThreadAbandoned)
            gate.opened.set()
        assert gate.ended == 1


async def test_abandoned_threads_that_hold_every_token_make_others_wait_not_multiply(
    gate: Gate,
) -> None:
    async with bench("held", threads=2) as made:
        async with trio.open_nursery() as nursery:
            scopes = [await leaving(made, gate, nursery) for _ in range(2)]
            for scope in scopes:
                scope.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: made(gate="gate"))
            await until(lambda: made.threads.statistics().tasks_waiting == 1)
            assert gate.most == 2
            gate.opened.set()
        await until(lambda: gate.ended == 3)


async def test_a_thread_that_outlives_the_loop_ends_quietly(gate: Gate) -> None:
    async with bench("held") as made, trio.open_nursery() as nursery:
        scope = await leaving(made, gate, nursery)
        scope.cancel()
    assert gate.ended == 0  # the gateway closed without waiting for it
