"""W3C trace context: `traceparent` in and out.

Source: https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import random
import re

import msgspec

__all__ = ["Trace", "new_id", "new_names"]

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def new_id() -> str:
    """32 hex digits that nothing else is called by: a trace's or a request's name, no secret.

    Not from the system's source: two system calls would cost more than the rest of a request's
    head. A worker that was forked is seeded anew, which Python sees to.
    """
    return f"{random.getrandbits(128):032x}"


def _new_span() -> str:
    return f"{random.getrandbits(64):016x}"


class Trace(msgspec.Struct, frozen=True):
    """One request's place in a trace.

    Args:
        trace_id: 32 hex digits, the same all the way down.
        span_id: 16 hex digits: this request's own span, the parent of every call's.
        flags: 2 hex digits; `01` is "sampled".
    """

    trace_id: str
    span_id: str
    flags: str = "00"

    @classmethod
    def new(cls) -> Trace:
        """A trace that begins here."""
        return new_names()[1]

    @classmethod
    def of(cls, traceparent: str | None) -> Trace:
        """The trace a client's header continues; a new one if the header is absent or malformed.

        A malformed header must not fail a request (W3C trace context, section 3.3).
        """
        match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
        if match is None:
            return cls.new()
        version, trace_id, parent_id, flags, rest = match.groups()
        if version == "ff" or (version == "00" and rest):
            return cls.new()
        if trace_id == "0" * 32 or parent_id == "0" * 16:
            return cls.new()
        return cls(trace_id, _new_span(), flags)

    @property
    def traceparent(self) -> str:
        """The header for a downstream service: its parent is this request's span."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def new_names() -> tuple[str, Trace]:
    """As `new_id` and `Trace.new`, drawn together."""
    digits = f"{random.getrandbits(320):080x}"
    return digits[:32], Trace(digits[32:64], digits[64:])
