"""`kind = "http"`: an HTTP API.

A reply with status 2xx is decoded: JSON where it says so, else text; nothing at all is null.
What remains of the budget goes along as a header.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

import attrs
import msgspec

from gateway.config import fields
from gateway.config.fields import Secret
from gateway.config.headers import RESERVED
from gateway.config.styled import styled_parameters
from gateway.core.adapter import Environment, Kind
from gateway.core.errors import BadReply, InvalidArguments, InvalidRequest, Rejected, Unreachable
from gateway.core.messages import Context, Reply, Request
from gateway.core.service import Emit, Service
from gateway.net.client import (
    ClientSettings,
    HttpClient,
    HttpReply,
    HttpRequest,
    Origin,
    open_client,
)
from gateway.net.credentials import basic_authorization
from gateway.net.guard import AddressGuard
from gateway.net.http1 import Http1Client
from gateway.net.json_text import decode_json
from gateway.net.redirects import Redirecting
from gateway.net.retry_after import parse_retry_after
from gateway.net.styles import Spelling, misuse

__all__ = ["KIND", "HttpAdapter", "HttpCall", "HttpSettings"]

_METHODS = ("get", "post", "put", "patch", "delete", "head")
_BODIES = ("json", "form", "body")
_SAFE = frozenset({"get", "head"})
_IDEMPOTENT = frozenset({"get", "head", "put", "delete"})
_MAX_QUOTED = 500
"""Characters of a service's refusal that are shown to the caller."""
_MAX_LOOKED_AT = 65_536
"""Bytes of it that are searched for secrets first."""
_OURS = "the gateway writes it"
_LONG_WORD = 8
"""Characters from which on a word of a secret is one itself."""
_UNFIT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TARGET = re.compile(r"[\w!$&'()*+,;=:@%/?.~\[\]-]*", re.ASCII)
_UNQUOTED = "!$&'()*+,;=:@%/?~[]"
"""What stands in a path and a query as it is, `%` because placeholders are encoded already."""


@attrs.frozen(slots=True, kw_only=True)
class HttpSettings:
    """`[services.NAME]` with `kind = "http"`."""

    url: str = fields.url(
        doc="Where the API begins; a call's path is appended.", reference=True, query=False
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
        origin: Who is asked.
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
        parts = urlsplit(settings.url)
        self.origin = Origin.of(settings.url)
        self.prefix = parts.path.rstrip("/")
        self._client: HttpClient | None = None
        self.headers = {
            **basic_authorization(settings.url),
            **{
                key.lower(): value.reveal() if isinstance(value, Secret) else value
                for key, value in settings.headers.items()
            },
        }
        self._secrets = _secrets(settings)
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
        client = self._client.client if isinstance(self._client, Redirecting) else self._client
        if not isinstance(client, Http1Client):
            raise Unreachable(f"{self._name} is not open")
        return client

    def bind(self, call: HttpCall, /) -> Service:
        """The `Service` of `call`: renders nothing, sends one request."""
        styled = [each["name"] for each in call.parameters or () if each["to"] == "header"]
        if any(name.lower() == self.budget_header for name in (*(call.headers or ()), *styled)):
            raise ValueError(f"headers: {self.budget_header} carries the budget: {_OURS}")
        verb = _verb(call)
        method = verb.upper()

        async def send(request: Request, _emit: Emit, /) -> Reply:
            return await self._send(verb, method, request)

        if call.parameters is None and not call.optional_body:
            return send
        cookies = self.headers.get("cookie", "")
        return Spelling(verb=verb, cookies=cookies, optional_body=call.optional_body).before(send)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open the connection pool; leaving closes it."""
        settings = self._settings
        origin = self.origin
        guard = AddressGuard.of(
            origin.host, origin.port, self._environment, allow_private=settings.allow_private
        )
        client_settings = ClientSettings(
            guard=guard,
            max_connections=settings.max_connections,
            max_reply_bytes=settings.max_reply,
            budget_header=self.budget_header,
            tls=origin.scheme == "https" or settings.follow_redirects,
            http2=settings.http2,
            follow_redirects=settings.follow_redirects,
        )
        async with open_client(client_settings) as self._client:
            yield
        self._client = None

    async def _send(self, verb: str, method: str, request: Request) -> Reply:
        if self._client is None:
            raise Unreachable(f"{self._name} is not open")
        arguments = request.arguments
        content_type, content = _body(arguments)
        headers = self._request_headers(request.context, content_type, arguments.get("headers"))
        target = self.prefix + _with_query(arguments[verb], arguments.get("query"))
        reply = await self._client.send(
            HttpRequest(method, self.origin, _encoded(target), headers, content)
        )
        if not 200 <= reply.status < 300:
            raise self._refusal(reply)
        return Reply(None if verb == "head" else _decoded(reply))

    def _request_headers(
        self, context: Context, content_type: str | None, own: Mapping[str, Any] | None
    ) -> tuple[tuple[str, str], ...]:
        """Fixed ones, then the client's that are forwarded, then the call's; a later one wins."""
        headers = dict(self.headers)
        for name in self._forward:
            if name == "x-request-id":
                headers[name] = _as_it_came(name, context.request_id)  # ours, if it sent none
            elif name in context.headers:
                headers[name] = _as_it_came(name, context.headers[name])
        if content_type is not None:
            headers["content-type"] = content_type
        if own:
            for name, value in own.items():
                if value is not None:
                    headers[name.lower()] = _header_text(name, value)
        headers["traceparent"] = context.trace.traceparent
        return tuple(headers.items())

    def _refusal(self, reply: HttpReply) -> Rejected | BadReply:
        said = reply.body[:_MAX_LOOKED_AT].decode("utf-8", "replace").strip()
        for secret in self._secrets:  # before it is cut: half a secret is one too
            said = said.replace(secret, "***")
        said = said[:_MAX_QUOTED]
        detail = f"{self._name} answered {reply.status}" + (f": {said}" if said else "")
        retry_after_s = parse_retry_after(reply.headers.get("retry-after"))
        kind = Rejected if 400 <= reply.status < 500 else BadReply
        return kind(detail, service_status=reply.status, retry_after_s=retry_after_s)


def _secrets(settings: HttpSettings) -> tuple[str, ...]:
    """What must not be repeated, the longest first: of `Bearer X`, X by itself too."""
    secrets: set[str] = set()
    for value in settings.headers.values():
        if isinstance(value, Secret):
            text = value.reveal()
            secrets |= {text, *(word for word in text.split() if len(word) >= _LONG_WORD)}
    parts = urlsplit(settings.url)
    if parts.password:
        pair = basic_authorization(settings.url)["authorization"].removeprefix("Basic ")
        secrets |= {parts.password, unquote(parts.password), pair}
    return tuple(sorted(secrets - {""}, key=len, reverse=True))


def _body(arguments: Mapping[str, Any]) -> tuple[str | None, bytes | None]:
    """What the body is, and the body."""
    if "json" in arguments:
        return "application/json", msgspec.json.encode(arguments["json"])
    if "form" in arguments:
        content = urlencode(tuple(_pairs(arguments["form"]))).encode()
        return "application/x-www-form-urlencoded", content
    if "body" in arguments:
        return "text/plain; charset=utf-8", arguments["body"].encode()
    return None, None


def _pairs(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                yield name, _text(one)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _header_text(name: str, value: Any) -> str:
    """A header's value; one that would end the header is refused, or a caller could add more.

    What is not ASCII goes as UTF-8, one character for each byte.

    Source: RFC 9110, section 5.5.
    """
    text = _text(value).strip(" \t")
    if _UNFIT.search(text):
        raise InvalidArguments(f"not called: a control character in the header {name}")
    return text.encode().decode("latin-1")


def _as_it_came(name: str, value: str) -> str:
    """A client's header's value, one character for each byte.

    Raises:
        InvalidRequest: It is no header's value: another server may let more in than ours.
    """
    text = value.strip(" \t")
    if _UNFIT.search(text) or (not text.isascii() and max(text) > "\xff"):
        raise InvalidRequest(f"a control character in the header {name}")
    return text


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


def _with_query(path: str, query: Mapping[str, Any] | None) -> str:
    encoded = urlencode(tuple(_pairs(query))) if query else ""
    if not encoded:
        return path
    return f"{path}{'&' if '?' in path else '?'}{encoded}"


def _encoded(target: str) -> str:
    """A path and a query as a request has them: what has no place there percent-encoded.

    Raises:
        InvalidArguments: It cannot be, for it is no text.
    """
    if _TARGET.fullmatch(target):
        return target
    try:
        return quote(target, safe=_UNQUOTED)
    except UnicodeEncodeError as error:
        raise InvalidArguments(f"not called: its path is no text: {error.reason}") from error


def _decoded(reply: HttpReply) -> Any:
    """The body's value: JSON's where it says so, else text, nothing as null.

    Raises:
        BadReply: It is not what its `content-type` says.
    """
    if not reply.body:
        return None
    media_type = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type.endswith(("/json", "+json")) or not media_type:
        try:
            return decode_json(reply.body)
        except ValueError as error:
            if media_type:
                raise BadReply(f"the reply is not JSON: {error}") from error
    try:
        return reply.body.decode("utf-8")
    except UnicodeDecodeError as error:
        what = media_type or "no content-type"
        raise BadReply(f"the reply ({what}) is neither JSON nor UTF-8 text") from error


KIND = Kind(
    settings=HttpSettings,
    call=HttpCall,
    create=HttpAdapter,
    check=check,
    idempotent=lambda call: _verb(call) in _IDEMPOTENT,
    read_only=lambda call: _verb(call) in _SAFE,
)
"""How `http` is declared."""
