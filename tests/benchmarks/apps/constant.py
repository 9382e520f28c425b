"""What every subject answers with, and functions that do so without any service."""

from __future__ import annotations

import json
from typing import Any

import anyio

__all__ = ["EVENTS", "USER", "constant", "wait"]

USER: dict[str, Any] = {
    "id": 7,
    "name": "Amber Heron",
    "login": "heron7",
    "email": "heron7@example.com",
    "city": "Turku",
    "tags": ["reader", "writer"],
    "active": True,
}

EVENTS = tuple(
    f"data: {json.dumps({'index': index, 'text': 'word ' * 4})}\n\n".encode() for index in range(50)
)
"""A stream of server-sent events."""


async def constant() -> dict[str, Any]:
    """The user, at once."""
    return USER


async def wait(seconds: float) -> dict[str, Any]:
    """The user, after `seconds`."""
    await anyio.sleep(seconds)
    return USER
