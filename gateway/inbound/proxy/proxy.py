"""Which proxy answers, and what telemetry is told of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

import trio

from gateway.access.proxies import TrustedProxies
from gateway.core.errors import (
    BadReply,
    DeadlineExceeded,
    GatewayError,
    Internal,
    NotFound,
    Rejected,
    Unreachable,
)
from gateway.core.messages import Context, Request
from gateway.inbound.front import Front, tell
from gateway.inbound.proxy.conversation import Conversation
from gateway.inbound.proxy.heads import Heads
from gateway.inbound.proxy.own import Proxied
from gateway.inbound.proxy.passage import Passage
from gateway.net.asgi import ClientLeft, Incoming, Receive, Send, telling_of_leaving
from gateway.telemetry.events import RequestEnded, RequestOutcome, RequestStarted
from gateway.telemetry.logs import bound

__all__ = ["Proxies", "Proxy"]

_NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})
_ITS_OWN = (Unreachable, BadReply, DeadlineExceeded, Rejected)
"""Failures that the service is to blame for; a refusal is that of its token endpoint."""


class Proxies:
    """Finds the proxy of a path.

    Args:
        front: What they stand before.
        proxies: By name: what the file says, the service's adapter, and the seconds it has until
            an answer begins.
    """

    def __init__(self, front: Front, proxies: Mapping[str, Proxied]) -> None:
        made = [Proxy(front, name, proxied) for name, proxied in proxies.items()]
        # Of two that are one below the other, the inner one comes first.
        made.sort(key=lambda proxy: -len(proxy.prefix))
        self._by_prefix = tuple((proxy.prefix, proxy) for proxy in made)

    def find(self, path: str) -> Proxy | None:
        """The proxy that answers on `path`, percent-encoded as it came; `None` if none does."""
        for prefix, proxy in self._by_prefix:
            if path.startswith(prefix):
                return proxy
        return None


class Proxy:
    """One `[proxies.NAME]`: answers requests and WebSockets with what its service answers.

    Args:
        front: What it stands before.
        name: Its name.
        proxied: What the file says of it.

    Attributes:
        front: As above.
        prefix: What the paths that it answers begin with.
        adapter: The service.
        heads: Makes the heads of its requests.
        deadline_s: Seconds until an answer begins, from the last piece of its request.
        idle_s: Seconds between two pieces of an answer.
        max_body: Largest request body, bytes.
    """

    def __init__(self, front: Front, name: str, proxied: Proxied) -> None:
        settings, server = proxied.settings, front.server
        self.front = front
        self.prefix = settings.path
        self.adapter = proxied.adapter
        self.heads = Heads(
            proxied.adapter,
            settings.path,
            strip_path=settings.strip_path,
            trusted=TrustedProxies(server.trusted_proxies),
        )
        self.deadline_s = proxied.deadline_s
        self.idle_s = settings.idle_timeout
        self.max_body = server.max_body if settings.max_body is None else settings.max_body
        self._name = name
        self._service = settings.service
        self._methods: frozenset[str] | None = None
        if settings.methods is not None:
            also = {"HEAD"} if "GET" in settings.methods else set()
            self._methods = frozenset(settings.methods) | also

    def check_method(self, method: str) -> None:
        """Let a request with this method pass.

        Raises:
            NotFound: It may not; the error says which may.
        """
        if self._methods is not None and method not in self._methods:
            allow = tuple(sorted(self._methods))
            detail = f"below {self.prefix} go {', '.join(allow)}, not {method[:20]}"
            raise NotFound(detail, allow=allow)

    async def __call__(self, incoming: Incoming, receive: Receive, send: Send) -> None:
        """Answer one request; an answer that broke half-way is cut, never completed."""
        context = self.front.context(incoming, "proxy")
        passage = Passage(self, incoming, receive, send, context)
        error = await self._booked(context, passage.run)
        if error is not None and not passage.begun:
            await tell(incoming.scope, send, error, context)

    async def converse(self, incoming: Incoming, receive: Receive, send: Send) -> None:
        """Carry one WebSocket's messages both ways until either side ends it."""
        context = self.front.context(incoming, "proxy")
        conversation = Conversation(self, incoming, receive, telling_of_leaving(send), context)
        error = await self._booked(context, conversation.run)
        if error is not None and not conversation.begun:
            await tell(incoming.scope, send, error, context)

    async def _booked(
        self, context: Context, work: Callable[[], Awaitable[None]]
    ) -> GatewayError | None:
        """Do `work`, tell telemetry how it went, and return what it failed for."""
        start = trio.current_time()
        request = Request(self._name, _NO_ARGUMENTS, context)
        outcome: RequestOutcome = "cancelled"
        error: GatewayError | None = None
        self.front.record(RequestStarted(request))
        try:
            with bound(request):
                await work()
            outcome = "ok"
        except ClientLeft:
            outcome = "client_left"
        except GatewayError as caught:
            outcome, error = "error", caught.blamed(service=self._service_of(caught))
        except Exception as caught:  # noqa: BLE001 - told with its traceback, never shown
            outcome, error = "error", Internal("something went wrong inside the gateway")
            error.__cause__ = caught
        finally:
            ended = RequestEnded(
                request=request,
                tool=self._name,
                outcome=outcome,
                error=error,
                duration_s=trio.current_time() - start,
                budget_s=self.deadline_s,
            )
            self.front.record(ended)
        return error

    def _service_of(self, error: GatewayError) -> str | None:
        """The service, where it is to blame."""
        return self._service if isinstance(error, _ITS_OWN) else None
