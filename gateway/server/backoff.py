"""How long a worker's place stays empty."""

from __future__ import annotations

import attrs

__all__ = ["Backoff"]

_STEADY_S = 10.0
"""Having served for this long, a worker's end says nothing about its successor."""

_FIRST_S = 0.05
_MOST_SERVING_S = 0.4
"""For one that served: clients have less than the rest meanwhile, so within a second it is back."""

_MOST_FAILING_S = 15.0
"""For one that cannot even start: nothing is lost by waiting but its attempts."""


@attrs.define(slots=True)
class Backoff:
    """The pause before a worker is replaced: none at first, twice as long each time after."""

    _failures: int = 0

    def pause_s(self, served_s: float | None) -> float:
        """Seconds until the next worker is to start in this place.

        Args:
            served_s: For how long the last one served; `None` if it never did.
        """
        if served_s is not None and served_s >= _STEADY_S:
            self._failures = 0
        self._failures += 1
        if self._failures == 1:
            return 0
        most_s = _MOST_FAILING_S if served_s is None else _MOST_SERVING_S
        return min(most_s, _FIRST_S * 2.0 ** min(self._failures - 2, 20))
