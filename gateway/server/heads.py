"""A request's head: llhttp parses it, and what it lets through but no server should is refused.

Two parsers that read one message differently are how a request is smuggled past a proxy; so
whatever may be read in two ways is refused, before the application sees it.

Source: RFC 9112, sections 2.2, 3, 5 and 6; RFC 9110, sections 4.2, 7.2 and 9.3.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias
from urllib.parse import unquote

from httptools import (
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from gateway.net.asgi import Fields

__all__ = [
    "HOST",
    "HTTP2_PREFACE",
    "Head",
    "Refused",
    "check_method",
    "check_partial_head",
    "parse_head",
]

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What an HTTP/2 client says first (RFC 9113, section 3.4)."""

Headers: TypeAlias = list[tuple[bytes, bytes]]

_WATCHED = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect"}
)
_PLAIN = frozenset({b"host", b"content-length"})
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) [!-~]+ HTTP/1\.[01]\r\n")
_HTTP_VERSION = re.compile(rb"[^\r\n]* HTTP/(?!1\.[01]\r\n)")
_PORT = rb"[0-5]?[0-9]{0,4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
HOST = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})*)(?::(?:" + _PORT + rb"))?"
)
"""What a Host header, an authority or `:authority` may be: RFC 9110, section 4.2.

A port may be empty (RFC 3986, section 3.2.3), and is 65535 at most.
"""
_ABSOLUTE = re.compile(rb"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE)
_BARE_LF = re.compile(rb"(?<!\r)\n")
_BARE_CR = re.compile(rb"\r(?=[^\n])")
_MAX_LENGTH_DIGITS = 18

_METHODS = frozenset(
    {
        *(b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"QUERY"),
        *(b"COPY", b"LOCK", b"MKCOL", b"MOVE", b"PROPFIND", b"PROPPATCH", b"SEARCH", b"UNLOCK"),
        *(b"ACL", b"BIND", b"REBIND", b"UNBIND", b"LINK", b"UNLINK", b"MKCALENDAR"),
        *(b"CHECKOUT", b"MERGE", b"MKACTIVITY", b"REPORT"),
        *(b"M-SEARCH", b"NOTIFY", b"SUBSCRIBE", b"UNSUBSCRIBE", b"PURGE"),
    }
)
"""What llhttp knows, over HTTP/2 as over HTTP/1.1, but for CONNECT and TRACE, since no tunnel is
opened here and what came is not told back, and for what belongs to other protocols."""


class Refused(Exception):
    """A message that is not taken: the connection ends after the answer that says so.

    Args:
        status: 400, 408, 413, 421, 431 or 501.
        detail: What is wrong with it, for whoever sent it.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Head:
    """A request's head, checked. Not to be changed: a request that begins the same may share it.

    Attributes:
        method: Such as `GET`.
        target: Path and query, still percent-encoded; `*` for `OPTIONS *`.
        headers: Names in lower case, values without white space around them, in their order.
        raw_path: The target's path.
        path: The same, decoded.
        query: What follows the target's first `?`.
        fields: The headers by name, for `headers_of`.
        is_1_1: Whether it is HTTP/1.1; else it is HTTP/1.0.
        keep_alive: Whether its client means to send more on the connection.
        length: The body's bytes; `None` if it comes in chunks.
        expects_continue: Whether the client waits for `100 Continue` before it sends the body.
        upgrade: What the client would rather speak, where that is served.
    """

    __slots__ = (
        "_target",
        "_watched",
        "expects_continue",
        "fields",
        "headers",
        "is_1_1",
        "keep_alive",
        "length",
        "method",
        "path",
        "query",
        "raw_path",
        "target",
        "upgrade",
    )

    method: str
    target: bytes
    raw_path: bytes
    path: str
    query: bytes
    fields: Fields
    is_1_1: bool
    keep_alive: bool
    length: int | None
    expects_continue: bool
    upgrade: Literal["websocket"] | None

    def __init__(self) -> None:
        self.headers: Headers = []
        self._watched: Headers = []
        self._target = b""

    # What llhttp calls.

    def on_url(self, target: bytes) -> None:
        """Take the request's target, or a part of it."""
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        field = (name.lower(), value.rstrip(b" \t"))
        self.headers.append(field)
        if field[0] in _WATCHED:
            self._watched.append(field)

    # The checks, once llhttp has no objection.

    def conclude(self, parser: HttpRequestParser, scheme: str) -> None:
        """Fill in what the fields mean together, on a connection of this scheme.

        Raises:
            Refused: They contradict each other, or may be read in two ways.
        """
        self.method = parser.get_method().decode()
        self.is_1_1 = parser.get_http_version() == "1.1"
        self.keep_alive = self.is_1_1
        self.target = self._target
        self.length = 0
        self.expects_continue = False
        self.upgrade = None
        values = dict(self._watched)
        if len(values) == len(self._watched) and values.keys() <= _PLAIN and b"host" in values:
            # Nearly always: nothing twice, and nothing that means something with something else.
            hosts = [values[b"host"]]
            if HOST.fullmatch(hosts[0]) is None:
                raise Refused(400, "the Host header is not a host")
            if b"content-length" in values:
                self._frame([values[b"content-length"]], [])
        else:
            hosts = self._combine()
        if self.target[:1] != b"/":
            self._relate(hosts, scheme)
        self.raw_path, _, self.query = self.target.partition(b"?")
        self.path = unquote(self.raw_path.decode("ascii"))
        self.fields = Fields(self.headers)

    def _combine(self) -> list[bytes]:
        """Make sense of the watched headers; the values of Host."""
        values: dict[bytes, list[bytes]] = {}
        for name, value in self._watched:
            values.setdefault(name, []).append(value)
        hosts = values.get(b"host", [])
        if len(hosts) > 1 or (self.is_1_1 and not hosts):
            raise Refused(400, f"expected one Host header, got {len(hosts)}")
        if hosts and HOST.fullmatch(hosts[0]) is None:
            raise Refused(400, "the Host header is not a host")
        self._frame(values.get(b"content-length", []), values.get(b"transfer-encoding", []))
        connection = _tokens(values, b"connection")
        self.keep_alive = b"close" not in connection and (
            self.is_1_1 or b"keep-alive" in connection
        )
        self.expects_continue = (
            self.is_1_1 and self.length != 0 and _tokens(values, b"expect") == {b"100-continue"}
        )
        if (
            self.method == "GET"
            and self.is_1_1
            and b"websocket" in _tokens(values, b"upgrade")
            and b"upgrade" in connection
        ):
            if self.length != 0:
                raise Refused(400, "a WebSocket handshake has no body")
            self.upgrade = "websocket"
        return hosts

    def _frame(self, lengths: list[bytes], codings: list[bytes]) -> None:
        """Where the body ends: with both headers, or either twice, opinions would differ."""
        if codings:
            if lengths:
                raise Refused(400, "content-length and transfer-encoding exclude each other")
            if not self.is_1_1:
                raise Refused(400, "HTTP/1.0 has no transfer-encoding")
            self._check_codings(codings)
            self.length = None
        elif lengths:
            if len(lengths) > 1 or not lengths[0].isdigit():
                raise Refused(400, "expected one content-length of digits")
            if len(lengths[0]) > _MAX_LENGTH_DIGITS:
                raise Refused(413, "the body is too large")
            self.length = int(lengths[0])

    @staticmethod
    def _check_codings(codings: list[bytes]) -> None:
        named = [coding.strip(b" \t").lower() for coding in b",".join(codings).split(b",")]
        if named == [b"chunked"]:
            return
        if named[-1] == b"chunked" and b"chunked" not in named[:-1] and b"" not in named:
            raise Refused(501, "no transfer-encoding but chunked is understood")
        raise Refused(400, "expected a transfer-encoding of chunked alone")

    def _relate(self, hosts: list[bytes], served: str) -> None:
        """Turn a target that is no path into one.

        Source: RFC 9112, section 3.2.2: the target's authority stands in for Host; that they
        differ is nothing a client means. RFC 9110, section 7.4: what is asked of https is not
        answered where nothing has shown whose connection it is.
        """
        if self.target == b"*" and self.method == "OPTIONS":
            return
        match = _ABSOLUTE.fullmatch(self.target)
        if match is None:
            raise Refused(400, "the request's target is neither a path nor a URL")
        scheme, authority, rest = match.groups()
        if HOST.fullmatch(authority) is None or not authority:
            raise Refused(400, "the request's target names no host")
        scheme = scheme.lower()
        if scheme != served.encode():
            raise Refused(421, f"this connection is of {served}, not of {scheme.decode()}")
        default = b":80" if scheme == b"http" else b":443"
        ours = {_without(host, default) for host in hosts}
        if ours - {_without(authority, default)}:
            raise Refused(400, "the request's target and its Host header differ")
        self.target = rest if rest[:1] == b"/" else b"/" + rest


def parse_head(raw: bytes, scheme: str) -> Head:
    """The head that `raw` holds, from the request line to the empty line.

    Clients begin their requests with the same bytes again and again; what those mean is known then.

    Args:
        raw: Its bytes.
        scheme: The connection's: `http`, or `https` over TLS.

    Raises:
        Refused: It is malformed, or means two things, or something that is not served.
    """
    head = _known.get((scheme, raw))
    if head is None:
        head = _parsed(raw, scheme)
        if len(raw) <= _LONG_HEAD:
            if len(_known) >= _MAX_KNOWN:
                _known.clear()
            _known[scheme, raw] = head
    return head


_known: dict[tuple[str, bytes], Head] = {}
"""Heads that were taken, by scheme and bytes."""
_MAX_KNOWN, _LONG_HEAD = 1000, 2048


def _parsed(raw: bytes, scheme: str) -> Head:
    """As `parse_head`, of bytes that are not known."""
    line = _REQUEST_LINE.match(raw)
    if line is None:
        raise Refused(*_why_no_request_line(raw))
    check_method(line[1])
    head = Head()
    parser = HttpRequestParser(head)
    try:
        parser.feed_data(raw)
    except HttpParserUpgrade:
        pass  # to something we may not serve: then the header means nothing
    except HttpParserInvalidMethodError:  # an older llhttp, which does not know QUERY yet
        raise Refused(501, "the method is not served") from None
    except HttpParserError as error:
        raise Refused(_status_of(head), f"the request's head is malformed: {error}") from None
    if b"#" in head._target:  # noqa: SLF001 - its own parser
        raise Refused(400, "the request's target has a fragment")
    head.conclude(parser, scheme)
    return head


def check_method(method: bytes) -> None:
    """Refuse a method that nobody knows, or that is not for here.

    Raises:
        Refused: It is one.
    """
    if method not in _METHODS:
        raise Refused(501, f"{method[:40].decode()} is not served")


def check_partial_head(raw: bytes | bytearray) -> None:
    """Refuse a head that is not whole yet, and never will be.

    Raises:
        Refused: A line of it ends in a bare LF, or a CR stands alone.
    """
    if _BARE_LF.search(raw) or _BARE_CR.search(raw):
        raise Refused(400, "the request's head is malformed: a line ends in CR LF")


def _status_of(head: Head) -> int:
    """400, but for a transfer coding that might be one which we do not understand."""
    named = {value.lower() for name, value in head.headers if name == b"transfer-encoding"}
    return 501 if any(value.endswith(b", chunked") for value in named) else 400


def _why_no_request_line(raw: bytes) -> tuple[int, str]:
    if _BARE_LF.search(raw):
        return 400, "the request's head is malformed: a line ends in CR LF"
    if _HTTP_VERSION.match(raw):
        return 400, "expected HTTP/1.1 or HTTP/1.0"
    return 400, "expected a request line: a method, a target and HTTP/1.1, one space between"


def _without(host: bytes, default: bytes) -> bytes:
    """`host` in lower case, without a port that is the scheme's own or empty."""
    return host.lower().removesuffix(default).removesuffix(b":")


def _tokens(values: dict[bytes, list[bytes]], name: bytes) -> set[bytes]:
    joined = b",".join(values.get(name, ()))
    return {token.strip(b" \t").lower() for token in joined.split(b",")} - {b""}
