"""What the language of `gateway.toml` has and this version does not: refused, never ignored.

One table for all of it. An entry counts only where nothing else takes its key or its value: once
a section, kind or policy provides it, the entry is out of the way by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import attrs

from gateway.config.problems import Refused

__all__ = [
    "KINDS",
    "NOTHING_LATER",
    "POLICIES",
    "SECTIONS",
    "Unavailable",
    "call_of",
    "service_of",
]


@attrs.frozen(slots=True)
class Unavailable:
    """What a table will take in another version.

    Args:
        keys: Further keys.
        values: Of keys there are, further values: which, and what they would need.
    """

    keys: frozenset[str] = frozenset()
    values: Mapping[str, tuple[Callable[[Any], bool], str]] = MappingProxyType({})

    def explain(self, key: str, value: Any, refused: Refused) -> Refused:
        """`refused`, saying that it is only this version that refuses, where that is so."""
        if refused.message is None or key not in self.values:
            return refused
        takes, what = self.values[key]
        if not takes(value):
            return refused
        return Refused(f"{refused.message}: {what} not available in this version")


def _is_text(prefix: str = "") -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value.startswith(prefix)


NOTHING_LATER = Unavailable()
"""For tables that are complete."""

KINDS = frozenset(
    {
        *("http", "sql", "python", "command", "tcp", "websocket", "mcp", "bedrock_kb", "graphql"),
        *("redis", "files", "openai"),
    }
)
"""Every kind of service."""

POLICIES = frozenset(
    {"timeout", "retry", "hedge", "breaker", "limit", "rate", "cache", "coalesce", "fault"}
)
"""Every policy."""

SECTIONS: Mapping[str, Unavailable] = {
    "": Unavailable(frozenset({"models", "channels"})),
    "server": NOTHING_LATER,
    "access": Unavailable(frozenset({"keys", "jwt", "limits"})),
    "state": Unavailable(frozenset({"jobs"}), {"url": (_is_text("redis"), "shared state is")}),
    "telemetry": Unavailable(values={"traces": (_is_text("otlp:"), "sending traces is")}),
    "mcp": Unavailable(frozenset({"sampling"})),
    "tools": Unavailable(frozenset({"scopes", "job"})),
}
"""By section of the file; the empty name is the file itself, `tools` each tool."""

_SERVICES: Mapping[str, Unavailable] = {
    "http": Unavailable(
        frozenset(
            {
                *("url", "headers", "http2", "max_connections", "budget_header", "max_reply"),
                *("follow_redirects", "allow_private", "forward", "health"),
            }
        ),
    ),
    "python": Unavailable(frozenset({"module", "threads", "processes"})),
}

_CALLS: Mapping[str, Unavailable] = {
    "http": Unavailable(
        frozenset(
            {
                *("get", "post", "put", "patch", "delete", "head", "query", "headers"),
                *("json", "form", "body", "parameters", "optional_body", "pages"),
            }
        )
    ),
    "python": Unavailable(frozenset({"function", "arguments"})),
}


def service_of(kind: str) -> Unavailable:
    """What a service of this kind will take, policies included."""
    of_kind = _SERVICES.get(kind, NOTHING_LATER)
    return attrs.evolve(of_kind, keys=of_kind.keys | POLICIES)


def call_of(kind: str) -> Unavailable:
    """What a call to a service of this kind will take."""
    return _CALLS.get(kind, NOTHING_LATER)
