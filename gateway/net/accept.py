"""What a client would rather have: the weights of its `accept` header.

Source: RFC 9110, sections 12.4.2 and 12.5.1.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["weight"]

_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


@lru_cache(maxsize=256)
def weight(accept: str | None, media_type: str) -> float:
    """How much a client wants an answer of this media type.

    Args:
        accept: The header's value; `None` where there is none.
        media_type: Such as `application/json`, in lower case.

    Returns:
        From 0, not at all, to 1. The most specific range that fits decides, whatever its parameters;
        one whose weight is malformed is none. A client that does not say takes anything.
    """
    if accept is None:
        return 1.0
    ranges = ("*/*", f"{media_type.partition('/')[0]}/*", media_type)
    nearest, found = -1, 0.0
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        own = _weight_in(parameters)
        if name not in ranges or own is None:
            continue
        near = ranges.index(name)
        if near > nearest:
            nearest, found = near, own
        elif near == nearest:
            found = max(found, own)
    return found


def _weight_in(parameters: list[str]) -> float | None:
    """The weight among a range's parameters, 1 if there is none; `None` if it is malformed."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return float(value) if _WEIGHT.fullmatch(value.strip()) else None
    return 1.0
