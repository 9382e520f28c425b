"""The ASGI side: one POST with one message in, one answer out, and the client's leaving.

Source: MCP 2025-11-25 and 2026-07-28, Streamable HTTP.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import trio

from gateway.core.deadline import budget_of
from gateway.core.errors import GatewayError, InvalidRequest
from gateway.core.mcp import INVALID_REQUEST
from gateway.inbound.front import Front, body_of
from gateway.inbound.mcp import jsonrpc
from gateway.inbound.mcp.catalog import Catalog
from gateway.inbound.mcp.jsonrpc import Answer, ProtocolError
from gateway.inbound.mcp.legacy import Legacy
from gateway.inbound.mcp.library import Library, own_lists
from gateway.inbound.mcp.modern import Modern
from gateway.inbound.mcp.sessions import Sessions
from gateway.inbound.mcp.signing import Signer
from gateway.inbound.mcp.stream import EventStream
from gateway.inbound.mcp.versions import is_modern
from gateway.net.accept import weight
from gateway.net.asgi import (
    ClientLeft,
    Incoming,
    Receive,
    Scope,
    Send,
    peer_of,
    respond,
    while_connected,
)

if TYPE_CHECKING:
    from gateway.config.settings import McpSettings
    from gateway.core.messages import Context
    from gateway.inbound.mcp.prompts import Prompt
    from gateway.inbound.mcp.resources import Resource

__all__ = ["Mcp"]

_JSON: Final = "application/json"


class Mcp:
    """MCP over Streamable HTTP, as an ASGI app for one path.

    `Origin`, `Host` and credentials are checked by whoever stands before it.

    Args:
        front: The tools, and how one is called.
        settings: `[mcp]`.
        prompts: Our own, by name.
        resources: Our own.
        key: What clients keep for us is signed with it.
        shared: Whether other gateways sign with it too.
    """

    def __init__(
        self,
        front: Front,
        settings: McpSettings,
        prompts: Mapping[str, Prompt] = MappingProxyType({}),
        resources: Sequence[Resource] = (),
        *,
        key: bytes | None = None,
        shared: bool = False,
    ) -> None:
        has_files = any(resource.settings.file for resource in resources)
        own = own_lists(prompts, resources)
        self._catalog = catalog = Catalog(front, settings, own, has_files=has_files)
        library = Library(front, catalog, prompts, resources)
        self.settings = settings
        self._front = front
        # Made before the workers are forked: what one of them signed the others know.
        key = secrets.token_bytes(32) if key is None else key
        self._modern = Modern(front, catalog, library, Signer("state", key))
        sessions = Sessions(Signer("session", key))
        self._legacy = Legacy(front, catalog, library, sessions, shared=shared)

    def hear(self, message: bytes) -> None:
        """Heed what another worker tells, as `Front.tell_others` there was given it."""
        self._legacy.hear(message)

    def check_names(self) -> None:
        """No two origins offer a tool or a prompt of the same name, as far as is known by now.

        What a server adds later is left out, and logged: it must not stop what is running.

        Raises:
            ValueError: Two do; the message names both.
        """
        self._catalog.check_names()

    async def __call__(self, incoming: Incoming, receive: Receive, send: Send) -> None:
        """Serve one HTTP request.

        Args:
            incoming: The request; its path is `settings.path`.
            receive: ASGI's.
            send: ASGI's.

        Cancellation: ends every call below it. So does the client's leaving, in every revision:
        no answer can reach it any more.
        """
        context = self._front.context(incoming, "mcp")
        try:
            stream = EventStream(send, context.headers, context.request_id)
            answer = await self._answer(incoming.scope, context, receive, stream)
            if stream.begun:
                await stream.end(answer.body)
                return
        except ClientLeft:
            return
        headers = (("x-request-id", context.request_id), *answer.headers)
        await respond(send, answer.status, headers, answer.body, peer=peer_of(incoming.scope))

    async def _answer(
        self, scope: Scope, context: Context, receive: Receive, stream: EventStream
    ) -> Answer:
        value: Any = None
        start = trio.current_time()
        try:
            match scope["method"]:
                case "POST":
                    _check_head(context.headers)
                    value = jsonrpc.decode(await self._body(scope, context, receive))
                    spent_s = trio.current_time() - start
                    era = self._modern if is_modern(value, context.headers) else self._legacy
                    return await while_connected(
                        scope, receive, partial(era.answer, value, context, stream, spent_s=spent_s)
                    )
                case "DELETE":
                    return await self._legacy.end(context)
                case "GET" if self._legacy.tells and not is_modern(None, context.headers):
                    return await while_connected(
                        scope, receive, partial(self._legacy.listen, context, stream)
                    )
                case _:
                    taken = "GET, POST, DELETE" if self._legacy.tells else "POST, DELETE"
                    raise _refused(405, "Method not allowed", (("allow", taken),))
        except ProtocolError as error:
            if not error.booked:
                duration_s = trio.current_time() - start
                self._front.refuse(context, error.error, duration_s=duration_s)
            return jsonrpc.failed(jsonrpc.id_of(value), error, status=error.modern_status)

    async def _body(self, scope: Scope, context: Context, receive: Receive) -> bytes:
        try:
            budget_s = budget_of(context.headers)
        except InvalidRequest:
            budget_s = math.inf  # refused with the call that it is for, if it is for one
        try:
            return await body_of(self._front, scope, receive, timeout_s=budget_s)
        except GatewayError as error:
            raise ProtocolError(
                INVALID_REQUEST,
                f"{error.title}: {error.detail}",
                status=error.status,
                error=error,
            ) from None


def _check_head(headers: Mapping[str, str]) -> None:
    if not _is_json(headers.get("content-type", "")):
        raise _refused(415, f"Unsupported media type: content-type must be {_JSON}")
    if not weight(headers.get("accept"), _JSON):
        raise _refused(406, f"Not acceptable: accept must list {_JSON}")


@lru_cache(maxsize=128)
def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == _JSON


def _refused(status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> ProtocolError:
    return ProtocolError(INVALID_REQUEST, message, status=status, headers=headers)
