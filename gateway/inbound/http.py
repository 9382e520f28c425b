"""Tools over HTTP: `POST /tools/NAME`, a route of their own, `GET /openapi.json`.

Failures are RFC 9457 problem objects; a partial answer is a 200 that says what is missing in
`x-gateway-partial` and, where the answer is an object, under `_errors`. Who would rather have an event
stream than JSON is told of all that comes before the answer, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
import trio

from gateway.core.deadline import budget_of
from gateway.core.errors import GatewayError, InvalidRequest, NotFound, TooLarge
from gateway.core.messages import Context, Reply, Request
from gateway.inbound.front import Answer, Front, body_of, problem_answer
from gateway.inbound.openapi import openapi_document
from gateway.inbound.partials import Telling, the_answer, the_error
from gateway.inbound.routes import Routes
from gateway.net.accept import weight
from gateway.net.asgi import (
    ClientLeft,
    Incoming,
    Receive,
    Send,
    peer_of,
    respond,
    while_connected,
)
from gateway.net.events import EVENT_STREAM, EventStream, Put, feeding
from gateway.plan.tool import Tool

__all__ = ["Http", "tool_routes"]

JSON = ("content-type", "application/json")
_MAX_QUERY_FIELDS = 1000
_LOG_LEVEL = "info"
"""From which level on servers behind us are asked for log messages, where they can be."""


def tool_routes(tools: Mapping[str, Tool]) -> Routes[Tool]:
    """The routes of `tools`: `POST /tools/NAME` for each, and its own where it has one."""
    routes: Routes[Tool] = Routes()
    for tool in tools.values():
        routes.add("POST", f"/tools/{tool.name}", tool)
        if tool.method is not None and tool.path is not None:
            routes.add(tool.method, tool.path, tool)
    return routes


class Http:
    """Answers HTTP requests for tools."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._routes = tool_routes(front.tools)
        self._documents: dict[str, bytes] = {}

    async def __call__(self, incoming: Incoming, receive: Receive, send: Send) -> None:
        """Answer one request; a client that left gets nothing, and all its calls have ended."""
        context = self._front.context(incoming, "http")
        accept = incoming.headers.get("accept")
        stream = EventStream(send, context.request_id) if _wants_events(accept) else None
        try:
            answer = await self._answer(incoming, receive, context, stream)
        except ClientLeft:
            return
        except GatewayError as error:
            answer = problem_answer(error, context)
        if answer is not None:
            await respond(send, *answer, peer=peer_of(incoming.scope))

    async def _answer(
        self, incoming: Incoming, receive: Receive, context: Context, stream: EventStream | None
    ) -> Answer | None:
        """The answer; `None` if `stream` is it, and has ended."""
        scope = incoming.scope
        if incoming.path == "/openapi.json" and scope["method"] in {"GET", "HEAD"}:
            return (
                200,
                [JSON, ("x-request-id", context.request_id)],
                self._openapi(scope.get("root_path", "")),
            )
        start = trio.current_time()
        try:
            request, budget_s = await self._decode(incoming, receive, context)
        except GatewayError as error:
            self._front.refuse(context, error, duration_s=trio.current_time() - start)
            raise
        # The body's way here has cost the client's budget and the tool's alike.
        timeout_s = budget_s - (trio.current_time() - start)
        if stream is not None:
            await while_connected(
                scope, receive, lambda: self._stream(stream, request, timeout_s=timeout_s)
            )
            return None
        reply = await while_connected(
            scope, receive, lambda: self._front.answer(request, timeout_s=timeout_s)
        )
        return 200, _headers(reply, context), reply.encoded

    async def _stream(self, stream: EventStream, request: Request, *, timeout_s: float) -> None:
        """Answer with events.

        Raises:
            GatewayError: The request failed before there was any.
        """
        context = msgspec.structs.replace(request.context, log_level=_LOG_LEVEL)
        request = msgspec.structs.replace(request, context=context)
        plan = self._front.tools[request.name].plan

        async def answer(put: Put) -> Reply:
            return await self._front.answer(request, Telling(plan, put), timeout_s=timeout_s)

        try:
            last = the_answer(await feeding(stream, answer))
        except GatewayError as error:
            if not stream.begun:
                raise
            last = the_error(error, context.request_id)
        await stream.end(last)

    async def _decode(
        self, incoming: Incoming, receive: Receive, context: Context
    ) -> tuple[Request, float]:
        """The tool's request, and its budget in seconds from its arrival."""
        scope, path = incoming.scope, incoming.path
        _check_path(path)
        tool, path_values = self._route(path, scope["method"])
        budget_s = min(budget_of(context.headers), tool.deadline_s)
        query = scope["query_string"]
        body = await body_of(self._front, scope, receive, timeout_s=budget_s)
        arguments = tool.arguments.coerce(_query(query)) if query else {}
        if body:
            arguments |= _decoded(body)
        if path_values:
            texts = {name: (value,) for name, value in path_values.items()}
            arguments |= tool.arguments.coerce(texts)
        return Request(tool.name, arguments, context), budget_s

    def _route(self, path: str, method: str) -> tuple[Tool, Mapping[str, str]]:
        """The tool that answers, and the values in its path.

        Raises:
            NotFound: None does, or not this method.
        """
        found = self._routes.find(path)
        if method == "HEAD" and "GET" in found:
            return found["GET"]  # the server leaves the body out
        if method in found:
            return found[method]
        methods = set(found)
        if path == "/openapi.json" or "GET" in found:
            methods |= {"GET", "HEAD"}
        if not methods:
            raise NotFound(f"there is nothing at {path[:200]}; GET /openapi.json lists the tools")
        allow = tuple(sorted(methods))
        raise NotFound(f"{path[:200]} takes {', '.join(allow)}, not {method[:20]}", allow=allow)

    def _openapi(self, root_path: str) -> bytes:
        """The document, made once for each place the host has mounted us at."""
        if root_path not in self._documents:
            document = openapi_document(self._front.tools, root_path)
            self._documents[root_path] = msgspec.json.encode(document)
        return self._documents[root_path]


def _wants_events(accept: str | None) -> bool:
    """Whether a client would rather have an event stream than JSON."""
    if accept is None:
        return False
    return weight(accept, EVENT_STREAM) > weight(accept, "application/json")


def _headers(reply: Reply, context: Context) -> list[tuple[str, str]]:
    headers = [JSON, ("x-request-id", context.request_id)]
    if reply.missing:
        headers.append(("x-gateway-partial", reply.partial_label))
    return headers


def _check_path(path: str) -> None:
    if "%" not in path:
        return
    try:
        unquote(path, errors="strict")
    except UnicodeDecodeError:
        raise InvalidRequest("the path is not percent-encoded UTF-8") from None


def _query(raw: bytes) -> dict[str, list[str]]:
    """The query's texts by name."""
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MAX_QUERY_FIELDS,
        )
    except UnicodeDecodeError:
        raise InvalidRequest("the query is not percent-encoded UTF-8") from None
    except ValueError:
        raise TooLarge(f"the query has over {_MAX_QUERY_FIELDS} fields", head=True) from None
    texts: dict[str, list[str]] = {}
    for name, value in pairs:
        texts.setdefault(name, []).append(value)
    return texts


def _decoded(body: bytes) -> dict[str, Any]:
    """The body's arguments; none if it is empty."""
    if not body.strip():
        return {}
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from error
    except RecursionError:
        raise InvalidRequest("the body is not JSON: it nests too deeply") from None
    if not isinstance(value, dict):
        raise InvalidRequest("the body is not a JSON object of arguments")
    return value
