"""What moves: `Request` goes in, `Partial`s go out through `emit`, a `Reply` comes back.

They are structs: one is made in a tenth of the time that a frozen attrs class takes, and a request
makes thirty.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import msgspec

from gateway.core.content import Content, plain
from gateway.core.errors import BadReply, GatewayError
from gateway.core.freshness import Freshness
from gateway.core.peer import Peer
from gateway.core.trace import Trace

__all__ = [
    "PRIORITIES",
    "Branch",
    "Chunk",
    "Context",
    "Log",
    "Outcome",
    "Partial",
    "Priority",
    "Progress",
    "Reply",
    "Request",
]

Outcome: TypeAlias = Literal["ok", "timeout", "error", "skipped"]
"""How a branch of a plan ends."""

Priority: TypeAlias = Literal["high", "normal", "low"]
"""Whose calls go first where not all can be made."""

PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")
"""All of them, the highest first."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, from where, and under which names it is traced. The same for all of a request.

    Args:
        request_id: Accepted from the client or made; in every log line and answer.
        principal: The owner of the key or token; `anonymous` where nobody is known.
        protocol: The inbound protocol: `http`, `mcp`, `cli`, …
        client: The client's address; empty where there is none.
        headers: The client's headers, names in lower case; services see only what their
            `forward` lists.
        trace: This request's place in a distributed trace.
        priority: Whose calls go first where not all can be made.
        peer: The client itself, where services may ask something back; `None` where they cannot.
        log_level: From which level on it is told of logs; empty if of none.
    """

    request_id: str
    principal: str = "anonymous"
    protocol: str = "http"
    client: str = ""
    headers: Mapping[str, str] = MappingProxyType({})
    trace: Trace = msgspec.field(default_factory=Trace.new)
    priority: Priority = "normal"
    peer: Peer | None = None
    log_level: str = ""


_encode = msgspec.json.Encoder(enc_hook=plain).encode


class Request(msgspec.Struct, frozen=True, weakref=True):
    """One thing to do.

    Args:
        name: What is asked for: a tool's name, or, below the plan, a call's.
        arguments: The tool's arguments, or the values of the call's keys with every
            placeholder filled in. Never changed by a policy: it makes a new request.
        context: Who asks.
        opaque: Whether nothing looks into the reply's value: JSON may stay the bytes it came as,
            a `msgspec.Raw` that is valid and nested as deep as JSON that is decoded may be, and
            content for MCP clients stay `Content`.
    """

    name: str
    arguments: Mapping[str, Any]
    context: Context
    opaque: bool = False


class Branch(msgspec.Struct, frozen=True, kw_only=True):
    """How one call of a plan ended. Also a partial: the call's value may go out early.

    Args:
        call: The call's name in its plan.
        service: The service it went to.
        outcome: `ok`, `timeout`, `error` or `skipped`.
        value: Its reply's value, or its default where it is missing. Where the tool looks into no
            part of it, it may be a `msgspec.Raw`, JSON as it came, or `Content`.
        error: What it is missing for; `None` exactly when the outcome is `ok`.
        started_s: Seconds from the request's start to the call's, `None` if it never began.
        ended_s: Seconds from the request's start to the call's end.
        budget_left_s: Seconds left of the request's budget when the call ended; may be inf.
    """

    call: str
    service: str
    outcome: Outcome
    value: Any = None
    error: GatewayError | None = None
    started_s: float | None = None
    ended_s: float
    budget_left_s: float


class Chunk(msgspec.Struct, frozen=True):
    """A piece of a streamed reply.

    Args:
        data: Bytes as they came, or one decoded value.
        call: The call it is of; its service leaves that empty, the plan fills it in.
    """

    data: Any
    call: str = ""

    @property
    def value(self) -> Any:
        """It with JSON's types: bytes are text where they are UTF-8, else `{"base64": "…"}`."""
        if not isinstance(self.data, bytes):
            return self.data
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            return {"base64": self.data}  # as which it is encoded

    @property
    def encoded(self) -> bytes:
        """It as JSON.

        Raises:
            BadReply: It has no JSON form.
        """
        try:
            return _encode(self.value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise BadReply(f"what came on the way has no JSON form: {error}") from error

    @property
    def text(self) -> str:
        """It for people to read: text as it is, anything else as JSON.

        Raises:
            BadReply: It has no JSON form.
        """
        value = self.value
        return value if isinstance(value, str) else self.encoded.decode()


class Progress(msgspec.Struct, frozen=True):
    """A progress note.

    Args:
        progress: How much is done, growing.
        total: How much there is, in the same unit; `None` if unknown.
        message: One line for a person.
        call: As `Chunk.call`.
    """

    progress: float
    total: float | None = None
    message: str | None = None
    call: str = ""


class Log(msgspec.Struct, frozen=True):
    """A log message for the client, not for us.

    Args:
        level: One of MCP's, which are syslog's: `debug`, `info`, `notice`, `warning`, `error`,
            `critical`, `alert`, `emergency`.
        data: Any JSON value.
        logger: Whose message it is; `None` if nobody's in particular.
        call: As `Chunk.call`.

    Source: MCP 2025-11-25, Logging; RFC 5424, section 6.2.1.
    """

    level: str
    data: Any
    logger: str | None = None
    call: str = ""


Partial: TypeAlias = Branch | Chunk | Log | Progress
"""What `emit` takes."""


class Reply(msgspec.Struct, frozen=True):
    """What a `Service` returns when it is done.

    Args:
        value: The decoded value: JSON's types, whole. To a request that is `opaque` it may be a
            `msgspec.Raw` or `Content`.
        branches: Below an answer of a tool: how each call ended, in the plan's order.
        missing: The failures of absent calls, each naming its call; empty if the answer is whole. Of
            a service's reply, what is missing from its value.
        encoded: Of an answer to a client: the JSON that every protocol sends it as.
        freshness: Of a service's reply: how long it is good, as the service says; `None` if it does
            not, or nothing asked for it: see `Asked`.
    """

    value: Any
    branches: tuple[Branch, ...] = ()
    missing: tuple[GatewayError, ...] = ()
    encoded: bytes = b""
    freshness: Freshness | None = None

    def sealed(self) -> Reply:
        """This reply with `encoded`: an object that is partial ends with `_errors`.

        `_errors` holds one problem object for each missing call. Any other value stays as it is:
        a protocol's header or text names what is missing.

        Raises:
            BadReply: The value has no JSON form.
        """
        value = self.value
        try:
            if self.missing and isinstance(value, (msgspec.Raw, Content)):
                value = msgspec.json.decode(_encode(value))
            if self.missing and isinstance(value, dict):
                value = {key: part for key, part in value.items() if key != "_errors"}
                value["_errors"] = [error.problem() for error in self.missing]
            encoded = _encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise BadReply(f"the answer has no JSON form: {error}") from error
        return Reply(self.value, self.branches, self.missing, encoded)

    def decoded(self) -> Reply:
        """This reply with JSON's types for what is `msgspec.Raw` or `Content` in its value.

        Raises:
            BadReply: A number in it is beyond what can be decoded.
        """
        value = self.value
        parts = value.values() if isinstance(value, dict) else (value,)
        if not any(isinstance(part, (msgspec.Raw, Content)) for part in parts):
            return self
        try:
            value = msgspec.json.decode(_encode(value))
        except msgspec.DecodeError as error:
            raise BadReply(f"the answer cannot be decoded: {error}") from error
        return Reply(value, self.branches, self.missing, self.encoded)

    @property
    def partial_label(self) -> str:
        """The value of `x-gateway-partial`: `orders=deadline_exceeded, crm=unreachable`."""
        return ", ".join(error.label for error in self.missing)
