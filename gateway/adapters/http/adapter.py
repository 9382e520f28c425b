"""An HTTP API as a service: its client, its replicas, what every request carries."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import attrs

from gateway.adapters.http.call import Call
from gateway.adapters.http.pages import PagedCall
from gateway.adapters.http.settings import (
    HttpCall,
    HttpSettings,
    check,
    is_idempotent,
    is_read_only,
    problem_of,
)
from gateway.config.fields import Secret
from gateway.config.secret import Redaction
from gateway.core.adapter import Environment, Kind
from gateway.core.errors import BadReply, Rejected, Unreachable
from gateway.core.freshness import Asked, Kept
from gateway.core.messages import Context
from gateway.core.service import Service
from gateway.net.authorized import Authorized
from gateway.net.background import in_the_background
from gateway.net.client import ClientSettings, HttpClient, HttpReply, Origin, open_client
from gateway.net.credentials import basic_authorization, secrets_of_url
from gateway.net.health import watch
from gateway.net.http1 import Http1Client
from gateway.net.oauth2 import opened, tokens_of
from gateway.net.redirects import Redirecting
from gateway.net.refusal import refusal
from gateway.net.replicas import Replica, Replicas, Why
from gateway.net.texts import as_it_came, header_text
from gateway.telemetry.events import ReplicaChanged

__all__ = ["KIND", "HttpAdapter"]

_MAX_LOOKED_AT = 65_536
"""Bytes of a service's refusal that are decoded."""


class HttpAdapter:
    """One HTTP API.

    Attributes:
        origin: Who is asked; of several the first.
        origins: All of them.
        own_origins: These, and the one that a `host` header names.
        prefix: The path of its url, without a slash at its end.
        headers: Sent with every request, names in lower case.
        budget_header: Carries what remains of the budget; in lower case.
        http2: Whether HTTP/2 is offered.
        max_reply: Bytes of a reply.
        max_upload: Bytes of a multipart body.
        tokens: Where the tokens come from that requests carry; `None` without `oauth2`.
    """

    def __init__(self, settings: HttpSettings, environment: Environment) -> None:
        self._name = environment.service
        self._environment = environment
        self._settings = settings
        urls = (settings.url,) if isinstance(settings.url, str) else settings.url
        self.origins = tuple(map(Origin.of, urls))
        self.origin = self.origins[0]
        self.replicas = Replicas(self.origins, environment.random, self._tell)
        self.prefix = urlsplit(urls[0]).path.rstrip("/")
        self._client: HttpClient | None = None
        self.headers = {
            **basic_authorization(urls[0]),
            **{
                key.lower(): value.reveal() if isinstance(value, Secret) else value
                for key, value in settings.headers.items()
            },
        }
        self._fixed = tuple(self.headers.items())
        # Behind a shared address the service has a name of its own, which its links use.
        named = self.headers.get("host")
        own = [Origin.of(f"{self.origin.scheme}://{named}")] if named else []
        self.own_origins = frozenset((*self.origins, *own))
        self._shown = Redaction((*settings.headers.values(), *secrets_of_url(urls[0])))
        self._forward = settings.forward
        self.budget_header = settings.budget_header.lower()
        self.http2 = settings.http2
        self.max_reply = settings.max_reply
        self.max_upload = settings.max_upload
        self.tokens = tokens_of(
            settings.oauth2,
            environment,
            url=urls[0],
            written={"headers": settings.headers, "forward": settings.forward},
            allow_private=settings.allow_private,
            budget_header=self.budget_header,
        )
        problem = problem_of(settings)
        if problem is not None:
            raise ValueError(problem)

    @property
    def http1(self) -> Http1Client:
        """The connections beneath the calls, for who passes bytes on; not with `http2`.

        What goes over them carries no token of its own accord.

        Raises:
            Unreachable: It is not open.
        """
        client = self.client
        while isinstance(client, (Authorized, Redirecting)):
            client = client.client
        if not isinstance(client, Http1Client):
            raise Unreachable(f"{self._name} is not open")
        return client

    @property
    def client(self) -> HttpClient:
        """What sends the calls.

        Raises:
            Unreachable: It is not open.
        """
        if self._client is None:
            raise Unreachable(f"{self._name} is not open")
        return self._client

    def bind(self, call: HttpCall, /) -> Service:
        """The `Service` of `call`: renders nothing, sends one request, or one for each page.

        Raises:
            ValueError: It writes a header that is not its own to write.
        """
        styled = [each["name"] for each in call.parameters or () if each["to"] == "header"]
        written = {name.lower() for name in (*(call.headers or ()), *styled)}
        if self.budget_header in written:
            raise ValueError(
                f"headers: {self.budget_header} carries the budget: the gateway writes it"
            )
        if self.tokens is not None and "authorization" in written:
            raise ValueError("headers: with oauth2, authorization is the token's")
        plain = Call(self, call)
        return plain if call.pages is None else PagedCall(self, call.pages, plain)

    async def authorized(self) -> None:
        """Have a token at hand, if one is needed: that there is none is no fault of a replica.

        Raises:
            GatewayError: There is none to be had.
        """
        if self.tokens is not None:
            await self.tokens.token()

    @property
    def kept(self) -> Kept | None:
        """For whom it is read how long replies are good; `None` if it is not."""
        return self._environment.shared(Asked).read_for

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open the connection pool; leaving closes it."""
        async with contextlib.AsyncExitStack() as stack:
            settings = self._client_settings()
            await stack.enter_async_context(opened(self.tokens))
            self._client = await stack.enter_async_context(open_client(settings))
            for replica in (
                self.replicas.all if len(self.origins) > 1 or self._settings.health else ()
            ):
                self._tell(replica, "start")
            if self._settings.health is not None:
                checks = attrs.evolve(settings, max_connections=len(self.origins))
                checking = await stack.enter_async_context(open_client(checks))
                work = partial(
                    watch, self.replicas, self._settings.health, checking, self.prefix, self._fixed
                )
                await stack.enter_async_context(in_the_background(work, "what checks replicas"))
            yield
        self._client = None

    def _client_settings(self) -> ClientSettings:
        settings = self._settings
        return ClientSettings.of(
            self.origins,
            self._environment,
            allow_private=settings.allow_private,
            max_connections=settings.max_connections,
            max_reply_bytes=settings.max_reply,
            budget_header=self.budget_header,
            http2=settings.http2,
            follow_redirects=settings.follow_redirects,
            bearer=self.tokens,
        )

    def _tell(self, replica: Replica, why: Why) -> None:
        self._environment.record(
            ReplicaChanged(
                service=self._name,
                replica=replica.origin.authority,
                is_in=replica.is_in,
                why=why,
            )
        )

    def headers_for(
        self, context: Context, content_type: str | None, own: Mapping[str, Any] | None
    ) -> tuple[tuple[str, str], ...]:
        """Those of a request: fixed ones, then the client's that are forwarded, then the call's; a later one wins."""
        trace = ("traceparent", context.trace.traceparent)
        if not (self._forward or content_type or own):
            return (*self._fixed, trace)
        headers = dict(self._fixed)
        for name in self._forward:
            if name == "x-request-id":
                headers[name] = as_it_came(name, context.request_id)  # ours, if it sent none
            elif name in context.headers:
                headers[name] = as_it_came(name, context.headers[name])
        if content_type is not None:
            headers["content-type"] = content_type
        if own:
            for name, value in own.items():
                if value is not None:
                    headers[name.lower()] = header_text(name, value)
        return (*headers.items(), trace)

    def refusal(self, reply: HttpReply) -> Rejected | BadReply:
        """What a reply that is no success means."""
        said = reply.body[:_MAX_LOOKED_AT].decode("utf-8", "replace")
        if self.tokens is not None:
            said = self.tokens.hide(said)
        return refusal(self._name, reply.status, self._shown(said), reply.header("retry-after"))


KIND = Kind(
    settings=HttpSettings,
    call=HttpCall,
    create=HttpAdapter,
    check=check,
    idempotent=is_idempotent,
    read_only=is_read_only,
    forwards=lambda settings: settings.forward,
)
"""How `http` is declared."""
