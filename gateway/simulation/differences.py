"""Where two configurations differ, key by key."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.config.reader import read
from gateway.config.text import KeyPath, dotted, show
from gateway.policies import POLICIES

__all__ = ["differences"]

_ABSENT = object()


def differences(first: str, second: str) -> list[str]:
    """One line for each key that two files give different values: `services.crm.hedge: …`.

    Values are shown of tools, profiles and policies; of others, which may hold a secret, only that
    they differ.

    Args:
        first: A file that has no mistakes.
        second: Another one.
    """
    one, other = (dict(_leaves(_document(path), ())) for path in (first, second))
    lines = []
    for path in dict.fromkeys([*one, *other]):
        before, after = one.get(path, _ABSENT), other.get(path, _ABSENT)
        if before == after:
            continue
        if _is_public(path):
            lines.append(f"{dotted(path)}: {_said(before)} → {_said(after)}")
        else:
            lines.append(f"{dotted(path)}: differs")
    return lines


def _document(path: str) -> Mapping[str, Any]:
    document, _ = read(path, os.environ)
    return document or {}


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    else:
        yield path, value


def _is_public(path: KeyPath) -> bool:
    if path[0] in {"profiles", "tools"}:
        return True
    return path[0] == "services" and len(path) > 2 and path[2] in {*POLICIES, "use"}


def _said(value: Any) -> str:
    if value is _ABSENT:
        return "absent"
    return "{}" if value == {} else show(value)
