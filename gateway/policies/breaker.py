"""The circuit breaker: a service that keeps failing is left alone for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs
import trio

from gateway.config import fields
from gateway.config.units import format_duration, format_share
from gateway.core.adapter import Environment
from gateway.core.begun import Begun
from gateway.core.errors import (
    BadReply,
    DeadlineExceeded,
    GatewayError,
    NotCalled,
    Overloaded,
    Rejected,
    Unreachable,
)
from gateway.core.messages import Context, Priority, Reply, Request
from gateway.core.service import Beginnable, CallFacts, Emit, Service
from gateway.policies.observed import observed
from gateway.telemetry.events import BreakerChanged, BreakerState, Refused

__all__ = ["Breaker", "BreakerSettings", "create"]

_SLOTS = 10
"""Parts of the window: it slides by one of them at a time."""

_Verdict: TypeAlias = Literal["success", "failure", "neither"]


@attrs.frozen(slots=True, kw_only=True)
class BreakerSettings:
    """The keys of `breaker`."""

    failures: float = fields.share(default="50%", doc="The share of failures from which it opens.")
    of: int = fields.integer(
        minimum=1, default=20, doc="Of how many calls within the window at least."
    )
    window: float = fields.duration(default="10s", doc="The time that failures are counted over.")
    open: float = fields.duration(
        default="5s", doc="How long it stays open before one call may probe the service."
    )


class Breaker:
    """Refuses calls to a service that mostly fails, and lets one through to see if it is well again.

    Closed, it counts: a failure is a service that cannot be reached, a bad reply, a 5xx among
    them, and an attempt that ran out of its own time; a 4xx is none, and what was cancelled counts
    for nothing. Once enough calls failed it is open, and refuses at once. After its time it is half
    open: exactly one call goes through; its success closes the breaker, its failure opens it again,
    and if it is cancelled the next one probes. Other calls of its own request wait for how it ends:
    refused, they would fail the request, and so cancel the probe.

    One for all calls of a service.

    Args:
        settings: Its keys.
        environment: The service's.

    Attributes:
        state: `closed`, `open` or `half_open`.

    Raises:
        Overloaded: It is open.

    Source: Nygard, Release It!, second edition, chapter 5.
    """

    def __init__(self, settings: BreakerSettings, environment: Environment) -> None:
        self._settings = settings
        self._environment = environment
        self.state: BreakerState = "closed"
        self._window = _Window(settings.window)
        self._probe_at = 0.0
        self._probing_for: Context | None = None
        self._probed = trio.Event()

    async def __call__(self, request: Request, emit: Emit, inner: Service, /) -> Reply:
        """Call `inner`, unless it is open."""
        while self._probing_for is request.context:
            await self._probed.wait()
        window = self._admit(request.context)
        verdict: _Verdict = "neither"
        try:
            reply = await inner(request, emit)
            verdict = "success"
            return reply
        except Exception as error:
            verdict = _verdict_on(error)
            raise
        finally:
            self._take(verdict, window, trio.current_time())

    def begin(
        self, inner: Beginnable, request: Request, until: float, now: float, /
    ) -> Begun | None:
        """Begin the call, if it is closed."""
        if self.state != "closed":
            return None
        window = self._window
        try:
            begun = inner.begin(request, until, now)
        except Exception as error:
            self._take(_verdict_on(error), window, now)
            raise
        if begun is None:
            return None
        return observed(begun, self._ended, window)

    def _ended(
        self, window: _Window, reply: Reply | None, error: BaseException | None, now: float
    ) -> None:
        """Take note of how a call that was begun ended."""
        if reply is not None:
            self._take("success", window, now)
        elif error is not None:
            self._take(_verdict_on(error), window, now)

    def _admit(self, context: Context) -> _Window | None:
        """What the call about to be made counts in; `None` if it is the probe.

        Raises:
            Overloaded: It must not be made.
        """
        if self.state == "closed":
            return self._window
        left_s = self._probe_at - trio.current_time()
        if left_s > 0 or self._probing_for is not None:
            raise self._refusal(left_s)
        self._probing_for, self._probed = context, trio.Event()
        self._become("half_open")
        return None

    def refuses(self, _priority: Priority, /) -> Overloaded | None:
        """As `Refuses`."""
        if self.state == "closed":
            return None
        left_s = self._probe_at - trio.current_time()
        return self._refusal(left_s) if left_s > 0 else None

    def _refusal(self, left_s: float) -> Overloaded:
        settings, environment = self._settings, self._environment
        environment.record(Refused(service=environment.service, by="breaker"))
        return Overloaded(
            f"not called: its breaker is open, since {format_share(settings.failures)} or more "
            f"of its calls failed within {format_duration(settings.window)}",
            retry_after_s=max(left_s, 0.0) or settings.open,
        )

    def _take(self, verdict: _Verdict, window: _Window | None, now: float) -> None:
        """Take note of how a call ended."""
        if window is None:
            self._probing_for = None
            self._probed.set()
            if verdict == "success":
                self._window = _Window(self._settings.window)
                self._become("closed")
            elif verdict == "failure":
                self._open()
        elif self.state == "closed" and window is self._window and verdict != "neither":
            # One that began before it opened last tells nothing of the service as it is now.
            total, failed = window.add(now, failed=verdict == "failure")
            settings = self._settings
            if total >= settings.of and failed >= settings.failures * total:
                self._open()

    def _open(self) -> None:
        self._probe_at = trio.current_time() + self._settings.open
        self._become("open")

    def _become(self, state: BreakerState) -> None:
        if state != self.state:
            self.state = state
            service = self._environment.service
            self._environment.record(BreakerChanged(service=service, state=state))


def _verdict_on(error: BaseException) -> _Verdict:
    """What a failure says of the service; a bug says that it fails too."""
    if not isinstance(error, GatewayError):
        return "failure"
    if isinstance(error, (Unreachable, BadReply)):
        return "failure"
    if isinstance(error, DeadlineExceeded):
        return "neither" if isinstance(error, NotCalled) else "failure"
    if isinstance(error, Rejected) or error.service_status is not None:
        return "success"  # it said no, and so it is there
    return "neither"


class _Window:
    """Successes and failures of the last seconds, in parts that are dropped one at a time."""

    __slots__ = ("_counts", "_failed", "_part", "_slot_s", "_total")

    def __init__(self, seconds: float) -> None:
        self._slot_s = seconds / _SLOTS
        self._counts = [(0, 0)] * _SLOTS
        self._part = 0
        self._total = 0
        self._failed = 0

    def add(self, now: float, *, failed: bool) -> tuple[int, int]:
        """Count one; how many there are with it, and how many of them failed."""
        part = int(now / self._slot_s)
        if part > self._part:
            self._slide_to(part)
        total, bad = self._counts[part % _SLOTS]
        self._counts[part % _SLOTS] = (total + 1, bad + failed)
        self._total += 1
        self._failed += failed
        return self._total, self._failed

    def _slide_to(self, part: int) -> None:
        for passed in range(max(self._part + 1, part - _SLOTS + 1), part + 1):
            total, bad = self._counts[passed % _SLOTS]
            self._total -= total
            self._failed -= bad
            self._counts[passed % _SLOTS] = (0, 0)
        self._part = part


def create(settings: BreakerSettings, environment: Environment) -> Callable[[CallFacts], Breaker]:
    """The service's `breaker`: one for all of its calls."""
    breaker = Breaker(settings, environment)
    return lambda _call: breaker
