"""Streamable HTTP: a POST for each message, answered by JSON or by an event stream.

Leaving an exchange closes its connection, which cancels it in 2026-07-28; in legacy revisions
`notifications/cancelled` goes out as well, by a connection that calls cannot use up.

Source: MCP 2026-07-28 and 2025-11-25, Streamable HTTP.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import AsyncIterator, Mapping
from urllib.parse import quote, urlsplit

import attrs
import trio

from gateway.adapters.mcp import messages
from gateway.adapters.mcp.link import (
    NEVER_CANCELLED,
    Call,
    Decline,
    Era,
    Exchange,
    Hear,
    Outdated,
    Refused,
)
from gateway.adapters.mcp.messages import Message, Response
from gateway.adapters.mcp.settings import BUDGET_HEADER, McpSettings
from gateway.adapters.mcp.sse import EventReader
from gateway.config.fields import reveal
from gateway.core.adapter import Environment
from gateway.core.errors import BadReply, GatewayError, Unreachable
from gateway.core.mcp import (
    METHOD_HEADER,
    MODERN,
    NAME_HEADER,
    NAMED,
    SESSION_HEADER,
    VERSION_HEADER,
    header_text,
)
from gateway.core.messages import Context
from gateway.net.body import Body
from gateway.net.client import (
    ClientSettings,
    HttpClient,
    HttpRequest,
    HttpStream,
    Origin,
    open_client,
)
from gateway.net.credentials import basic_authorization
from gateway.net.guard import AddressGuard

__all__ = ["HttpLink"]

_ERRAND_S = 5.0
"""Seconds that a message beside the calls may take."""

_MAX_ERRANDS = 100
"""Messages on their way beside the calls; further ones are dropped."""

_OWN_CONNECTIONS = 8
"""Connections for what is not a call: listening, cancelling, answering."""

_EVENTS_PER_CALL = 8
"""How many replies of the largest size one event stream may amount to."""

_MAX_REFUSAL = 65_536
_UNQUOTED = "!$&'()*+,;=:@%/?~[]"
_UNFIT = frozenset(map(chr, [*range(9), *range(10, 32), 127]))


class HttpLink:
    """A server by its URL.

    Args:
        settings: The service's, with a `url`.
        environment: What the gateway gives the service.

    Attributes:
        life: As `Link`: 0.
        max_reply: Bytes of the largest message.
    """

    life = 0

    def __init__(self, settings: McpSettings, environment: Environment) -> None:
        self._name = environment.service
        self._environment = environment
        self._settings = settings
        url = settings.url or ""
        parts = urlsplit(url)
        self.origin = Origin.of(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._target = quote(target, safe=_UNQUOTED)
        self._headers = {
            **basic_authorization(url),
            **{name: reveal(value) for name, value in settings.headers.items()},
        }
        self._calls: HttpClient | None = None
        self._own: HttpClient | None = None
        self._errands: trio.Nursery | None = None
        self.max_reply = settings.max_reply

    @contextlib.asynccontextmanager
    async def open(self, _hear: Hear, _decline: Decline) -> AsyncIterator[None]:
        """As `Link`: nothing comes but in answer to something."""
        limits = self._settings.max_connections, _OWN_CONNECTIONS
        calls, own = (self._client_settings(limit) for limit in limits)
        async with (
            open_client(calls) as client,
            open_client(own) as own_client,
            trio.open_nursery() as nursery,
        ):
            self._calls, self._own, self._errands = client, own_client, nursery
            try:
                yield
            finally:
                self._calls = self._own = self._errands = None
                nursery.cancel_scope.cancel()

    def _client_settings(self, max_connections: int) -> ClientSettings:
        origin = self.origin
        guard = AddressGuard.of(
            origin.host,
            origin.port,
            self._environment,
            allow_private=self._settings.allow_private,
        )
        return ClientSettings(
            guard=guard,
            max_connections=max_connections,
            max_reply_bytes=self._settings.max_reply,
            budget_header=BUDGET_HEADER,
            tls=origin.scheme == "https",
        )

    async def ready(self) -> None:
        """As `Link`: asking tells."""
        await trio.lowlevel.checkpoint()

    @contextlib.asynccontextmanager
    async def exchange(self, call: Call, /) -> AsyncIterator[Exchange]:
        """As `Link`."""
        if self._calls is None:
            raise Unreachable(f"{self._name} is not open")
        client = self._own if call.context is None else self._calls
        assert client is not None  # noqa: S101 - both are open, or neither
        body = messages.request(call.id, call.method, call.params)
        request = self._request("POST", call.era, body, self._headers_of(call))
        answered = False
        try:
            async with client.stream(request) as stream:
                exchange = _HttpExchange(self, call, stream)
                yield exchange
                answered = exchange.answered
        finally:
            if not answered:
                self._cancel(call)

    def listen(self, era: Era, /) -> contextlib.AbstractAsyncContextManager[Exchange]:
        """As `Link`: a GET."""
        return self._listening(era)

    @contextlib.asynccontextmanager
    async def _listening(self, era: Era) -> AsyncIterator[Exchange]:
        if self._own is None:
            raise Unreachable(f"{self._name} is not open")
        request = self._request("GET", era, None, (("accept", "text/event-stream"),))
        async with self._own.stream(request) as stream:
            yield _HttpExchange(self, Call(0, "", {}, era), stream)

    async def tell(self, method: str, era: Era, /) -> None:
        """As `Link`."""
        await self.post(messages.notification(method), era)

    async def post(self, message: bytes, era: Era | None) -> None:
        """Send what has no answer.

        Raises:
            GatewayError: It cannot be sent.
            Refused: The server refused it.
        """
        if self._own is None:
            raise Unreachable(f"{self._name} is not open")
        reply = await self._own.send(self._request("POST", era, message, _TAKES))
        if reply.status >= 300:
            said = reply.body[:_MAX_REFUSAL].decode("utf-8", "replace")
            raise Refused(reply.status, said, reply.headers.get("retry-after"))

    async def end(self, era: Era, /) -> None:
        """As `Link`: a DELETE."""
        if era.session_id is None or self._own is None:
            return
        with contextlib.suppress(GatewayError):
            await self._own.send(self._request("DELETE", era, None, ()))

    def _cancel(self, call: Call) -> None:
        """Have a legacy server told that nobody waits any more; in no case wait for that."""
        era = call.era
        if era is None or era.is_modern or call.method in NEVER_CANCELLED or self._errands is None:
            return
        if len(self._errands.child_tasks) < _MAX_ERRANDS:
            told = messages.notification("notifications/cancelled", {"requestId": call.id})
            self._errands.start_soon(self._run_errand, told, era)

    async def _run_errand(self, message: bytes, era: Era) -> None:
        with trio.move_on_after(_ERRAND_S), contextlib.suppress(GatewayError, Refused):
            await self.post(message, era)

    def _request(
        self, method: str, era: Era | None, body: bytes | None, own: tuple[tuple[str, str], ...]
    ) -> HttpRequest:
        headers = dict(self._headers)
        if era is not None:
            headers[VERSION_HEADER] = era.version
            if era.session_id is not None:
                headers[SESSION_HEADER] = era.session_id
        headers.update(own)
        return HttpRequest(method, self.origin, self._target, tuple(headers.items()), body)

    def _headers_of(self, call: Call) -> tuple[tuple[str, str], ...]:
        """The client's that are forwarded, then the protocol's."""
        headers = [*self._forwarded(call.context), *_TAKES]
        if call.context is not None:
            headers.append(("traceparent", call.context.trace.traceparent))
        if call.era is not None and call.era.version == MODERN:
            headers.append((METHOD_HEADER, call.method))
            name = call.params.get(NAMED.get(call.method, ""))
            if isinstance(name, str):
                headers.append((NAME_HEADER, header_text(name)))
        return (*headers, *call.headers)

    def _forwarded(self, context: Context | None) -> list[tuple[str, str]]:
        if context is None:
            return []
        headers: Mapping[str, str] = {**context.headers, "x-request-id": context.request_id}
        return [
            (name, headers[name].strip(" \t"))
            for name in self._settings.forward
            if name in headers and _is_fit(headers[name])
        ]


_TAKES = (
    ("content-type", "application/json"),
    ("accept", "application/json, text/event-stream"),
)


def _is_fit(value: str) -> bool:
    return _UNFIT.isdisjoint(value) and (value.isascii() or max(value) <= "\xff")


@attrs.define(slots=True, eq=False)
class _HttpExchange:
    """One POST and what comes back."""

    _link: HttpLink
    _call: Call
    _stream: HttpStream
    _ahead: deque[Message] = attrs.field(factory=deque)
    _events: EventReader | None = None
    _left: float = 0
    _begun: bool = False
    answered: bool = False

    @property
    def session_id(self) -> str | None:
        return self._header(SESSION_HEADER)

    def _header(self, name: str) -> str | None:
        raw = name.encode()
        return next((str(v, "latin-1") for n, v in self._stream.raw_headers if n == raw), None)

    async def receive(self) -> Message:
        if not self._begun:
            await self._begin()
        while not self._ahead:
            await self._read_on()
        message = self._ahead.popleft()
        if isinstance(message, Response):
            self.answered = True
        return message

    async def answer(self, message: bytes) -> None:
        try:
            with trio.fail_after(_ERRAND_S):
                await self._link.post(message, self._call.era)
        except (Refused, trio.TooSlowError) as error:
            raise Unreachable("what it asked cannot be answered") from error

    async def _begin(self) -> None:
        self._begun = True
        media_type = (self._header("content-type") or "").partition(";")[0].strip().lower()
        if self._stream.status != 200:
            self._take_refusal(await self._beginning())
        elif media_type == "text/event-stream":
            if self._header("content-encoding") not in {None, "identity"}:
                raise BadReply("the event stream is encoded, though identity was asked for")
            self._events = EventReader(self._link.max_reply)
            # To listen has no end; a call has.
            own = bool(self._call.method) and self._call.context is not None
            self._left = self._link.max_reply * _EVENTS_PER_CALL if own else math.inf
        elif media_type == "application/json":
            self._take(await self._whole(self._link.max_reply))
            if not self._ahead:
                raise BadReply("what came does not answer what was asked")
        else:
            what = media_type[:60] or "no content-type"
            raise BadReply(f"what came ({what}) is neither JSON nor an event stream")

    async def _whole(self, max_bytes: int) -> bytes:
        body = Body(self._header("content-encoding") or "", max_bytes)
        while piece := await self._stream.receive():
            body.take(piece)
        return body.whole()

    async def _beginning(self) -> bytes:
        """As much of the body as is looked at where it is a refusal's."""
        said = b""
        while len(said) < _MAX_REFUSAL and (piece := await self._stream.receive()):
            said += piece
        return said[:_MAX_REFUSAL]

    async def _read_on(self) -> None:
        """Read until there is a message."""
        if self._events is None:
            raise Unreachable("the connection broke: the reply ended before the answer")
        piece = await self._stream.receive()
        if not piece:
            raise Unreachable("the connection broke: the event stream ended before the answer")
        self._left -= len(piece)
        if self._left < 0:
            most = self._link.max_reply * _EVENTS_PER_CALL
            raise BadReply(f"the event stream of the reply is over {most} bytes")
        for event in self._events.feed(piece):
            self._take(event)

    def _take(self, data: bytes) -> None:
        for message in messages.read(data):
            # A response to something else answers nothing that anybody waits for.
            if not isinstance(message, Response) or self._is_answered_by(message):
                self._ahead.append(message)

    def _is_answered_by(self, message: Response) -> bool:
        # Where a server cannot read the id of what it refuses, it names none.
        return message.id == self._call.id or (message.id is None and message.error is not None)

    def _take_refusal(self, body: bytes) -> None:
        """A status that is not 200, in JSON-RPC's words or in HTTP's alone.

        Raises:
            Outdated: The session is not known any more.
            Refused: In HTTP's words.
        """
        status = self._stream.status
        try:
            told = [m for m in messages.read(body) if isinstance(m, Response) and m.error]
        except BadReply:
            told = []
        ours = [message for message in told if message.id == self._call.id]
        if self._is_outdated(status, ours):
            raise Outdated(f"{status} {body.decode('utf-8', 'replace')}")
        if not told or status in {401, 403, 429} or status >= 500:
            said = body.decode("utf-8", "replace")
            raise Refused(status, said, self._header("retry-after"))
        self._ahead.append((ours or told)[0])

    def _is_outdated(self, status: int, ours: list[Response]) -> bool:
        """Whether it is what was agreed that is refused: the session, or the revision."""
        era = self._call.era
        if era is None or self._call.method in NEVER_CANCELLED:
            return False
        if era.is_modern:
            return status in {400, 404, 405} and not ours
        return era.session_id is not None and (status == 404 or (status == 400 and not ours))
