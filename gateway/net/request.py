"""A request's head, as text that nothing in it can break.

Source: RFC 9112, sections 3 and 6; RFC 9110, section 5.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import NoReturn

import trio

from gateway.core.deadline import remaining_ms
from gateway.core.errors import Internal, InvalidArguments, NotCalled
from gateway.net.messages import HttpRequest

__all__ = ["IDEMPOTENT", "check_target", "closing", "head_of", "tell_budget", "too_late"]

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Methods whose requests may be sent again: RFC 9110, section 9.2.2."""

MAX_TARGET = 65_536
"""Characters of path and query."""

_TARGET = re.compile(r"/[!\"$-~]*")
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_UNFIT = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_METHOD = re.compile(_NAME)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_FRAMING = frozenset({"content-length", "transfer-encoding"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_DEFAULTS = {
    "accept": "accept: */*\r\n",
    "accept-encoding": "accept-encoding: identity\r\n",
    "user-agent": "user-agent: trio-gateway\r\n",
}


def check_target(target: str) -> None:
    """Refuse what no request line can carry.

    Raises:
        InvalidArguments: It is no path, not percent-encoded, or too long.
    """
    if len(target) > MAX_TARGET:
        raise InvalidArguments(f"not called: its URL is over {MAX_TARGET} characters")
    if _TARGET.fullmatch(target) is None:
        raise InvalidArguments("not called: its URL is none")


def head_of(request: HttpRequest, budget_header: str) -> str:
    """The head of `request`, all but the line that tells the budget and the empty one.

    Args:
        request: What is asked.
        budget_header: In lower case; the request's own header of this name is left out.

    Raises:
        InvalidArguments: The target is none: it holds what a caller filled in.
        Internal: Method or headers would break the head, or frame the body: whoever made them
            did not check.
    """
    check_target(request.target)
    method = request.method
    key = (request.origin, budget_header, *[name for name, _ in request.headers])
    shape = _shapes.get(key) or _shape_of(request, budget_header, key)
    values = [value for _, value in request.headers]
    # One look at all of them: a line's end would end the header.
    if _UNFIT.search("".join(values)):
        raise Internal("a header's value that would break the request")
    if method not in _METHODS and _METHOD.fullmatch(method) is None:
        raise Internal("a method that would break the request")
    head = shape % (method, request.target, *values)
    if request.content is None and method not in _WITH_BODY:
        return head
    return head + _framing(request)


_shapes: dict[tuple[object, ...], str] = {}
"""By origin, the budget header's name and those of the others: a head with `%s` for all else."""
_MAX_SHAPES = 1000
"""A service's calls send the same few sets of headers again and again."""


def _shape_of(request: HttpRequest, budget_header: str, key: tuple[object, ...]) -> str:
    """The shape of the head of `request`, and of all with its `key`.

    Raises:
        Internal: A header's name is none, or frames the body.
    """
    names = [name for name, _ in request.headers]
    lower = [name.lower() for name in names]
    authority = request.origin.authority
    if any(_METHOD.fullmatch(name) is None for name in names) or _UNFIT.search(authority):
        raise Internal("a header's name that would break the request")
    if not _FRAMING.isdisjoint(lower):
        raise Internal("a header that frames the request, which the client itself does")
    host = "" if "host" in lower else f"host: {authority}\r\n"
    lines = [
        # A value that is left out takes part too, with none of its characters.
        "%.0s" if name.lower() == budget_header else f"{_literal(name)}: %s\r\n"
        for name in names
    ]
    defaults = [line for name, line in _DEFAULTS.items() if name not in lower]
    shape = "".join(["%s %s HTTP/1.1\r\n", _literal(host), *lines, *defaults])
    if len(_shapes) < _MAX_SHAPES:
        _shapes[key] = shape
    return shape


def _literal(text: str) -> str:
    return text.replace("%", "%%")


def _framing(request: HttpRequest) -> str:
    content = request.content
    if content is None:
        # Without it a server that wants a length refuses: RFC 9110, section 8.6.
        return "content-length: 0\r\n"
    if isinstance(content, bytes):
        return f"content-length: {len(content)}\r\n"
    if request.content_length is not None:
        return f"content-length: {request.content_length}\r\n"
    return "transfer-encoding: chunked\r\n"


async def tell_budget() -> int | None:
    """The whole milliseconds that are left for a request about to go; `None` without a limit.

    Raises:
        DeadlineExceeded: It is less than one.
    """
    left_ms = remaining_ms()
    if left_ms is not None and left_ms < 1:
        await too_late()
    return left_ms


async def too_late() -> NoReturn:
    """End a request that less than 1 ms is left for.

    Raises:
        DeadlineExceeded: Always, unless the request was cancelled: that has nothing left either,
            and ends as cancelled.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    raise NotCalled("not called: less than 1 ms of the budget is left")


def closing(content: object) -> AbstractAsyncContextManager[object]:
    """Close `content` at the end if it is a generator: half-way, it would be left to the collector."""
    if isinstance(content, AsyncGenerator):
        return contextlib.aclosing(content)
    return contextlib.nullcontext()
