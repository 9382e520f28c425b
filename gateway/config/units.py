"""Units as they are written in the file: durations, sizes, rates, shares; text ↔ numbers.

A bare number is never a quantity: `parse_*` take text with its unit and nothing else.
"""

from __future__ import annotations

import math
import re

__all__ = [
    "DURATION_PATTERN",
    "RATE_PATTERN",
    "SHARE_PATTERN",
    "SIZE_PATTERN",
    "format_duration",
    "format_rate",
    "format_share",
    "format_size",
    "parse_duration",
    "parse_rate",
    "parse_share",
    "parse_size",
]

# Digits are bounded: what a person writes fits, and no text grows into a number without end.
DURATION_PATTERN = (
    r"^(?=.)([0-9]{1,9}d)?([0-9]{1,9}h)?([0-9]{1,9}m)?"
    r"([0-9]{1,9}(?:\.[0-9]{1,9})?s)?([0-9]{1,9}(?:\.[0-9]{1,6})?ms)?$"
)
"""A duration: numbers with `d h m s ms`, largest first, each at most once."""

SIZE_PATTERN = r"^([0-9]{1,12})(B|KB|MB|GB|KiB|MiB|GiB)$"
"""A size: a whole number and its unit."""

RATE_PATTERN = r"^([0-9]{1,12})/(s|m|h|d)$"
"""A rate: a whole number per second, minute, hour or day."""

SHARE_PATTERN = r"^([0-9]{1,3}(?:\.[0-9]{1,6})?)%$"
"""A share: a percentage."""

_DURATION = re.compile(DURATION_PATTERN)
_SIZE = re.compile(SIZE_PATTERN)
_RATE = re.compile(RATE_PATTERN)
_SHARE = re.compile(SHARE_PATTERN)

_NS = {"d": 86_400 * 10**9, "h": 3_600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6}
_BYTES = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
_PERIOD_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def parse_duration(text: str) -> float:
    """The seconds that a duration such as `250ms`, `2s` or `1m30s` stands for.

    Args:
        text: Numbers with units `d h m s ms`, largest first; seconds and milliseconds may have
            a fraction.

    Returns:
        Seconds, 0 or more.

    Raises:
        ValueError: `text` is not a duration.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("not a duration")
    total_ns = 0
    for unit, part in zip(_NS, match.groups(), strict=True):
        if part is not None:
            whole, _, fraction = part.removesuffix(unit).partition(".")
            # In integers: 1.1 + 0.1 must not become 1.2000000000000002.
            total_ns += int(whole) * _NS[unit]
            total_ns += int(fraction or 0) * _NS[unit] // 10 ** len(fraction)
    return total_ns / 10**9


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads as `seconds`, to the nanosecond.

    Args:
        seconds: 0 or more; inf is `none`.

    Raises:
        ValueError: `seconds` is negative or not a number.
    """
    if seconds == math.inf:
        return "none"
    if not seconds >= 0:
        raise ValueError("a duration is not negative")
    left_ns = round(seconds * 10**9)
    if left_ns < 10**9:
        return f"{_decimal(left_ns, 10**6)}ms" if left_ns else "0s"
    text = ""
    for unit in ("d", "h", "m"):
        count, left_ns = divmod(left_ns, _NS[unit])
        text += f"{count}{unit}" if count else ""
    return text + (f"{_decimal(left_ns, 10**9)}s" if left_ns else "")


def parse_size(text: str) -> int:
    """The bytes that a size such as `64KiB` or `1MB` stands for.

    Args:
        text: A whole number and one of `B KB MB GB` (powers of 1000) `KiB MiB GiB` (of 1024).

    Raises:
        ValueError: `text` is not a size.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("not a size")
    return int(match[1]) * _BYTES[match[2]]


def format_size(size_bytes: float) -> str:
    """The text with the largest unit that says `size_bytes` exactly; inf is `none`.

    Raises:
        ValueError: `size_bytes` is negative or no whole number.
    """
    if size_bytes == math.inf:
        return "none"
    if not size_bytes >= 0 or size_bytes != int(size_bytes):
        raise ValueError("a size is a whole number of bytes")
    whole = int(size_bytes)
    unit = max(
        (u for u, n in _BYTES.items() if whole % n == 0 and whole >= n),
        key=_BYTES.__getitem__,
        default="B",
    )
    return f"{whole // _BYTES[unit]}{unit}"


def parse_rate(text: str) -> float:
    """How often a second a rate such as `100/s` or `5000/h` stands for.

    Args:
        text: A whole number, `/`, and one of `s m h d`.

    Returns:
        Per second, 0 or more.

    Raises:
        ValueError: `text` is not a rate.
    """
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError("not a rate")
    return int(match[1]) / _PERIOD_S[match[2]]


def format_rate(per_second: float) -> str:
    """The text with the smallest period in which `per_second` is a whole number; inf is `none`.

    Raises:
        ValueError: `per_second` is negative, not a number, or not whole even in a day.
    """
    if per_second == math.inf:
        return "none"
    for unit, period_s in _PERIOD_S.items():
        count = per_second * period_s
        if count >= 0 and math.isclose(count, round(count), rel_tol=1e-12, abs_tol=0):
            return f"{round(count)}/{unit}"
    raise ValueError("no whole number in a day")


def parse_share(text: str) -> float:
    """The fraction that a share such as `10%` stands for.

    Returns:
        0 to 1.

    Raises:
        ValueError: `text` is not a percentage from 0 to 100.
    """
    match = _SHARE.fullmatch(text)
    if match is None or float(match[1]) > 100:
        raise ValueError("not a share")
    return float(match[1]) / 100


def format_share(share: float) -> str:
    """The percentage that says `share`, to a millionth of a percent; inf is `none`.

    Raises:
        ValueError: `share` is neither from 0 to 1 nor inf.
    """
    if share == math.inf:
        return "none"
    if not 0 <= share <= 1:
        raise ValueError("a share is from 0 to 1")
    return f"{_decimal(round(share * 10**8), 10**6)}%"


def _decimal(count: int, unit: int) -> str:
    whole, rest = divmod(count, unit)
    digits = len(str(unit)) - 1
    fraction = f"{rest:0{digits}}".rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)
