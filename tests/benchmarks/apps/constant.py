"""What every subject answers with, and the function that does so without any service."""

from __future__ import annotations

from typing import Any

__all__ = ["USER", "constant"]

USER: dict[str, Any] = {
    "id": 7,
    "name": "Amber Heron",
    "login": "heron7",
    "email": "heron7@example.com",
    "city": "Turku",
    "tags": ["reader", "writer"],
    "active": True,
}


async def constant() -> dict[str, Any]:
    """The user, at once."""
    return USER
