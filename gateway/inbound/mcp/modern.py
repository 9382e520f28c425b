"""2026-07-28: every request stands alone, says who it is, and says so in its headers too.

Source: MCP 2026-07-28, Streamable HTTP; Versioning; Overview, "`_meta`"; Discovery; Caching.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.core.errors import CannotAsk
from gateway.core.mcp import (
    CAPABILITIES_KEY,
    INVALID_REQUEST,
    LOG_LEVEL_KEY,
    METHOD_NOT_FOUND,
    VERSION_HEADER,
    implementation,
)
from gateway.inbound.mcp import jsonrpc
from gateway.inbound.mcp.call import ToolResult, call
from gateway.inbound.mcp.envelope import Marked, check_envelope, check_version
from gateway.inbound.mcp.jsonrpc import Answer, Message, ProtocolError
from gateway.inbound.mcp.library import LISTED_BY, METHODS
from gateway.inbound.mcp.listen import listen
from gateway.inbound.mcp.notes import severity, told, wanted
from gateway.inbound.mcp.questions import askable
from gateway.inbound.mcp.rounds import Rounds, unable
from gateway.inbound.mcp.versions import SUPPORTED

if TYPE_CHECKING:
    from gateway.core.messages import Context
    from gateway.core.service import Emit
    from gateway.inbound.front import Front
    from gateway.inbound.mcp.catalog import Catalog
    from gateway.inbound.mcp.library import Library
    from gateway.inbound.mcp.signing import Signer
    from gateway.inbound.mcp.stream import EventStream

__all__ = ["Modern"]

_SERVER_INFO_KEY: Final = "io.modelcontextprotocol/serverInfo"
_TTL_MS: Final = 60_000
"""How long clients may keep a list: there is no notice of changes, so not for long."""


class Modern:
    """The modern era.

    Args:
        front: What is called.
        catalog: What is listed.
        library: What is read.
        signer: Signs what clients keep from one round of a request to the next.
    """

    def __init__(self, front: Front, catalog: Catalog, library: Library, signer: Signer) -> None:
        self._front = front
        self._catalog = catalog
        self._library = library
        self._rounds = Rounds(signer)
        self._marked = Marked(front, catalog)

    async def answer(
        self, value: Any, context: Context, stream: EventStream, *, spent_s: float = 0
    ) -> Answer:
        """Answer one message.

        Args:
            value: The decoded body.
            context: Who asks.
            stream: Where it is told what comes before the answer.
            spent_s: Seconds that reading it took, which its budget has less.

        Raises:
            ProtocolError: For a JSON-RPC error instead.

        Cancellation: ends the call. In this era the client's leaving is how it cancels.
        """
        message = jsonrpc.read(value)
        if message is None:
            raise ProtocolError(
                INVALID_REQUEST, "Invalid request: nothing was asked that this answers"
            )
        if message.id is None:
            # No notification has a meaning in this era, not even `notifications/cancelled`: a
            # request id alone would let one client cancel another's call.
            check_version(context.headers.get(VERSION_HEADER))
            return jsonrpc.ACCEPTED
        check_envelope(message, context.headers)
        if message.method == "tools/call":
            result = await self._call(message.params, context, stream, spent_s)
        else:
            result = await self._result(message, context, stream, spent_s)
        return jsonrpc.succeeded(message.id, result)

    async def _result(
        self, message: Message, context: Context, stream: EventStream, spent_s: float
    ) -> dict[str, Any] | _Called:
        """The result of what is no call."""
        match message.method:
            case "server/discover":
                found = {"supportedVersions": SUPPORTED, "capabilities": self._catalog.capabilities}
                return _complete({**found, **_cacheable("public")})
            case method if method in LISTED_BY and self._catalog.offers(method):
                # Who may see a list is the answer to a credential: never shared between them.
                page = self._catalog.page(LISTED_BY[method], message.params, context)
                return _complete({**page, **_cacheable("private")})
            case "subscriptions/listen":
                servers = self._front.federated.values()
                begin = partial(self._library.watch, context=context)
                meta = await listen(self._front, servers, message, stream, begin)
                return {"resultType": "complete", "_meta": {**_introduction(), **meta}}
            case method if method in METHODS and self._catalog.offers(method):
                read = partial(self._read, method, message.params, spent_s=spent_s)
                if method == "completion/complete":  # the one of them that may not ask back
                    return await read(context)
                return await self._in_rounds(method, message.params, context, read)
            case method:
                raise ProtocolError(METHOD_NOT_FOUND, f"Method not found: {method[:128]}")

    async def _call(
        self, params: dict[str, Any], context: Context, stream: EventStream, spent_s: float
    ) -> dict[str, Any] | _Called:
        if self._catalog.may_call(params.get("name"), context):
            self._marked.check(params, context)
        level = params["_meta"].get(LOG_LEVEL_KEY)
        least = None if level is None else severity(level)
        if level is not None:
            context = msgspec.structs.replace(context, log_level=level)
        front, catalog = self._front, self._catalog
        if not (askable(params["_meta"][CAPABILITIES_KEY]) or wanted(params, stream, least)):
            return _called(await call(front, catalog, params, context, spent_s=spent_s))

        async def made(emit: Emit) -> dict[str, Any] | _Called:
            async def once(asking: Context) -> dict[str, Any] | _Called:
                return _called(await call(front, catalog, params, asking, emit, spent_s=spent_s))

            return await self._in_rounds("tools/call", params, context, once)

        return await told(front, params, stream, least, made)

    async def _read(
        self, method: str, params: dict[str, Any], context: Context, *, spent_s: float
    ) -> dict[str, Any]:
        result = await self._library.answer(method, params, context, spent_s=spent_s)
        if method == "resources/read":
            result = {"ttlMs": 0, "cacheScope": "private", **result}
        return _complete(result)

    async def _in_rounds(
        self,
        method: str,
        params: dict[str, Any],
        context: Context,
        made: Callable[[Context], Awaitable[dict[str, Any] | _Called]],
    ) -> dict[str, Any] | _Called:
        """What a request gives, or what its client has to find out first."""
        able = askable(params["_meta"][CAPABILITIES_KEY])
        if not able:
            return await made(context)
        turn = self._rounds.begin(method, params, able, context)
        with turn.scope:
            result = await made(msgspec.structs.replace(context, peer=turn))
            if isinstance(result, dict) and result["resultType"] == "input_required":
                return self._rounds.passed(result, method, params, context)
            return result
        return _introduced(self._rounds.result(turn, method, params, context), {})


def _called(result: ToolResult | dict[str, Any]) -> dict[str, Any] | _Called:
    """A call's result; what it could not ask of its client is the client's fault."""
    if isinstance(result, dict):
        return _complete(result)
    if isinstance(result.error, CannotAsk):
        raise unable(result.error)
    structured = msgspec.Raw(result.structured) if result.structured else msgspec.UNSET
    return _Called(result.content, structured, result.is_error)


def _complete(result: dict[str, Any]) -> dict[str, Any]:
    meta = result.get("_meta")
    own = meta if isinstance(meta, dict) else {}
    return {"resultType": "complete", **result, "_meta": {**own, **_introduction()}}


def _introduced(result: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    return {**result, "_meta": {**own, **_introduction()}}


def _introduction() -> dict[str, Any]:
    return {_SERVER_INFO_KEY: implementation()}


class _Called(msgspec.Struct, frozen=True, rename="camel"):
    """The result of a call of ours: a struct is encoded sooner than a dictionary."""

    content: list[Any]
    structured_content: msgspec.Raw | msgspec.UnsetType
    is_error: bool
    result_type: str = "complete"
    meta: msgspec.Raw = msgspec.field(
        default=msgspec.Raw(msgspec.json.encode(_introduction())), name="_meta"
    )


def _cacheable(scope: str) -> dict[str, Any]:
    return {"ttlMs": _TTL_MS, "cacheScope": scope}
