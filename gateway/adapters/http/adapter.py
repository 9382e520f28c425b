"""`kind = "http"`: an HTTP API.

A reply with status 2xx is decoded: JSON where it says so, else text; nothing at all is null.
What remains of the budget goes along as a header.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import attrs
import msgspec
import trio

from gateway.config import addresses, fields
from gateway.config.fields import Secret
from gateway.config.headers import RESERVED
from gateway.config.secret import Redaction
from gateway.config.styled import styled_parameters
from gateway.core.adapter import Environment, Kind
from gateway.core.errors import BadReply, Rejected, Unreachable
from gateway.core.messages import Context, Reply, Request
from gateway.core.service import Begun, Emit, Service
from gateway.net.background import in_the_background
from gateway.net.client import (
    ClientSettings,
    HttpClient,
    HttpReply,
    HttpRequest,
    Origin,
    open_client,
)
from gateway.net.credentials import basic_authorization, secrets_of_url
from gateway.net.decoded import decoded, is_json, no_json, nothing
from gateway.net.guard import AddressGuard
from gateway.net.health import HealthSettings, watch
from gateway.net.http1 import Http1Client
from gateway.net.json_text import checked_json
from gateway.net.redirects import Redirecting
from gateway.net.refusal import refusal
from gateway.net.replicas import Replica, Replicas, Why
from gateway.net.styles import Spelling, misuse
from gateway.net.texts import as_it_came, encoded_target, form, header_text, with_query
from gateway.telemetry.events import ReplicaChanged

__all__ = ["KIND", "HttpAdapter", "HttpCall", "HttpSettings"]

_METHODS = ("get", "post", "put", "patch", "delete", "head")
_BODIES = ("json", "form", "body")
_SAFE = frozenset({"get", "head"})
_IDEMPOTENT = frozenset({"get", "head", "put", "delete"})
_MAX_LOOKED_AT = 65_536
"""Bytes of a service's refusal that are decoded."""
_OURS = "the gateway writes it"


@attrs.frozen(slots=True, kw_only=True)
class HttpSettings:
    """`[services.NAME]` with `kind = "http"`."""

    url: str | tuple[str, ...] = fields.field(
        addresses.urls(),
        doc="Where the API begins; a call's path is appended. A list: replicas of it.",
        show=False,
    )
    headers: Mapping[str, str | Secret] = fields.headers(
        default={}, doc="Sent with every call; values may be `env:NAME` or `file:PATH`."
    )
    http2: bool = fields.boolean(default=False, doc="Offer HTTP/2 over TLS.")
    max_connections: int = fields.integer(
        default=100, minimum=1, doc="Connections, and so calls under way, at once."
    )
    budget_header: str = fields.matching(
        r"[!#$%&'*+.^_`|~0-9A-Za-z-]+",
        wanted="the name of a header",
        default="x-request-timeout-ms",
        doc="The header that carries what remains of the budget, in whole milliseconds.",
    )
    max_reply: int = fields.size(default="8MiB", doc="Largest reply, decompressed.")
    follow_redirects: bool = fields.boolean(default=False, doc="Whether 3xx are followed.")
    allow_private: bool = fields.boolean(
        default=False,
        doc="Whether private addresses may be connected to; loopback written out in `url` may.",
    )
    forward: tuple[str, ...] = fields.forwarded_headers(
        default=(), doc="Client headers passed on; nothing else of the client's is."
    )
    health: HealthSettings | None = fields.table(
        HealthSettings, default=None, doc="Checks that find out which replicas are well."
    )


@attrs.frozen(slots=True, kw_only=True)
class HttpCall:
    """The keys of a call to an HTTP API: exactly one verb, at most one body."""

    get: str | None = fields.template_path(default=None, doc="Path of a GET.")
    post: str | None = fields.template_path(default=None, doc="Path of a POST.")
    put: str | None = fields.template_path(default=None, doc="Path of a PUT.")
    patch: str | None = fields.template_path(default=None, doc="Path of a PATCH.")
    delete: str | None = fields.template_path(default=None, doc="Path of a DELETE.")
    head: str | None = fields.template_path(default=None, doc="Path of a HEAD; the reply is null.")
    query: Mapping[str, Any] | None = fields.template_mapping(
        default=None, tables=False, doc="Query parameters; null leaves one out, a list repeats it."
    )
    headers: Mapping[str, Any] | None = fields.header_templates(
        default=None, doc="Headers of this call; null leaves one out."
    )
    json: Any = fields.template_value(default=None, doc="A JSON body.")
    form: Mapping[str, Any] | None = fields.template_mapping(
        default=None, tables=False, doc="A form body (application/x-www-form-urlencoded)."
    )
    body: str | None = fields.template_text(default=None, doc="A text body.")
    parameters: Sequence[Mapping[str, Any]] | None = fields.field(
        styled_parameters(),
        default=None,
        template="value",
        doc="Values in OpenAPI's styles, for what the keys above cannot write.",
    )
    optional_body: bool = fields.boolean(default=False, doc="Whether a null or empty body is none.")


def _verb(call: HttpCall) -> str:
    return next(verb for verb in _METHODS if getattr(call, verb) is not None)


def check(call: HttpCall) -> list[tuple[str, str]]:
    """What is wrong with `call` as a whole."""
    verbs = [verb for verb in _METHODS if getattr(call, verb) is not None]
    bodies = [body for body in _BODIES if getattr(call, body) is not None]
    if len(verbs) != 1:
        got = " and ".join(verbs) or "none"
        return [("", f"expected one of {', '.join(_METHODS)}, got {got}")]
    mistakes: list[tuple[str, str]] = []
    if len(bodies) > 1:
        mistakes.append(
            ("", f"expected at most one of json, form, body, got {' and '.join(bodies)}")
        )
    if bodies and verbs[0] in _SAFE:
        mistakes.append((bodies[0], f"a {verbs[0].upper()} has no body"))
    if call.parameters is not None:
        problems = misuse(call.parameters, verbs[0], getattr(call, verbs[0]), bodies)
        mistakes += [("parameters", problem) for problem in problems]
    return mistakes


class HttpAdapter:
    """One HTTP API.

    Attributes:
        origin: Who is asked; of several the first.
        origins: All of them.
        prefix: The path of its url, without a slash at its end.
        headers: Sent with every request, names in lower case.
        budget_header: Carries what remains of the budget; in lower case.
        http2: Whether HTTP/2 is offered.
        max_reply: Bytes of a reply.
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
        self._shown = Redaction((*settings.headers.values(), *secrets_of_url(urls[0])))
        self._forward = settings.forward
        self.budget_header = settings.budget_header.lower()
        self.http2 = settings.http2
        self.max_reply = settings.max_reply
        _check_budget_header(settings, self.budget_header)

    @property
    def http1(self) -> Http1Client:
        """The connections beneath the calls, for who passes bytes on; not with `http2`.

        Raises:
            Unreachable: It is not open.
        """
        client = self.client.client if isinstance(self.client, Redirecting) else self.client
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
        """The `Service` of `call`: renders nothing, sends one request."""
        styled = [each["name"] for each in call.parameters or () if each["to"] == "header"]
        if any(name.lower() == self.budget_header for name in (*(call.headers or ()), *styled)):
            raise ValueError(f"headers: {self.budget_header} carries the budget: {_OURS}")
        return _Call(self, call)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open the connection pool; leaving closes it."""
        async with contextlib.AsyncExitStack() as stack:
            settings = self._client_settings()
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
        guard = AddressGuard.of(
            self.origins, self._environment, allow_private=settings.allow_private
        )
        return ClientSettings(
            guard=guard,
            max_connections=settings.max_connections,
            max_reply_bytes=settings.max_reply,
            budget_header=self.budget_header,
            tls=self.origin.scheme == "https" or settings.follow_redirects,
            http2=settings.http2,
            follow_redirects=settings.follow_redirects,
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
        said = self._shown(reply.body[:_MAX_LOOKED_AT].decode("utf-8", "replace"))
        return refusal(self._name, reply.status, said, reply.header("retry-after"))


class _Call:
    """The `Service` of one call: renders nothing, sends one request."""

    __slots__ = (
        *("_adapter", "_body", "_content_type", "_encode", "_method"),
        *("_read", "_replicas", "_spelling", "_verb"),
    )

    def __init__(self, adapter: HttpAdapter, call: HttpCall) -> None:
        self._adapter = adapter
        self._replicas = adapter.replicas if len(adapter.origins) > 1 else None
        self._verb = _verb(call)
        self._method = self._verb.upper()
        self._body = next((body for body in _BODIES if getattr(call, body) is not None), "")
        content_type, encode = _ENCODERS.get(self._body, (None, bytes))
        self._content_type: str | None = content_type
        self._encode: Callable[[Any], bytes] = encode
        self._read = nothing if self._verb == "head" else decoded
        self._spelling: Spelling | None = None
        if call.parameters is not None or call.optional_body:
            cookies = adapter.headers.get("cookie", "")
            self._spelling = Spelling(self._verb, cookies, optional_body=call.optional_body)

    async def __call__(self, request: Request, _emit: Emit, /) -> Reply:
        if self._replicas is not None:
            return await self._ask_one(self._replicas, request)
        reply = await self._adapter.client.send(self._http(request, self._adapter.origin))
        return self._opaque(reply) if request.opaque else self._reply(reply)

    async def _ask_one(self, replicas: Replicas, request: Request) -> Reply:
        with replicas.attempt(request, trio.current_effective_deadline()) as attempt:
            reply = await self._adapter.client.send(self._http(request, attempt.origin))
            return self._opaque(reply) if request.opaque else self._reply(reply)

    def begin(self, request: Request, until: float, /) -> Begun | None:
        if self._replicas is not None:
            attempt = self._replicas.attempt(request, until)
            return attempt.begun(partial(self._begin, request, until, attempt.origin))
        return self._begin(request, until, self._adapter.origin)

    def _begin(self, request: Request, until: float, origin: Origin) -> Begun | None:
        client = self._adapter.client
        if isinstance(client, Http1Client):
            convert = self._opaque if request.opaque else self._reply
            return client.start(self._http(request, origin), until, convert)
        return None

    def _http(self, request: Request, origin: Origin) -> HttpRequest:
        adapter, arguments = self._adapter, request.arguments
        body, content_type, encode = self._body, self._content_type, self._encode
        if self._spelling is not None:
            arguments = self._spelling(arguments)
            body = next((body for body in _BODIES if body in arguments), "")
            content_type, encode = _ENCODERS.get(body, (None, bytes))
        target = adapter.prefix + with_query(arguments[self._verb], arguments.get("query"))
        headers = adapter.headers_for(request.context, content_type, arguments.get("headers"))
        content = encode(arguments[body]) if body else None
        return HttpRequest(self._method, origin, encoded_target(target), headers, content)

    def _reply(self, reply: HttpReply) -> Reply:
        if not 200 <= reply.status < 300:
            raise self._adapter.refusal(reply)
        return Reply(self._read(reply))

    def _opaque(self, reply: HttpReply) -> Reply:
        """As `_reply`; JSON stays as it came if it can."""
        if 200 <= reply.status < 300 and self._read is decoded and is_json(reply):
            try:
                raw = checked_json(reply.body)
            except ValueError as error:
                raise no_json(error) from error
            if raw is not None:
                return Reply(raw)
        return self._reply(reply)


_ENCODERS: Mapping[str, tuple[str, Callable[[Any], bytes]]] = {
    "json": ("application/json", msgspec.json.encode),
    "form": ("application/x-www-form-urlencoded", form),
    "body": ("text/plain; charset=utf-8", str.encode),
}
"""By the key of a call's body: what it is, and its bytes."""


def _check_budget_header(settings: HttpSettings, name: str) -> None:
    """The budget's header is one that nobody else writes.

    Raises:
        ValueError: It is not.
    """
    if name in RESERVED:
        raise ValueError(f"budget_header: {name} cannot carry the budget: {RESERVED[name]}")
    for key, names in (("headers", settings.headers), ("forward", settings.forward)):
        if name in names:
            raise ValueError(f"{key}: {name} carries the budget: {_OURS}")


KIND = Kind(
    settings=HttpSettings,
    call=HttpCall,
    create=HttpAdapter,
    check=check,
    idempotent=lambda call: _verb(call) in _IDEMPOTENT,
    read_only=lambda call: _verb(call) in _SAFE,
    forwards=lambda settings: settings.forward,
)
"""How `http` is declared."""
