"""The keys of `[services.NAME]` with `kind = "mcp"`, and of a call to one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from gateway.config import fields
from gateway.config.codec import Codec, decode_each, expected
from gateway.config.fields import Secret
from gateway.config.problems import Refused
from gateway.net.oauth2 import OAuth2Settings

if TYPE_CHECKING:
    from gateway.config.problems import Place

__all__ = ["BUDGET_HEADER", "McpCall", "McpSettings", "problem_of"]

BUDGET_HEADER = "x-request-timeout-ms"
"""Carries what remains of the budget over HTTP, in whole milliseconds."""

_OURS = frozenset({"accept", "content-type", BUDGET_HEADER})


def _renames() -> Codec:
    wanted = 'a table of names such as { search_code = "find_code" }'

    def decode_one(value: Any, _place: Place) -> str:
        if not isinstance(value, str) or not value:
            raise expected("a name", value)
        return value

    def decode(value: Any, place: Place) -> dict[str, str]:
        if not isinstance(value, Mapping):
            raise expected(wanted, value)
        renames = decode_each(value.items(), place, decode_one)
        for own, name in renames.items():
            twins = [other for other in renames if other != own and renames[other] == name]
            if twins:
                raise Refused(f"expected a name for each, got {name!r} for {own} and {twins[0]}")
        return renames

    schema = {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}}
    return Codec(decode=decode, wanted=wanted, schema=schema)


@attrs.frozen(slots=True, kw_only=True)
class McpSettings:
    """`[services.NAME]` with `kind = "mcp"`: `url` or `program`."""

    url: str | None = fields.url(default=None, doc="The server's endpoint, over Streamable HTTP.")
    program: tuple[str, ...] = fields.strings(
        default=(), doc="A server as a program, spoken to over stdio: its name and its arguments."
    )
    directory: str | None = fields.string(
        default=None,
        doc="Where the program runs, relative to the file; left out, in the file's own folder.",
    )
    environment: Mapping[str, str | Secret] = fields.variables(
        default={},
        doc="Variables the program gets beside the harmless ones; may be `env:NAME` or `file:PATH`.",
    )
    headers: Mapping[str, str | Secret] = fields.headers(
        default={}, doc="Sent with every request; values may be `env:NAME` or `file:PATH`."
    )
    oauth2: OAuth2Settings | None = fields.table(
        OAuth2Settings, default=None, doc="Where the token comes from that goes along."
    )
    forward: tuple[str, ...] = fields.forwarded_headers(
        default=(), doc="Client headers passed on; nothing else of the client's is."
    )
    allow_private: bool = fields.boolean(
        default=False,
        doc="Whether private addresses may be connected to; loopback written out in `url` may.",
    )
    max_connections: int = fields.integer(
        default=100, minimum=1, doc="Connections, and so calls under way, at once."
    )
    max_reply: int = fields.size(default="8MiB", doc="Largest message of the server's.")
    prefix: str = fields.matching(
        r"[A-Za-z0-9_-]{0,32}",
        wanted="up to 32 letters, digits, _ or -",
        default="",
        doc="Goes before the name of each tool and prompt that is offered.",
    )
    allow: tuple[str, ...] = fields.strings(
        default=(), doc="Patterns of the names that are offered; none: all."
    )
    deny: tuple[str, ...] = fields.strings(
        default=(), doc="Patterns of the names that are not offered, whatever `allow` says."
    )
    rename: Mapping[str, str] = fields.field(
        _renames(), default={}, doc="New names for tools and prompts, by the server's own names."
    )


@attrs.frozen(slots=True, kw_only=True)
class McpCall:
    """The keys of a call to an MCP server."""

    tool: str = fields.string(doc="The tool's name, as the server itself has it.")
    arguments: Mapping[str, Any] | None = fields.template_mapping(
        default=None, doc="Its arguments. Left out: all of the tool's inputs."
    )


def problem_of(settings: McpSettings) -> str | None:
    """What is wrong with the keys together; `None` if nothing is."""
    if bool(settings.url) == bool(settings.program):
        got = "both" if settings.url else "neither"
        return f"expected one of url and program, got {got}"
    if settings.program:
        others = ("headers", "oauth2", "forward", "allow_private")
        odd = [key for key in others if getattr(settings, key)]
        return f"{odd[0]}: a program takes none; it goes with url" if odd else None
    odd = [key for key in ("directory", "environment") if getattr(settings, key)]
    if odd:
        return f"{odd[0]}: goes with program"
    for key in ("headers", "forward"):
        for name in getattr(settings, key):
            if name in _OURS or name.startswith("mcp-"):
                return f"{key}: {name} is not for the file to send: the gateway writes it"
    return None
