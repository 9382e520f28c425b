"""The revisions that begin with `initialize`: 2025-11-25, 2025-06-18, 2025-03-26.

A session is offered and not demanded: a client that sends no session id is answered all the
same. What it forgoes is `notifications/cancelled`; its leaving still cancels.

Source: MCP 2025-11-25, Lifecycle; Transports; Cancellation.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec
import trio

from gateway.core.errors import Overloaded
from gateway.core.mcp import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    LEGACY,
    METHOD_NOT_FOUND,
    RESOURCE_NOT_FOUND,
    SESSION_HEADER,
    VERSION_HEADER,
    implementation,
)
from gateway.inbound.mcp import jsonrpc
from gateway.inbound.mcp.batches import check_member, together
from gateway.inbound.mcp.call import ToolResult, call, failure
from gateway.inbound.mcp.jsonrpc import Answer, Message, ProtocolError, RequestId
from gateway.inbound.mcp.library import LISTED_BY, METHODS
from gateway.inbound.mcp.listen import MAX_WATCHED, Changes
from gateway.inbound.mcp.listen import hear as tell
from gateway.inbound.mcp.notes import level_of, severity, told
from gateway.inbound.mcp.questions import OutOfReach, Questioned, askable
from gateway.inbound.mcp.said import hear, said
from gateway.inbound.mcp.versions import UNNAMED

if TYPE_CHECKING:
    from gateway.core.messages import Context
    from gateway.core.peer import Peer
    from gateway.core.service import Emit
    from gateway.inbound.front import Front
    from gateway.inbound.mcp.catalog import Catalog
    from gateway.inbound.mcp.library import Library
    from gateway.inbound.mcp.sessions import Session, Sessions
    from gateway.inbound.mcp.stream import EventStream

__all__ = ["Legacy"]

_BATCHING: Final = "2025-03-26"

# The revisions say both that a request is answered with JSON or an event stream, and that a
# cancelled one gets no response: an event stream without events is the one answer that keeps
# both. The official clients take it in silence, for nobody waits for that id any more. A
# JSON-RPC error the TypeScript one reports as a response to an unknown id; a client that waits
# on after all is told by both that the stream ended, not that it was answered.
_CANCELLED: Final = Answer(headers=(("content-type", "text/event-stream"),))


@attrs.frozen(slots=True)
class _Asker:
    """Who asks, in which session, and what of the budget is spent already."""

    context: Context
    session: Session | None
    stream: EventStream | None
    spent_s: float


class Legacy:
    """The legacy era.

    Args:
        front: What is called.
        catalog: What is listed.
        library: What is read.
        sessions: Where sessions are kept.
        shared: Whether gateways that cannot be told anything know the same sessions.
    """

    def __init__(
        self,
        front: Front,
        catalog: Catalog,
        library: Library,
        sessions: Sessions,
        *,
        shared: bool = False,
    ) -> None:
        self._front = front
        self._catalog = catalog
        self._library = library
        self._sessions = sessions
        self._shared = shared

    async def answer(
        self, value: Any, context: Context, stream: EventStream, *, spent_s: float = 0
    ) -> Answer:
        """Answer one message, or a batch where the revision has them.

        Args:
            value: The decoded body.
            context: Who asks.
            stream: Where it is told what comes before the answer.
            spent_s: Seconds that reading it took, which its budget has less.

        Raises:
            ProtocolError: The body is no message, or its session is not known.

        Cancellation: ends every call.
        """
        session = self._session(context)
        if not isinstance(value, list):
            return await self._one(value, _Asker(context, session, stream, spent_s))
        version = context.headers.get(VERSION_HEADER, session.version if session else UNNAMED)
        if version != _BATCHING:
            raise ProtocolError(
                INVALID_REQUEST, f"Invalid request: {version} has no batches", status=400
            )
        # One stream for many answers would end with the slowest: they come together, as JSON.
        asker = _Asker(context, session, None, spent_s)
        return await together(value, partial(self._batched, asker))

    @property
    def tells(self) -> bool:
        """Whether there is anything to tell of beside all requests."""
        return bool(self._front.federated) or self._subscribes

    @property
    def _subscribes(self) -> bool:
        """Whether resources can be subscribed to: where all that a session says comes here."""
        resources = self._catalog.capabilities.get("resources", {})
        return bool(resources.get("subscribe")) and self._front.server.workers == 1

    async def listen(self, context: Context, stream: EventStream) -> Answer:
        """Answer a GET: tell of changes until the client leaves or the gateway is about to end.

        Raises:
            ProtocolError: Its session is not known, or has such a stream already.

        Cancellation: nothing is heard any more.
        """
        session = self._session(context)
        changes = Changes()
        if session is not None:
            if session.listener is not None:
                raise ProtocolError(
                    INVALID_REQUEST, "This session has a stream of this kind already", status=409
                )
            session.listener = changes
        try:
            for uri in tuple(session.subscribed) if session is not None else ():
                await changes.follow(uri, partial(self._library.watch, context=context))
            await tell(self._front, self._front.federated.values(), stream, changes)
        finally:
            if session is not None:
                session.listener = None
        return Answer()

    async def _subscribe(self, params: dict[str, Any], asker: _Asker, *, on: bool) -> None:
        """Have a session told of a resource from now on, or no longer."""
        uri, session = params.get("uri"), asker.session
        if not isinstance(uri, str):
            raise ProtocolError(INVALID_PARAMS, "Invalid params: uri: expected a string")
        if session is None:
            raise ProtocolError(INVALID_REQUEST, "Subscribing needs a session")
        if not on:
            session.subscribed.discard(uri)
            if session.listener is not None:
                session.listener.leave(uri)
            return
        if len(session.subscribed) >= MAX_WATCHED:
            message = f"Invalid params: uri: {MAX_WATCHED} are subscribed to already"
            raise ProtocolError(INVALID_PARAMS, message)
        begin = partial(self._library.watch, context=asker.context)
        # Without a stream nobody is told: whether somebody could be is all that is to be known.
        with Changes([]) as tried:
            if not await (session.listener or tried).follow(uri, begin):
                raise ProtocolError(
                    RESOURCE_NOT_FOUND, "No resource that can be subscribed to", data={"uri": uri}
                )
        session.subscribed.add(uri)

    def hear(self, message: bytes) -> None:
        """Heed what a client of ours said to another worker."""
        hear(message, self._sessions)

    async def end(self, context: Context) -> Answer:
        """Answer a DELETE: end the session it names, and what is in flight in it.

        Raises:
            ProtocolError: There is no such session, or none is named.

        Cancellation: it is ended here, and perhaps not at other workers.
        """
        session = self._session(context)
        if session is None:
            raise ProtocolError(
                INVALID_REQUEST,
                f"DELETE ends a session: name it in {SESSION_HEADER}",
                status=405,
                headers=(("allow", "POST, DELETE"),),
            )
        self._sessions.close(session)
        await self._tell_others(said("end", session))
        return Answer(status=204)

    def _session(self, context: Context) -> Session | None:
        session_id = context.headers.get(SESSION_HEADER)
        if session_id is None:
            return None
        session = self._sessions.find(session_id, context)
        if session is None:
            raise ProtocolError(INVALID_REQUEST, "Session not found", status=404)
        return session

    async def _one(self, value: Any, asker: _Asker) -> Answer:
        message = jsonrpc.read(value)
        if message is None:
            if asker.session is not None and not asker.session.questions.hear(value):
                await self._tell_others(said("answer", asker.session, value))
            return jsonrpc.ACCEPTED
        if message.id is None:
            await self._notified(message, asker.session)
            return jsonrpc.ACCEPTED
        try:
            return await self._answer(message, message.id, asker)
        except ProtocolError as error:
            self._refuse(error, asker)
            # In this era the statuses are HTTP's own: an error is an answer like any other.
            return jsonrpc.failed(message.id, error, status=error.status or 200)

    async def _answer(self, message: Message, message_id: RequestId, asker: _Asker) -> Answer:
        match message.method:
            case "initialize":
                return self._initialize(message, message_id, asker.context)
            case "ping":
                return jsonrpc.succeeded(message_id, {})
            case method if method in LISTED_BY and self._catalog.offers(method):
                page = self._catalog.page(
                    LISTED_BY[method], message.params, asker.context, legacy=True
                )
                return jsonrpc.succeeded(message_id, page)
            case "tools/call":
                return await self._call(message, message_id, asker)
            case method if method in METHODS and self._catalog.offers(method):
                return await self._call(message, message_id, asker)
            case "resources/subscribe" | "resources/unsubscribe" as method if self._subscribes:
                on = method == "resources/subscribe"
                await self._subscribe(message.params, asker, on=on)
                return jsonrpc.succeeded(message_id, {})
            case "logging/setLevel":
                level = severity(message.params.get("level"))
                if asker.session is not None:
                    asker.session.least = level
                    await self._tell_others(said("level", asker.session, level))
                return jsonrpc.succeeded(message_id, {})
            case method:
                raise ProtocolError(METHOD_NOT_FOUND, f"Method not found: {method[:128]}")

    def _initialize(self, message: Message, message_id: RequestId, context: Context) -> Answer:
        wanted = message.params.get("protocolVersion")
        if not isinstance(wanted, str):
            raise ProtocolError(
                INVALID_PARAMS, "Invalid params: protocolVersion: expected a string"
            )
        version = wanted if wanted in LEGACY else LEGACY[0]
        result = {
            "protocolVersion": version,
            "capabilities": {**self._capabilities, "logging": {}},
            "serverInfo": implementation(),
        }
        capabilities = askable(message.params.get("capabilities"))
        token = self._sessions.open(version, context.principal, capabilities)
        return jsonrpc.succeeded(message_id, result, headers=((SESSION_HEADER, token),))

    @property
    def _capabilities(self) -> dict[str, Any]:
        capabilities = self._catalog.capabilities
        if "resources" in capabilities:
            resources = {**capabilities["resources"], "subscribe": self._subscribes}
            return {**capabilities, "resources": resources}
        return capabilities

    async def _call(self, message: Message, message_id: RequestId, asker: _Asker) -> Answer:
        session = asker.session
        if session is None:
            result = await self._made(message, asker, trio.CancelScope())
            return jsonrpc.succeeded(message_id, result)
        if message_id in session.calls:
            raise ProtocolError(
                INVALID_REQUEST, "Invalid request: id: one with it is in flight already"
            )
        if session.is_full:
            error = Overloaded("this session has too many calls in flight", retry_after_s=1)
            if message.method != "tools/call":
                raise ProtocolError(INTERNAL_ERROR, error.detail, error=error)
            self._front.refuse(asker.context, error, duration_s=asker.spent_s)
            return jsonrpc.succeeded(message_id, _called(failure(error, asker.context.request_id)))
        scope = session.enter(message_id)
        try:
            result = await self._made(message, asker, scope)
        finally:
            session.leave(message_id)
        # The call may have ended on its own while it was being cancelled: no answer even then.
        return _CANCELLED if scope.cancel_called else jsonrpc.succeeded(message_id, result)

    async def _made(
        self, message: Message, asker: _Asker, scope: trio.CancelScope
    ) -> dict[str, Any] | None:
        """What a request that takes a while gives; `None` if it was cancelled within `scope`."""
        params, spent_s = message.params, asker.spent_s
        context = self._with_peer(asker)
        least = None if asker.session is None else asker.session.least
        if least is not None:
            context = msgspec.structs.replace(context, log_level=level_of(least))

        async def made(emit: Emit) -> dict[str, Any] | None:
            front, catalog = self._front, self._catalog
            with scope:
                return _called(await call(front, catalog, params, context, emit, spent_s=spent_s))
            return None

        if message.method not in METHODS:
            return await told(self._front, params, asker.stream, least, made)
        with scope:
            return await self._library.answer(message.method, params, context, spent_s=spent_s)
        return None

    def _with_peer(self, asker: _Asker) -> Context:
        """The context of a call, with its client to ask where that can be asked."""
        session, stream = asker.session, asker.stream
        if session is None or not session.capabilities or stream is None or not stream.is_accepted:
            return asker.context
        peer: Peer = (
            OutOfReach(session.capabilities)
            if self._shared
            else Questioned(session.capabilities, session.questions, stream)
        )
        return msgspec.structs.replace(asker.context, peer=peer)

    async def _notified(self, message: Message, session: Session | None) -> None:
        """Act on a notification; one that is malformed, late or unknown is ignored, as it must be."""
        if message.method != "notifications/cancelled" or session is None:
            return
        request_id = message.params.get("requestId")
        if jsonrpc.is_id(request_id) and not session.cancel(request_id):
            await self._tell_others(said("cancel", session, request_id))

    async def _tell_others(self, message: bytes) -> None:
        if self._front.tell_others is not None:
            await self._front.tell_others(message)

    async def _batched(self, asker: _Asker, value: Any) -> Answer:
        try:
            check_member(value)
        except ProtocolError as error:
            self._refuse(error, asker)
            return jsonrpc.failed(jsonrpc.id_of(value), error, status=200)
        return await self._one(value, asker)

    def _refuse(self, error: ProtocolError, asker: _Asker) -> None:
        if not error.booked:
            self._front.refuse(asker.context, error.error, duration_s=asker.spent_s)


def _called(result: ToolResult | dict[str, Any]) -> dict[str, Any]:
    if isinstance(result, dict):
        if isinstance(result.get("structuredContent", {}), dict):
            return result
        # From a server of 2026-07-28, where it may be anything: here it is an object or absent.
        return {key: part for key, part in result.items() if key != "structuredContent"}
    called: dict[str, Any] = {"content": result.content}
    if result.is_object:
        called["structuredContent"] = msgspec.Raw(result.structured)
    called["isError"] = result.is_error
    return called
