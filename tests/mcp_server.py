"""An MCP server over HTTP for `tests/network.py`: what it is not told to do it does as it should."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio

from tests.http_service import Received, Scripted, http

__all__ = ["McpServer", "error", "events", "json_reply", "result", "tool", "unanswered"]

Answer = Callable[[Received, trio.abc.Stream], Awaitable[None]]
JSON = "application/json"
MODERN = "2026-07-28"


def tool(name: str, **more: Any) -> dict[str, Any]:
    """A tool as a list has it."""
    return {"name": name, "inputSchema": {"type": "object"}, **more}


def json_reply(message: Any, status: int = 200, **headers: str) -> Any:
    """A whole JSON reply."""
    return http(status, json.dumps(message), content_type=JSON, **headers)


def result(request: Received, value: Any, **headers: str) -> Any:
    """The JSON-RPC result for a request."""
    return json_reply(
        {"jsonrpc": "2.0", "id": json.loads(request.body)["id"], "result": value}, **headers
    )


def error(request: Received, code: int, message: str, status: int = 200, data: Any = None) -> Any:
    """The JSON-RPC error for a request."""
    shown = {"code": code, "message": message} | ({} if data is None else {"data": data})
    return json_reply(
        {"jsonrpc": "2.0", "id": json.loads(request.body)["id"], "error": shown}, status
    )


def events(*messages: Any, end: bool = True) -> Answer:
    """An event stream of messages; a number among them is seconds that pass, an event is awaited."""

    async def answer(_request: Received, stream: trio.abc.Stream) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        await stream.send_all(head)
        for message in messages:
            if isinstance(message, int | float):
                await trio.sleep(message)
            elif isinstance(message, trio.Event):
                await message.wait()
            else:
                text = message if isinstance(message, bytes) else json.dumps(message).encode()
                event = b"event: message\ndata: " + text + b"\n\n"
                await stream.send_all(b"%x\r\n%b\r\n" % (len(event), event))
        if end:
            await stream.send_all(b"0\r\n\r\n")
        else:
            await trio.sleep_forever()

    return answer


async def unanswered(_request: Received, _stream: trio.abc.Stream) -> None:
    """No answer, ever."""
    await trio.sleep_forever()


class McpServer(Scripted):
    """A server.

    Args:
        on: By method, or by HTTP's method where that is no POST, from a request to its answer, or
            the result it is answered with.
        legacy: The revision it speaks instead of 2026-07-28.
        capabilities: What it says it can do.
        tools: What it lists.

    Attributes:
        on: As above; may be changed.
        tools: As above.
        sessions: The sessions there are, in legacy revisions.
    """

    def __init__(
        self,
        on: Mapping[str, Any] | None = None,
        *,
        legacy: str = "",
        capabilities: Mapping[str, Any] | None = None,
        tools: Any = (),
    ) -> None:
        super().__init__(self._answer)
        self.on = dict(on or {})
        self.legacy = legacy
        self.capabilities = {"tools": {}} if capabilities is None else capabilities
        self.tools = list(tools)
        self.sessions: set[str] = set()
        self._opened = 0

    def messages(self, method: str = "") -> list[dict[str, Any]]:
        """What it was sent, in order; of one method, if one is given."""
        found = [json.loads(request.body) for request in self.requests if request.body]
        return [message for message in found if message.get("method") == method or not method]

    def asked(self, method: str) -> list[Received]:
        """The requests that asked for `method`."""
        return [
            request
            for request in self.requests
            if request.body and json.loads(request.body).get("method") == method
        ]

    async def _answer(self, request: Received, stream: trio.abc.Stream) -> None:
        answer = self._chosen(request)
        await answer(request, stream)

    def _chosen(self, request: Received) -> Any:
        message = json.loads(request.body) if request.body else {}
        method = message.get("method", "") if request.method == "POST" else request.method
        if self._is_lost(method, request):
            return json_reply({"jsonrpc": "2.0", "id": None, "error": _LOST}, 404)
        if method in self.on:
            chosen = self.on[method]
            chosen = chosen(request) if callable(chosen) else chosen
            return result(request, chosen) if isinstance(chosen, dict) else chosen
        return self._usual(method, request, message)

    def _is_lost(self, method: str, request: Received) -> bool:
        if not self.legacy or not self.sessions or method in {"initialize", "DELETE"}:
            return False
        return request.header("mcp-session-id") not in self.sessions

    def _usual(self, method: str, request: Received, message: Mapping[str, Any]) -> Any:
        complete = {} if self.legacy else {"resultType": "complete", "ttlMs": 60_000}
        match method:
            case "server/discover" if not self.legacy:
                found = {"supportedVersions": [MODERN], "capabilities": self.capabilities}
                return result(request, {**found, **complete})
            case "initialize" if self.legacy:
                self._opened += 1
                session = f"session-{self._opened}"
                self.sessions = {session}
                agreed = {"protocolVersion": self.legacy, "capabilities": self.capabilities}
                named = {"serverInfo": {"name": "x", "version": "1"}}
                return result(request, {**agreed, **named}, mcp_session_id=session)
            case "tools/list":
                return result(request, {"tools": self.tools, **complete})
            case "DELETE" | "GET":
                return http(204 if method == "DELETE" else 405)
            case _ if "id" not in message or "method" not in message:
                return http(202)
            case "server/discover":
                return http(400, "Bad Request: no valid session")
            case _:
                return error(request, -32601, f"Method not found: {method}", 404)


_LOST = {"code": -32001, "message": "Session not found"}
