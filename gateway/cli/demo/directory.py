"""A sample of what many companies have: a directory library that blocks its thread."""

from __future__ import annotations

import time
import zlib

__all__ = ["groups_of"]

_GROUPS = ("readers", "writers", "reviewers", "operators", "on-call")


def groups_of(login: str) -> list[dict[str, str]]:
    """The groups of `login`, after a tenth of a second of blocking."""
    time.sleep(0.1)
    seed = zlib.crc32(login.encode())
    return [
        {"name": group, "member": login} for bit, group in enumerate(_GROUPS) if seed >> bit & 1
    ] or [{"name": "readers", "member": login}]
