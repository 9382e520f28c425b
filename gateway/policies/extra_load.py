"""How much load may be added to a service by trying again: what retries and hedges are paid from."""

from __future__ import annotations

import math

import trio

from gateway.config.units import format_rate

__all__ = ["FIXED", "ExtraLoad"]

_FLOOR_PER_S = 1.0
_MOST = 10.0

FIXED = {"attempts beside the budget": format_rate(_FLOOR_PER_S), "saved up at most": int(_MOST)}
"""The numbers that no key sets."""


class ExtraLoad:
    """A token bucket: each call puts in a share of a token, each further attempt takes one.

    So a service that fails altogether gets that share more than its normal traffic, and no storm.
    One token a second comes by itself, up to ten, so that a service with little traffic can be
    tried again at all; no more than ten are ever saved up.

    Attributes:
        share: What each call puts in: 0.2 allows a fifth of the traffic on top of it; inf allows
            any number.
        retries: Whether calls are retried: then what retries them counts them, for it makes
            several attempts of one, else what hedges them.

    Source: Finagle's RetryBudget; Google, Site Reliability Engineering, chapter 21, "Handling
    Overload".
    """

    __slots__ = ("_at", "_tokens", "retries", "share")

    def __init__(self) -> None:
        self.share = 0.2
        self.retries = False
        self._tokens = _MOST
        self._at = -1.0

    def earn(self) -> None:
        """Put in what one call of the normal traffic allows."""
        self._tokens = min(_MOST, self._tokens + self.share)

    def take(self) -> bool:
        """Take the token for one further attempt; whether there was one."""
        if self.share == math.inf:
            return True
        now = trio.current_time()
        if self._at >= 0:
            self._tokens = min(_MOST, self._tokens + (now - self._at) * _FLOOR_PER_S)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
