"""Names and descriptions of operations, fit for models.

The same document gives the same names, whichever of its operations are imported: they are made
for all of them at once.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections import Counter
from collections.abc import Sequence

__all__ = ["MAX_DESCRIPTION", "MAX_NAME", "described", "fitted", "names_of", "readable"]

MAX_NAME = 64
"""Characters of a tool's name."""

MAX_DESCRIPTION = 1024
"""Characters of a tool's description: what some models take at most."""

_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")
_PARAMETER = re.compile(r"\{([^{}]*)\}")
_HASH = 8
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,200}>")
_BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")


def names_of(operations: Sequence[tuple[str, str, str]]) -> list[str]:
    """A name for each operation, all of them different.

    It is the operation's id; where there is none, or another has the same, its method and path:
    `GET /users/{id}` is `get_users_by_id`.

    Args:
        operations: Ids, empty where there is none; methods; paths.
    """
    ids = [_plain(operation_id) for operation_id, _, _ in operations]
    times = Counter(ids)
    names = [
        name if name and times[name] == 1 else _by_path(method, path)
        for name, (_, method, path) in zip(ids, operations, strict=True)
    ]
    times = Counter(names)
    return [
        name if times[name] == 1 else f"{name}_{_hash(f'{method} {path}')}"
        for name, (_, method, path) in zip(names, operations, strict=True)
    ]


def fitted(prefix: str, name: str) -> str:
    """`prefix` and `name` in at most `MAX_NAME` characters: what is too long ends in a hash."""
    whole = prefix + name
    if len(whole) <= MAX_NAME:
        return whole
    return f"{whole[: MAX_NAME - _HASH - 1]}_{_hash(whole)}"


def described(summary: str, description: str, route: str, *, deprecated: bool) -> str:
    """What a tool does: an operation's summary and description, without HTML, cut where too long.

    Args:
        summary: One line, or nothing.
        description: More of it, or nothing.
        route: Method and path, for who says neither.
        deprecated: Whether that is to be said first.
    """
    first, rest = readable(summary), readable(description)
    text = rest if rest.startswith(first) else f"{first}\n\n{rest}".strip()
    text = ("Deprecated. " if deprecated else "") + (text or route)
    if len(text) <= MAX_DESCRIPTION:
        return text
    cut = text[: MAX_DESCRIPTION - 1]
    return f"{cut[: max(cut.rfind(' '), MAX_DESCRIPTION // 2)].rstrip()}…"


def readable(text: str) -> str:
    """A document's text without HTML, empty lines beyond one, and space around it."""
    text = html.unescape(_TAG.sub("", text)) if "<" in text else text
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _BLANK_LINES.sub("\n\n", text).strip()


def _plain(text: str) -> str:
    """`text` as a name: letters, digits, `_` and `-`, a letter first."""
    name = _UNFIT.sub("_", text).strip("_-")
    return name if not name or name[0].isalpha() else f"op_{name}"


def _by_path(method: str, path: str) -> str:
    return _plain(f"{method} " + _PARAMETER.sub(r"by_\1", path.lstrip("/")))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH]
