"""Arguments that a request repeats in headers, for both ends of MCP.

Source: MCP 2026-07-28, Streamable HTTP, "Custom Headers from Tool Parameters".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from gateway.core.mcp import PARAM_HEADER, header_text

__all__ = ["MARK", "Parameters", "marks"]

MARK: Final = "x-mcp-header"
"""The keyword of a schema that names the header."""

_SAFE_INTEGER: Final = 2**53 - 1


@attrs.frozen(slots=True)
class Parameters:
    """Which arguments of a tool its request repeats in headers.

    Args:
        names: By the argument's path, the header's name.
    """

    names: Mapping[tuple[str, ...], str]

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> Parameters | None:
        """Those of a tool with this input schema; `None` if there are none.

        Args:
            schema: JSON Schema; marks that are no text are passed over.
        """
        names = {
            path: PARAM_HEADER + mark.lower()
            for path, mark, _ in marks(schema)
            if isinstance(mark, str)
        }
        return cls(names) if names else None

    def texts(self, arguments: Any) -> Iterator[tuple[str, str | None]]:
        """By header, what it repeats of `arguments`; `None` where there is nothing to repeat."""
        return ((name, _text(_at(arguments, path))) for path, name in self.names.items())

    def headers(self, arguments: Any) -> tuple[tuple[str, str], ...]:
        """The headers that go with `arguments`."""
        found = self.texts(arguments)
        return tuple((name, header_text(text)) for name, text in found if text is not None)


def marks(schema: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any, Mapping[str, Any]]]:
    """The marks below nothing but `properties`: path, mark, and the schema that has it."""
    rest: list[tuple[tuple[str, ...], Mapping[str, Any]]] = [((), schema)]
    while rest:
        path, node = rest.pop()
        if path and MARK in node:
            yield path, node[MARK], node
        properties = node.get("properties")
        if isinstance(properties, dict):
            rest.extend(
                ((*path, key), inner)
                for key, inner in properties.items()
                if isinstance(inner, dict)
            )


def _at(arguments: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        arguments = arguments.get(key) if isinstance(arguments, Mapping) else None
    return arguments


def _text(value: Any) -> str | None:
    """A value as a header says it; `None` if it has no such form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) <= _SAFE_INTEGER else None
    return value if isinstance(value, str) else None
