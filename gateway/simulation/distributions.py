"""How long something takes, as it is written on a command line, and drawn from a generator.

`80ms`; `uniform:50ms..150ms`; `exponential:80ms`; `lognormal:80ms,p99=2s`; `file:latencies.txt`;
each with a tail if wanted: `20ms,1%=2s`.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from typing import Any, TypeAlias

import msgspec

from gateway.config.text import did_you_mean
from gateway.config.units import parse_duration, parse_share

__all__ = ["Draw", "parse_latency"]

Draw: TypeAlias = Callable[[random.Random], float]
"""From a generator to seconds."""

_WANTED = (
    'a duration such as "80ms", uniform:50ms..150ms, exponential:80ms, lognormal:80ms,p99=2s or '
    "file:PATH, and a tail if wanted, such as 20ms,1%=2s"
)
_KINDS = ("constant", "exponential", "file", "lognormal", "uniform")
_PERCENTILE = re.compile(r"p([0-9]{1,2}(?:\.[0-9]{1,3})?)=(.+)")
_MAX_BYTES = 64 * 1024 * 1024


def parse_latency(text: str, directory: Path) -> Draw:
    """The distribution that `text` stands for.

    Args:
        text: As above.
        directory: What the path of a file of latencies is relative to.

    Raises:
        ValueError: It stands for none; the message says what would.
    """
    body, tail_share, tail_s = _tail(text)
    kind, colon, rest = body.partition(":")
    if not colon:
        kind, rest = "constant", body
    make = {
        "constant": _constant,
        "uniform": _uniform,
        "exponential": _exponential,
        "lognormal": _lognormal,
    }.get(kind)
    if kind == "file":
        draw = _recorded(directory / rest)
    elif make is None:
        raise ValueError(f"expected {_WANTED}, got {text!r}{did_you_mean(kind, _KINDS)}")
    else:
        draw = make(rest)
    if not tail_share:
        return draw

    def with_tail(chance: random.Random) -> float:
        return tail_s if chance.random() < tail_share else draw(chance)

    return with_tail


def _tail(text: str) -> tuple[str, float, float]:
    """What stands before a tail, the tail's share, and its seconds."""
    body, comma, last = text.rpartition(",")
    share, equals, duration = last.partition("=")
    if not comma or not equals or not share.endswith("%"):
        return text, 0.0, 0.0
    try:
        return body, parse_share(share), _seconds(duration)
    except ValueError:
        raise ValueError(f"expected a tail such as 1%=2s, got {last!r}") from None


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError:
        raise ValueError(f"expected {_WANTED}, got {text!r}") from None


def _constant(text: str) -> Draw:
    seconds = _seconds(text)
    return lambda _chance: seconds


def _uniform(text: str) -> Draw:
    low, dots, high = text.partition("..")
    if not dots:
        raise ValueError(f"expected uniform:50ms..150ms, got uniform:{text}")
    least, most = _seconds(low), _seconds(high)
    if least > most:
        raise ValueError(f"expected the shorter one first, got uniform:{text}")
    return lambda chance: chance.uniform(least, most)


def _exponential(text: str) -> Draw:
    mean = _seconds(text)
    return lambda chance: -math.log(1.0 - chance.random()) * mean


def _lognormal(text: str) -> Draw:
    """Given by its median and one percentile above it."""
    written, _, percentile = text.partition(",")
    match = _PERCENTILE.fullmatch(percentile)
    if match is None:
        raise ValueError(
            f"expected a median and a percentile, lognormal:80ms,p99=2s, got lognormal:{text}"
        )
    median, share, high = _seconds(written), float(match[1]) / 100, _seconds(match[2])
    if not (0 < median < high and share > 0.5):
        raise ValueError(
            f"expected a median above 0s and a longer percentile above p50, got lognormal:{text}"
        )
    mu = math.log(median)
    sigma = (math.log(high) - mu) / NormalDist().inv_cdf(share)
    return lambda chance: chance.lognormvariate(mu, sigma)


def _recorded(path: Path) -> Draw:
    """Latencies of a file, each as likely as any other."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"{path}: expected a file of at most 64MiB")
        content = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ValueError(f"{path}: expected a file of latencies: {reason}") from None
    latencies = list(_latencies_of(content, path))
    if not latencies:
        raise ValueError(f"{path}: expected at least one latency, got none")
    return lambda chance: chance.choice(latencies)


def _latencies_of(content: str, path: Path) -> list[float]:
    """Seconds: one a line, or the items of a JSON array."""
    if content.lstrip().startswith("["):
        try:
            items: list[Any] = msgspec.json.decode(content)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError(f"{path}: expected a JSON array: {error}") from None
        return [_latency(item, f"{path}: item {at}") for at, item in enumerate(items)]
    return [
        _latency(_line(line), f"{path}:{number}")
        for number, line in enumerate(content.splitlines(), 1)
        if line.strip()
    ]


def _line(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text.strip()


def _latency(item: Any, where: str) -> float:
    """Seconds of one recorded latency: a duration, milliseconds, or a line of the gateway's log."""
    value = item.get("duration_ms") if isinstance(item, dict) else item
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return value / 1000
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError:
            pass
    raise ValueError(
        f'{where}: expected a duration such as "80ms", a number of milliseconds or an object with '
        f"duration_ms, got {str(item)[:60]!r}"
    )
