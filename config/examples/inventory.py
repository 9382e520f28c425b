"""A sample of a library that blocks its thread, for blocking_library.toml."""

import time

COUNTS = {"lamp": 12, "desk": 3}


def count(sku: str) -> int:
    """How many there are, after 50 ms of blocking."""
    time.sleep(0.05)
    return COUNTS.get(sku, 0)


def shelf(product: str, timeout: float) -> dict[str, object]:
    """Where it stands, after 200 ms; `timeout` is the seconds left, for a library that takes one."""
    time.sleep(0.2)
    return {"product": product, "aisle": len(product), "asked_in_time": timeout > 0}
