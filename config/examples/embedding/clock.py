"""A blocking library: it runs in a thread, and is told how much time is left."""

from __future__ import annotations

import datetime as dt


def time_in(zone: str, timeout: float | None) -> dict[str, object]:
    """The time in `zone`.

    Args:
        zone: `UTC` or `local`.
        timeout: Seconds left of the request's budget.
    """
    now = dt.datetime.now(dt.UTC)
    return {"time": now if zone == "UTC" else now.astimezone(), "seconds_left": timeout}
