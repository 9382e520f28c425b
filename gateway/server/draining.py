"""Why a worker drains."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["Reason"]

Reason: TypeAlias = Literal["ending", "restarting"]
"""Why a worker drains: the whole server ends, or another worker takes its place."""
