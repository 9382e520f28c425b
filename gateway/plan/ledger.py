"""What telemetry is told of one request."""

from __future__ import annotations

import math
from typing import Protocol

import trio

from gateway.core.errors import GatewayError, Rejected, Skipped
from gateway.core.messages import Branch, Context, Reply, Request
from gateway.core.peer import JsonRpcError
from gateway.net.asgi import client_has_left
from gateway.telemetry.events import RequestEnded, RequestOutcome, RequestStarted
from gateway.telemetry.hub import Telemetry

__all__ = ["Ledger", "book_refusal", "refused_by"]


class Way(Protocol):
    """A request's way, once it has begun: through a plan, or on to one server."""

    @property
    def branches(self) -> tuple[Branch, ...]:
        """How each call ended, as far as it has."""
        ...

    def abandon(self, reason: str, /) -> None:
        """Book the calls that were cut off because nobody waits for the answer any more."""
        ...


class Ledger:
    """Tells telemetry of one request's start and, however it ends, of its end.

    Args:
        telemetry: Who is told.
        request: As it came in.
        tool: The tool's name; empty where there is none.
        budget_s: Seconds it was granted; may be inf.

    Attributes:
        run: Its way, once it has begun.
        reply: The answer; to be set before the context ends without an exception.
    """

    __slots__ = ("_budget_s", "_request", "_start", "_telemetry", "_tool", "reply", "run")

    def __init__(self, telemetry: Telemetry, request: Request, tool: str, budget_s: float) -> None:
        self._telemetry = telemetry
        self._request = request
        self._tool = tool
        self._budget_s = budget_s
        self._start = trio.current_time()
        self.run: Way | None = None
        self.reply: Reply

    def __enter__(self) -> None:
        self._telemetry.record(RequestStarted(self._request))

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        outcome: RequestOutcome = "ok"
        branches: tuple[Branch, ...] = ()
        missing: tuple[GatewayError, ...] = ()
        if isinstance(error, JsonRpcError):
            error = refused_by(error)
        if error is None:
            missing = self.reply.missing
            if missing and any(not isinstance(one, Skipped) for one in missing):
                outcome = "partial"
            branches = self.reply.branches
        elif isinstance(error, GatewayError):
            outcome = "error"
            if self.run is not None:
                self.run.abandon("the request had failed")
        else:  # cancelled from outside: nobody waits for the answer
            left = client_has_left()
            outcome = "client_left" if left else "cancelled"
            if self.run is not None:
                self.run.abandon("the client left" if left else "the request was cancelled")
        if error is not None and self.run is not None:
            branches = self.run.branches
        self._telemetry.record(
            RequestEnded(
                request=self._request,
                tool=self._tool,
                outcome=outcome,
                error=error if isinstance(error, GatewayError) else None,
                duration_s=trio.current_time() - self._start,
                budget_s=self._budget_s,
                branches=branches,
                missing=missing,
            )
        )


def book_refusal(
    telemetry: Telemetry, context: Context, error: GatewayError, *, duration_s: float
) -> None:
    """Tell telemetry of a request that is refused before any tool is called.

    Args:
        telemetry: Who is told.
        context: Who sent it.
        error: What the client is told.
        duration_s: Seconds since its head was read.
    """
    request = Request("", {}, context)
    telemetry.record(RequestStarted(request))
    telemetry.record(
        RequestEnded(
            request=request,
            tool="",
            outcome="error",
            error=error,
            duration_s=duration_s,
            budget_s=math.inf,
        )
    )


def refused_by(error: JsonRpcError) -> Rejected:
    """What telemetry is told of a server's own error: its code, not its words."""
    return Rejected(f"the server answered with error {error.code}")
