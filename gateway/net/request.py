"""A request's head, as text that nothing in it can break.

Source: RFC 9112, sections 3 and 6; RFC 9110, section 5.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager

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
_LINES = re.compile(rf"(?:{_NAME}:\x20[\t\x20-\x7e\x80-\xff]*+\r\n)*+")
_METHOD = re.compile(_NAME)

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
    lines = [f"{name}: {value}\r\n" for name, value in request.headers]
    names = {name.lower() for name, _ in request.headers}
    if budget_header in names:
        lines = [line for line in lines if not line.lower().startswith(f"{budget_header}:")]
    if "host" not in names:
        lines.insert(0, f"host: {request.origin.authority}\r\n")
    lines += [line for name, line in _DEFAULTS.items() if name not in names]
    lines.append(_framing(request))
    text = "".join(lines)
    # One look at the whole: a line's end in a value, or a space in a name, would match nowhere.
    if (
        text.count("\n") != sum(map(bool, lines))
        or _LINES.fullmatch(text) is None
        or _METHOD.fullmatch(request.method) is None
    ):
        raise Internal("a header's name or value, or a method, that would break the request")
    if not names.isdisjoint(_FRAMING):
        raise Internal("a header that frames the request, which the client itself does")
    return f"{request.method} {request.target} HTTP/1.1\r\n{text}"


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
