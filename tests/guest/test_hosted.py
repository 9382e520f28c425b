"""The gateway in an asyncio host: opening, closing, answering, and what happens without a guest."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import attrs
import httpx
import pytest
import sniffio
import trio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Mount
from starlette.testclient import TestClient

from gateway.app import Gateway, create_app
from gateway.config import fields
from gateway.core.adapter import Environment, Kind
from gateway.core.messages import Reply, Request
from gateway.core.service import Emit, Service
from gateway.testing import ScriptedService
from tests.apps import gateway, get

T = TypeVar("T")

HOST: contextvars.ContextVar[str] = contextvars.ContextVar("host", default="none")


@attrs.frozen(slots=True, kw_only=True)
class Settings:
    """`[services.NAME]` of the recording kind."""

    opens: bool = fields.boolean(default=True, doc="Whether it can be opened.")
    hangs: bool = fields.boolean(default=False, doc="Whether that takes for ever.")


@attrs.frozen(slots=True, kw_only=True)
class Call:
    """A call of the recording kind."""


class Recording:
    """An adapter that notes when it opens and closes, and in which host's context."""

    log: list[str]

    def __init__(self, settings: Settings, environment: Environment) -> None:
        self._settings = settings

    def bind(self, _call: Call, /) -> Service:
        async def serve(_request: Request, _emit: Emit, /) -> Reply:
            await trio.lowlevel.checkpoint()
            return Reply(HOST.get())

        return serve

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        await trio.lowlevel.checkpoint()
        if not self._settings.opens:
            raise ValueError("services.s: cannot open")
        self.log.append(f"+{HOST.get()}")
        if self._settings.hangs:
            await trio.sleep_forever()
        try:
            yield
        finally:
            self.log.append("-")


def recorded(log: list[str], **settings: bool) -> Gateway:
    Recording.log = log
    return create_app(
        {
            "services": {"s": {"kind": "recording", **settings}},
            "tools": {"t": {"calls": {"host": {"service": "s"}}}},
        },
        adapters={"recording": Kind(settings=Settings, call=Call, create=Recording)},
    )


def answering(value: Any) -> Gateway:
    """A gateway whose tool `t` has one call, `x`, that replies with `value`."""
    return gateway({"x": get()}, {"s": ScriptedService().reply(value)})


def in_host(main: Callable[[], Awaitable[T]]) -> T:
    """Run `main` in an asyncio loop of its own, as a server would; nothing may be left in it."""

    async def watched() -> T:
        try:
            return await main()
        finally:
            assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(debug=True) as runner:
        result = runner.run(watched())
    assert not trio.lowlevel.in_trio_run()
    return result


async def post(app: Any, path: str = "/tools/t") -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.post(path)


def assert_refused(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert answer.headers["retry-after"] == "1"


# ------------------------------------------------------------------ opened by its host


def test_it_answers_while_its_host_runs_it_and_opens_again() -> None:
    log: list[str] = []
    app = recorded(log)

    async def main() -> None:
        for _ in range(2):
            assert not app.ready
            async with app.running():
                assert app.ready
                assert (await post(app)).json() == {"host": "none"}
            assert not trio.lowlevel.in_trio_run()
            assert_refused(await post(app))

    in_host(main)
    in_host(main)  # and in another loop
    assert log == ["+none", "-"] * 4


def test_a_server_starts_and_stops_it() -> None:
    log: list[str] = []
    app = recorded(log)
    said: list[Any] = []

    async def main() -> None:
        messages = ["lifespan.startup", "lifespan.shutdown"]

        async def receive() -> Any:
            return {"type": messages.pop(0)}

        async def send(message: Any) -> None:
            said.append(message["type"])

        await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)

    in_host(main)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert log == ["+none", "-"]


def test_what_it_cannot_open_is_told_bare() -> None:
    async def main() -> None:
        app = recorded([], opens=False)
        with pytest.raises(ValueError, match=r"services\.s: cannot open"):
            async with app.running():
                raise AssertionError
        assert not trio.lowlevel.in_trio_run()

    in_host(main)


def test_what_the_host_raises_goes_through_and_everything_closes() -> None:
    log: list[str] = []

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with recorded(log).running():
                raise ZeroDivisionError
        assert not trio.lowlevel.in_trio_run()

    in_host(main)
    assert log == ["+none", "-"]


def test_it_is_run_once_at_a_time() -> None:
    app = answering(1)

    async def main() -> None:
        async with app.running():
            with pytest.raises(RuntimeError, match="once at a time"):
                async with app.running():
                    raise AssertionError
            assert (await post(app)).status_code == 200

    in_host(main)


def test_a_host_that_is_cancelled_while_it_opens_leaves_nothing() -> None:
    log: list[str] = []
    app = recorded(log, hangs=True)

    async def main() -> None:
        async def host() -> None:
            async with app.running():
                raise AssertionError

        task = asyncio.create_task(host())
        while not log:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not trio.lowlevel.in_trio_run()

    in_host(main)


def test_a_request_still_under_way_as_its_host_leaves_is_cut() -> None:
    hanging = ScriptedService().hang()
    app = gateway({"x": get()}, {"s": hanging})

    async def main() -> None:
        async with app.running():
            request = asyncio.create_task(post(app))
            while not hanging.active:
                await asyncio.sleep(0)
        assert (hanging.active, hanging.cancelled) == (0, 1)
        with pytest.raises(RuntimeError, match="Trio loop ended"):
            await request

    in_host(main)


def test_two_gateways_in_one_host_share_its_guest() -> None:
    one, other = answering(1), answering(2)

    async def main() -> None:
        async with one.running():
            async with other.running():
                assert [(await post(app)).json()["x"] for app in (one, other)] == [1, 2]
            assert (await post(one)).json() == {"x": 1}
            assert_refused(await post(other))
        assert not trio.lowlevel.in_trio_run()

    in_host(main)


def test_a_gateway_may_start_while_the_last_one_ends() -> None:
    one, other = answering(1), answering(2)

    async def main() -> None:
        entered = asyncio.Event()

        async def second() -> None:
            await entered.wait()
            while not guest.closing:
                await asyncio.sleep(0)
            async with other.running():
                assert (await post(other)).json() == {"x": 2}

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(second())
            async with one.running():
                guest = one._hosted._guest
                assert guest is not None
                entered.set()

    in_host(main)


# ------------------------------------------------------------------ opened by a request


def test_the_first_request_opens_it_and_the_loops_end_closes_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log: list[str] = []
    app = recorded(log)

    async def main() -> None:
        HOST.set("request")
        answers = await asyncio.gather(*(post(app) for _ in range(5)))
        assert [answer.json() for answer in answers] == [{"host": "request"}] * 5
        assert log[-1] == "+none"  # what stays open does not keep the context of a request

    with caplog.at_level(logging.WARNING):
        in_host(main)
    assert caplog.text.count("lifespan=app.lifespan") == 1
    assert log == ["+none", "-"]
    in_host(main)
    assert log == ["+none", "-"] * 2


def test_a_late_opening_that_fails_is_a_503_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = recorded([], opens=False)

    async def main() -> None:
        for _ in range(2):
            assert_refused(await post(app))

    in_host(main)
    assert caplog.text.count("could not be opened") == 2


def test_a_host_does_not_run_what_a_request_has_opened() -> None:
    app = answering(1)

    async def main() -> None:
        assert (await post(app)).status_code == 200
        with pytest.raises(RuntimeError, match="once at a time"):
            async with app.running():
                raise AssertionError
        assert (await post(app)).status_code == 200

    in_host(main)


def test_a_websocket_is_closed_whether_or_not_it_is_open() -> None:
    app = answering(1)

    async def main() -> None:
        said: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            said.append(message)

        scope = {"type": "websocket", "path": "/", "query_string": b"", "headers": []}
        async with app.running():
            await app(dict(scope), receive, send)
        await app(dict(scope), receive, send)
        assert said == [
            {"type": "websocket.close", "code": 1008},
            {"type": "websocket.close", "code": 1013},
        ]

    in_host(main)


# ------------------------------------------------------------------ several loops


def test_another_loop_at_the_same_time_is_told_so() -> None:
    app = answering(1)

    async def elsewhere() -> None:
        for attempt in (post(app), app.running().__aenter__()):
            with pytest.raises(RuntimeError, match="another event loop"):
                await attempt

    async def main() -> None:
        async with app.running():
            with ThreadPoolExecutor(1) as thread:
                await asyncio.wrap_future(thread.submit(asyncio.run, elsewhere()))
            assert (await post(app)).status_code == 200

    in_host(main)


def test_loops_in_two_threads_have_a_guest_each() -> None:
    both = threading.Barrier(2)

    def host(value: int) -> Any:
        app = answering(value)

        async def main() -> Any:
            async with app.running():
                await asyncio.to_thread(both.wait, 5)
                return (await post(app)).json()["x"]

        return in_host(main)

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(host, [1, 2])) == [1, 2]


def test_another_trio_run_in_the_thread_is_an_error() -> None:
    async def main() -> None:
        over: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        stop = trio.Event()
        trio.lowlevel.start_guest_run(
            stop.wait,
            run_sync_soon_threadsafe=asyncio.get_running_loop().call_soon_threadsafe,
            done_callback=over.set_result,
            host_uses_signal_set_wakeup_fd=True,
        )
        with pytest.raises(RuntimeError, match="another Trio run"):
            async with answering(1).running():
                raise AssertionError
        stop.set()
        await over

    in_host(main)


# ------------------------------------------------------------------ a crash


def test_after_a_crash_requests_are_refused_and_the_host_lives_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = answering(1)

    async def crash() -> None:
        raise SystemExit

    answers: list[httpx.Response] = []

    async def host() -> None:
        async with app.running():
            trio.lowlevel.spawn_system_task(crash)
            assert app._hosted._guest is not None
            await app._hosted._guest.over()
            answers.append(await post(app))

    async def main() -> None:
        with pytest.raises(RuntimeError, match="Trio loop ended"):
            await host()
        answers.append(await post(app))

    in_host(main)
    assert len(answers) == 2
    for answer in answers:
        assert_refused(answer)
    assert "the gateway's Trio loop has crashed" in caplog.text
    assert "SystemExit" in caplog.text

    async def again() -> None:
        async with app.running():
            assert (await post(app)).status_code == 200

    in_host(again)


def test_a_crash_ends_the_requests_under_way() -> None:
    hanging = ScriptedService().hang()
    app = gateway({"x": get()}, {"s": hanging})

    async def crash() -> None:
        raise SystemExit

    async def main() -> None:
        request = asyncio.create_task(post(app))
        while not hanging.active:
            await asyncio.sleep(0)
        trio.lowlevel.spawn_system_task(crash)
        with pytest.raises(RuntimeError, match="Trio loop ended"):
            await request
        assert (hanging.active, hanging.cancelled) == (0, 1)

    in_host(main)


# ------------------------------------------------------------------ contexts and libraries


def test_a_request_sees_its_hosts_context_and_leaves_nothing_there() -> None:
    def change(_request: Request) -> str:
        seen = HOST.get()
        HOST.set("changed")
        return seen

    app = answering(change)

    async def one(name: str) -> Any:
        HOST.set(name)
        seen = (await post(app)).json()["x"]
        assert HOST.get() == name
        return seen

    async def main() -> None:
        async with app.running():
            assert await asyncio.gather(one("a"), one("b")) == ["a", "b"]
            assert (await post(app)).json()["x"] == "none"

    in_host(main)


def test_code_inside_is_on_trio_and_the_hosts_on_asyncio() -> None:
    libraries: list[str] = []

    async def serve(request: Request, emit: Emit, /) -> Reply:
        await anyio.lowlevel.checkpoint()
        await anyio.to_thread.run_sync(lambda: None)
        libraries.append(sniffio.current_async_library())
        return Reply(1)

    app = gateway({"x": get()}, {"s": serve})

    async def main() -> None:
        async def around(scope: Any, receive: Any, send: Any) -> None:
            async def noted_receive() -> Any:
                libraries.append(sniffio.current_async_library())
                with anyio.fail_after(5):
                    return await receive()

            async def noted_send(message: Any) -> None:
                async with asyncio.timeout(5):
                    await anyio.lowlevel.checkpoint()
                    await send(message)
                libraries.append(sniffio.current_async_library())

            await app(scope, noted_receive, noted_send)

        # Some hosts say what they are in a context variable, which a request inherits.
        token = sniffio.current_async_library_cvar.set("asyncio")
        async with app.running():
            assert (await post(around)).status_code == 200
        sniffio.current_async_library_cvar.reset(token)

    in_host(main)
    assert libraries.count("trio") == 1
    assert set(libraries) == {"trio", "asyncio"}


def test_a_drain_may_be_begun_by_the_host() -> None:
    hanging = ScriptedService().hang()
    app = gateway({"x": get(optional=True)}, {"s": hanging})

    async def main() -> None:
        async with app.running():
            request = asyncio.create_task(post(app))
            while not hanging.active:
                await asyncio.sleep(0)
            app.begin_drain(0)
            assert (await request).headers["x-gateway-partial"] == "x=deadline_exceeded"

    in_host(main)


# ------------------------------------------------------------------ Starlette's test client


def test_starlettes_test_client_opens_and_closes_it() -> None:
    log: list[str] = []
    app = recorded(log)
    host = Starlette(routes=[Mount("/gw", app)], lifespan=app.lifespan)
    for _ in range(2):
        with TestClient(host) as client:
            for _ in range(3):
                assert client.post("/gw/tools/t").json() == {"host": "none"}
    assert log == ["+none", "-"] * 2


def test_starlettes_test_client_without_a_lifespan_has_a_loop_per_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log: list[str] = []
    client = TestClient(Starlette(routes=[Mount("/gw", recorded(log))]))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert client.post("/gw/tools/t").status_code == 200
    assert log == ["+none", "-"] * 2
    assert caplog.text.count("lifespan=app.lifespan") == 2


def test_the_hosts_own_middleware_stands_around_it() -> None:
    async def name(request: Any, call_next: Any) -> Any:
        HOST.set("middleware")
        answer = await call_next(request)
        answer.headers["x-seen"] = "yes"
        return answer

    app = answering(lambda _request: HOST.get())
    host = Starlette(
        routes=[Mount("/gw", app)],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=name)],
        lifespan=app.lifespan,
    )
    with TestClient(host, base_url="http://localhost") as client:
        answer = client.post("/gw/tools/t", json={})
        assert answer.json() == {"x": "middleware"}
        assert answer.headers["x-seen"] == "yes"
