"""The tables of a file as frozen attrs classes: their fields *are* the TOML keys.

What belongs to one kind of service or one policy stands in its own file, not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs

from gateway.config import fields
from gateway.config.addresses import Network
from gateway.config.fields import Secret

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "AccessSettings",
    "AdminSettings",
    "CallSettings",
    "ImportSettings",
    "McpSettings",
    "PromptSettings",
    "ProxySettings",
    "ResourceSettings",
    "ServerSettings",
    "StateSettings",
    "TelemetrySettings",
    "TlsSettings",
    "ToolSettings",
]


@attrs.frozen(slots=True, kw_only=True)
class TlsSettings:
    """`[server] tls`."""

    certificate: Path = fields.file(doc="PEM file with the certificate chain.")
    key: Path = fields.file(doc="PEM file with the private key.")


@attrs.frozen(slots=True, kw_only=True)
class AdminSettings:
    """`[server] admin`."""

    bind: str = fields.bind(
        default="127.0.0.1:9901",
        doc="Where /health/live, /health/ready and /metrics are served; never on the public bind.",
    )


@attrs.frozen(slots=True, kw_only=True)
class ServerSettings:
    """`[server]`: how clients reach us, and what they may cost."""

    bind: tuple[str, ...] = fields.binds(
        default=("127.0.0.1:8080",), doc="Addresses served: `host:port` or `unix:/path`."
    )
    workers: int = fields.workers(
        default=1,
        doc='Processes; each runs one loop. `"auto"`: one per core that the gateway may use.',
    )
    deadline: float = fields.duration(
        none=True, default="10s", doc="Ceiling and default of every request's budget."
    )
    drain: float = fields.duration(
        none=True,
        default="10s",
        doc="After SIGTERM, this long for what is in flight; then it is cut.",
    )
    max_body: int = fields.size(default="1MiB", doc="Largest request body.")
    max_headers: int = fields.size(default="32KiB", doc="Largest request head.")
    max_connections: int = fields.integer(
        default=20000, minimum=1, doc="Client connections open at once."
    )
    header_timeout: float = fields.duration(
        none=True, default="5s", doc="For a whole request head."
    )
    body_timeout: float = fields.duration(
        none=True, default="10s", doc="Between two reads of a body."
    )
    send_timeout: float = fields.duration(
        none=True, default="10s", doc="A client that reads nothing for this long is dropped."
    )
    keep_alive: float = fields.duration(none=True, default="75s", doc="For an idle connection.")
    allow_half_close: bool = fields.boolean(
        default=False,
        doc="Whether a client that will send no more is still there; else it counts as gone.",
    )
    http2_prior_knowledge: bool = fields.boolean(
        default=False,
        doc="Whether HTTP/2 is spoken in clear, with clients that begin with it.",
    )
    websocket_compression: bool = fields.boolean(
        default=False,
        doc="Whether WebSocket messages may be compressed; `max_body` holds decompressed.",
    )
    allowed_hosts: tuple[str, ...] = fields.strings(
        default=("localhost", "127.0.0.1"),
        doc='`Host` values answered, ports aside; `"*"` answers all.',
    )
    allowed_origins: tuple[str, ...] = fields.strings(
        default=(),
        doc="`Origin` values of browsers answered, beside the gateway's own; anything else gets 403.",
    )
    trusted_proxies: tuple[Network, ...] = fields.networks(
        default=(), doc="Addresses and networks of proxies whose x-forwarded-for counts."
    )
    tls: TlsSettings | None = fields.table(
        TlsSettings, default=None, doc="Certificate and key; without it, plain HTTP."
    )
    admin: AdminSettings = fields.table(
        AdminSettings, default=AdminSettings(), doc="The operator's own address."
    )


@attrs.frozen(slots=True, kw_only=True)
class AccessSettings:
    """`[access]`: who may come in."""

    anonymous: bool | None = fields.boolean(
        default=None,
        doc="Whether callers without a key are served. Left out: only where every bind is loopback.",
    )


@attrs.frozen(slots=True, kw_only=True)
class StateSettings:
    """`[state]`: what workers share."""

    url: str = fields.one_of("memory:", default="memory:", doc="Where shared state lives.")
    key: Secret | None = fields.string(
        default=None,
        secret=True,
        least=32,
        doc="Signs what clients keep; gateways of one key share it. Left out: made at the start.",
    )


@attrs.frozen(slots=True, kw_only=True)
class TelemetrySettings:
    """`[telemetry]`."""

    log: Literal["json", "console"] = fields.one_of(
        "json", "console", default="json", doc="Form of log lines."
    )
    level: Literal["debug", "info", "warning", "error"] = fields.one_of(
        "debug", "info", "warning", "error", default="info", doc="Least level logged."
    )
    traces: str = fields.one_of("none", default="none", doc="Where traces go.")
    blocked_after: float = fields.duration(
        none=True,
        default="none",
        doc="For development: what holds the loop for longer is logged, with its stack.",
    )


@attrs.frozen(slots=True, kw_only=True)
class McpSettings:
    """`[mcp]`."""

    path: str = fields.path(default="/mcp", doc="Where MCP is served.")
    tools: str = fields.one_of(
        "all",
        "search",
        default="all",
        doc="What `tools/list` offers: every tool, or `search_tools`, `call_tool` and the pinned ones.",
    )
    pinned: tuple[str, ...] = fields.strings(
        default=(), doc='Tools that are listed as they are where `tools` is `"search"`.'
    )


@attrs.frozen(slots=True, kw_only=True)
class CallSettings:
    """The keys every call has, whatever its service's kind."""

    service: str = fields.name(doc="The service called.")
    optional: bool = fields.boolean(
        default=False, doc="Whether the answer may do without this call."
    )
    default: Any = fields.json(
        default=None,
        doc="The value when the call is missing. Without it: null, and calls that need it are skipped.",
    )
    timeout: float | None = fields.duration(
        none=True, default=None, doc="For this call, all of its attempts together."
    )
    when: str | None = fields.jmespath(
        default=None, doc="JMESPath over inputs and earlier calls; if false, the call is skipped."
    )
    commit: bool = fields.boolean(
        default=False,
        doc="Once begun it is not cancelled with the client; its own timeout still bounds it.",
    )
    idempotent: bool | None = fields.boolean(
        default=None, doc="Whether making the call twice is harmless. Left out: by its verb."
    )


@attrs.frozen(slots=True, kw_only=True)
class ToolSettings:
    """`[tools.NAME]`, `calls` aside."""

    title: str = fields.string(default="", doc="The tool's name as people are shown it.")
    description: str = fields.string(default="", doc="What the tool does, for models and people.")
    http: str | None = fields.route(
        default=None, doc='A route of its own: `"GET /customers/{id}"`.'
    )
    deadline: float | None = fields.duration(
        none=True, default=None, doc="The tool's budget; the server's deadline is the ceiling."
    )
    idempotent: bool | None = fields.boolean(
        default=None, doc="Whether a repeated call is harmless. Left out: by its calls."
    )
    read_only: bool | None = fields.boolean(
        default=None, doc="Whether a call changes nothing. Left out: by its calls."
    )
    destructive: bool | None = fields.boolean(
        default=None,
        doc="Whether a call may undo or overwrite something. Left out: unless it is read-only.",
    )
    open_world: bool | None = fields.boolean(
        default=None,
        doc="Whether it reaches what nobody has an overview of, such as the web. Left out: not said.",
    )
    function: str | None = fields.matching(
        r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*",
        wanted='a function such as "mycompany.directory:lookup"',
        default=None,
        doc="In place of `calls`: a Python function that is the whole tool.",
    )
    wait: str | int = fields.wait(
        default="all",
        doc='`"all"`, `"first"`, or how many calls must succeed; the rest is cancelled.',
    )
    input: Mapping[str, Any] = fields.json_schema(
        default={}, doc="JSON Schema 2020-12 of the arguments; a string is short for its type."
    )
    output: str | Mapping[str, str] | None = fields.jmespath_output(
        default=None,
        doc="JMESPath for each key, or one for the whole. Left out: each call's reply.",
    )
    output_schema: Mapping[str, Any] | None = fields.json_schema(
        default=None,
        doc="JSON Schema 2020-12 of the answers, objects all; one that breaks it is `bad_reply`.",
    )


@attrs.frozen(slots=True, kw_only=True)
class ImportSettings:
    """`[tools.NAME]` with `from_openapi`: the operations of an API, each a tool by its own name."""

    from_openapi: Path = fields.file(
        example="openapi/users.json", doc="An OpenAPI 3.0 or 3.1 document, JSON or YAML."
    )
    service: str = fields.name(doc="The service called, of kind `http`.")
    operations: tuple[str, ...] = fields.strings(
        default=("*",), doc="Which: operation ids or names of tools; `*` and `?` stand for more."
    )
    prefix: str = fields.matching(
        "(?:[a-zA-Z][a-zA-Z0-9_-]{0,31})?",
        wanted='the beginning of a name such as "users_", at most 32 characters',
        default="",
        doc="What the tools' names begin with.",
    )
    deadline: float | None = fields.duration(
        none=True, default=None, doc="Each tool's budget; the server's deadline is the ceiling."
    )
    check_replies: bool = fields.boolean(
        default=False,
        doc="Whether answers are held against the document's schemas, which clients are shown; one that breaks its own is `bad_reply`.",
    )


@attrs.frozen(slots=True, kw_only=True)
class ProxySettings:
    """`[proxies.NAME]`: bytes through to a service of kind `http`."""

    path: str = fields.prefix(doc="Where it begins: every path below goes to the service.")
    service: str = fields.name(doc="The service, of kind `http`.")
    strip_path: bool = fields.boolean(
        default=False, doc="Whether `path` is cut off before the rest is appended to its url."
    )
    methods: tuple[str, ...] | None = fields.methods(
        default=None, doc="Methods passed on; GET stands for HEAD too. Left out: all."
    )
    max_body: float | None = fields.size(
        none=True, default=None, doc="Largest request body. Left out: the server's."
    )
    deadline: float | None = fields.duration(
        none=True,
        default=None,
        doc="Until the answer begins, from the last piece of the request. Left out: the server's.",
    )
    idle_timeout: float = fields.duration(
        none=True, default="60s", doc="Between two pieces of an answer that has begun."
    )


@attrs.frozen(slots=True, kw_only=True)
class PromptSettings:
    """`[prompts.NAME]`: a text that clients offer to people, offered over MCP."""

    file: Path | None = fields.file(
        example="prompts/summarise.md",
        default=None,
        doc="The text; its `{placeholders}` are its arguments.",
    )
    tool: str | None = fields.name(
        default=None, doc="In place of `file`: a tool whose answer it is; its inputs are arguments."
    )
    title: str = fields.string(default="", doc="What people see; the name if it is left out.")
    description: str = fields.string(default="", doc="What it is for.")


_URI = r"[a-zA-Z][a-zA-Z0-9+.\-]*:[^\s{}]"
_VARIABLE = r"\{[a-zA-Z_][a-zA-Z0-9_]*\}"


@attrs.frozen(slots=True, kw_only=True)
class ResourceSettings:
    """`[resources.NAME]`: what clients may read, offered over MCP."""

    uri: str | None = fields.matching(
        f"{_URI}+",
        wanted='a URI such as "docs://handbook"',
        default=None,
        doc="What it is read by.",
    )
    uri_template: str | None = fields.matching(
        rf"{_URI}*{_VARIABLE}([^\s{{}}]+{_VARIABLE})*[^\s{{}}]*",
        wanted='a URI with placeholders apart from each other, such as "crm://customers/{id}"',
        default=None,
        doc="In place of `uri`: its placeholders are inputs of the tool.",
    )
    file: Path | None = fields.file(
        example="handbook.md", default=None, doc="What is read, each time anew."
    )
    tool: str | None = fields.name(
        default=None, doc="In place of `file`: a tool whose answer is read."
    )
    title: str = fields.string(default="", doc="What people see; the name if it is left out.")
    description: str = fields.string(default="", doc="What it holds.")
    mime_type: str = fields.string(
        default="", doc="Its media type. Left out: by the file's name; of a tool, JSON."
    )

    @property
    def key(self) -> str:
        """The URI or the template."""
        return self.uri_template or self.uri or ""
