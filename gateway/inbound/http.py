"""Tools over HTTP: `POST /tools/NAME`, a route of their own, `GET /openapi.json`.

Failures are RFC 9457 problem objects; a partial answer is a 200 that says what is missing in
`x-gateway-partial` and, where the answer is an object, under `_errors`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from gateway.core.deadline import budget_of
from gateway.core.errors import BadReply, GatewayError, InvalidRequest, NotFound, TooLarge
from gateway.core.messages import Context, Reply, Request
from gateway.inbound.front import Front, context_of
from gateway.inbound.openapi import openapi_document
from gateway.inbound.routes import Routes
from gateway.net.asgi import (
    ClientLeft,
    Receive,
    Scope,
    Send,
    headers_of,
    path_of,
    read_body,
    respond,
    while_connected,
)
from gateway.plan.tool import Tool

__all__ = ["Http", "problem_headers", "tool_routes"]

JSON = ("content-type", "application/json")
_MAX_QUERY_FIELDS = 1000
_DOCUMENT = "/openapi.json"
_READS = frozenset({"GET", "HEAD"})


def tool_routes(tools: Mapping[str, Tool]) -> Routes[Tool]:
    """The routes of `tools`: `POST /tools/NAME` for each, and its own where it has one."""
    routes: Routes[Tool] = Routes()
    for tool in tools.values():
        routes.add("POST", f"/tools/{tool.name}", tool)
        if tool.method is not None and tool.path is not None:
            routes.add(tool.method, tool.path, tool)
    return routes


def problem_headers(error: GatewayError, request_id: str) -> list[tuple[str, str]]:
    """The headers of an answer whose body is `error`'s problem object."""
    headers = [("content-type", "application/problem+json"), ("x-request-id", request_id)]
    if error.retry_after_s is not None:
        headers.append(("retry-after", str(math.ceil(error.retry_after_s))))
    if isinstance(error, NotFound) and error.allow:
        headers.append(("allow", ", ".join(error.allow)))
    return headers


class Http:
    """Answers HTTP requests for tools."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._routes = tool_routes(front.tools)
        self._openapi: bytes | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a client that left gets nothing, and all its calls have ended."""
        headers = headers_of(scope)
        context = context_of(headers, "http")
        try:
            status, answer_headers, body = await self._answer(scope, receive, context)
        except ClientLeft:
            return
        except GatewayError as error:
            status = error.status
            answer_headers = problem_headers(error, context.request_id)
            body = msgspec.json.encode(error.problem(context.request_id))
        await respond(send, status, answer_headers, body)

    async def _answer(
        self, scope: Scope, receive: Receive, context: Context
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        path, method = path_of(scope), scope["method"]
        _check_path(path)
        found = self._routes.find(path)
        # The document goes before a tool whose route is a placeholder there.
        if method not in found or (path == _DOCUMENT and method in _READS):
            return self._other(method, path, found, context)
        tool, path_values = found[method]
        timeout_s = budget_of(context.headers)
        query = _query(scope["query_string"])
        body = await read_body(
            receive,
            max_bytes=self._front.server.max_body,
            timeout_s=self._front.server.body_timeout,
        )
        arguments = {
            **tool.arguments.coerce(query),
            **_decoded(body),
            **tool.arguments.coerce({name: [value] for name, value in path_values.items()}),
        }
        request = Request(tool.name, arguments, context)
        reply = await while_connected(
            receive, lambda: self._front.call(request, timeout_s=timeout_s)
        )
        return 200, _headers(reply, context), _encoded(reply)

    def _other(
        self, method: str, path: str, found: Mapping[str, Any], context: Context
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """What is asked for is no tool."""
        allowed = tuple(sorted(found))
        if path == _DOCUMENT:
            if method in _READS:
                if self._openapi is None:
                    self._openapi = msgspec.json.encode(openapi_document(self._front.tools))
                return 200, [JSON, ("x-request-id", context.request_id)], self._openapi
            allowed = tuple(sorted(_READS.union(found)))
        if allowed:
            detail = f"{path[:200]} takes {', '.join(allowed)}, not {method[:20]}"
            raise NotFound(detail, allow=allowed)
        raise NotFound(f"there is nothing at {path[:200]}; GET /openapi.json lists the tools")


def _encoded(reply: Reply) -> bytes:
    try:
        return msgspec.json.encode(reply.labelled())
    except (TypeError, ValueError, RecursionError) as error:
        raise BadReply(f"a reply has no JSON form: {error}") from error


def _headers(reply: Reply, context: Context) -> list[tuple[str, str]]:
    headers = [JSON, ("x-request-id", context.request_id)]
    if reply.missing:
        headers.append(("x-gateway-partial", reply.partial_label))
    return headers


def _check_path(path: str) -> None:
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
