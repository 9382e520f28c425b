"""How long a reply is good, as its service says: from an adapter to who keeps replies."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import msgspec

__all__ = ["NEVER", "Asked", "Freshness", "Kept"]

Kept: TypeAlias = Literal["for all", "for one"]
"""For whom replies are kept: for whoever asks the same, or for each principal apart."""


class Freshness(msgspec.Struct, frozen=True):
    """What a service says of one reply.

    Args:
        good_s: Seconds it is good; inf where nothing is said.
        stale_s: Seconds after that for which it is better than none; inf where nothing is said.
    """

    good_s: float = math.inf
    stale_s: float = math.inf

    def least(self, other: Freshness) -> Freshness:
        """That of a reply which is made of both."""
        return Freshness(min(self.good_s, other.good_s), min(self.stale_s, other.stale_s))


NEVER = Freshness(0.0, 0.0)
"""That of a reply which is not to be kept."""


class Asked:
    """Whether anybody wants to know the freshness of a service's replies: `Environment.shared`.

    Policies are made before calls are bound: an adapter looks at it when it binds one, so that where
    nobody keeps replies nobody reads what is said of it.

    Attributes:
        kept: For whom they are kept; `None` if they are not.
    """

    def __init__(self) -> None:
        self.kept: Kept | None = None
