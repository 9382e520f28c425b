"""What of a head goes on, and what the gateway says itself; bytes throughout.

Source: RFC 9110, sections 7.6.1 (hop by hop), 7.6.3 (Via) and 7.2 (Host); RFC 7239 (Forwarded).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

import msgspec

from gateway.access.proxies import TrustedProxies
from gateway.adapters.http import HttpAdapter
from gateway.core.errors import InvalidRequest, TooLarge
from gateway.core.messages import Context
from gateway.net.asgi import Scope
from gateway.net.request import MAX_TARGET

__all__ = ["Framing", "Heads", "answer_headers", "check_path"]

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer"),
        *(b"transfer-encoding", b"upgrade", b"http2-settings"),
        *(b"proxy-authenticate", b"proxy-authorization", b"proxy-authentication-info"),
    }
)
_CLAIMED = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})
_REPLACED = _CLAIMED | {
    *(b"host", b"content-length", b"expect", b"traceparent", b"x-request-id"),
    *(b"x-request-timeout-ms", b"x-envoy-expected-rq-timeout-ms", b"grpc-timeout"),
    *(b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions"),
    *(b"sec-websocket-accept", b"sec-websocket-protocol"),
}
"""What the gateway says itself: it frames the message, is the client now, tells what is left."""
_CLAIMS = (b"x-forwarded-", b"x-real-ip")
"""What else a proxy says of the client: nobody's word counts but a trusted proxy's."""
_NOT_BACK = _HOP_BY_HOP | {
    b"x-request-id",
    *(b"access-control-allow-origin", b"access-control-allow-credentials"),
    b"access-control-expose-headers",
}
"""What in an answer is the gateway's: which pages may read it is said by `allowed_origins`."""
_FRAMING = frozenset({b"content-length", b"content-encoding", b"content-type"})
_PERSISTENCE = frozenset({b"close", b"keep-alive", b"upgrade", b""})

_NAME = rb"[!#$%&'*+.^_`|~0-9a-z-]++"
_LINES = re.compile(rb"(?:" + _NAME + rb":\x20[\t\x20-\x7e\x80-\xff]*+\r\n)*+")
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(rb"/[!\"$-~]*")
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]+")
_QUOTABLE = re.compile(rb"[!#-\[\]-~]*")
_SEPARATORS = re.compile(rb"[/\\]")
_MAX_LENGTH_DIGITS = 18


def check_path(path: str) -> None:
    """Refuse a path that might mean another one to the service.

    Raises:
        InvalidRequest: A segment is `.` or `..`, however it is written.
    """
    if "/." not in path and "%" not in path and "\\" not in path:
        return
    for segment in _SEPARATORS.split(unquote_to_bytes(path)):
        # What follows a semicolon is a parameter, which some servers cut off first.
        if segment.partition(b";")[0] in {b".", b".."}:
            raise InvalidRequest("the path has a segment . or .., which might lead elsewhere")


class Framing(msgspec.Struct, frozen=True):
    """How a request's body comes.

    Args:
        length: Its bytes, as its head says; `None` if it does not.
        chunked: Whether it comes in chunks, whose end is not known.
    """

    length: int | None
    chunked: bool


class Heads:
    """The heads of one proxy's requests.

    Args:
        adapter: The service.
        prefix: What every path begins with.
        strip_path: Whether that is cut off.
        trusted: Whose word on the client counts.
    """

    def __init__(
        self, adapter: HttpAdapter, prefix: str, *, strip_path: bool, trusted: TrustedProxies
    ) -> None:
        self._trusted = trusted
        self._begin = adapter.prefix.encode("latin-1")
        self._cut = len(prefix) - 1 if strip_path else 0
        own = {"host": adapter.origin.authority, **adapter.headers}
        lines = [f"{name}: {value}\r\n" for name, value in own.items()]
        self._own = "".join(lines).encode("latin-1")
        names = {name.encode("latin-1") for name in (*own, adapter.budget_header)}
        if adapter.tokens is not None:
            names.add(b"authorization")  # the token's
        self._dropped = _HOP_BY_HOP | _REPLACED | names

    def target(self, path: str, query: bytes) -> bytes:
        """What the service is asked for: the path as it came, below the path of its url.

        Raises:
            InvalidRequest: It is no path, or one that might mean another to the service.
            TooLarge: It is too long.
        """
        check_path(path)
        target = self._begin + path[self._cut :].encode("latin-1")
        if query:
            target = b"%b?%b" % (target, query)
        if len(target) > MAX_TARGET:
            raise TooLarge(f"the path and the query are over {MAX_TARGET} bytes", head=True)
        if _TARGET.fullmatch(target) is None:
            raise InvalidRequest("the path or the query is not percent-encoded")
        return target

    def head(
        self, scope: Scope, method: str, target: bytes, context: Context
    ) -> tuple[bytes, Framing]:
        """A request's head, all but what frames its body, and how that comes.

        Args:
            scope: Its ASGI scope; of a WebSocket, its handshake's.
            method: Its method.
            target: As `target` gave it.
            context: Who sends it.

        Raises:
            InvalidRequest: It would break the head that is made of it.
        """
        dropped = self._dropped
        peer = (scope.get("client") or ("",))[0]
        believed = self._trusted.trusts(peer)
        lines: list[bytes] = []
        said: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in dropped:
                said[name] = b"%b, %b" % (said[name], value) if name in said else value
            elif (believed or not name.startswith(_CLAIMS)) and not (
                b"_" in name and self._is_disguise(name)
            ):
                lines.append(b"%b: %b\r\n" % (name, value))
        if b"connection" in said:
            lines = _without(lines, said[b"connection"])
        if not believed:
            said = {name: said[name] for name in said if name not in _CLAIMED}
        lines += _about(scope, peer, said, context)
        text = b"".join(lines)
        # One look at the whole: a line's end in a value, or a space in a name, would match nowhere.
        if text.count(b"\n") != len(lines) or _LINES.fullmatch(text) is None:
            raise InvalidRequest("a header's name or value is none")
        if _METHOD.fullmatch(method) is None:
            raise InvalidRequest("the method is none")
        start = b"%b %b HTTP/1.1\r\n%b%b" % (method.encode(), target, self._own, text)
        return start, _framing(said)

    def _is_disguise(self, name: bytes) -> bool:
        """Whether a name with underscores may be read, by CGI and its kin, as one that is dropped."""
        name = name.replace(b"_", b"-")
        return name in self._dropped or name.startswith(_CLAIMS)


def _framing(said: Mapping[bytes, bytes]) -> Framing:
    length = said.get(b"content-length")
    chunked = b"transfer-encoding" in said
    if length is None:
        return Framing(None, chunked)
    if chunked or not length.isdigit() or len(length) > _MAX_LENGTH_DIGITS:
        raise InvalidRequest("the body's length is said in two ways, or in none")
    return Framing(int(length), chunked)


def _without(lines: list[bytes], connection: bytes) -> list[bytes]:
    """Those lines that are not of this one connection alone."""
    named = {option.strip(b" \t").lower() for option in connection.split(b",")} - _PERSISTENCE
    if not named:
        return lines
    return [line for line in lines if line.partition(b":")[0] not in named]


def _about(
    scope: Scope, peer: str, said: Mapping[bytes, bytes], context: Context
) -> tuple[bytes, ...]:
    """Who asks, by which way: what was said of it before goes first, if it is believed."""
    key = (peer, scope["scheme"], scope.get("http_version", "1.1"), said.get(b"host", b""))
    if _CLAIMED.isdisjoint(said):
        way = _ways.get(key)
        if way is None:
            way = _way(*key, {})
            if len(_ways) < _MAX_WAYS:
                _ways[key] = way
    else:
        way = _way(*key, said)
    return (
        b"x-request-id: %b\r\n" % context.request_id.encode("latin-1"),
        b"traceparent: %b\r\n" % context.trace.traceparent.encode(),
        *way,
    )


_ways: dict[tuple[str, str, str, bytes], tuple[bytes, ...]] = {}
"""By a connection's client, scheme and version, and the host it asks for: requests share them."""
_MAX_WAYS = 1000


def _way(
    peer: str, scheme: str, version: str, host: bytes, said: Mapping[bytes, bytes]
) -> tuple[bytes, ...]:
    lines = [b"via: %b gateway\r\n" % version.encode("latin-1")]
    proto = b"https" if scheme in {"https", "wss"} else b"http"
    node = b"unknown"
    if _ADDRESS.fullmatch(peer):
        address = peer.encode()
        lines.append(b"x-forwarded-for: %b\r\n" % _after(said.get(b"x-forwarded-for"), address))
        node = b'"[%b]"' % address if ":" in peer else address
    lines.append(b"x-forwarded-proto: %b\r\n" % said.get(b"x-forwarded-proto", proto))
    element = b"for=%b;proto=%b" % (node, proto)
    if _QUOTABLE.fullmatch(host) and host:
        lines.append(b"x-forwarded-host: %b\r\n" % said.get(b"x-forwarded-host", host))
        element = b'%b;host="%b"' % (element, host)
    lines.append(b"forwarded: %b\r\n" % _after(said.get(b"forwarded"), element))
    return tuple(lines)


def _after(before: bytes | None, last: bytes) -> bytes:
    return b"%b, %b" % (before, last) if before else last


def answer_headers(headers: Headers, request_id: str) -> list[tuple[bytes, bytes]]:
    """What of an answer's headers goes to the client.

    Args:
        headers: As they came, names in lower case.
        request_id: The request's, which is told too.
    """
    kept: list[tuple[bytes, bytes]] = []
    named: set[bytes] = set()
    for header in headers:
        if header[0] not in _NOT_BACK:
            kept.append(header)
        elif header[0] == b"connection":
            named.update(option.strip(b" \t").lower() for option in header[1].split(b","))
    named -= _PERSISTENCE
    if named:
        # What frames the body is not the service's to take out.
        kept = [header for header in kept if header[0] not in named or header[0] in _FRAMING]
    kept.append((b"x-request-id", request_id.encode("latin-1")))
    return kept
