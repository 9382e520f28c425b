"""Trying again: what may be, while it can help, and no more often than the service can bear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs
import trio

from gateway.config import fields, values
from gateway.core.adapter import Environment
from gateway.core.begun import Begun, finished
from gateway.core.errors import GatewayError
from gateway.core.messages import Reply, Request
from gateway.core.service import Beginnable, CallFacts, Emit, Service, discard
from gateway.policies.extra_load import ExtraLoad
from gateway.policies.failures import Failure, failure_codec, matches
from gateway.policies.latencies import Latencies
from gateway.policies.observed import observed
from gateway.policies.watched import Watched
from gateway.telemetry.events import Retried, RetryWithheld

__all__ = ["Retry", "RetrySettings", "create"]


@attrs.frozen(slots=True, kw_only=True)
class RetrySettings:
    """The keys of `retry`."""

    attempts: int = fields.integer(
        minimum=2,
        maximum=20,
        default=3,
        doc="How often a call is tried at most, the first time included.",
    )
    backoff: float = fields.duration(
        default="50ms",
        doc="The longest wait before the second attempt; doubled for each further one.",
    )
    max_backoff: float = fields.duration(default="1s", doc="The longest wait before any attempt.")
    on: tuple[Failure, ...] = fields.field(
        values.list_of(failure_codec(), wanted='a list of failures such as ["unreachable", 503]'),
        default=("unreachable", 502, 503, 504),
        doc=(
            "After which failures: codes, or statuses of the service; a status also means the "
            "failures of that status which the service did not give one for."
        ),
    )
    budget: float = fields.share(
        none=True,
        default="20%",
        doc="What retries and hedges together may add to the service's traffic.",
    )


class Retry:
    """Tries a call again that failed in passing, after a wait that chance shortens.

    Only calls that are idempotent, only before anything was emitted, only if the next attempt can
    still finish: the wait and the time attempts take at the median are within the budget. A
    service's `Retry-After` is waited for. Each further attempt is paid from the service's
    `ExtraLoad`.

    Args:
        settings: Its keys.
        environment: The service's.
        extra: What further attempts are paid from.
        latencies: How long attempts that succeeded took.
        call: The call's name.

    Raises:
        GatewayError: The last attempt's failure.

    Source: Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), "full jitter".
    """

    def __init__(
        self,
        settings: RetrySettings,
        environment: Environment,
        extra: ExtraLoad,
        latencies: Latencies,
        call: str,
    ) -> None:
        self._settings = settings
        self._on = frozenset(settings.on)
        self._environment = environment
        self._extra = extra
        self._latencies = latencies
        self._call = call

    async def __call__(self, request: Request, emit: Emit, inner: Service, /) -> Reply:
        """Call `inner` until it succeeds, or trying again makes no sense."""
        self._extra.earn()
        return await self.go_on(request, emit, inner)

    def begin(
        self, inner: Beginnable, request: Request, until: float, now: float, /
    ) -> Begun | None:
        """Begin the first attempt."""
        try:
            begun = inner.begin(request, until, now)
        except GatewayError as error:
            if self.may_pass(error):
                return None  # it is called, and tried again then
            raise
        if begun is None:
            return None
        self._extra.earn()
        return observed(begun, self._ended, (inner, request, now), self._goes_on)

    def _ended(
        self, made: _Made, reply: Reply | None, _error: BaseException | None, now: float
    ) -> None:
        """Take note of how a call ended of which one attempt was enough."""
        if reply is not None:
            _, _, start = made
            self._latencies.add(now - start)

    def _goes_on(self, begun: Begun, made: _Made, _heard: bool) -> Begun:
        return _Tried(self, begun, made)

    async def go_on(
        self, request: Request, emit: Emit, inner: Service, made: _Tried | None = None
    ) -> Reply:
        """Call `inner` until it succeeds, from the attempt that was `made` on if one was."""
        watched = Watched(emit)
        attempt = 1
        while True:
            start = trio.current_time() if made is None else made.start
            try:
                reply = await (inner(request, watched) if made is None else made.end())
            except GatewayError as error:
                wait_s = None if watched.emitted else self.wait_s(error, attempt)
                if wait_s is None:
                    raise
                attempt += 1
                self._environment.record(
                    Retried(
                        service=self._environment.service,
                        call=self._call,
                        attempt=attempt,
                        wait_s=wait_s,
                        error=error,
                    )
                )
            else:
                self.took(start)
                return reply
            made = None
            await trio.sleep(wait_s)

    def may_pass(self, error: GatewayError) -> bool:
        """Whether a call that failed like that may be tried again."""
        return matches(error, self._on)

    def took(self, start: float) -> None:
        """Take note of an attempt that succeeded."""
        self._latencies.add(trio.current_time() - start)

    def wait_s(self, error: GatewayError, attempt: int) -> float | None:
        """Seconds until the next attempt; `None` if there is to be none."""
        settings = self._settings
        if attempt >= settings.attempts or not self.may_pass(error):
            return None
        longest_s = min(settings.max_backoff, settings.backoff * 2 ** (attempt - 1))
        wait_s = self._environment.random.uniform(0, longest_s)
        wait_s = max(wait_s, error.retry_after_s or 0.0)
        end = trio.current_time() + wait_s + (self._latencies.median or 0.0)
        if end >= trio.current_effective_deadline():
            self._withhold("deadline")
            return None
        if not self._extra.take():
            self._withhold("budget")
            return None
        return wait_s

    def _withhold(self, why: Literal["budget", "deadline"]) -> None:
        service = self._environment.service
        self._environment.record(RetryWithheld(service=service, call=self._call, why=why))


_Made: TypeAlias = tuple[Service, Request, float]
"""Of a call: who is asked, for what, and when the first attempt was begun."""


class _Tried:
    """A call whose first attempt was begun; a `Begun`.

    Args:
        retry: What tries it again.
        begun: The first attempt.
        made: The call.

    Attributes:
        deadline: As `Begun`.
        start: When it was begun.
    """

    __slots__ = (
        *("_begun", "_failure", "_inner", "_request", "_retry"),
        *("deadline", "listen", "start"),
    )

    def __init__(self, retry: Retry, begun: Begun, made: _Made) -> None:
        self._retry = retry
        self._begun = begun
        self._inner, self._request, self.start = made
        self._failure: GatewayError | None = None
        self.deadline = begun.deadline
        self.listen = begun.listen

    def take(self) -> Reply | None:
        """As `Begun`; a failure that may pass has to be waited for."""
        if self._failure is not None:
            return None
        try:
            reply = self._begun.take()
        except GatewayError as error:
            if not self._retry.may_pass(error):
                raise
            self._failure = error
            return None
        if reply is not None:
            self._retry.took(self.start)
        return reply

    async def finish(self) -> Reply:
        """As `Begun`."""
        return await self._retry.go_on(self._request, discard, self._inner, self)

    async def end(self) -> Reply:
        """The first attempt's reply, or its failure; it has ended then."""
        failure, self._failure = self._failure, None
        if failure is None:
            return await finished(self._begun)
        self._begun.close()
        try:
            raise failure
        finally:
            del failure  # its traceback has this frame

    def close(self) -> None:
        """As `Begun`."""
        self._failure = None
        self._begun.close()


def create(
    settings: RetrySettings, environment: Environment
) -> Callable[[CallFacts], Retry | None]:
    """The service's `retry`; its calls share what it may add to the traffic."""
    extra = environment.shared(ExtraLoad)
    extra.share = settings.budget
    extra.retries = True
    latencies = Latencies()

    def policy(call: CallFacts) -> Retry | None:
        if not call.idempotent:
            return None
        return Retry(settings, environment, extra, latencies, call.name)

    return policy
