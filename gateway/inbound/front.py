"""What every inbound protocol stands before: the tools, and how one is called."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol, TypeAlias

import msgspec
import trio

from gateway.access.sight import May
from gateway.config.settings import ServerSettings
from gateway.config.units import format_duration
from gateway.core.errors import DeadlineExceeded, GatewayError, NotFound, Overloaded, TooLarge
from gateway.core.federation import Federated
from gateway.core.messages import Context, Priority, Reply, Request
from gateway.core.service import Emit, discard
from gateway.core.trace import Trace, new_names
from gateway.net.asgi import Incoming, Receive, Scope, Send, peer_of, read_body, respond
from gateway.plan.root import Root
from gateway.plan.tool import Tool
from gateway.telemetry.events import Event

__all__ = [
    "Answer",
    "Front",
    "TellOthers",
    "body_of",
    "check_head",
    "context_of",
    "denying",
    "problem_answer",
    "tell",
]

Answer: TypeAlias = tuple[int, list[tuple[str, str]], bytes]
"""Status, headers, body."""

TellOthers: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Returns once every other worker that is well has heard it, within seconds in any case."""

_POLICY = 1008
_TRY_AGAIN_LATER = 1013
_URGENCY = re.compile(r"(?:^|,)[ \t]*u=([0-7])[ \t]*(?:[,;]|$)")
_USUAL_URGENCY = 3
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


class Front(Protocol):
    """The gateway as inbound protocols see it."""

    @property
    def server(self) -> ServerSettings:
        """The bounds of `[server]`."""
        ...

    @property
    def tools(self) -> Mapping[str, Tool]:
        """Every tool, by name, in the file's order."""
        ...

    @property
    def federated(self) -> Mapping[str, Federated]:
        """The MCP servers whose own tools are offered as they are, by service, in the file's order."""
        ...

    @property
    def may(self) -> May | None:
        """Who may know of what; `None` where everybody may know of everything."""
        ...

    @property
    def tell_others(self) -> TellOthers | None:
        """Tells the other workers of this server; `None` where there are none."""
        ...

    def context(self, incoming: Incoming, protocol: str) -> Context:
        """Who sends `incoming`: request id, address, principal, trace.

        Args:
            incoming: The request.
            protocol: The inbound protocol's name.
        """
        ...

    def refuse(self, context: Context, error: GatewayError, *, duration_s: float) -> None:
        """Tell telemetry of a request that is refused before any tool is called.

        Args:
            context: Who sent it.
            error: What the client is told.
            duration_s: Seconds since its head was read.
        """
        ...

    def within(self, timeout_s: float) -> Root:
        """A scope for what is done for a client, as `Gateway.within` opens it."""
        ...

    def waiting(self) -> Root:
        """A scope for what only waits for news, as `Gateway.waiting` opens it."""
        ...

    def prolong(self, scope: trio.CancelScope, timeout_s: float) -> None:
        """Give a scope of `within` so many seconds from now; the end of a drain comes first."""
        ...

    def record(self, event: Event) -> None:
        """Tell telemetry of what is no call of a tool."""
        ...

    async def answer(
        self, request: Request, emit: Emit = discard, /, *, timeout_s: float = math.inf
    ) -> Reply:
        """Call the tool `request.name`, as `Gateway.answer` does."""
        ...

    async def ask(
        self,
        service: str,
        method: str,
        params: Mapping[str, Any],
        context: Context,
        emit: Emit = discard,
        /,
        *,
        timeout_s: float = math.inf,
    ) -> dict[str, Any]:
        """Pass a request on to one of `federated`, as `Gateway.ask` does."""
        ...


async def body_of(front: Front, scope: Scope, receive: Receive, *, timeout_s: float) -> bytes:
    """The whole request body, read within the request's budget.

    Args:
        front: Whose bounds hold.
        scope: The request's ASGI scope.
        receive: The request's ASGI `receive`.
        timeout_s: The request's budget, seconds; the server's ceiling holds as well.

    Raises:
        DeadlineExceeded: The budget was over before the body was complete.
        TooLarge: The body is over the server's bound.
        InvalidRequest: It stopped half-way.
        ClientLeft: The client left before it was complete.
    """
    server = front.server
    peer = peer_of(scope)
    if peer is not None:
        body = peer.body_at_hand()
        if body is not None and timeout_s > 0:
            if len(body) > server.max_body:
                raise TooLarge(f"the body is over {server.max_body} bytes")
            return body
    timeout_s = min(timeout_s, server.deadline)
    with front.within(timeout_s):
        return await read_body(receive, max_bytes=server.max_body, timeout_s=server.body_timeout)
    raise DeadlineExceeded(
        f"the body was not complete within the budget of {format_duration(round(timeout_s, 3))}"
    )


def context_of(headers: Mapping[str, str], protocol: str, *, client: str = "") -> Context:
    """The context of a request with these headers.

    Args:
        headers: The client's headers, names in lower case.
        protocol: The inbound protocol's name.
        client: The client's address.

    Returns:
        A context whose request id is the client's `x-request-id` if that is 1 to 128 printable
        ASCII characters, else a new one.
    """
    request_id, trace = new_names()
    wanted, parent = headers.get("x-request-id"), headers.get("traceparent")
    return Context(
        request_id=wanted if wanted and _REQUEST_ID.fullmatch(wanted) else request_id,
        protocol=protocol,
        client=client,
        headers=headers,
        priority=_priority(headers.get("priority")),
        trace=trace if parent is None else Trace.of(parent),
    )


def _priority(header: str | None) -> Priority:
    """How urgent a client says that its request is: it may say less than others, never more.

    Source: RFC 9218, sections 4.1 and 5: an urgency from 0 to 7, 3 if nothing is said.
    """
    urgency = _URGENCY.search(header) if header else None
    return "low" if urgency is not None and int(urgency[1]) > _USUAL_URGENCY else "normal"


def problem_answer(error: GatewayError, context: Context) -> Answer:
    """`error` as an answer: its problem object, and the headers that go with it."""
    headers = [("content-type", "application/problem+json"), ("x-request-id", context.request_id)]
    if error.retry_after_s is not None:
        headers.append(("retry-after", str(math.ceil(error.retry_after_s))))
    if isinstance(error, NotFound) and error.allow:
        headers.append(("allow", ", ".join(error.allow)))
    return error.status, headers, msgspec.json.encode(error.problem(context.request_id))


def check_head(scope: Scope, *, max_bytes: int) -> None:
    """Refuse a head that is too large, where no server of ours has counted it.

    Raises:
        TooLarge: It is over `max_bytes`.
    """
    if peer_of(scope) is not None:
        return
    size = sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    size += len(scope.get("raw_path") or b"") + len(scope["query_string"])
    if size > max_bytes:
        raise TooLarge(f"the request's head is over {max_bytes} bytes", head=True)


async def tell(scope: Scope, send: Send, error: GatewayError, context: Context) -> None:
    """Tell a client of `error` as a problem, a WebSocket's before that has begun.

    Where a server sends no answer in place of a WebSocket, the client gets a bare 403.

    Source: https://asgi.readthedocs.io/en/latest/extensions.html, WebSocket Denial Response
    """
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", {}):
            code = _TRY_AGAIN_LATER if isinstance(error, Overloaded) else _POLICY
            await send({"type": "websocket.close", "code": code})
            return
        send = denying(send)
    await respond(send, *problem_answer(error, context))


def denying(send: Send) -> Send:
    """A `send` that takes an answer to a WebSocket's handshake, in place of the WebSocket."""

    async def send_denial(message: MutableMapping[str, Any]) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    return send_denial
