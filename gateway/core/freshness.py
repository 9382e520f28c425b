"""How long a reply is good, as its service says: from an adapter to who keeps replies."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import msgspec

__all__ = ["ALONE", "NEVER", "Asked", "Freshness", "Kept"]

Kept: TypeAlias = Literal["for all", "for one"]
"""For whom replies are kept: for whoever asks the same, or for each principal apart."""


class Freshness(msgspec.Struct, frozen=True):
    """What a service says of one reply.

    Args:
        good_s: Seconds it is good; inf where nothing is said.
        stale_s: Seconds after that for which it is better than none; inf where nothing is said.
        alone: Whether it answers one request alone, and no other that is under way either.
    """

    good_s: float = math.inf
    stale_s: float = math.inf
    alone: bool = False

    def least(self, other: Freshness) -> Freshness:
        """That of a reply which is made of both."""
        good_s, stale_s = min(self.good_s, other.good_s), min(self.stale_s, other.stale_s)
        return Freshness(good_s, stale_s, self.alone or other.alone)


NEVER = Freshness(0.0, 0.0)
"""That of a reply which is not to be kept."""

ALONE = Freshness(0.0, 0.0, alone=True)
"""That of a reply which is not to be shared either."""


class Asked:
    """Whether anybody wants to know the freshness of a service's replies: `Environment.shared`.

    Policies are made before calls are bound: an adapter looks at it when it binds one, so that where
    nobody keeps or shares replies nobody reads what is said of it.

    Attributes:
        kept: For whom they are kept; `None` if they are not.
        shared: Whether calls under way at once share them.
        heeded: Whether what the service says counts.
    """

    def __init__(self) -> None:
        self.kept: Kept | None = None
        self.shared = False
        self.heeded = True

    @property
    def read_for(self) -> Kept | None:
        """For whom it is read; `None` if it is not."""
        if not self.heeded:
            return None
        return self.kept or ("for one" if self.shared else None)
