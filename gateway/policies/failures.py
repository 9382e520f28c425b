"""Which failures are meant: by their codes on the wire, or by the statuses they have."""

from __future__ import annotations

from typing import Any, TypeAlias

from gateway.config import values
from gateway.config.codec import Codec
from gateway.core.errors import (
    BadReply,
    DeadlineExceeded,
    GatewayError,
    Overloaded,
    Rejected,
    Unreachable,
)

__all__ = ["FAILURE_CODES", "Failure", "failure_codec", "failure_of", "matches"]

Failure: TypeAlias = str | int
"""A code such as `unreachable`, or a status such as 503."""

_CODES: dict[str, type[GatewayError]] = {
    error.code: error for error in (Unreachable, BadReply, Rejected, DeadlineExceeded, Overloaded)
}

FAILURE_CODES = tuple(_CODES)
"""The codes that a service's failure may have."""


def failure_codec() -> Codec:
    """A code of a service's failure, or a status from 400 to 599."""
    return values.either(values.one_of(*FAILURE_CODES), values.integer(minimum=400, maximum=599))


def matches(error: GatewayError, wanted: frozenset[Failure]) -> bool:
    """Whether `error` is one of those wanted.

    A status is the service's own where it gave one, else the one that the failure has: 504 is a
    reply 504, and an attempt that ran out of its time. What the gateway itself refused to do has
    none: its limits would be worth nothing if whoever they turn away came back at once.
    """
    if error.code in wanted:
        return True
    if error.service_status is not None:
        return error.service_status in wanted
    return error.status in wanted and not isinstance(error, Overloaded)


def failure_of(wanted: Failure, detail: str) -> GatewayError:
    """A failure that `wanted` names, as an adapter would raise it."""
    if isinstance(wanted, str):
        return _CODES[wanted](detail)
    kind: Any = Rejected if wanted < 500 else BadReply
    failure: GatewayError = kind(detail, service_status=wanted)
    return failure
