"""The keys of `[services.NAME]` with `kind = "redis"`, and of a call to one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from gateway.adapters.redis.commands import fault_of
from gateway.config import fields, values

__all__ = ["RedisCall", "RedisSettings", "check"]


@attrs.frozen(slots=True, kw_only=True)
class RedisSettings:
    """`[services.NAME]` with `kind = "redis"`."""

    url: str = fields.url(
        schemes=("redis", "rediss"),
        query=False,
        example="redis://cache.internal:6379/0",
        doc="The server, its database's number as the path; `rediss://` is TLS.",
    )
    max_connections: int = fields.integer(
        default=10, minimum=1, doc="Connections, and so commands under way, at once; further wait."
    )
    max_reply: int = fields.size(default="1MiB", doc="Largest reply, as it comes.")
    allow_private: bool = fields.boolean(
        default=False,
        doc="Whether private addresses may be connected to; loopback written out in `url` may.",
    )


@attrs.frozen(slots=True, kw_only=True)
class RedisCall:
    """The keys of a call to Redis."""

    command: Sequence[Any] = fields.field(
        values.list_of(values.string(), wanted='a list such as ["HGETALL", "user:{id}"]'),
        template="value",
        doc="A command and its arguments, each of them one; the command's name is never filled in.",
    )


def check(call: RedisCall) -> list[tuple[str, str]]:
    """What is wrong with a call, as `Kind.check`."""
    fault = fault_of(call.command)
    return [] if fault is None else [("command", fault)]
