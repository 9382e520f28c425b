"""`kind = "graphql"`: a GraphQL API, over HTTP.

Values are variables, and never part of the query. A reply with data and with errors is a partial one:
its data is the value, and the answer says what is missing from it.

Source: GraphQL, October 2021, section 7.1; GraphQL over HTTP, working draft.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs
import msgspec

from gateway.config import fields
from gateway.config.fields import Secret, reveal
from gateway.config.secret import Redaction
from gateway.core.adapter import Environment, Kind
from gateway.core.errors import BadReply, GatewayError, Unreachable
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
from gateway.net.credentials import basic_authorization, secrets_of_url
from gateway.net.json_text import decode_json
from gateway.net.oauth2 import OAuth2Settings, opened, tokens_of
from gateway.net.refusal import refusal
from gateway.net.texts import as_it_came, encoded_target

__all__ = ["KIND", "GraphqlAdapter", "GraphqlCall", "GraphqlSettings"]

_BUDGET_HEADER = "x-request-timeout-ms"
_MAX_LOOKED_AT = 65_536
_MOST_TOLD = 5
_WRITES = re.compile(r"(?:^|[}\s])(?:mutation|subscription)\b")
_SUBSCRIBES = re.compile(r"(?:^|[}\s])subscription\b")
_IGNORED = re.compile(r'"""(?:\\"""|.)*?"""|"(?:\\.|[^"\\])*"|#[^\n]*', re.DOTALL)
"""Of a query what is no word of it: strings and comments."""


@attrs.frozen(slots=True, kw_only=True)
class GraphqlSettings:
    """`[services.NAME]` with `kind = "graphql"`."""

    url: str = fields.url(doc="The endpoint.")
    headers: Mapping[str, str | Secret] = fields.headers(
        default={}, doc="Sent with every call; values may be `env:NAME` or `file:PATH`."
    )
    oauth2: OAuth2Settings | None = fields.table(
        OAuth2Settings, default=None, doc="Where the token comes from that goes along."
    )
    forward: tuple[str, ...] = fields.forwarded_headers(
        default=(), doc="Client headers passed on; nothing else of the client's is."
    )
    http2: bool = fields.boolean(default=False, doc="Offer HTTP/2 over TLS.")
    max_connections: int = fields.integer(
        default=100, minimum=1, doc="Connections, and so calls under way, at once."
    )
    max_reply: int = fields.size(default="8MiB", doc="Largest reply, decompressed.")
    allow_private: bool = fields.boolean(
        default=False,
        doc="Whether private addresses may be connected to; loopback written out in `url` may.",
    )


@attrs.frozen(slots=True, kw_only=True)
class GraphqlCall:
    """The keys of a call to a GraphQL API."""

    query: str = fields.string(doc="A document of one operation. Nothing in it is ever filled in.")
    variables: Mapping[str, Any] | None = fields.template_mapping(
        default=None, doc="Values of its variables. Left out: the tool's inputs it declares."
    )


def _words(query: str) -> str:
    return _IGNORED.sub(" ", query)


def _check(call: GraphqlCall) -> list[tuple[str, str]]:
    if _SUBSCRIBES.search(_words(call.query)):
        return [("query", "a subscription is not available over HTTP")]
    return []


class GraphqlAdapter:
    """One GraphQL API."""

    def __init__(self, settings: GraphqlSettings, environment: Environment) -> None:
        self._name = environment.service
        self._settings = settings
        self._environment = environment
        parts = urlsplit(settings.url)
        self._origin = Origin.of(settings.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._target = encoded_target(path)
        self._fixed = {
            **basic_authorization(settings.url),
            **{name.lower(): reveal(value) for name, value in settings.headers.items()},
            "content-type": "application/json",
            "accept": "application/graphql-response+json, application/json;q=0.9",
        }
        self._shown = Redaction([*settings.headers.values(), *secrets_of_url(settings.url)])
        self._tokens = tokens_of(
            settings.oauth2,
            environment,
            url=settings.url,
            written={"headers": settings.headers, "forward": settings.forward},
            allow_private=settings.allow_private,
            budget_header=_BUDGET_HEADER,
        )
        self._client: HttpClient | None = None

    def bind(self, call: GraphqlCall, /) -> Service:
        """The `Service` of `call`: one POST."""
        declared = frozenset(re.findall(r"\$([A-Za-z_]\w*)\s*:", _words(call.query)))

        async def ask(request: Request, _emit: Emit, /) -> Reply:
            given = request.arguments.get("variables") or {}
            variables = {name: value for name, value in given.items() if name in declared}
            content = msgspec.json.encode({"query": call.query, "variables": variables})
            if self._client is None:
                raise Unreachable(f"{self._name} is not open")
            headers = self._headers(request.context)
            asked = HttpRequest("POST", self._origin, self._target, headers, content)
            return self._reply(await self._client.send(asked))

        return ask

    def _headers(self, context: Context) -> tuple[tuple[str, str], ...]:
        headers = dict(self._fixed)
        for name in self._settings.forward:
            if name == "x-request-id":
                headers[name] = as_it_came(name, context.request_id)
            elif name in context.headers:
                headers[name] = as_it_came(name, context.headers[name])
        return (*headers.items(), ("traceparent", context.trace.traceparent))

    def _reply(self, reply: HttpReply) -> Reply:
        """What a response holds: data, whole or in part.

        Raises:
            GatewayError: There is none.
        """
        said = self._say(reply.body[:_MAX_LOOKED_AT].decode("utf-8", "replace"))
        try:
            response = decode_json(reply.body)
        except ValueError as error:
            if not 200 <= reply.status < 300:
                raise self._refusal(reply, said) from error
            raise BadReply(f"the reply is not JSON: {error}") from error
        errors = response.get("errors") if isinstance(response, dict) else None
        if not isinstance(response, dict) or not ("data" in response or errors):
            if not 200 <= reply.status < 300:
                raise self._refusal(reply, said)
            raise BadReply("the reply is no response of GraphQL: neither data nor errors")
        failure = self._failure(errors) if errors else None
        if response.get("data") is None and failure is not None:
            raise failure
        return Reply(response.get("data"), missing=() if failure is None else (failure,))

    def _refusal(self, reply: HttpReply, said: str) -> GatewayError:
        return refusal(self._name, reply.status, said, reply.header("retry-after"))

    def _failure(self, errors: Any) -> BadReply:
        """The errors of a response, in one line."""
        listed = errors if isinstance(errors, list) else [errors]
        lines = [_line(one) for one in listed[:_MOST_TOLD]]
        if len(listed) > _MOST_TOLD:
            lines.append(f"and {len(listed) - _MOST_TOLD} more")
        return BadReply(f"{self._name} answered with errors: {self._say('; '.join(lines))}")

    def _say(self, text: str) -> str:
        """What may be shown of what it says."""
        return self._shown(text if self._tokens is None else self._tokens.hide(text))

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open the connection pool; leaving closes it."""
        settings = self._settings
        client_settings = ClientSettings.of(
            [self._origin],
            self._environment,
            allow_private=settings.allow_private,
            max_connections=settings.max_connections,
            max_reply_bytes=settings.max_reply,
            budget_header=_BUDGET_HEADER,
            http2=settings.http2,
            bearer=self._tokens,
        )
        async with opened(self._tokens), open_client(client_settings) as self._client:
            yield
        self._client = None


def _line(error: Any) -> str:
    """One error: where, and what it says."""
    if not isinstance(error, dict):
        return "an error that is none"
    path = error.get("path")
    where = ".".join(map(str, path)) + ": " if isinstance(path, list) and path else ""
    return where + " ".join(str(error.get("message", "no message")).split())


def _reads(call: GraphqlCall) -> bool:
    return _WRITES.search(_words(call.query)) is None


KIND = Kind(
    settings=GraphqlSettings,
    call=GraphqlCall,
    create=GraphqlAdapter,
    check=_check,
    idempotent=_reads,
    read_only=_reads,
    inputs_key="variables",
    forwards=lambda settings: settings.forward,
)
"""How `graphql` is declared."""
