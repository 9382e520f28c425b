"""How values, keys and names are shown in messages: on one line, bounded, without secrets."""

from __future__ import annotations

import datetime as dt
import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

__all__ = [
    "KeyPath",
    "alternatives",
    "did_you_mean",
    "dotted",
    "nearest",
    "one_line",
    "printable",
    "show",
]

KeyPath: TypeAlias = tuple[str | int, ...]
"""Where a value stands: keys of tables, indices of arrays."""

_SHOWN = 60
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SEARCHED = 1000
# Up to the last @ there is: a password may hold a slash that its writer forgot to encode.
_USERINFO = re.compile(r"//\S*@")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def show(value: Any) -> str:
    """`value` as it would stand in the file, cut at about 60 characters.

    A table shows as no more than that it is one, and a URL without its user and password: what a
    message repeats may reach a log.
    """
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, str):
        return _quoted(_without_user(value), _SHOWN)
    if isinstance(value, (list, tuple)):
        return _cut(_array(value), _SHOWN)
    return _scalar(value)


def _without_user(text: str) -> str:
    """`text` with whatever may be the user and password of a URL taken out."""
    if len(text) > _SEARCHED:
        # Where no search looks, nothing of what might be a password is shown.
        text = text[:_SEARCHED].partition("//")[0] + "…" if "//" in text[:_SEARCHED] else text
    return _USERINFO.sub("//***@", text[:_SEARCHED])


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isinf(value) or math.isnan(value):
            return str(value)
        return repr(value)
    if isinstance(value, int):
        # Its digits are counted first: Python refuses to print integers beyond 4300 of them.
        return str(value) if value.bit_length() < 200 else "a number of more than 60 digits"
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    return f"a value of type {type(value).__name__}"


def _array(items: Iterable[Any]) -> Iterator[str]:
    yield "["
    for index, item in enumerate(items):
        yield ", " if index else ""
        yield (
            "[…]"
            if isinstance(item, (list, tuple))
            else "{…}"
            if isinstance(item, Mapping)
            else show(item)
        )
    yield "]"


def _cut(pieces: Iterable[str], limit: int) -> str:
    text = ""
    for piece in pieces:
        text += piece
        if len(text) > limit:
            return text[:limit] + "…"
    return text


def _quoted(text: str, limit: int) -> str:
    shown = text if len(text) <= limit else text[:limit] + "…"
    return (
        '"' + "".join(_ESCAPES.get(character) or _escaped(character) for character in shown) + '"'
    )


def one_line(text: str, limit: int) -> str:
    """What others say, its first line alone, cut at `limit` characters."""
    first = (text.strip().splitlines() or [""])[0]
    return printable(first if len(first) <= limit else first[:limit] + "…")


def printable(text: str) -> str:
    """`text` without what would break its line or speak to a terminal."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"


def dotted(path: KeyPath) -> str:
    """`path` as TOML writes it: bare keys joined by dots, others quoted, indices as `[0]`."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            shown = key if _BARE.fullmatch(key) and len(key) <= 2 * _SHOWN else _quoted(key, _SHOWN)
            text += f".{shown}" if text else shown
    return text


def nearest(name: Any, names: Iterable[str]) -> str | None:
    """The one of `names` that `name` was probably meant to be, `None` if none is near."""
    if not isinstance(name, str) or len(name) > 64:
        return None
    folded = {candidate.casefold(): candidate for candidate in names}
    wanted = name.casefold()
    close = difflib.get_close_matches(wanted, folded, n=1, cutoff=0.66)
    if not close and len(wanted) >= 3:
        # Cut short, as `int` and `bool` are elsewhere.
        close = [candidate for candidate in folded if candidate.startswith(wanted)]
    return folded[close[0]] if close else None


def did_you_mean(name: Any, names: Iterable[str]) -> str:
    """`; did you mean "NAME"?` where one of `names` is near, else nothing."""
    near = nearest(name, names)
    return "" if near is None else f'; did you mean "{near}"?'


def alternatives(values: Iterable[Any]) -> str:
    """What may stand in a place of which `values` are all: `1`, or `one of "a", "b"`."""
    shown = [show(value) for value in values]
    return shown[0] if len(shown) == 1 else "one of " + ", ".join(shown)
