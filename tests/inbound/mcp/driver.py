"""What the MCP tests drive with: a scripted front, and ASGI requests in memory."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any, cast

import attrs
import trio

from gateway.config.settings import McpSettings, ServerSettings
from gateway.core.errors import GatewayError, NotFound
from gateway.core.messages import Context, Reply, Request
from gateway.core.service import Emit, discard
from gateway.inbound.front import context_of
from gateway.inbound.mcp import Mcp
from gateway.net.asgi import ClientLeft, Incoming, ends_with_client
from gateway.plan.tool import Tool

Script = Callable[[Request], Awaitable[Reply]]
Emitting = Callable[[Request, Emit], Awaitable[Reply]]

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def tool(name: str, *, read_only: bool = False, idempotent: bool = False) -> Tool:
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}}
    return Tool(
        name=name,
        description=f"Does {name}.",
        arguments=cast("Any", SimpleNamespace(schema=schema)),
        plan=cast("Any", None),
        deadline_s=math.inf,
        idempotent=idempotent,
        read_only=read_only,
    )


class ScriptedFront:
    """A front whose tools do what the test says, and which sees how each call ends."""

    def __init__(self, scripts: Mapping[str, Script] | None = None, **server: Any) -> None:
        self.server = ServerSettings(**server)
        self.scripts = dict(scripts or {})
        self.tools: dict[str, Tool] = {name: tool(name) for name in self.scripts}
        self.federated: dict[str, Any] = {}
        self.may: Any = None
        self.tell_others: Any = None
        self.requests: list[Request] = []
        self.refused: list[GatewayError] = []
        self.budgets: list[float] = []
        self.running = 0
        self.cancelled: list[float] = []
        self.started = trio.Event()
        self.ended = trio.Event()

    def context(self, incoming: Incoming, protocol: str) -> Context:
        return context_of(incoming.headers, protocol)

    def refuse(self, context: Context, error: GatewayError, *, duration_s: float) -> None:
        self.refused.append(error)

    def record(self, event: Any) -> None:
        raise AssertionError(event)

    def within(self, timeout_s: float) -> AbstractContextManager[trio.CancelScope]:
        return trio.move_on_after(timeout_s)

    def waiting(self) -> AbstractContextManager[trio.CancelScope]:
        return trio.CancelScope()

    async def answer(
        self, request: Request, emit: Emit = discard, /, *, timeout_s: float = math.inf
    ) -> Reply:
        self.requests.append(request)
        self.budgets.append(timeout_s)
        if request.name not in self.scripts:
            raise NotFound(f"no tool {request.name}")
        self.running += 1
        self.started.set()
        try:
            with trio.CancelScope() as leaving:
                ends_with_client(leaving)
                script = self.scripts[request.name]
                reply = await (
                    script.emitting(request, emit) if isinstance(script, Tells) else script(request)
                )
                return reply.sealed()
            raise ClientLeft  # noqa: TRY301 - noted below
        except (trio.Cancelled, ClientLeft):
            self.cancelled.append(trio.current_time())
            raise
        finally:
            self.running -= 1
            self.ended.set()


@attrs.frozen
class Tells:
    """A script that is given `emit`."""

    emitting: Emitting

    def __call__(self, request: Request) -> Awaitable[Reply]:
        return self.emitting(request, discard)


def returns(value: Any, *missing: Any) -> Script:
    async def script(request: Request) -> Reply:
        await trio.lowlevel.checkpoint()
        return Reply(value, missing=missing)

    return script


def fails(error: Exception) -> Script:
    async def script(request: Request) -> Reply:
        await trio.lowlevel.checkpoint()
        raise error

    return script


async def hangs(request: Request) -> Reply:
    await trio.sleep_forever()
    raise AssertionError


def mcp(front: ScriptedFront) -> Mcp:
    return Mcp(front, McpSettings())


@attrs.frozen
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The messages of an event stream."""
        assert self.headers["content-type"] == "text/event-stream"
        assert self.headers["x-accel-buffering"] == "no"
        blocks = [block for block in self.body.decode().split("\n\n") if block]
        return [json.loads(block.removeprefix("event: message\ndata: ")) for block in blocks]

    @property
    def result(self) -> Any:
        assert "result" in self.json, self.json
        return self.json["result"]

    @property
    def error(self) -> Any:
        assert "error" in self.json, self.json
        return self.json["error"]


def told(message: Any) -> list[Any]:
    """The messages in a piece of an event stream, as ASGI's `send` is given it."""
    blocks = filter(None, message.get("body", b"").split(b"\n\n"))
    return [json.loads(block.removeprefix(b"event: message\ndata: ")) for block in blocks]


class NoAnswerError(Exception):
    """The app ended without an answer, or in the middle of one."""


async def send(
    app: Mcp,
    body: Any = b"",
    *,
    method: str = "POST",
    headers: Mapping[str, str | None] | None = None,
    leaving: trio.Event | None = None,
    stalled: bool = False,
) -> Response:
    """One HTTP request; a `headers` value of None takes a default header away."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    given: dict[str, str | None] = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        **(headers or {}),
    }
    pending = [] if stalled else [{"type": "http.request", "body": raw, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        await trio.lowlevel.checkpoint()
        if pending:
            return pending.pop()
        if leaving is None:
            await trio.sleep_forever()
        else:
            await leaving.wait()
        return {"type": "http.disconnect"}

    async def respond(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": "/mcp",
        "headers": [
            (name.encode(), value.encode("latin-1"))
            for name, value in given.items()
            if value is not None
        ],
    }
    await app(Incoming.of(scope), receive, respond)
    if not sent or sent[-1].get("more_body", False):
        raise NoAnswerError
    start, *pieces = sent
    got = {name.decode(): value.decode() for name, value in start["headers"]}
    assert [piece.get("more_body", False) for piece in pieces] == [True] * (len(pieces) - 1) + [
        False
    ]
    whole = b"".join(piece["body"] for piece in pieces)
    if got.get("content-type") != "text/event-stream" or "content-length" in got:
        assert got.get("content-length", "0") == str(len(whole))
    return Response(start["status"], got, whole)


def request(method: str, params: Any = None, *, id: Any = 1) -> dict[str, Any]:  # noqa: A002
    message = {"jsonrpc": "2.0", "id": id, "method": method}
    return message if params is None else {**message, "params": params}


def notification(method: str, params: Any = None) -> dict[str, Any]:
    message = request(method, params)
    del message["id"]
    return message


async def legacy(
    app: Mcp, method: str, params: Any = None, *, session: str | None = None, **options: Any
) -> Response:
    """One legacy request."""
    headers = {"mcp-protocol-version": LEGACY, "mcp-session-id": session}
    headers |= options.pop("headers", {})
    message = request(method, params, id=options.pop("id", 1))
    return await send(app, message, headers=headers, **options)


async def modern(app: Mcp, method: str, params: Any = None, **options: Any) -> Response:
    """One modern request, its envelope and headers right."""
    body = {"_meta": ENVELOPE, **(params or {})}
    headers = {"mcp-protocol-version": MODERN, "mcp-method": method}
    named = body.get("uri" if method == "resources/read" else "name")
    if isinstance(named, str):
        headers["mcp-name"] = named
    headers |= options.pop("headers", {})
    message = request(method, body, id=options.pop("id", 1))
    return await send(app, message, headers=headers, **options)


async def initialize(app: Mcp, version: str = LEGACY, **capabilities: Any) -> str:
    """A new session's id."""
    params = {
        "protocolVersion": version,
        "capabilities": capabilities,
        "clientInfo": {"name": "test", "version": "1"},
    }
    response = await send(app, request("initialize", params))
    return response.headers["mcp-session-id"]


class Client:
    """A legacy client that answers what it is asked while a request of its is under way."""

    def __init__(self, app: Any, session: str, **answer: Any) -> None:
        self.app = app
        self.session = session
        self.answer = answer
        self.asked: list[Any] = []

    async def call(self) -> Any:
        """The structured content of what the tool `t` gives."""
        return (await self.ask("tools/call", {"name": "t"}))["structuredContent"]

    async def ask(self, method: str, params: Any) -> Any:
        """The result of a request."""
        headers = {"mcp-session-id": self.session, "mcp-protocol-version": LEGACY}
        events: list[Any] = []

        async def take(message: Any) -> None:
            body = message.get("body", b"")
            for block in filter(None, body.split(b"\n\n")):
                event = json.loads(block.removeprefix(b"event: message\ndata: "))
                events.append(event)
                if "method" in event:
                    self.asked.append(event)
                    response = {"jsonrpc": "2.0", "id": event["id"], **self.answer}
                    done = await send(self.app, response, headers=headers)
                    assert done.status == 202

        body = json.dumps(request(method, params)).encode()
        pending = [{"type": "http.request", "body": body}]

        async def receive() -> Any:
            if not pending:
                await trio.sleep_forever()
            return pending.pop()

        raw = {**headers, "content-type": "application/json"}
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/mcp",
            "headers": [(name.encode(), value.encode()) for name, value in raw.items()],
        }
        await self.app(Incoming.of(scope), receive, take)
        return events[-1]["result"]
