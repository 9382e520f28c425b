"""What can be told: one frozen class per event, a unit in every name that carries one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    from gateway.core.errors import GatewayError
    from gateway.core.messages import Branch, Request

__all__ = [
    "AbandonedThreadEnded",
    "BreakerChanged",
    "BreakerState",
    "CacheAsked",
    "CallEnded",
    "CallStarted",
    "Coalesced",
    "Event",
    "FaultInjected",
    "Hedged",
    "LimitChanged",
    "LineChanged",
    "LoopBlocked",
    "Places",
    "PlacesMade",
    "Refused",
    "ReplicaChanged",
    "RequestEnded",
    "RequestOutcome",
    "RequestStarted",
    "Retried",
    "RetryWithheld",
    "ThreadAbandoned",
    "WorkerStarted",
]

RequestOutcome: TypeAlias = Literal["ok", "partial", "error", "client_left", "cancelled"]
"""How a request ends for its client.

`cancelled` is what neither the client's leaving nor a failure ended: a host that cancels, the end of
a drain, a client that took its request back.
"""


class RequestStarted(msgspec.Struct, frozen=True):
    """A request was decoded; exactly one `RequestEnded` follows.

    Args:
        request: What is asked for, not checked yet.
    """

    request: Request


class RequestEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A request is over, and nothing of it is left running.

    Args:
        request: As in its `RequestStarted`.
        tool: The tool's or the proxy's name; empty where there is none, for `request.name` is the
            client's own text, which must not become a metric's label.
        outcome: `ok`, `partial`, `error`, `client_left` or `cancelled`.
        error: What the client was told instead of an answer; `None` unless the outcome is `error`.
        duration_s: Seconds from its start to its end.
        budget_s: Seconds it had been granted at its start; may be inf.
        branches: How each of its calls ended, in the plan's order.
        missing: The failures of calls that are absent from a partial answer.
    """

    request: Request
    tool: str
    outcome: RequestOutcome
    error: GatewayError | None = None
    duration_s: float
    budget_s: float
    branches: tuple[Branch, ...] = ()
    missing: tuple[GatewayError, ...] = ()

    @property
    def code(self) -> str:
        """The error's code on the wire, empty where there is none."""
        return "" if self.error is None else self.error.code


class CallStarted(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a plan began; exactly one `CallEnded` follows.

    Args:
        request: The request it belongs to.
        tool: The tool's name.
        call: The call's name in the tool's plan.
        service: The service it goes to.
    """

    request: Request
    tool: str
    call: str
    service: str


class CallEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a plan is over, or was skipped before it began (`branch.started_s` is `None`).

    Args:
        request: The request it belongs to.
        tool: The tool's name.
        branch: How it ended.
    """

    request: Request
    tool: str
    branch: Branch


class ThreadAbandoned(msgspec.Struct, frozen=True):
    """Nobody waits any more for a thread that cannot be stopped; `AbandonedThreadEnded` follows.

    Args:
        service: The service whose limiter the thread still holds a token of.
    """

    service: str


class AbandonedThreadEnded(msgspec.Struct, frozen=True):
    """An abandoned thread has ended, and its token is back.

    Args:
        service: The service whose thread it was.
    """

    service: str


class LoopBlocked(msgspec.Struct, frozen=True):
    """Something held the loop, and nothing else ran meanwhile.

    Args:
        service: The service whose function it was; empty where it was none's.
    """

    service: str


class Places(Protocol):
    """How many may run at once, and how many do; `trio.CapacityLimiter` is one."""

    @property
    def total_tokens(self) -> int | float:
        """How many may."""
        ...

    def statistics(self) -> Any:
        """Its `borrowed_tokens` say how many do, its `tasks_waiting` how many wait for a turn."""
        ...


class PlacesMade(msgspec.Struct, frozen=True):
    """A service has a limit on what runs at once; what shows it asks it when it is itself asked.

    Args:
        service: The service.
        of: Of what.
        places: The limit.
    """

    service: str
    of: Literal["threads", "processes"]
    places: Places


class WorkerStarted(msgspec.Struct, frozen=True):
    """This process is a worker, perhaps in the place of others.

    Args:
        restarts: How many there were in this place before it that ended unasked.
    """

    restarts: int


BreakerState: TypeAlias = Literal["closed", "open", "half_open"]
"""What a breaker is: it lets calls through, none, or one to see how that goes."""


class BreakerChanged(msgspec.Struct, frozen=True, kw_only=True):
    """A service's breaker opened, closed, or lets a call through to see how that goes.

    Args:
        service: The service.
        state: What it is now.
    """

    service: str
    state: BreakerState


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """A call failed and will be tried again.

    Args:
        service: The service.
        call: The call's name in its plan.
        attempt: Which one will follow, 2 or more.
        wait_s: Seconds until then.
        error: What the last one failed with.
    """

    service: str
    call: str
    attempt: int
    wait_s: float
    error: GatewayError


class RetryWithheld(msgspec.Struct, frozen=True, kw_only=True):
    """A call failed and would have been tried again.

    Args:
        service: The service.
        call: The call's name in its plan.
        why: `deadline`: it could not have finished; `budget`: too many were tried again lately.
    """

    service: str
    call: str
    why: Literal["deadline", "budget"]


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A call was not made, to spare its service.

    Args:
        service: The service.
        by: The policy that refused it.
    """

    service: str
    by: Literal["breaker", "limit", "rate"]


class Hedged(msgspec.Struct, frozen=True, kw_only=True):
    """A slow call was made once more, and one of the two has ended by now.

    Args:
        service: The service.
        call: The call's name in its plan.
        won: Whether the later one gave the reply.
    """

    service: str
    call: str
    won: bool


class Coalesced(msgspec.Struct, frozen=True, kw_only=True):
    """A call was not made, since the same one is under way: it waits for that one's reply.

    Args:
        service: The service.
        call: The call's name in its plan.
    """

    service: str
    call: str


class CacheAsked(msgspec.Struct, frozen=True, kw_only=True):
    """A service's cache was asked for a reply.

    Args:
        service: The service.
        call: The call's name in its plan.
        found: `hit`: a good one; `stale`: one that is given while a new one is fetched; `miss`.
    """

    service: str
    call: str
    found: Literal["hit", "miss", "stale"]


class LimitChanged(msgspec.Struct, frozen=True, kw_only=True):
    """How many calls a service has under way at most was found to be another.

    Args:
        service: The service.
        concurrency: How many now.
    """

    service: str
    concurrency: int


class LineChanged(msgspec.Struct, frozen=True, kw_only=True):
    """Calls came to wait for a place of a service's limit, or wait no longer.

    Args:
        service: The service.
        waiting: How many wait now.
    """

    service: str
    waiting: int


class FaultInjected(msgspec.Struct, frozen=True, kw_only=True):
    """A call was made to go wrong, as the configuration asks.

    Args:
        service: The service.
        call: The call's name in its plan.
        fault: What was done to it.
    """

    service: str
    call: str
    fault: Literal["abort", "corrupt", "delay", "hang"]


class ReplicaChanged(msgspec.Struct, frozen=True, kw_only=True):
    """One of several replicas of a service is chosen from now on, or is left out.

    Args:
        service: The service.
        replica: Its host and port.
        is_in: Whether it is chosen.
        why: `start`: it is known from now on; `failures`: it failed several times in a row;
            `share`: it failed more often than the others; `health`: checks found it so; `trial`:
            an attempt was let through, and succeeded.
    """

    service: str
    replica: str
    is_in: bool
    why: Literal["start", "failures", "share", "health", "trial"]


Event: TypeAlias = (
    RequestStarted
    | RequestEnded
    | CallStarted
    | CallEnded
    | ThreadAbandoned
    | AbandonedThreadEnded
    | WorkerStarted
    | BreakerChanged
    | Retried
    | RetryWithheld
    | Refused
    | FaultInjected
    | Hedged
    | Coalesced
    | CacheAsked
    | LimitChanged
    | ReplicaChanged
    | LineChanged
    | LoopBlocked
    | PlacesMade
)
"""Everything that can be told."""
