"""Budgets: the client's comes in as a header, what remains of it goes out as one.

Inside, a budget is nothing but a cancel scope's deadline.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import trio

from gateway.core.errors import InvalidRequest

__all__ = ["budget_of", "milliseconds", "remaining_ms", "remaining_s", "whole_ms"]

_NAMES = frozenset({"x-request-timeout-ms", "x-envoy-expected-rq-timeout-ms", "grpc-timeout"})
_WHOLE = re.compile(r"[0-9]{1,15}")
_GRPC = re.compile(r"([0-9]{1,8})([HMSmun])")
_GRPC_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def remaining_s() -> float:
    """Seconds until the nearest enclosing deadline: inf if there is none, never below 0."""
    deadline = trio.current_effective_deadline()
    return deadline if deadline == math.inf else max(0.0, deadline - trio.current_time())


def remaining_ms() -> int | None:
    """Whole milliseconds until the nearest enclosing deadline, rounded down; `None` if none."""
    return whole_ms(remaining_s())


def whole_ms(seconds: float) -> int | None:
    """Whole milliseconds of so many seconds, rounded down; `None` for inf."""
    # A nanosecond's grace: a deadline set as now + 0.25 s must not read as 249 ms.
    return None if seconds == math.inf else int(seconds * 1000 + 1e-6)


def milliseconds(value: object, name: str) -> float:
    """The seconds that `value`, whole milliseconds as text or number, stands for.

    Args:
        value: What the client sent.
        name: Where it sent it, for the error.

    Raises:
        InvalidRequest: `value` is not a whole number of milliseconds from 0 up.
    """
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _WHOLE.fullmatch(text.strip(" \t")):
        shown = repr(value)[:60]
        raise InvalidRequest(f"{name}: expected whole milliseconds such as 1500, got {shown}")
    return int(text) / 1000


def _grpc_timeout(value: str) -> float:
    match = _GRPC.fullmatch(value.strip(" \t"))
    if match is None:
        shown = repr(value)[:60]
        raise InvalidRequest(
            f"grpc-timeout: expected up to 8 digits and one of H M S m u n, such as 100m, got {shown}"
        )
    return int(match[1]) * _GRPC_UNITS_S[match[2]]


def budget_of(headers: Mapping[str, str]) -> float:
    """The client's budget: the smallest its headers name.

    Args:
        headers: The client's headers, names in lower case.

    Returns:
        Seconds, 0 or more; inf if no header names a budget.

    Raises:
        InvalidRequest: One of the headers is malformed.

    Source: gRPC over HTTP/2 (Timeout), Envoy's `x-envoy-expected-rq-timeout-ms`.
    """
    budget = math.inf
    if _NAMES.isdisjoint(headers):
        return budget
    for name in ("x-request-timeout-ms", "x-envoy-expected-rq-timeout-ms"):
        value = headers.get(name)
        if value is not None:
            budget = min(budget, milliseconds(value, name))
    value = headers.get("grpc-timeout")
    if value is not None:
        budget = min(budget, _grpc_timeout(value))
    return budget
