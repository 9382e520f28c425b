"""One list of ours: entries of several origins in one order, each encoded once, a page at a time."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from gateway.core.mcp import INVALID_PARAMS
from gateway.core.mcp_parameters import Parameters
from gateway.inbound.mcp.jsonrpc import ProtocolError

__all__ = ["PAGE", "Entry", "Listing", "Visible", "everything"]

PAGE: Final = 100
"""Entries a page."""

_OBJECT: Final = {"type": "object"}

Visible: TypeAlias = Callable[["Entry"], bool]
"""Whether one client may know of an entry."""


def everything(_entry: Entry) -> bool:
    """Whoever asks may know of all there is."""
    return True


class Entry:
    """What one item of a list says.

    Args:
        key: What it is asked for by: its name, URI or URI template.
        item: The protocol's object.
        server: The service it comes from; empty if it is our own.
    """

    __slots__ = ("_encoded", "_legacy", "_parameters", "item", "key", "server")

    def __init__(self, key: str, item: Mapping[str, Any], server: str = "") -> None:
        self.key = key
        self.item = item
        self.server = server
        self._encoded: msgspec.Raw | None = None
        self._legacy: msgspec.Raw | None = None
        self._parameters: tuple[Parameters | None] | None = None

    @property
    def parameters(self) -> Parameters | None:
        """Of a tool: what of its arguments a request repeats in headers."""
        if self._parameters is None:
            self._parameters = (Parameters.of(self.item["inputSchema"]),)
        return self._parameters[0]

    @property
    def encoded(self) -> msgspec.Raw:
        """The item as JSON."""
        if self._encoded is None:
            self._encoded = msgspec.Raw(msgspec.json.encode(self.item))
        return self._encoded

    @property
    def legacy(self) -> msgspec.Raw:
        """The item as JSON for revisions before 2026-07-28: there an output is an object.

        Clients of those refuse the whole list for one tool whose output is something else.
        """
        if self._legacy is None:
            schema = self.item.get("outputSchema", _OBJECT)
            if isinstance(schema, Mapping) and schema.get("type") == "object":
                self._legacy = self.encoded
            else:
                rest = {key: part for key, part in self.item.items() if key != "outputSchema"}
                self._legacy = msgspec.Raw(msgspec.json.encode(rest))
        return self._legacy


@attrs.frozen(slots=True)
class _Clash:
    key: str
    kept: str
    left_out: str

    def __str__(self) -> str:
        return f"{self.key[:128]} of {_shown(self.left_out)} is offered by {_shown(self.kept)} too"


def _shown(server: str) -> str:
    return f"services.{server}" if server else "the gateway itself"


class Listing:
    """Entries in their order, each key once: of two the first one stays.

    Args:
        entries: As above.

    Attributes:
        clashes: What was left out, one line each, naming both origins.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._by_key: dict[str, Entry] = {}
        clashes = []
        for entry in entries:
            kept = self._by_key.setdefault(entry.key, entry)
            if kept is not entry:
                clashes.append(str(_Clash(entry.key, kept.server, entry.server)))
        self.entries = tuple(self._by_key.values())
        self.clashes = tuple(clashes)
        self._places = {key: place for place, key in enumerate(self._by_key)}

    def get(self, key: str) -> Entry | None:
        """The entry that is asked for by `key`."""
        return self._by_key.get(key)

    def page(self, cursor: Any, visible: Visible = everything) -> tuple[list[Entry], str]:
        """One page.

        A cursor names the last entry before the page, not its place: it holds in another worker,
        whose list may be newer, and when entries come or go.

        Args:
            cursor: As a former page's; `None` begins.
            visible: Which entries the client may know of.

        Returns:
            The entries, and the cursor of the next page, empty if this is the last one.

        Raises:
            ProtocolError: The cursor is none of ours, or what it names is gone, or is not to be
                known of.
        """
        start = 0 if cursor is None else self._after(cursor, visible)
        found: list[Entry] = []
        for place in range(start, len(self.entries)):
            entry = self.entries[place]
            if not visible(entry):
                continue
            if len(found) == PAGE:
                return found, _cursor(found[-1].key)
            found.append(entry)
        return found, ""

    def _after(self, cursor: Any, visible: Visible) -> int:
        try:
            key = urlsafe_b64decode(cursor).decode()
        except (TypeError, ValueError, binascii.Error):
            key = None
        entry = None if key is None else self._by_key.get(key)
        if entry is None or not visible(entry):
            message = "Invalid params: cursor: not one of this list"
            raise ProtocolError(INVALID_PARAMS, message)
        return self._places[entry.key] + 1


def _cursor(key: str) -> str:
    return urlsafe_b64encode(key.encode("utf-8", "surrogatepass")).decode()
