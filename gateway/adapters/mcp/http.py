"""Streamable HTTP: a POST for each message, answered by JSON or by an event stream.

Leaving an exchange before its response closes its connection, which cancels it in 2026-07-28; in
legacy revisions `notifications/cancelled` goes out as well, by a connection that calls cannot use up.

Source: MCP 2026-07-28 and 2025-11-25, Streamable HTTP.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from urllib.parse import quote, urlsplit

import trio

from gateway.adapters.mcp import messages
from gateway.adapters.mcp.exchange import HttpExchange
from gateway.adapters.mcp.link import (
    NEVER_CANCELLED,
    Call,
    Decline,
    Era,
    Exchange,
    Hear,
    Refused,
)
from gateway.adapters.mcp.settings import BUDGET_HEADER, McpSettings
from gateway.config.fields import reveal
from gateway.core.adapter import Environment
from gateway.core.errors import GatewayError, Unreachable
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
from gateway.net.client import (
    ClientSettings,
    HttpClient,
    HttpRequest,
    HttpStream,
    Origin,
    open_client,
)
from gateway.net.credentials import basic_authorization
from gateway.net.oauth2 import opened, tokens_of

__all__ = ["HttpLink"]

_ERRAND_S = 5.0
"""Seconds that a message beside the calls may take."""

_MAX_ERRANDS = 100
"""Messages on their way beside the calls; further ones are dropped."""

_OWN_CONNECTIONS = 8
"""Connections for what is not a call: listening, cancelling, answering."""

_MAX_SAID = 65_536
_UNQUOTED = "!$&'()*+,;=:@%/?~[]"
_UNFIT = frozenset(map(chr, [*range(9), *range(10, 32), 127]))


class HttpLink:
    """A server by its URL.

    Args:
        settings: The service's, with a `url`.
        environment: What the gateway gives the service.

    Attributes:
        life: As `Link`: 0.
        tokens: Where the tokens come from that requests carry; `None` without `oauth2`.
        max_reply: Bytes of the largest message.
        ends_streams: Whether the server ends an event stream with the response, as it should.
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
        self.tokens = tokens_of(
            settings.oauth2,
            environment,
            url=url,
            written={"headers": settings.headers, "forward": settings.forward},
            allow_private=settings.allow_private,
            budget_header=BUDGET_HEADER,
        )
        self._calls: HttpClient | None = None
        self._own: HttpClient | None = None
        self._errands: trio.Nursery | None = None
        self.max_reply = settings.max_reply
        self.ends_streams = True

    @contextlib.asynccontextmanager
    async def open(self, _hear: Hear, _decline: Decline) -> AsyncIterator[None]:
        """As `Link`: nothing comes but in answer to something."""
        limits = self._settings.max_connections, _OWN_CONNECTIONS
        calls, own = (self._client_settings(limit) for limit in limits)
        async with (
            opened(self.tokens),
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
        return ClientSettings.of(
            [self.origin],
            self._environment,
            allow_private=self._settings.allow_private,
            max_connections=max_connections,
            max_reply_bytes=self._settings.max_reply,
            budget_header=BUDGET_HEADER,
            bearer=self.tokens,
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
        exchange: HttpExchange | None = None
        sent = True
        try:
            async with contextlib.AsyncExitStack() as stack:
                stream = await stack.enter_async_context(client.stream(request))
                exchange = HttpExchange(self, call, stream, stack)
                yield exchange
                await exchange.finish()
        except GatewayError:
            sent = exchange is not None
            raise
        finally:
            if sent and (exchange is None or not exchange.answered):
                self._cancel(call)

    def listen(self, era: Era, /) -> contextlib.AbstractAsyncContextManager[Exchange]:
        """As `Link`: a GET."""
        return self._listening(era)

    @contextlib.asynccontextmanager
    async def _listening(self, era: Era) -> AsyncIterator[Exchange]:
        async with contextlib.AsyncExitStack() as stack:
            stream = await stack.enter_async_context(self.reopened(era, None, None))
            yield HttpExchange(self, Call(0, "", {}, era), stream, stack)

    def reopened(
        self, era: Era, last_id: str | None, context: Context | None
    ) -> contextlib.AbstractAsyncContextManager[HttpStream]:
        """A stream of a legacy server's own.

        Args:
            era: What is agreed with it.
            last_id: The last event of a stream that is to go on; `None` to hear what is told beside
                all requests.
            context: For whom; `None` if it is for the gateway itself.

        Source: MCP 2025-11-25, Transports, "Resumability and Redelivery".
        """
        if self._own is None:
            raise Unreachable(f"{self._name} is not open")
        headers = [*self._forwarded(context), ("accept", "text/event-stream")]
        if last_id is not None:
            headers.append(("last-event-id", last_id))
        return self._own.stream(self._request("GET", era, None, tuple(headers)))

    async def tell(self, method: str, era: Era, /) -> None:
        """As `Link`."""
        await self.post(messages.notification(method), era)

    async def post(self, message: bytes, era: Era | None, context: Context | None = None) -> None:
        """Send what has no answer.

        Args:
            message: What.
            era: What is agreed.
            context: For whom; `None` if it is for the gateway itself.

        Raises:
            GatewayError: It cannot be sent.
            Refused: The server refused it.
        """
        if self._own is None:
            raise Unreachable(f"{self._name} is not open")
        headers = (*self._forwarded(context), *_TAKES)
        reply = await self._own.send(self._request("POST", era, message, headers))
        if reply.status >= 300:
            said = reply.body[:_MAX_SAID].decode("utf-8", "replace")
            raise Refused(reply.status, said, reply.header("retry-after"))

    async def end(self, era: Era, /) -> None:
        """As `Link`: a DELETE."""
        if era.session_id is None or self._own is None:
            return
        with contextlib.suppress(GatewayError):
            await self._own.send(self._request("DELETE", era, None, ()))

    def hurry(self) -> None:
        """As `Link`: nothing of it waits."""
        return

    def _cancel(self, call: Call) -> None:
        """Have a legacy server told that nobody waits any more; in no case wait for that."""
        era = call.era
        if era is None or era.is_modern or call.method in NEVER_CANCELLED or self._errands is None:
            return
        if len(self._errands.child_tasks) < _MAX_ERRANDS:
            told = messages.notification("notifications/cancelled", {"requestId": call.id})
            self._errands.start_soon(self._run_errand, told, era, call.context)

    async def _run_errand(self, message: bytes, era: Era, context: Context | None) -> None:
        with trio.move_on_after(_ERRAND_S), contextlib.suppress(GatewayError, Refused):
            await self.post(message, era, context)

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
