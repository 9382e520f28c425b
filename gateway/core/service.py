"""The one abstraction: everything that does work is a `Service`, all that guards it a `Policy`.

Four things move, by four means of the language: the **deadline** goes down with Trio's ambient
cancel scope, **partial output** goes out through `emit`, the **reply** comes back by `return`,
**failure** by `raise`. There is no `deadline` parameter: Trio keeps the minimum of all enclosing
scopes, and `trio.current_effective_deadline()` reads it.

The laws, kept by every change and enforced by `tests/core/test_laws.py` and the contract suites:

1. `Cancelled` is never caught; a policy never counts it as a failure of the service.
2. Expected failures leave a `Service` as one bare `GatewayError`, never inside an
   `ExceptionGroup`.
3. No task outlives the call that started it. What must outlive a request (a committed write)
   belongs to a named nursery of the app, with a bound of its own.
4. Retry and hedge only what is idempotent, only before the first `emit`, only if it can still
   finish before the deadline, only from a shared budget.
5. Never `yield` inside a scope or a nursery, `@asynccontextmanager` aside.
6. Nothing blocks the loop. Blocking code runs in `trio.to_thread` under its service's own
   `CapacityLimiter`; `abandon_on_cancel` is always written out; an abandoned thread keeps its
   token and is counted until it ends.
7. Whatever comes from outside (bodies, headers, schemas, downstream replies) has a size bound
   before it is buffered.
8. The cost of a feature that is off is zero: a policy that is not configured is not in the stack.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Protocol, TypeAlias

import attrs

from gateway.core.begun import Begin, begin_of
from gateway.core.errors import GatewayError
from gateway.core.messages import Partial, Priority, Reply, Request

__all__ = [
    "Beginnable",
    "CallFacts",
    "Emit",
    "Policy",
    "Refuses",
    "Service",
    "discard",
    "guard",
]

Emit: TypeAlias = Callable[[Partial], Awaitable[None]]
"""Takes a partial on its way out; blocking in it is back-pressure."""


class Service(Protocol):
    """Does one request's work.

    Args:
        request: What to do. Its values come from outside and were validated there.
        emit: Where partial output goes. Once it was called, the request may not be tried again.

    Returns:
        The reply, whole.

    Raises:
        GatewayError: Every expected failure, bare.

    Cancellation: leaves nothing behind: no task, no connection, no permit; a thread that cannot
    be stopped is counted until it ends.
    """

    async def __call__(self, request: Request, emit: Emit, /) -> Reply:
        """Do it."""
        ...


class Beginnable(Service, Protocol):
    """A `Service` whose calls can be begun without waiting."""

    @property
    def begin(self) -> Begin:
        """Begin one."""
        ...


Refuses: TypeAlias = Callable[[Priority], GatewayError | None]
"""What a policy would refuse a call of this priority with if it came now; `None` if it would not.

It changes nothing. A request is refused at the front where a call that it cannot do without would be:
before any other of its calls is made for nothing.
"""


class Policy(Protocol):
    """Guards a `Service`: same promise, one more argument.

    One whose calls can be begun without waiting has a method `begin`, which takes what is guarded,
    whose calls can be, the request, the end of its budget, and the time: see `Begin`. One that sends calls
    away has a method `refuses`: see `Refuses`.

    Args:
        request: As for `Service`.
        emit: As for `Service`.
        inner: What is guarded. May be called never, once or several times.
    """

    async def __call__(self, request: Request, emit: Emit, inner: Service, /) -> Reply:
        """Do it, guarded."""
        ...


@attrs.frozen(slots=True, kw_only=True)
class CallFacts:
    """What a policy may know at load of the call it guards.

    Args:
        name: The call's name in its plan.
        idempotent: Whether making it twice is harmless.
        read_only: Whether it changes nothing.
        identity: The same for calls whose requests, with the same arguments, are the same to the
            service; empty where that cannot be known.
        headers: The client's headers that the service sees.
    """

    name: str
    idempotent: bool
    read_only: bool
    identity: str = ""
    headers: tuple[str, ...] = ()


async def discard(partial: Partial, /) -> None:
    """The `Emit` of whoever only wants the reply."""


def guard(service: Service, policies: Iterable[Policy]) -> Service:
    """Put `policies` around `service`, the first of them outermost.

    Without policies it is `service` itself: what is off costs nothing.
    """
    for policy in reversed(tuple(policies)):
        service = _guarded(service, policy)
    return service


def _guarded(inner: Service, policy: Policy) -> Service:
    return _Guarded(policy, inner)


class _Guarded:
    """A guarded `Service`; one whose calls can be begun, if its policy and what it guards can."""

    __slots__ = ("_inner", "_policy", "begin")

    def __init__(self, policy: Policy, inner: Service) -> None:
        self._policy = policy
        self._inner = inner
        begin = getattr(policy, "begin", None)
        self.begin: Begin | None = None
        if begin is not None and begin_of(inner) is not None:
            self.begin = partial(begin, inner)

    async def __call__(self, request: Request, emit: Emit, /) -> Reply:
        return await self._policy(request, emit, self._inner)
