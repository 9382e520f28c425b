"""What is offered: our own tools, prompts and resources, and those of the servers behind us.

Nobody is asked for anything here: servers keep their lists themselves, and what is merged of them
is merged anew when one of them is another one. A server that is gone costs its own entries alone.

Source: MCP 2025-11-25 and 2026-07-28, Tools; Prompts; Resources; Pagination.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import trio

from gateway.core.federation import ListName
from gateway.inbound.mcp.listing import Entry, Listing, Visible, everything
from gateway.inbound.mcp.search import HELPERS, Index, helpers

if TYPE_CHECKING:
    from gateway.config.settings import McpSettings
    from gateway.core.messages import Context
    from gateway.inbound.front import Front
    from gateway.plan.tool import Tool

__all__ = ["Catalog"]

logger = logging.getLogger(__name__)

_KEYS: Final[Mapping[ListName, str]] = {
    "tools": "name",
    "prompts": "name",
    "resources": "uri",
    "resourceTemplates": "uriTemplate",
}
"""What an item is asked for by."""

_RENAMED: Final[tuple[ListName, ...]] = ("tools", "prompts")
"""What a service's `prefix` and `rename` can keep apart."""

_MOST_TOLD: Final = 20
"""Clashes that are named at once."""


class Catalog:
    """Every list, and who offers what of it.

    Args:
        front: The tools, and the servers behind us.
        settings: `[mcp]`.
        own: Our own prompts, resources and templates, by list.
        has_files: Whether a resource of our own is a file, which may change.

    Attributes:
        is_searched: Whether tools are found by searching, not by reading the list.
    """

    def __init__(
        self,
        front: Front,
        settings: McpSettings,
        own: Mapping[ListName, tuple[Entry, ...]],
        *,
        has_files: bool = False,
    ) -> None:
        self._front = front
        self._own = own
        self._has_files = has_files
        self._pinned = settings.pinned
        self.is_searched = settings.tools == "search"
        self._merged: dict[ListName, tuple[tuple[Any, ...], Listing]] = {}
        self._listed: tuple[Listing, Listing] | None = None
        self._told: dict[ListName, tuple[str, ...]] = {}
        self._index: tuple[Listing, Index] | None = None
        self._indexing = trio.Lock()

    @property
    def capabilities(self) -> dict[str, Any]:
        """What is advertised: what a server behind us may have counts, for it may come later."""
        # Our own lists change with the file alone, which begins everything anew.
        behind = bool(self._front.federated)
        changing = {"listChanged": behind}
        capabilities: dict[str, Any] = {"tools": changing}
        if behind or self._own.get("prompts"):
            capabilities["prompts"] = changing
            capabilities["completions"] = {}
        if behind or self._own.get("resources") or self._own.get("resourceTemplates"):
            capabilities["resources"] = {**changing, "subscribe": behind or self._has_files}
        return capabilities

    def page(
        self, name: ListName, params: Mapping[str, Any], context: Context, *, legacy: bool = False
    ) -> dict[str, Any]:
        """One page of a list.

        Args:
            name: Which list.
            params: Of the request; `cursor` as a former page's `nextCursor` gave it.
            context: Who asks.
            legacy: Whether it is for a revision before 2026-07-28.

        Returns:
            The items, by the list's name: our own in the file's order, then the servers'; and
            `nextCursor` unless it is the last page.

        Raises:
            ProtocolError: The cursor is none of ours.
        """
        listing = self.listing(name)
        if name == "tools" and self.is_searched:
            listing = self._few(listing)
        entries, cursor = listing.page(params.get("cursor"), self.visible(name, context))
        items = [entry.legacy if legacy else entry.encoded for entry in entries]
        page: dict[str, Any] = {name: items}
        if cursor:
            page["nextCursor"] = cursor
        return page

    def find(self, name: ListName, key: str, context: Context) -> Entry | None:
        """What is asked for by `key`, if it is there and the client may know of it."""
        entry = self.listing(name).get(key)
        return entry if entry is not None and self.visible(name, context)(entry) else None

    def visible(self, name: ListName, context: Context) -> Visible:
        """Which entries of a list the client may know of."""
        may = self._front.may
        if may is None:
            return everything
        always = HELPERS if name == "tools" and self.is_searched else ()
        return lambda entry: entry.key in always or may(context, name, entry.key, entry.server)

    def may_call(self, name: Any, context: Context) -> bool:
        """Whether the client may know of a tool of our own of that name, if there is one."""
        may = self._front.may
        return may is None or (isinstance(name, str) and may(context, "tools", name, ""))

    async def search(self, query: str, limit: int, context: Context) -> list[Entry]:
        """The tools that fit `query` best.

        Cancellation: nothing is left half done.
        """
        listing = self.listing("tools")
        async with self._indexing:
            if self._index is None or self._index[0] is not listing:
                tools = [entry for entry in listing.entries if entry.key not in HELPERS]
                self._index = (listing, await Index.of(tools))
        return self._index[1].search(query, limit, self.visible("tools", context))

    def unlisted(self, name: ListName) -> list[str]:
        """Why what is not found may be there all the same: of each server that has no list, a line."""
        known = ((server, server.listed(name)) for server in self._front.federated.values())
        return [f"{s.name}: {of.error}" for s, of in known if of.error and not of.items]

    def check_names(self) -> None:
        """No two origins offer a tool or a prompt of the same name, as far as is known by now.

        Raises:
            ValueError: Two do; the message names both.
        """
        clashes = [clash for name in _RENAMED for clash in Listing(self._entries(name)).clashes]
        if clashes:
            rest = len(clashes) - _MOST_TOLD
            more = [f"and {rest} more"] if rest > 0 else []
            told = "; ".join([*clashes[:_MOST_TOLD], *more])
            raise ValueError(f"{told}: give one of them a prefix, or rename or deny what clashes")

    def offers(self, method: str) -> bool:
        """Whether `method` is one of a capability that is advertised."""
        family = method.partition("/")[0]
        return ("completions" if family == "completion" else family) in self.capabilities

    def listing(self, name: ListName) -> Listing:
        """A list as it is now, whole."""
        own = self._front.tools if name == "tools" else self._own.get(name)
        servers = self._front.federated.values()
        sources = (own, *[server.listed(name).items for server in servers])
        known = self._merged.get(name)
        if known is not None and _same(known[0], sources):
            return known[1]
        listing = Listing(self._entries(name))
        self._merged[name] = (sources, listing)
        self._tell(name, listing.clashes)
        return listing

    def _entries(self, name: ListName) -> Iterator[Entry]:
        if name == "tools":
            if self.is_searched:
                yield from helpers(0)
            yield from (Entry(tool.name, _item(tool)) for tool in self._front.tools.values())
        yield from self._own.get(name, ())
        key = _KEYS[name]
        for service, server in self._front.federated.items():
            for item in server.listed(name).items:
                yield Entry(item[key], item, service)

    def _few(self, listing: Listing) -> Listing:
        """What is listed where the rest is searched."""
        if self._listed is None or self._listed[0] is not listing:
            pinned = filter(None, map(listing.get, self._pinned))
            count = len(listing.entries) - len(HELPERS)
            few = Listing((*helpers(count), *pinned))
            self._listed = (listing, few)
        return self._listed[1]

    def _tell(self, name: ListName, clashes: tuple[str, ...]) -> None:
        before = set(self._told.get(name, ()))
        self._told[name] = clashes
        new = [clash for clash in clashes if clash not in before]
        for clash in new[:_MOST_TOLD]:
            logger.warning("not offered: %s", clash)
        if len(new) > _MOST_TOLD:
            logger.warning("not offered: %d more", len(new) - _MOST_TOLD)


def _same(before: tuple[Any, ...], now: tuple[Any, ...]) -> bool:
    """Whether they are the very same lists: to compare what is in them would cost more."""
    return len(before) == len(now) and all(map(_is, before, now))


def _is(one: Any, other: Any) -> bool:
    return one is other


def _item(tool: Tool) -> dict[str, Any]:
    hints = {"readOnlyHint": tool.read_only, "idempotentHint": tool.idempotent}
    if not tool.read_only:
        # Where nothing says that a change only adds: the protocol's own default, written out.
        hints["destructiveHint"] = tool.destructive is not False
    if tool.open_world is not None:
        hints["openWorldHint"] = tool.open_world
    entry: dict[str, Any] = {"name": tool.name}
    if tool.title:
        entry["title"] = tool.title
    entry |= {"description": tool.description, "inputSchema": tool.input_schema}
    if tool.answers is not None:
        entry["outputSchema"] = tool.answers.schema
    return {**entry, "annotations": hints}
