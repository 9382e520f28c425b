"""A client in memory that takes an event stream as it comes, and a service to tell it something."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import attrs
import trio

from gateway.core.messages import Partial, Reply, Request
from gateway.core.service import Emit, Service
from gateway.net.asgi import ASGIApp
from tests.inbound.mcp.driver import ENVELOPE, MODERN

__all__ = ["Event", "McpTaker", "Taker", "telling"]


def telling(*partials: Partial, value: Any = "done", every_s: float = 0) -> Service:
    """A service that emits these, and replies with `value`.

    Args:
        partials: What it emits.
        value: JSON types.
        every_s: Seconds before each.
    """

    async def serve(_request: Request, emit: Emit, /) -> Reply:
        for partial in partials:
            await trio.sleep(every_s)
            await emit(partial)
        return Reply(value)

    return serve


@attrs.frozen
class Event:
    """One event, and when it came, in seconds from the request's start."""

    at_s: float
    name: str
    data: Any


class Taker:
    """One request, and all that comes back.

    Args:
        app: Who answers.
        target: What is asked for.
        method: In capitals.
        body: Of the request, as JSON.
        accept: The header; `None` leaves it out.
        reads: Whether it reads from the beginning; else `reading` has to be set.
        **headers: Further headers.

    Attributes:
        reading: Set while it reads.
        leaving: Set to leave.
        came: Set when the first event has come.
        status: The answer's; 0 before there is one.
        headers: The answer's.
        events: What came, in order.
        beats: When comments came.
        rest: What came and is no event: the body of any other answer.
        is_whole: Whether the answer has ended.
    """

    def __init__(
        self,
        app: ASGIApp,
        target: str = "/tools/t",
        *,
        method: str = "POST",
        body: Any = None,
        accept: str | None = "text/event-stream",
        reads: bool = True,
        **headers: str,
    ) -> None:
        self._app = app
        self._body = b"" if body is None else json.dumps(body).encode()
        self._pending = True
        headers = {"host": "localhost", **headers}
        if accept is not None:
            headers["accept"] = accept
        self._scope = {
            "type": "http",
            "method": method,
            "path": target,
            "query_string": b"",
            "headers": [
                (name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()
            ],
        }
        self.reading = trio.Event()
        if reads:
            self.reading.set()
        self.leaving = trio.Event()
        self.came = trio.Event()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.events: list[Event] = []
        self.beats: list[float] = []
        self.rest = b""
        self.is_whole = False

    async def __call__(self) -> Taker:
        """Ask, and take what comes until the app is done with it."""
        self._start = trio.current_time()
        await self._app(dict(self._scope), self._receive, self._send)
        return self

    async def _receive(self) -> Any:
        if self._pending:
            self._pending = False
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self.leaving.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.reading.wait()
        await trio.lowlevel.checkpoint()
        assert not self.is_whole
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): text.decode() for name, text in message["headers"]}
            return
        self.rest += message.get("body", b"")
        self.is_whole = not message.get("more_body", False)
        if self.headers["content-type"] == "text/event-stream":
            *blocks, self.rest = self.rest.split(b"\n\n")
            for block in blocks:
                self._take(block)

    def _take(self, block: bytes) -> None:
        at_s = trio.current_time() - self._start
        if block.startswith(b":"):
            self.beats.append(at_s)
            return
        name, data = block.split(b"\n")
        self.events.append(
            Event(
                at_s,
                name.removeprefix(b"event: ").decode(),
                json.loads(data.removeprefix(b"data: ")),
            )
        )
        self.came.set()

    @property
    def told(self) -> list[tuple[str, Any]]:
        """Each event's name and data."""
        return [(event.name, event.data) for event in self.events]

    def of(self, name: str) -> Iterator[Any]:
        """The data of the events of this name."""
        return (event.data for event in self.events if event.name == name)

    @property
    def pieces(self) -> list[Any]:
        """The values of the chunks."""
        return [data["value"] for data in self.of("chunk")]

    @property
    def answer(self) -> Any:
        """The answer, which is the last event and the only one of its kind."""
        (answer,) = self.of("answer")
        assert self.is_whole
        assert self.events[-1].name == "answer"
        assert not list(self.of("error"))
        return answer

    @property
    def error(self) -> Any:
        """The problem, likewise."""
        (error,) = self.of("error")
        assert self.is_whole
        assert self.events[-1].name == "error"
        assert not list(self.of("answer"))
        return error


class McpTaker(Taker):
    """A client of MCP (2026-07-28) that calls a tool, and asks to be told of progress.

    Args:
        app: Who answers.
        name: The tool's.
        meta: Further parts of `_meta`, in the place of a progress token.
        reads: As `Taker`.
        **params: Further parameters.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        name: str = "t",
        meta: Any = None,
        reads: bool = True,
        **params: Any,
    ) -> None:
        own = {"progressToken": 7} if meta is None else meta
        params = {"name": name, "_meta": {**ENVELOPE, **own}, **params}
        super().__init__(
            app,
            "/mcp",
            body={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params},
            accept="application/json, text/event-stream",
            reads=reads,
            content_type="application/json",
            mcp_protocol_version=MODERN,
            mcp_method="tools/call",
            mcp_name=name,
        )

    @property
    def notes(self) -> list[Any]:
        """The params of the progress notifications."""
        return [one["params"] for one in self.of("message") if "method" in one]

    @property
    def result(self) -> Any:
        """The result, which is the last message."""
        assert self.is_whole
        return self.events[-1].data["result"]
