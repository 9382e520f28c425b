"""Hedged requests: a call that takes long is made once more, and the first answer counts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
import trio

from gateway.config import fields, values
from gateway.config.codec import Codec
from gateway.config.problems import Place, Refused
from gateway.config.text import show
from gateway.core.adapter import Environment
from gateway.core.alarms import Alarms
from gateway.core.begun import Begun
from gateway.core.errors import Overloaded
from gateway.core.messages import Reply, Request
from gateway.core.service import Beginnable, CallFacts, Emit, Service, discard
from gateway.policies.extra_load import ExtraLoad
from gateway.policies.latencies import Latencies
from gateway.policies.observed import observed
from gateway.policies.race import Race
from gateway.telemetry.events import Hedged

__all__ = ["Hedge", "HedgeSettings", "Percentile", "create"]

_SOONEST_S = 0.001
"""No call is made once more before: where most take less, what is slower is chance, not the service."""

_PERCENTILE = re.compile(r"p([0-9]{1,2}(?:\.[0-9]{1,3})?)")


@attrs.frozen(slots=True)
class Percentile:
    """A percentile of what was observed: 0.95 is written `p95`."""

    share: float

    def __str__(self) -> str:
        return f"p{self.share * 100:.7g}"


def _after() -> Codec:
    duration = values.duration()
    wanted = 'a percentile such as "p95" or a duration such as "200ms"'

    def decode(value: Any, place: Place) -> Percentile | float:
        match = _PERCENTILE.fullmatch(value) if isinstance(value, str) else None
        if match is not None and float(match[1]) > 0:
            return Percentile(float(match[1]) / 100)
        try:
            seconds: float = duration.decode(value, place)
        except Refused:
            raise Refused(f"expected {wanted}, got {show(value)}") from None
        return seconds

    def write(after: Percentile | float) -> Any:
        return str(after) if isinstance(after, Percentile) else duration.write(after)

    schema = {"anyOf": [{"type": "string", "pattern": f"^{_PERCENTILE.pattern}$"}, duration.schema]}
    return Codec(decode=decode, wanted=wanted, schema=schema, write=write)


@attrs.frozen(slots=True, kw_only=True)
class HedgeSettings:
    """The keys of `hedge`."""

    after: Percentile | float = fields.field(
        _after(),
        default="p95",
        doc="When a call is made once more: after so long, or after what that share of calls takes.",
    )
    max: int = fields.integer(
        minimum=1, maximum=5, default=1, doc="How often a call is made once more at most."
    )


class Hedge:
    """Makes a slow call once more; the first reply is taken, and the others are cancelled.

    Only calls that are idempotent, only before anything was emitted, only if the hedge can still
    finish, by what calls take at the median, and each paid from the service's `ExtraLoad`. A failure counts only if no attempt is left that may succeed. With a
    percentile nothing is hedged before 20 calls have shown what it is.

    The call itself is made in the caller's task: most need no hedge, and a nursery for each would
    cost more than all else here. A hedge runs in the app's nursery, and has always ended when
    the call has.

    Args:
        settings: Its keys.
        environment: The service's.
        line: Where calls wait for their time.
        latencies: How long calls took.
        call: The call's name.

    Source: Dean and Barroso, "The Tail at Scale", CACM 56(2), 2013.
    """

    def __init__(
        self,
        settings: HedgeSettings,
        environment: Environment,
        line: Alarms,
        latencies: Latencies,
        call: str,
    ) -> None:
        self._settings = settings
        after = settings.after
        self._share = after.share if isinstance(after, Percentile) else None
        self._fixed_s = None if isinstance(after, Percentile) else after
        self._environment = environment
        self._extra = environment.shared(ExtraLoad)
        self._line = line
        self._latencies = latencies
        self._call = call

    async def __call__(self, request: Request, emit: Emit, inner: Service, /) -> Reply:
        """Call `inner`, and again after a while."""
        if not self._extra.retries:
            self._extra.earn()
        start = trio.current_time()
        after_s = self._after_s()
        if after_s is None:
            reply = await inner(request, emit)
            self._latencies.add(trio.current_time() - start)
            return reply
        return await self.race(Race(request, emit, inner), (inner, request, start, after_s))

    def begin(
        self, inner: Beginnable, request: Request, until: float, now: float, /
    ) -> Begun | None:
        """Begin the call."""
        begun = inner.begin(request, until, now)
        if begun is None:
            return None
        if not self._extra.retries:
            self._extra.earn()
        after_s = self._after_s()
        if after_s is None:
            return observed(begun, self._ended, (inner, request, now, math.inf))
        made = (inner, request, now, after_s)
        return observed(begun, self._ended, made, self._goes_on, now + after_s)

    def _ended(
        self, made: _Made, reply: Reply | None, _error: BaseException | None, now: float
    ) -> None:
        """Take note of how long a call took."""
        _, _, start, after_s = made
        # What was cut off took at least so long: that tells something once it is long.
        if reply is not None or now - start > after_s:
            self._latencies.add(now - start)

    def _goes_on(self, begun: Begun, made: _Made, _heard: bool) -> Begun:
        return _Raced(self, begun, made)

    def took(self, made: _Made, reply: Reply | None) -> None:
        """Take note of a call that stood apart, and ends now."""
        self._ended(made, reply, None, trio.current_time())

    async def race(self, race: Race, made: _Made) -> Reply:
        """Run a race for a call."""
        _, _, start, after_s = made
        self._line.add(race, self._more, start + after_s)
        reply = None
        try:
            reply = await race.run()
            return reply
        finally:
            self._line.drop(race)
            self.took(made, reply)
            if race.end():
                with trio.CancelScope(shield=True):  # as a nursery would
                    await race.ended()
            for won in race.hedges:
                environment = self._environment
                environment.record(Hedged(service=environment.service, call=self._call, won=won))

    def _after_s(self) -> float | None:
        if self._share is None:
            return self._fixed_s
        after_s = self._latencies.percentile(self._share)
        return _SOONEST_S if after_s is not None and after_s < _SOONEST_S else after_s

    def _more(self, race: Race) -> None:
        """Start one more attempt, if it may be, and see to the next."""
        end = trio.current_time() + (self._latencies.median or 0.0)
        if race.decided or end >= race.until or not self._extra.take():
            return
        try:
            race.hedge(self._environment.background)
        except Overloaded:  # the gateway is closing
            return
        after_s = self._after_s()
        if after_s is not None and len(race.hedges) < self._settings.max:
            self._line.add(race, self._more, trio.current_time() + after_s)


_Made: TypeAlias = tuple[Service, Request, float, float]
"""Of a call: who is asked, for what; when it was begun, and after how many seconds it is made once more."""


class _Raced:
    """A call that was begun, and is made once more if it takes long; a `Begun`.

    Hedges run only while it is finished: so they have ended when it has.

    Args:
        hedge: What makes it once more.
        begun: The first attempt.
        made: The call.

    Attributes:
        deadline: As `Begun`; its time for one more attempt is one, too.
    """

    __slots__ = ("_begun", "_hedge", "_made", "_open", "deadline", "listen")

    def __init__(self, hedge: Hedge, begun: Begun, made: _Made) -> None:
        self._hedge = hedge
        self._begun = begun
        self._made = made
        self._open = True
        _, _, start, after_s = made
        self.deadline = min(begun.deadline, start + after_s)
        self.listen = begun.listen

    def take(self) -> Reply | None:
        """As `Begun`."""
        reply = self._begun.take()
        if reply is not None:
            self._end(reply)
        return reply

    async def finish(self) -> Reply:
        """As `Begun`."""
        self._open = False
        inner, request, _, _ = self._made
        return await self._hedge.race(Race(request, discard, inner, self._begun), self._made)

    def _end(self, reply: Reply | None) -> None:
        if self._open:
            self._open = False
            self._hedge.took(self._made, reply)

    def close(self) -> None:
        """As `Begun`."""
        self._end(None)
        self._begun.close()


def create(
    settings: HedgeSettings, environment: Environment
) -> Callable[[CallFacts], Hedge | None]:
    """The service's `hedge`; its calls share what is known of how long they take."""
    line = Alarms()
    environment.background.keep(line.attend)
    latencies = Latencies()

    def policy(call: CallFacts) -> Hedge | None:
        if not call.idempotent:
            return None
        return Hedge(settings, environment, line, latencies, call.name)

    return policy
