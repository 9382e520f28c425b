"""URI templates: which URIs they stand for.

Matching walks through a URI once, from literal to literal: a regular expression of several
placeholders could be made to take very long.

Source: RFC 6570; MCP 2026-07-28, Resources, "Resource Templates".
"""

from __future__ import annotations

import re
from urllib.parse import unquote

import attrs

__all__ = ["MAX_URI", "UriTemplate"]

MAX_URI = 8_192
"""Characters of a URI that is looked at."""

_EXPRESSION = re.compile(r"\{([^{}]*)\}")
_SEGMENT_ENDS = frozenset("/?#")


@attrs.frozen(slots=True)
class UriTemplate:
    """A template.

    Args:
        literals: What stands before, between and after its expressions.
        names: What stands in their braces.
    """

    literals: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> UriTemplate:
        """The template that `text` is."""
        parts = _EXPRESSION.split(text)
        return cls(tuple(parts[::2]), tuple(parts[1::2]))

    def fits(self, uri: str) -> bool:
        """Whether `uri` may be one of those it stands for, whatever its expressions are."""
        return len(uri) <= MAX_URI and self._between(uri, least=0) is not None

    def match(self, uri: str) -> dict[str, str] | None:
        """The values of its placeholders, decoded, where each is plain text within one segment.

        A value ends where the next literal is found first.

        Returns:
            By name; `None` if it does not stand for `uri`.
        """
        values = self._between(uri, least=1) if len(uri) <= MAX_URI else None
        if values is None or not all(map(_SEGMENT_ENDS.isdisjoint, values)):
            return None
        return {name: unquote(value) for name, value in zip(self.names, values, strict=True)}

    def _between(self, uri: str, *, least: int) -> list[str] | None:
        """What stands in place of each expression, `least` characters or more."""
        first, *rest = self.literals
        if not uri.startswith(first):
            return None
        values: list[str] = []
        at = len(first)
        for number, literal in enumerate(rest, 1):
            last = number == len(rest)
            end = len(uri) - len(literal) if last else uri.find(literal, at + least)
            if end < at + least or not uri.startswith(literal, end):
                return None
            values.append(uri[at:end])
            at = end + len(literal)
        return values if rest or at == len(uri) else None
