"""The keys of `[services.NAME]` with `kind = "http"`, and of a call to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from gateway.config import addresses, fields
from gateway.config.fields import Secret
from gateway.config.headers import RESERVED
from gateway.config.multipart import multipart_parts
from gateway.config.styled import styled_parameters
from gateway.net.health import HealthSettings
from gateway.net.oauth2 import OAuth2Settings
from gateway.net.styles import misuse

__all__ = ["BODIES", "HttpCall", "HttpSettings", "Pages", "check", "problem_of", "verb_of"]

BODIES = ("json", "form", "multipart", "body")
"""The keys of a call that are its body."""

_METHODS = ("get", "post", "put", "patch", "delete", "head")
_SAFE = frozenset({"get", "head"})
_IDEMPOTENT = frozenset({"get", "head", "put", "delete"})
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
    oauth2: OAuth2Settings | None = fields.table(
        OAuth2Settings, default=None, doc="Where the token comes from that goes along."
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
    max_reply: int = fields.size(
        default="8MiB", doc="Largest reply, decompressed; of one in pages, all of them."
    )
    max_upload: int = fields.size(default="8MiB", doc="Largest multipart body of a call.")
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
class Pages:
    """How a list that comes in pages is read as one."""

    next: str = fields.jmespath(
        doc="What leads to the next page: `link`, for the header, or JMESPath over the page."
    )
    into: str | None = fields.string(
        default=None,
        least=1,
        doc="The query parameter that takes what `next` gives. Left out: it is a URL.",
    )
    items: str = fields.jmespath(default="@", doc="The page's part of the list, as JMESPath.")
    most: int = fields.integer(default=10, minimum=1, maximum=10_000, doc="Pages of one call.")
    max_items: int | None = fields.integer(default=None, minimum=1, doc="Items of one call.")
    stream: bool = fields.boolean(
        default=False, doc="Whether each item is sent on as it comes; then nothing is repeated."
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
    multipart: Mapping[str, Any] | None = fields.field(
        multipart_parts(),
        default=None,
        template="value",
        doc="A body of fields and files (multipart/form-data).",
    )
    body: str | None = fields.template_text(default=None, doc="A text body.")
    parameters: Sequence[Mapping[str, Any]] | None = fields.field(
        styled_parameters(),
        default=None,
        template="value",
        doc="Values in OpenAPI's styles, for what the keys above cannot write.",
    )
    optional_body: bool = fields.boolean(default=False, doc="Whether a null or empty body is none.")
    pages: Pages | None = fields.table(
        Pages, default=None, doc="Of a GET: the list comes in pages, and is read as one."
    )


def verb_of(call: HttpCall) -> str:
    """The key that holds the path."""
    return next(verb for verb in _METHODS if getattr(call, verb) is not None)


def is_idempotent(call: HttpCall) -> bool:
    """Whether its verb may be sent twice."""
    return verb_of(call) in _IDEMPOTENT


def is_read_only(call: HttpCall) -> bool:
    """Whether its verb changes nothing."""
    return verb_of(call) in _SAFE


def check(call: HttpCall) -> list[tuple[str, str]]:
    """What is wrong with `call` as a whole."""
    verbs = [verb for verb in _METHODS if getattr(call, verb) is not None]
    bodies = [body for body in BODIES if getattr(call, body) is not None]
    if len(verbs) != 1:
        got = " and ".join(verbs) or "none"
        return [("", f"expected one of {', '.join(_METHODS)}, got {got}")]
    mistakes: list[tuple[str, str]] = []
    if len(bodies) > 1:
        expected = f"expected at most one of {', '.join(BODIES)}"
        mistakes.append(("", f"{expected}, got {' and '.join(bodies)}"))
    if bodies and verbs[0] in _SAFE:
        mistakes.append((bodies[0], f"a {verbs[0].upper()} has no body"))
    if call.multipart is not None and "content-type" in map(str.lower, call.headers or ()):
        mistakes.append(("headers", f"content-type names what parts a multipart: {_OURS}"))
    if call.parameters is not None:
        problems = misuse(call.parameters, verbs[0], getattr(call, verbs[0]), bodies)
        mistakes += [("parameters", problem) for problem in problems]
    if call.pages is not None:
        mistakes += _misused(call.pages, verbs[0])
    return mistakes


def _misused(pages: Pages, verb: str) -> list[tuple[str, str]]:
    mistakes: list[tuple[str, str]] = []
    if verb != "get":
        mistakes.append(("pages", f"expected get, for pages are read, got {verb}"))
    if pages.next == "link" and pages.into is not None:
        message = 'into: next = "link" gives a URL, which takes the place of the whole query'
        mistakes.append(("pages", message))
    return mistakes


def problem_of(settings: HttpSettings) -> str | None:
    """What is wrong with the keys together; `None` if nothing is: each header has one writer."""
    name = settings.budget_header.lower()
    if name in RESERVED:
        return f"budget_header: {name} cannot carry the budget: {RESERVED[name]}"
    for key, names in (("headers", settings.headers), ("forward", settings.forward)):
        if name in names:
            return f"{key}: {name} carries the budget: {_OURS}"
    return None
