"""An answer's head, as bytes.

Source: RFC 9112, section 6; RFC 9110, sections 6.6.1 and 8.6.
"""

from __future__ import annotations

import http
import re
import time
from collections.abc import Iterable
from email.utils import formatdate
from typing import TypeAlias

import msgspec

from gateway.core.errors import GatewayError, Internal, InvalidRequest, TooLarge
from gateway.core.trace import new_id
from gateway.server.heads import Refused

__all__ = ["AnswerHead", "failure", "problem", "refusal"]

Headers: TypeAlias = list[tuple[bytes, bytes]]

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
    for status in http.HTTPStatus
}
_UNFIT_NAME = re.compile(rb"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_UNFIT_VALUE = re.compile(rb"[\r\n\0]")
_OURS = frozenset(
    {b"transfer-encoding", b"keep-alive", b"upgrade", b"content-length", b"connection"}
)
"""What frames an answer on this connection is not the application's to write."""


class AnswerHead:
    """What an application says before its body, and what that makes of the body.

    Args:
        status: 200 to 599.
        headers: Names and values, bytes.

    Attributes:
        length: The body's bytes, where the application says so.
        closes: Whether the application wants the connection to end.

    Raises:
        ValueError: It would not be a head: a name that is none, a line break in a value.
    """

    __slots__ = ("_text", "closes", "dated", "length", "status")

    def __init__(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.status = status
        self.length: int | None = None
        self.closes = False
        self.dated = False
        lines: list[bytes] = []
        for name, value in headers:
            lower = _names.get(name) or _checked_name(name)
            if lower in _OURS:
                self._take(lower, value)
                continue
            if lower == b"date":
                self.dated = True
            lines.append(b"%b: %b\r\n" % (name, value))
        self._text = text = b"".join(lines)
        # One look at all of them: more ends than lines are in a value.
        count = len(lines)
        if text.count(b"\n") != count or text.count(b"\r") != count or b"\0" in text:
            broken = next(line for line in lines if _UNFIT_VALUE.search(line[:-2]))
            name = broken.partition(b":")[0]
            raise ValueError(f"the value of the application's header {name!r} breaks a line")

    def _take(self, name: bytes, value: bytes) -> None:
        """Heed a header that is not sent as it is."""
        if name == b"content-length":
            self.length = int(value)
        elif name == b"connection":
            self.closes = self.closes or b"close" in value.lower()

    @property
    def has_body(self) -> bool:
        """Whether an answer of this status can have one."""
        return self.status not in {204, 304}

    def encoded(self, framing: bytes) -> bytes:
        """The bytes, down to the empty line.

        Args:
            framing: The lines that say where the body ends, and whether the connection does.
        """
        start = _STATUS_LINES.get(self.status) or b"HTTP/1.1 %d \r\n" % self.status
        date = b"" if self.dated else _date()
        return b"".join((start, self._text, framing, date, b"\r\n"))


_TITLES = {408: "Request timeout", 421: "Misdirected request", 501: "Not implemented"}

_names: dict[bytes, bytes] = {}
"""Names that were checked, in lower case: applications send the same few again and again."""
_MAX_NAMES = 1000


def _checked_name(name: bytes) -> bytes:
    if not name or _UNFIT_NAME.search(name):
        raise ValueError(f"the application's header {name!r} is none")
    lower = name.lower()
    if len(_names) < _MAX_NAMES:
        _names[name] = lower
    return lower


_said_date: tuple[int, bytes] = (0, b"")


def _date() -> bytes:
    global _said_date  # noqa: PLW0603 - the same for every answer within a second
    now = int(time.time())
    if _said_date[0] != now:
        _said_date = (now, f"date: {formatdate(now, usegmt=True)}\r\n".encode())
    return _said_date[1]


def refusal(refused: Refused) -> bytes:
    """The whole answer to a message that is not taken: a problem object, as for any failure."""
    return _last(*problem(refused))


def failure() -> bytes:
    """The whole answer to a request whose application gave none."""
    return _last(*problem(None))


def problem(refused: Refused | None) -> tuple[int, Headers, bytes]:
    """Status, headers and body that say why a request is not served.

    Args:
        refused: Why it is not taken; `None` if its application gave no answer.
    """
    error: GatewayError
    if refused is None:
        error = Internal("the application failed")
    else:
        error = (TooLarge if refused.status in {413, 431} else InvalidRequest)(refused.detail)
        error.status = refused.status
        error.title = _TITLES.get(refused.status, error.title)
    request_id = new_id()
    body = msgspec.json.encode(error.problem(request_id))
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"x-request-id", request_id.encode()),
        (b"content-length", b"%d" % len(body)),
    ]
    return error.status, headers, body


def _last(status: int, headers: Headers, body: bytes) -> bytes:
    lines = [b"%b: %b\r\n" % header for header in headers]
    end = b"connection: close\r\n"
    return b"".join((_STATUS_LINES[status], *lines, end, _date(), b"\r\n", body))
