"""What a docstring says: of the function, and of its arguments.

Source: PEP 257; the styles of Google, NumPy and Sphinx.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

__all__ = ["of_arguments", "summary"]

_SECTIONS = frozenset({"args", "arguments", "parameters", "params", "keyword args"})
_ARGUMENT = re.compile(r"\*{0,2}(?P<name>\w+)\s*(?:\([^)]*\))?\s*:\s*(?P<said>.*)")
_NUMPY = re.compile(r"\*{0,2}(?P<names>\w+(?:\s*,\s*\w+)*)\s*(?::.*)?")
_SPHINX = re.compile(r":param\s+(?:[^:]*\s)?(?P<name>\w+)\s*:\s*(?P<said>.*)")
_FIELD = re.compile(r":\w+")
_UNDERLINE = re.compile(r"-{3,}\s*")


def summary(text: str | None) -> str:
    """The first paragraph, on one line; empty if there is none."""
    return " ".join(inspect.cleandoc(text or "").partition("\n\n")[0].split())


def of_arguments(text: str | None) -> dict[str, str]:
    """What is said of each argument, on one line, by its name."""
    lines = inspect.cleandoc(text or "").splitlines()
    found: dict[str, list[str]] = {}
    for name, said in (*_in_sections(lines), *_in_fields(lines)):
        found.setdefault(name, []).append(said)
    return {name: " ".join(" ".join(said).split()) for name, said in found.items()}


def _in_sections(lines: list[str]) -> Iterator[tuple[str, str]]:
    for index, line in enumerate(lines):
        if line.strip().rstrip(":").lower() not in _SECTIONS:
            continue
        if index + 1 < len(lines) and _UNDERLINE.fullmatch(lines[index + 1]):
            yield from _numpy(lines[index + 2 :])
        elif line.endswith(":"):
            yield from _google(lines[index + 1 :])


def _google(lines: list[str]) -> Iterator[tuple[str, str]]:
    """`name (type): words`, indented; what is indented further goes on."""
    depth, name = 0, ""
    for line in lines:
        if not line.strip():
            continue
        indent = len(line) - len(line.lstrip())
        if not indent:
            return
        depth = depth or indent
        start = _ARGUMENT.match(line.strip()) if indent <= depth else None
        if start is not None:
            name = start["name"]
            yield name, start["said"]
        elif name:
            yield name, line


def _numpy(lines: list[str]) -> Iterator[tuple[str, str]]:
    """`name : type`, and its words below, indented."""
    names: list[str] = []
    for index, line in enumerate(lines):
        if not line.strip():
            continue
        if line[0].isspace():
            for name in names:
                yield name, line
            continue
        start = _NUMPY.fullmatch(line.strip())
        if start is None or (index + 1 < len(lines) and _UNDERLINE.fullmatch(lines[index + 1])):
            return
        names = re.split(r"\s*,\s*", start["names"])


def _in_fields(lines: list[str]) -> Iterator[tuple[str, str]]:
    """`:param type name: words`; what is indented below goes on."""
    name = ""
    for line in lines:
        start = _SPHINX.match(line)
        if start is not None:
            name = start["name"]
            yield name, start["said"]
        elif not line[:1].isspace() or _FIELD.match(line):
            name = ""
        elif name:
            yield name, line
