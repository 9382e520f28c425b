"""Finds the line of every key, table and array item of a TOML document.

`tomllib` gives values without lines, so a scanner of our own walks the same text again. It trusts
that the text is valid: `tomllib` has read it before.

Source: TOML 1.0.0; what 1.1.0 adds is taken too, should tomllib take it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

if TYPE_CHECKING:
    from gateway.config.text import KeyPath

__all__ = ["MAX_DEPTH", "MAX_MARKS", "Duplicate", "Mark", "Marks", "TooComplex", "scan"]

MAX_DEPTH = 64
"""Tables and arrays within one another."""

MAX_MARKS = 200_000
"""Keys, tables and array items of one file."""

How: TypeAlias = Literal["header", "implied", "value"]
"""A table by its own header; a table by what stands in it; anything after an equals sign."""

_BLANK = re.compile(r"[ \t]*")
_BLANK_LINES = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_LITERAL = re.compile(r"'[^'\n]*'")
_LONG_BASIC = re.compile(r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}', re.DOTALL)
_LONG_LITERAL = re.compile(r"'''(?:[^']|'{1,2}(?!'))*'{3,5}")
_SCALAR = re.compile(r"[^,\]}#\n]+")
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)")
_ESCAPES = {
    "b": "\b",
    "t": "\t",
    "n": "\n",
    "f": "\f",
    "r": "\r",
    "e": "\x1b",
    '"': '"',
    "\\": "\\",
}


@attrs.frozen(slots=True)
class Mark:
    """Where something stands, and how it came to be there.

    Args:
        line: Counted from 1.
        how: By a header, by what stands in it, or as a value.
    """

    line: int
    how: How


@attrs.frozen(slots=True)
class Duplicate:
    """A key or table that is written a second time, which TOML forbids.

    Args:
        path: Which.
        first: The line it was first written in.
        line: The line it is written in again.
    """

    path: KeyPath
    first: int
    line: int


@attrs.define(slots=True)
class Marks:
    """What a scan found.

    Args:
        places: Every table, key and array item.
        duplicates: What is written twice; none in a valid document.
    """

    places: dict[KeyPath, Mark] = attrs.field(factory=dict)
    duplicates: list[Duplicate] = attrs.field(factory=list)


class TooComplex(Exception):
    """The document is nested too deeply or has too many parts.

    Args:
        line: Where that showed.
        message: Which bound it is over.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(line, message)
        self.line = line
        self.message = message


class _Malformed(Exception):
    """The text is not TOML from here on."""


def scan(text: str) -> Marks:
    """Find the line of everything in `text`.

    Args:
        text: A TOML document, its lines ended by line feeds alone. What follows a syntax error is left out.

    Raises:
        TooComplex: It is over `MAX_DEPTH` or `MAX_MARKS`.
    """
    scanner = _Scanner(text)
    with contextlib.suppress(_Malformed):
        scanner.document()
    return scanner.marks


class _Scanner:
    """One walk through one text."""

    def __init__(self, text: str) -> None:
        self.marks = Marks()
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._lengths: dict[KeyPath, int] = {}

    def document(self) -> None:
        """Header by header, statement by statement."""
        table: KeyPath = ()
        self._skip(_BLANK_LINES)
        while self._at < len(self._text):
            if self._text.startswith("[[", self._at):
                table = self._header(2, self._array_item)
            elif self._text.startswith("[", self._at):
                table = self._header(1, self._table)
            else:
                self._statement(table)
            self._skip(_BLANK_LINES)

    def _header(self, brackets: int, enter: Callable[[KeyPath], KeyPath]) -> KeyPath:
        self._at += brackets
        table = enter(self._resolved(self._key()))
        self._expect("]" * brackets)
        return table

    def _resolved(self, parts: tuple[str, ...]) -> KeyPath:
        """The path a header means: through the last item of every array of tables."""
        path: KeyPath = ()
        for part in parts[:-1]:
            path = (*path, part)
            self._mark(path, "implied")
            if path in self._lengths:
                path = (*path, self._lengths[path] - 1)
        return (*path, parts[-1])

    def _table(self, path: KeyPath) -> KeyPath:
        self._mark(path, "header")
        return path

    def _array_item(self, path: KeyPath) -> KeyPath:
        index = self._lengths.get(path, 0)
        self._lengths[path] = index + 1
        if index == 0:
            self._mark(path, "value")
        item = (*path, index)
        self._mark(item, "header")
        return item

    def _statement(self, table: KeyPath) -> None:
        """`key = value`, in a table or an inline table."""
        path = table
        parts = self._key()
        for part in parts[:-1]:
            path = (*path, part)
            self._mark(path, "implied")
        path = (*path, parts[-1])
        self._mark(path, "value")
        self._expect("=")
        self._skip(_BLANK)
        self._value(path)

    def _key(self) -> tuple[str, ...]:
        parts = []
        while True:
            self._skip(_BLANK)
            parts.append(self._key_part())
            self._skip(_BLANK)
            if not self._text.startswith(".", self._at):
                return tuple(parts)
            self._at += 1

    def _key_part(self) -> str:
        start = self._text[self._at : self._at + 1]
        if start == '"':
            return _ESCAPE.sub(_unescaped, self._take(_BASIC)[1:-1])
        if start == "'":
            return self._take(_LITERAL)[1:-1]
        return self._take(_BARE_KEY)

    def _value(self, path: KeyPath) -> None:
        start = self._text[self._at : self._at + 3]
        if start == '"""':
            self._take(_LONG_BASIC)
        elif start == "'''":
            self._take(_LONG_LITERAL)
        elif start.startswith('"'):
            self._take(_BASIC)
        elif start.startswith("'"):
            self._take(_LITERAL)
        elif start.startswith("["):
            self._array(path)
        elif start.startswith("{"):
            self._inline_table(path)
        else:
            self._take(_SCALAR)

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        index = 0
        self._skip(_BLANK_LINES)
        while not self._text.startswith("]", self._at):
            self._mark((*path, index), "value")
            self._value((*path, index))
            index += 1
            self._separator("]")
        self._at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        self._skip(_BLANK_LINES)
        while not self._text.startswith("}", self._at):
            self._statement(path)
            self._separator("}")
        self._at += 1

    def _separator(self, end: str) -> None:
        self._skip(_BLANK_LINES)
        if not self._text.startswith(end, self._at):
            self._expect(",")
            self._skip(_BLANK_LINES)

    def _mark(self, path: KeyPath, how: How) -> None:
        line = self._here()
        if len(path) > MAX_DEPTH:
            raise TooComplex(line, f"nested deeper than {MAX_DEPTH}")
        known = self.marks.places.get(path)
        if known is not None and how != "implied" and known.how != "implied":
            self.marks.duplicates.append(Duplicate(path, known.line, line))
        elif known is None or how != "implied":
            self.marks.places[path] = Mark(line, how)
        if len(self.marks.places) > MAX_MARKS:
            raise TooComplex(line, f"more than {MAX_MARKS} keys and items")

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise _Malformed
        self._at = match.end()
        return match[0]

    def _expect(self, text: str) -> None:
        if not self._text.startswith(text, self._at):
            raise _Malformed
        self._at += len(text)


def _unescaped(match: re.Match[str]) -> str:
    escape = match[1]
    if escape[0] in "xuU" and len(escape) > 1:
        return chr(int(escape[1:], 16))
    return _ESCAPES.get(escape, escape)
