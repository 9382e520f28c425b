"""The error tree: every expected failure is one `GatewayError` with a code on the wire.

A failure leaves a `Service` as one bare `GatewayError`, never inside an `ExceptionGroup`.
Inbound protocols turn it into their own form from `status` and `problem()` alone.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Self

__all__ = [
    "ERRORS",
    "BadReply",
    "CannotAsk",
    "DeadlineExceeded",
    "Forbidden",
    "GatewayError",
    "Internal",
    "InvalidArguments",
    "InvalidRequest",
    "NotCalled",
    "NotFound",
    "Overloaded",
    "RateLimited",
    "Rejected",
    "Skipped",
    "TooLarge",
    "Unauthenticated",
    "Unreachable",
]

_KEPT = frozenset({404, 409, 410, 412, 422})
"""A service's own statuses that reach the client as they are."""


_HIDDEN = "something went wrong inside the gateway; its log says what, by the request's id"
"""What is told of a bug of ours, whatever its own text says."""


class GatewayError(Exception):
    """An expected failure, as the client will see it.

    Args:
        detail: One sentence for the caller. Never a secret, never a traceback.
        call: The plan's call that is to blame, where one is.
        service: The service that is to blame, where one is.
        retry_after_s: Seconds after which another try makes sense; becomes `retry-after`.
        errors: Every breach, for failures that have several: `{"pointer", "detail"}` each.
        service_status: The HTTP status the service itself gave, where it gave one.

    Source: RFC 9457 for the members of `problem()`.
    """

    code: ClassVar[str] = "internal"
    title: str = "Internal error"
    status: int = 500

    def __init__(
        self,
        detail: str = "",
        *,
        call: str | None = None,
        service: str | None = None,
        retry_after_s: float | None = None,
        errors: tuple[dict[str, str], ...] = (),
        service_status: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.call = call
        self.service = service
        self.retry_after_s = retry_after_s
        self.errors = errors
        self.service_status = service_status

    @property
    def detail(self) -> str:
        """One sentence for the caller."""
        return str(self.args[0])

    @property
    def shown(self) -> str:
        """What clients are told: the detail, but of a bug of ours only where to look for it."""
        return _HIDDEN if self.code == "internal" else self.detail

    @property
    def label(self) -> str:
        """How `x-gateway-partial` names this failure: `call=code`."""
        return f"{self.call}={self.code}"

    def blamed(self, *, call: str | None = None, service: str | None = None) -> Self:
        """A copy that names who is to blame, where this one does not yet.

        A copy, because one failure may be shared by several callers.
        """
        error = copy.copy(self)
        error.call = self.call or call
        error.service = self.service or service
        error.__cause__ = self.__cause__
        return error.with_traceback(self.__traceback__)

    def problem(self, request_id: str | None = None) -> dict[str, Any]:
        """The RFC 9457 problem object, with our extension members.

        Args:
            request_id: The request this answers; absent where an outer object names it.

        Returns:
            A dict of JSON values, members without a value left out.
        """
        problem: dict[str, Any] = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.shown,
        }
        if request_id is not None:
            problem["request_id"] = request_id
        if self.call is not None:
            problem["call"] = self.call
        if self.service is not None:
            problem["service"] = self.service
        if self.service_status is not None:
            problem["service_status"] = self.service_status
        if self.retry_after_s is not None:
            problem["retry_after_s"] = self.retry_after_s
        if self.errors:
            problem["errors"] = list(self.errors)
        return problem


class InvalidRequest(GatewayError):
    """The request cannot be read: an unparsable body, a bad budget header."""

    code = "invalid_request"
    title = "Invalid request"
    status = 400


class CannotAsk(InvalidRequest):
    """Something has to be asked of the client, and it cannot be.

    Args:
        detail: Why.
        capability: What the client lacks: `sampling`, `elicitation` or `roots`.
    """

    title = "The client cannot be asked"

    def __init__(self, detail: str = "", *, capability: str = "", **blame: Any) -> None:
        super().__init__(detail, **blame)
        self.capability = capability


class InvalidArguments(GatewayError):
    """The arguments break the tool's schema; `errors` lists every breach."""

    code = "invalid_arguments"
    title = "Invalid arguments"
    status = 422


class Unauthenticated(GatewayError):
    """Nobody known is calling."""

    code = "unauthenticated"
    title = "Unauthenticated"
    status = 401


class Forbidden(GatewayError):
    """Whoever is calling may not."""

    code = "forbidden"
    title = "Forbidden"
    status = 403


class NotFound(GatewayError):
    """There is no such tool, route or job.

    Args:
        detail: What is not there.
        allow: The methods the route does take: then the status is 405 (RFC 9110, section 15.5.6).
    """

    code = "not_found"
    title = "Not found"
    status = 404

    def __init__(self, detail: str = "", *, allow: tuple[str, ...] = (), **blame: Any) -> None:
        super().__init__(detail, **blame)
        self.allow = allow
        if allow:
            self.status = 405
            self.title = "Method not allowed"


class TooLarge(GatewayError):
    """The body (413) or the head (431) is over its bound.

    Args:
        detail: Which bound, and how much was found where that is known.
        head: Whether it is the head that is too large.
    """

    code = "too_large"
    title = "Too large"
    status = 413

    def __init__(self, detail: str = "", *, head: bool = False, **blame: Any) -> None:
        super().__init__(detail, **blame)
        if head:
            self.status = 431


class RateLimited(GatewayError):
    """The principal has used up its rate."""

    code = "rate_limited"
    title = "Rate limited"
    status = 429


class Overloaded(GatewayError):
    """We refuse before work begins: a queue is full, load is shed, a breaker is open."""

    code = "overloaded"
    title = "Overloaded"
    status = 503


class Unreachable(GatewayError):
    """The service could not be connected to, or the connection broke.

    Args:
        detail: Why, without its address: clients are told who it is, not where it lives.
        where: Its host, its address: for the log alone.
    """

    code = "unreachable"
    title = "Service unreachable"
    status = 502

    def __init__(self, detail: str = "", *, where: str = "", **blame: Any) -> None:
        super().__init__(detail, **blame)
        self.where = where


class BadReply(GatewayError):
    """The service's reply is not what was declared."""

    code = "bad_reply"
    title = "Bad reply from service"
    status = 502


class Rejected(GatewayError):
    """The service said no.

    404, 409, 410, 412 and 422 reach the client as they are; 429 becomes 503, for it is the
    gateway that was too fast, not the client; every other 4xx becomes 502.

    Args:
        detail: The service's status and its body, bounded.
        service_status: The service's own HTTP status, 400 to 499.
    """

    code = "rejected"
    title = "Rejected by service"
    status = 502

    def __init__(
        self, detail: str = "", *, service_status: int | None = None, **blame: Any
    ) -> None:
        super().__init__(detail, service_status=service_status, **blame)
        if service_status in _KEPT:
            self.status = service_status
        elif service_status == 429:
            self.status = 503


class DeadlineExceeded(GatewayError):
    """Time ran out: the request's budget, or a call's own timeout."""

    code = "deadline_exceeded"
    title = "Deadline exceeded"
    status = 504


class NotCalled(DeadlineExceeded):
    """Time would run out before the service could answer, so it was not asked at all."""


class Skipped(GatewayError):
    """A call that was not made, or not waited for: it labels a branch, and fails no request."""

    code = "skipped"
    title = "Skipped"
    status = 200


class Internal(GatewayError):
    """A bug of ours. Logged with its traceback and its detail, neither of them ever shown."""

    code = "internal"
    title = "Internal error"
    status = 500


ERRORS: tuple[type[GatewayError], ...] = (
    InvalidRequest,
    InvalidArguments,
    Unauthenticated,
    Forbidden,
    NotFound,
    TooLarge,
    RateLimited,
    Overloaded,
    Unreachable,
    BadReply,
    Rejected,
    DeadlineExceeded,
    Skipped,
    Internal,
)
"""Every code on the wire, in the order of the reference."""
