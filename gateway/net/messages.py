"""What goes to a service and what comes back: origins, requests, whole replies and streams."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

__all__ = ["HttpClient", "HttpReply", "HttpRequest", "HttpStream", "Origin", "by_name"]

_PORTS = {"http": 80, "https": 443}


class Origin(msgspec.Struct, frozen=True, cache_hash=True):
    """Who is asked: the key under which connections are kept. Made once, at load.

    Args:
        scheme: `http` or `https`.
        host: A name or an address, in lower case, an IPv6 address without brackets.
        port: 1 to 65535.

    Source: RFC 6454; RFC 9110, section 7.2.
    """

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """As the `host` header has it: without the scheme's own port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @classmethod
    def of(cls, url: str) -> Origin:
        """The origin of an absolute URL; user, path and query do not count.

        Raises:
            ValueError: It is not http or https, or has no host.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS:
            raise ValueError("a URL begins with http:// or https://")
        if not parts.hostname or parts.port == 0:
            raise ValueError("the URL has no host, or no port that there is")
        host = parts.hostname
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
        return cls(parts.scheme, host, parts.port or _PORTS[parts.scheme])

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


class HttpRequest(msgspec.Struct, frozen=True):
    """One request. The client itself writes what frames it: length, coding, the budget.

    Args:
        method: In upper case.
        origin: Who is asked.
        target: Path and query, percent-encoded; begins with `/`.
        headers: Names and values in order, text as latin-1 has it: each character is one byte.
        content: The whole body, none, or its pieces as they come. Pieces are iterated once; a
            generator is closed where its end is not reached.
        content_length: Bytes that the pieces amount to; without it they go out chunked.
    """

    method: str
    origin: Origin
    target: str
    headers: Sequence[tuple[str, str]] = ()
    content: bytes | AsyncIterable[bytes] | None = None
    content_length: int | None = None


class HttpReply(msgspec.Struct, frozen=True):
    """One whole reply.

    Args:
        status: Its status.
        fields: Its headers by name, in lower case, repeated ones joined by `, `; as bytes.
        body: All of it, decompressed.
    """

    status: int
    fields: Mapping[bytes, bytes]
    body: bytes

    def header(self, name: str) -> str | None:
        """The header of this name, in lower case; `None` without it."""
        value = self.fields.get(name.encode("latin-1"))
        return None if value is None else value.decode("latin-1")


def by_name(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name, repeated ones joined by `, `: RFC 9110, section 5.3."""
    fields = dict(headers)
    if len(fields) < len(headers):
        fields.clear()
        for name, value in headers:
            fields[name] = b"%b, %b" % (fields[name], value) if name in fields else value
    return fields


class HttpStream(Protocol):
    """A reply of which the body is still to come.

    Attributes:
        status: Its status, 200 to 999: interim ones are skipped.
        raw_headers: Its headers as they came, order and repeats kept, names in lower case.
    """

    @property
    def status(self) -> int:
        """Its status."""
        ...

    @property
    def raw_headers(self) -> Sequence[tuple[bytes, bytes]]:
        """Its headers."""
        ...

    async def receive(self) -> bytes:
        """The next piece of the body as it came, `b""` at its end. Nothing is read ahead of it.

        Raises:
            Unreachable: The connection broke.
            BadReply: What came is not HTTP.

        Cancellation: the reply cannot be read on; its connection will be closed.
        """
        ...


class HttpClient(Protocol):
    """Sends requests to one service."""

    async def send(self, request: HttpRequest, /) -> HttpReply:
        """The whole reply to `request`, whatever its status, decompressed.

        Raises:
            Unreachable: No connection, or it broke.
            BadReply: What came is not HTTP, or over the bound.
            InvalidArguments: The target is none; nothing was sent.
            DeadlineExceeded: Less than 1 ms of the budget was left; nothing was sent.

        Cancellation: the connection is closed, its permit given back.
        """
        ...

    def stream(self, request: HttpRequest, /) -> AbstractAsyncContextManager[HttpStream]:
        """The reply to `request` as it comes: not decompressed, not bounded, not redirected.

        Leaving the context at the body's end gives the connection back; before it, closes it. A
        body in pieces is sent meanwhile, by a task that ends with the context; a whole one before.

        Raises:
            Unreachable, BadReply, InvalidArguments, DeadlineExceeded: As `send`.
            Exception: What the pieces of the request's body raised.

        Cancellation: the connection is closed, its permit given back.
        """
        ...
