"""One call that reads a list which comes in pages: a request for each, one list, one budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus, urlencode

import msgspec
import trio

from gateway.adapters.http.settings import Pages
from gateway.core.errors import BadReply, DeadlineExceeded, GatewayError, TooLarge
from gateway.core.expression import Expression, ExpressionError
from gateway.core.freshness import Freshness
from gateway.core.messages import Chunk, Reply, Request
from gateway.core.service import Emit
from gateway.net.client import HttpReply, HttpRequest
from gateway.net.decoded import decoded
from gateway.net.freshness import freshness_of
from gateway.net.links import linked, resolved

if TYPE_CHECKING:
    from gateway.adapters.http.adapter import HttpAdapter
    from gateway.adapters.http.call import Call

__all__ = ["PagedCall"]

_MARGIN_S = 0.05
"""Seconds before the deadline that no further page is waited for, so that the reply is in time."""


class PagedCall:
    """The `Service` of a call whose list comes in pages.

    Once the first page is there, the list is what could be read of it: whatever ends it before its
    end is told as missing.

    Args:
        adapter: The service.
        pages: How its pages hang together.
        first: Makes the request for the first.

    Raises:
        ValueError: An expression calls a function that there is not.
    """

    def __init__(self, adapter: HttpAdapter, pages: Pages, first: Call) -> None:
        self._adapter = adapter
        self._pages = pages
        self._first = first
        self._kept = adapter.kept
        self._items = Expression.compile(pages.items)
        self._next = None if pages.next == "link" else Expression.compile(pages.next)

    async def __call__(self, request: Request, emit: Emit, /) -> Reply:
        """As `Service`."""
        adapter = self._adapter
        if len(adapter.origins) == 1:
            return await self._read(self._first.http(request, adapter.origin), emit)
        await adapter.authorized()
        # What a replica says of the next page may hold for that replica alone.
        with adapter.replicas.attempt(request, trio.current_effective_deadline()) as attempt:
            return await self._read(self._first.http(request, attempt.origin), emit)

    async def _read(self, asked: HttpRequest, emit: Emit) -> Reply:
        """The list from the page that `asked` asks for to its end, or to where it has to end."""
        gathered = _Gathered(self._pages, self._adapter.max_reply)
        page = self._page(asked, await self._adapter.client.send(asked))
        while True:
            for item in gathered.take(page):
                if self._pages.stream:
                    await emit(Chunk(item))
            try:
                target = self._following(page)
                gathered.check(target)
                if target is None:
                    return gathered.reply()
                asked = msgspec.structs.replace(asked, target=target)
                page = self._page(asked, await self._in_time(asked))
                gathered.check_size(page)
            except GatewayError as error:
                return gathered.reply(error)

    async def _in_time(self, asked: HttpRequest) -> HttpReply:
        """The reply to `asked`, in time for what is there already to be replied with.

        Raises:
            DeadlineExceeded: It did not come.
        """
        with trio.move_on_at(trio.current_effective_deadline() - _MARGIN_S):
            return await self._adapter.client.send(asked)
        raise DeadlineExceeded("time ran out before the next page came")

    def _page(self, asked: HttpRequest, reply: HttpReply) -> _Page:
        """The page that came.

        Raises:
            GatewayError: It is none.
        """
        if not 200 <= reply.status < 300:
            raise self._adapter.refusal(reply)
        value = decoded(reply)
        items = _found(self._items, value, "items")
        if not isinstance(items, list):
            raise BadReply(f"pages.items gives {_kind(items)}, not a list")
        freshness = None if self._kept is None else freshness_of(reply.fields, self._kept)
        return _Page(asked, reply, value, items, freshness or Freshness())

    def _following(self, page: _Page) -> str | None:
        """The target of the next page; `None` without one.

        Raises:
            BadReply: What it says of the next one is nothing that can be followed.
        """
        if self._next is None:
            found: Any = linked(page.reply.header("link"), "next")
        else:
            found = _found(self._next, page.value, "next")
        if found is None or found is False or found == "":
            return None
        if self._pages.into is not None:
            return _with_cursor(page.asked.target, self._pages.into, found)
        if not isinstance(found, str):
            raise BadReply(f"pages.next gives {_kind(found)}, not a URL")
        # A header's text has a character for each byte already.
        text = found if self._next is None else found.encode("utf-8", "replace").decode("latin-1")
        try:
            origin, target = resolved(page.asked.origin, page.asked.target, text)
        except ValueError as error:
            raise BadReply("the next page's URL is none") from error
        if origin not in self._adapter.own_origins:
            raise BadReply("the next page is not at the service's own address: it is not asked for")
        return target


class _Page(msgspec.Struct, frozen=True):
    """One page.

    Args:
        asked: What was asked for.
        reply: What came.
        value: What it says.
        items: Its part of the list.
        freshness: How long it is good.
    """

    asked: HttpRequest
    reply: HttpReply
    value: Any
    items: list[Any]
    freshness: Freshness


class _Gathered:
    """What was read of a list, within its bounds.

    Args:
        pages: The bounds.
        max_bytes: What all pages together may amount to.
    """

    def __init__(self, pages: Pages, max_bytes: int) -> None:
        self._most = pages.most
        self._max_items = pages.max_items
        self._max_bytes = max_bytes
        self._items: list[Any] = []
        self._cut = False
        self._targets: set[str] = set()
        self._size = 0
        self._freshness = Freshness()

    def take(self, page: _Page) -> list[Any]:
        """Add a page's items; those of them that there is room for."""
        room = None if self._max_items is None else self._max_items - len(self._items)
        taken = page.items[:room]
        self._cut = len(taken) < len(page.items)
        self._items += taken
        self._targets.add(page.asked.target)
        self._size += len(page.reply.body)
        self._freshness = self._freshness.least(page.freshness)
        return taken

    def check(self, target: str | None) -> None:
        """Let the page at `target` be read; `None` says that there is none.

        Raises:
            TooLarge: There is more than may be read.
            BadReply: It was read already.
        """
        if self._cut or (target is not None and len(self._items) == self._max_items):
            raise TooLarge(f"there are more than {self._max_items} items")
        if target in self._targets:
            raise BadReply("the next page is one that was read already")
        if target is not None and len(self._targets) == self._most:
            raise TooLarge(f"there are more than {self._most} pages")

    def check_size(self, page: _Page) -> None:
        """Let a page be taken.

        Raises:
            TooLarge: It is too much, with the others.
        """
        if self._size + len(page.reply.body) > self._max_bytes:
            raise TooLarge(f"the pages are over {self._max_bytes} bytes")

    def reply(self, failure: GatewayError | None = None) -> Reply:
        """All of it; with what ended it before its end."""
        missing: tuple[GatewayError, ...] = ()
        if failure is not None:
            shown = failure.blamed()
            shown.args = (f"all after item {len(self._items)} is missing: {failure.detail}",)
            missing = (shown,)
        return Reply(self._items, missing=missing, freshness=self._freshness)


def _found(expression: Expression, page: Any, key: str) -> Any:
    try:
        return expression.of(page)
    except ExpressionError as error:
        raise BadReply(f"pages.{key} does not fit the page: {error}") from error


def _with_cursor(target: str, name: str, cursor: Any) -> str:
    """`target` with a cursor in its query, in the place of one that is there.

    Raises:
        BadReply: It is none.
    """
    if isinstance(cursor, bool) or not isinstance(cursor, (str, int)):
        raise BadReply(f"pages.next gives {_kind(cursor)}, not a cursor")
    path, _, query = target.partition("?")
    pairs = [pair for pair in query.split("&") if pair]
    pairs = [pair for pair in pairs if unquote_plus(pair.partition("=")[0]) != name]
    pairs.append(urlencode({name: str(cursor)}))
    return f"{path}?{'&'.join(pairs)}"


def _kind(value: Any) -> str:
    """What a value is, without itself: that may be anyone's."""
    names = {bool: "a boolean", str: "text", list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), "a number")
