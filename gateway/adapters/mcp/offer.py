"""What of a server's lists is offered, and under which names; no I/O.

Every item comes from a stranger: one that is malformed, too large or too deep is left out, and
costs the others nothing.

Source: MCP 2026-07-28, Tools; Streamable HTTP, "Custom Headers from Tool Parameters".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import attrs
import msgspec

from gateway.core.errors import BadReply
from gateway.core.federation import ListName
from gateway.core.mcp_parameters import MARK, Parameters, marks

__all__ = ["Found", "Names", "Offer"]

_MAX_ITEMS = 10_000
_MAX_BYTES = 33_554_432
"""Of one list."""

_MAX_ITEM = 262_144
"""Bytes of one item."""

_MAX_NAME = 256

_MAX_SCHEMA_DEPTH = 64
"""How deep a schema may be nested."""

_KEYS: Mapping[ListName, str] = {
    "tools": "name",
    "prompts": "name",
    "resources": "uri",
    "resourceTemplates": "uriTemplate",
}
"""What an item is asked for by."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_PRIMITIVE = frozenset({"string", "integer", "boolean"})


@attrs.frozen(slots=True, kw_only=True)
class Names:
    """Which names are offered, and as what: `prefix`, `allow`, `deny`, `rename` of the service."""

    prefix: str = ""
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    rename: Mapping[str, str] = attrs.field(factory=dict)

    def allows(self, name: str) -> bool:
        """Whether what the server calls `name` is offered."""
        if any(fnmatchcase(name, pattern) for pattern in self.deny):
            return False
        return not self.allow or any(fnmatchcase(name, pattern) for pattern in self.allow)

    def public(self, name: str) -> str:
        """What it is offered as."""
        return self.prefix + self.rename.get(name, name)


@attrs.frozen(slots=True, kw_only=True)
class Offer:
    """What of one list is offered.

    Args:
        items: As they came, but for their names.
        own: By what an item is offered as, what the server calls it.
        hidden: What the server calls what is not offered.
        parameters: By a tool's own name, what its request repeats in headers.
        problems: What was left out, and why; one line each.
        clashes: Which items want the same name; one line each.
    """

    items: tuple[Mapping[str, Any], ...] = ()
    own: Mapping[str, str] = attrs.field(factory=dict)
    hidden: frozenset[str] = frozenset()
    parameters: Mapping[str, Parameters] = attrs.field(factory=dict)
    problems: tuple[str, ...] = ()
    clashes: tuple[str, ...] = ()


class Found:
    """What a server lists, looked at item by item.

    Args:
        name: Which list it is.

    Attributes:
        count: How many there were, those left out included.
    """

    def __init__(self, name: ListName) -> None:
        self.count = 0
        self._is_tools = name == "tools"
        self._key = _KEYS[name]
        self._list = name
        self._size = 0
        self._items: list[Mapping[str, Any]] = []
        self._problems: list[str] = []

    def take(self, item: Any) -> None:
        """Look at the next one.

        Raises:
            BadReply: They are more than can be kept.
        """
        size = len(msgspec.json.encode(item))
        self.count += 1
        self._size += size
        if self.count > _MAX_ITEMS or self._size > _MAX_BYTES:
            raise BadReply(f"it lists more {self._list} than {_MAX_ITEMS}, or {_MAX_BYTES} bytes")
        problem = _problem_of(item, self._key, size, is_tool=self._is_tools)
        if problem is None:
            self._items.append(item)
        else:
            self._problems.append(problem)

    def offered(self, names: Names) -> Offer:
        """What of them is offered.

        Args:
            names: Which are wanted, and as what.
        """
        key = self._key
        offered: dict[str, Mapping[str, Any]] = {}
        own: dict[str, str] = {}
        hidden: set[str] = set()
        clashes: dict[str, list[str]] = {}
        for item in self._items:
            called: str = item[key]
            if not names.allows(item["name"]):
                hidden.add(called)
                continue
            public = names.public(called) if key == "name" else called
            if public in own:
                clashes.setdefault(public, [own[public]]).append(called)
                continue
            own[public] = called
            offered[public] = item if public == called else {**item, key: public}
        for public in clashes:  # which of them a call would mean, nobody could say
            del offered[public], own[public]
        return Offer(
            items=tuple(offered.values()),
            own=own,
            hidden=frozenset(hidden),
            parameters=self._parameters(),
            problems=tuple(self._problems),
            clashes=tuple(
                f"{public} would be the name of {' and of '.join(those)}"
                for public, those in clashes.items()
            ),
        )

    def _parameters(self) -> dict[str, Parameters]:
        """By tool, if anything of it is repeated in headers."""
        if not self._is_tools:
            return {}
        found = ((item["name"], Parameters.of(item["inputSchema"])) for item in self._items)
        return {name: parameters for name, parameters in found if parameters is not None}


def _problem_of(item: Any, key: str, size: int, *, is_tool: bool) -> str | None:
    """Why an item cannot be offered."""
    if not isinstance(item, dict):
        return "an item that is no object"
    for wanted in {"name", key}:
        if not isinstance(item.get(wanted), str) or not item[wanted]:
            return f"an item without {wanted}"
    shown = item["name"][:128]
    if len(item["name"]) > _MAX_NAME:
        return f"{shown}: a name of over {_MAX_NAME} characters"
    if size > _MAX_ITEM:
        return f"{shown}: over {_MAX_ITEM} bytes"
    if not is_tool:
        return None
    schema = item.get("inputSchema")
    if not isinstance(schema, dict):
        return f"{shown}: its inputSchema is no object"
    if _depth(item) > _MAX_SCHEMA_DEPTH:
        return f"{shown}: its schemas are nested deeper than {_MAX_SCHEMA_DEPTH}"
    problem = _problem_of_marks(schema)
    return f"{shown}: {problem}" if problem else None


def _depth(value: Any) -> int:
    """How deep containers are nested; level by level, for no stack."""
    level, depth = [value], 0
    while level:
        depth += 1
        level = [
            inner
            for container in level
            for inner in (container.values() if isinstance(container, dict) else container)
            if isinstance(inner, dict | list)
        ]
    return depth


def _problem_of_marks(schema: Mapping[str, Any]) -> str | None:
    """What is wrong with the marks of arguments that headers repeat."""
    seen: set[str] = set()
    reachable = 0
    for _, mark, marked in marks(schema):
        reachable += 1
        if not isinstance(mark, str) or not _TOKEN.fullmatch(mark):
            return f"{MARK}: expected the name of a header"
        if marked.get("type") not in _PRIMITIVE:
            return f"{MARK}: {mark} is no text, integer or boolean"
        if mark.lower() in seen:
            return f"{MARK}: {mark} is given twice"
        seen.add(mark.lower())
    if _count(schema) > reachable:
        return f"{MARK}: at a place that arguments cannot be told to have"
    return None


_DATA = frozenset({"default", "examples", "const", "enum"})
"""Keywords whose values are no schemas."""

_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
"""Keywords whose values are schemas by name."""


def _count(schema: Mapping[str, Any]) -> int:
    """The marks of all schemas in it."""
    rest: list[Any] = [schema]
    count = 0
    while rest:
        node = rest.pop()
        if isinstance(node, list):
            rest.extend(node)
        elif isinstance(node, dict):
            count += MARK in node
            for key, value in node.items():
                if key in _MAPS and isinstance(value, dict):
                    rest.extend(value.values())
                elif key not in _DATA:
                    rest.append(value)
    return count
