"""Values → TOML, for people to edit: tables by their headers, what is in them on one line each.

Source: TOML 1.0.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["inline", "key", "tables"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {
    "\\": "\\\\",
    '"': '\\"',
    "\n": "\\n",
    "\t": "\\t",
    "\r": "\\r",
    "\b": "\\b",
    "\f": "\\f",
}
_HEADED = 5
"""Names of a header at most: deeper tables stand on one line."""


def tables(path: tuple[str, ...], table: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a table and of those in it, each after an empty line.

    Args:
        path: Its name.
        table: What stands in it: text, numbers, booleans, lists, tables; no null.
    """
    headed = {
        name
        for name, value in table.items()
        if isinstance(value, Mapping) and value and len(path) < _HEADED and _is_large(value)
    }
    if len(headed) < len(table) or not table:
        yield ""
        yield f"[{'.'.join(map(key, path))}]"
    for name, value in table.items():
        if name not in headed:
            yield f"{key(name)} = {_value(value)}"
    for name in table:
        if name in headed:
            yield from tables((*path, name), table[name])


def inline(value: Any) -> str:
    """A value on one line.

    Raises:
        TypeError: TOML has no such value.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return f'"{_escaped(value)}"'
        case Mapping():
            items = (f"{key(name)} = {inline(item)}" for name, item in value.items())
            return f"{{ {', '.join(items)} }}" if value else "{}"
        case list() | tuple():
            return f"[{', '.join(map(inline, value))}]"
        case _:
            raise TypeError(f"TOML has no {type(value).__name__}")


def key(name: str) -> str:
    """A name as a key."""
    return name if _BARE.fullmatch(name) else inline(name)


def _value(value: Any) -> str:
    """A value after its key: text of several lines has them."""
    if isinstance(value, str) and "\n" in value:
        lines = "\n".join(map(_escaped, value.split("\n")))
        return f'"""\n{lines}"""'
    return inline(value)


def _is_large(table: Mapping[str, Any]) -> bool:
    return any(isinstance(value, Mapping) for value in table.values())


def _escaped(text: str) -> str:
    return "".join(
        _ESCAPES.get(character)
        or (f"\\u{ord(character):04x}" if character < " " or character == "\x7f" else character)
        for character in text
    )
