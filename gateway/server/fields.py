"""The fields of HTTP/2: a request's, checked; an answer's, as they go out.

What HTTP/1.1 refuses as malformed is refused here too: a service behind this server may speak
HTTP/1.1, and must not be told with a field's value where another request begins.

Source: RFC 9113, sections 8.1.1, 8.2 and 8.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.utils import formatdate

import attrs

from gateway.server.heads import HOST, check_method

__all__ = ["Answer", "Malformed", "Request", "trailers_are_fields"]

Headers = list[tuple[bytes, bytes]]

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PATH = re.compile(rb"/[!\"$-~]*")
_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path"})
_OF_CONNECTIONS = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
"""What HTTP/1.1 says of a connection, and HTTP/2 does not say at all."""
_UNFIT_NAME = re.compile(rb"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_UNFIT_VALUE = re.compile(rb"[\r\n\0]")


class Malformed(Exception):
    """A request that is none; its stream is reset."""


@attrs.define(slots=True)
class Request:
    """A request's fields, checked.

    Args:
        method: Such as `GET`.
        target: Path and query, still percent-encoded; `*` for `OPTIONS *`.
        headers: Without pseudo-header fields; `host` is there, and the first.
        expects_continue: Whether the client waits for 100 before it sends the body.
    """

    method: str
    target: bytes
    headers: Headers
    expects_continue: bool

    @classmethod
    def of(cls, fields: Iterable[tuple[bytes, bytes]]) -> Request:
        """The request that these fields make.

        Raises:
            Malformed: They make none.
            Refused: It asks for what is not served.
        """
        pseudo: dict[bytes, bytes] = {}
        headers: Headers = []
        hosts: list[bytes] = []
        for name, value in fields:
            if name[:1] == b":":
                if headers or hosts or name in pseudo or name not in _PSEUDO:
                    raise Malformed("a pseudo-header field is unknown, twice there or too late")
                pseudo[name] = value
                continue
            _check(name, value)
            if name == b"host":
                hosts.append(value)
            else:
                headers.append((name, value))
        method = pseudo.get(b":method", b"")
        if _METHOD.fullmatch(method) is None:
            raise Malformed("expected one :method")
        check_method(method)
        target = pseudo.get(b":path", b"")
        if _PATH.fullmatch(target) is None and not (target == b"*" and method == b"OPTIONS"):
            raise Malformed("expected a :path that begins with a slash")
        if pseudo.get(b":scheme", b"").lower() not in {b"http", b"https"}:
            raise Malformed("expected a :scheme of http or https")
        headers.insert(0, (b"host", _host(pseudo.get(b":authority"), hosts)))
        expects = (b"expect", b"100-continue") in headers
        return cls(method.decode(), target, headers, expects)


def _check(name: bytes, value: bytes) -> None:
    if _NAME.fullmatch(name) is None:
        raise Malformed("a header's name is no token in lower case")
    if _VALUE.fullmatch(value) is None:
        raise Malformed("a header's value has control characters, or white space around it")
    if name in _OF_CONNECTIONS or (name == b"te" and value.lower() != b"trailers"):
        raise Malformed("a header is of connections, of which HTTP/2 does not speak")


def trailers_are_fields(trailers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the fields behind a body are what they may be; they are dropped in any case."""
    try:
        for name, value in trailers:
            _check(name, value)
    except Malformed:
        return False
    return True


def _host(authority: bytes | None, hosts: list[bytes]) -> bytes:
    """Whom the request is for; that two fields differ is nothing a client means."""
    if authority is not None:
        hosts = [authority, *hosts]
    if not hosts or len({host.lower() for host in hosts}) > 1:
        raise Malformed("expected one host")
    if not hosts[0] or HOST.fullmatch(hosts[0]) is None:
        raise Malformed("the request's host is none")
    return hosts[0]


class Answer:
    """What an application says before its body.

    Args:
        status: 200 to 599.
        headers: Names and values, bytes.

    Attributes:
        fields: As they go out.
        length: The body's bytes, where the application says so.

    Raises:
        ValueError: They would not be header fields.
    """

    __slots__ = ("fields", "length", "status")

    def __init__(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.status = status
        self.length: int | None = None
        self.fields: Headers = [(b":status", b"%d" % status)]
        dated = False
        for name, value in headers:
            if _UNFIT_NAME.search(name) or _UNFIT_VALUE.search(value):
                raise ValueError(f"the application's header {name!r} is none")
            lower = name.lower()
            if lower in _OF_CONNECTIONS:
                continue
            if lower == b"content-length":
                self.length = int(value)
            dated = dated or lower == b"date"
            self.fields.append((lower, value.strip(b" \t")))
        if not dated:
            self.fields.append((b"date", formatdate(usegmt=True).encode()))

    @property
    def has_body(self) -> bool:
        """Whether an answer of this status can have one."""
        return self.status not in {204, 304}
