"""A request's head, as text that nothing in it can break.

Source: RFC 9112, sections 3 and 6; RFC 9110, section 5.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager

import attrs
import trio

from gateway.core.deadline import remaining_ms
from gateway.core.errors import DeadlineExceeded, Internal, InvalidArguments
from gateway.net.messages import HttpRequest

__all__ = ["IDEMPOTENT", "check_target", "closing", "head_of", "tell_budget"]

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
    headers = request.headers
    key = (budget_header, *[name for name, _ in headers])
    shape = _shapes.get(key) or _shape_of(key)
    authority = request.origin.authority
    # One look at all of them: a line's end would end the header.
    if _UNFIT.search("".join([authority, *[value for _, value in headers]])):
        raise Internal("a header's value that would break the request")
    if request.method not in _METHODS and _METHOD.fullmatch(request.method) is None:
        raise Internal("a method that would break the request")
    lines = "".join(
        [
            f"{label}{value}\r\n"
            for label, (_, value) in zip(shape.labels, headers, strict=True)
            if label
        ]
    )
    host = f"host: {authority}\r\n" if shape.needs_host else ""
    return (
        f"{request.method} {request.target} HTTP/1.1\r\n"
        f"{host}{lines}{shape.defaults}{_framing(request)}"
    )


@attrs.frozen(slots=True)
class _Shape:
    """What the names of a request's headers say of its head, whatever their values.

    Args:
        labels: What goes before each value; empty for a header that is left out.
        needs_host: Whether `host` is not among them.
        defaults: The lines that are added.
    """

    labels: tuple[str, ...]
    needs_host: bool
    defaults: str


_shapes: dict[tuple[str, ...], _Shape] = {}
_MAX_SHAPES = 1000
"""A service's calls send the same few sets of headers again and again."""


def _shape_of(key: tuple[str, ...]) -> _Shape:
    """The shape of a head: the budget header's name, then the names of the others.

    Raises:
        Internal: One of them is no header's name, or frames the body.
    """
    budget_header, *given = key
    if any(_METHOD.fullmatch(name) is None for name in given):
        raise Internal("a header's name that would break the request")
    names = {name.lower() for name in given}
    if not names.isdisjoint(_FRAMING):
        raise Internal("a header that frames the request, which the client itself does")
    shape = _Shape(
        tuple("" if name.lower() == budget_header else f"{name}: " for name in given),
        "host" not in names,
        "".join(line for name, line in _DEFAULTS.items() if name not in names),
    )
    if len(_shapes) < _MAX_SHAPES:
        _shapes[key] = shape
    return shape


def _framing(request: HttpRequest) -> str:
    content = request.content
    if content is None:
        # Without it a server that wants a length refuses: RFC 9110, section 8.6.
        return "content-length: 0\r\n" if request.method in _WITH_BODY else ""
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
        # A request that was cancelled has nothing left either: it ends as cancelled.
        await trio.lowlevel.checkpoint_if_cancelled()
        raise DeadlineExceeded("not called: less than 1 ms of the budget is left")
    return left_ms


def closing(content: object) -> AbstractAsyncContextManager[object]:
    """Close `content` at the end if it is a generator: half-way, it would be left to the collector."""
    if isinstance(content, AsyncGenerator):
        return contextlib.aclosing(content)
    return contextlib.nullcontext()
