"""What a reply's headers say of how long it is good.

Source: RFC 9111, sections 4.2 and 5.2.2; RFC 5861.
"""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Mapping
from functools import lru_cache

from gateway.core.freshness import ALONE, NEVER, Freshness, Kept

__all__ = ["freshness_of"]

_DIRECTIVE = re.compile(r'([^\s,;="]++)\s*+(?:=\s*+(?:"([^"]*+)"|([^\s,;"]++)))?')
_MAX_S = 2**31
_DIGITS = len(str(_MAX_S)) + 1
"""Of a number with more of them than `_MAX_S` has, so many already say that it is larger."""

_STALE = ("stale-while-revalidate", "stale-if-error")


def freshness_of(fields: Mapping[bytes, bytes], kept: Kept) -> Freshness | None:
    """What a service says of its reply; `None` if nothing.

    What is qualified by names of headers (`private="x"`) counts as if it were not, and what is no
    number of seconds as 0.

    Args:
        fields: The reply's headers.
        kept: For whom it would be kept. For all, that is a shared cache: `private` replies are not
            for it, and `s-maxage` is.
    """
    control, expires = fields.get(b"cache-control"), fields.get(b"expires")
    varies = b"*" in fields.get(b"vary", b"")
    if control is None and expires is None:
        return NEVER if varies else None
    said = _directives(control or b"")
    shared = kept == "for all"
    if "no-store" in said:
        return ALONE
    if varies or "no-cache" in said or (shared and "private" in said):
        return NEVER
    good_s = math.inf
    if shared and "s-maxage" in said:
        good_s = said["s-maxage"]
    elif "max-age" in said:
        good_s = said["max-age"]
    elif expires is not None:
        good_s = _lifetime_s(expires, fields.get(b"date"))
    age_s = _seconds(fields.get(b"age", b"0").decode("latin-1"))
    return Freshness(max(0.0, good_s - age_s), _stale_s(said, shared=shared))


def _stale_s(said: Mapping[str, float], *, shared: bool) -> float:
    if "must-revalidate" in said or (shared and "proxy-revalidate" in said):
        return 0.0
    stale_s = [said[name] for name in _STALE if name in said]
    if stale_s:
        return max(stale_s)
    # It says what is said of proxies too: RFC 9111, section 5.2.2.10.
    return 0.0 if shared and "s-maxage" in said else math.inf


@lru_cache(maxsize=256)
def _directives(control: bytes) -> Mapping[str, float]:
    """Each directive with its seconds, the fewest where it is there several times."""
    said: dict[str, float] = {}
    for match in _DIRECTIVE.finditer(control.decode("latin-1")):
        name, quoted, token = match.groups()
        seconds = _seconds(token if quoted is None else quoted)
        said[name.lower()] = min(seconds, said.get(name.lower(), math.inf))
    return said


def _seconds(text: str | None) -> float:
    text = (text or "").strip()
    if not text.isdecimal():
        return 0.0
    return float(min(int(text.lstrip("0")[:_DIGITS] or "0"), _MAX_S))


def _lifetime_s(expires: bytes, date: bytes | None) -> float:
    """Seconds from a reply's date to the end of its time; what is no date is over already."""
    end_s = _at_s(expires)
    begin_s = _at_s(date or b"") or time.time()
    return 0.0 if end_s is None else max(0.0, end_s - begin_s)


def _at_s(date: bytes) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(date.decode("latin-1")).timestamp()
    except (ValueError, OverflowError):
        return None
