"""Hedged requests: a call that takes long is made once more, and the first answer counts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import trio

from gateway.config import fields, values
from gateway.config.codec import Codec
from gateway.config.problems import Place, Refused
from gateway.config.text import show
from gateway.core.adapter import Environment
from gateway.core.background import Background
from gateway.core.errors import Overloaded
from gateway.core.messages import Partial, Reply, Request
from gateway.core.service import CallFacts, Emit, Service
from gateway.policies.apart import Outcome, made_apart
from gateway.policies.extra_load import ExtraLoad
from gateway.policies.latencies import Latencies
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
        line: _Line,
        latencies: Latencies,
        call: str,
    ) -> None:
        self._settings = settings
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
        race = _Race(request, emit, inner)
        self._line.add(race, self._more, start + after_s)
        replied = False
        try:
            reply = await race.run()
            replied = True
            return reply
        finally:
            self._line.drop(race)
            took_s = trio.current_time() - start
            # What was cut off took at least so long: that tells something once it is long.
            if replied or took_s > after_s:
                self._latencies.add(took_s)
            if race.end():
                with trio.CancelScope(shield=True):  # as a nursery would
                    await race.ended()
            for won in race.hedges:
                environment = self._environment
                environment.record(Hedged(service=environment.service, call=self._call, won=won))

    def _after_s(self) -> float | None:
        after = self._settings.after
        if not isinstance(after, Percentile):
            return after
        after_s = self._latencies.percentile(after.share)
        return None if after_s is None else max(after_s, _SOONEST_S)

    def _more(self, race: _Race) -> None:
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


class _Race:
    """The attempts of one call.

    Args:
        request: What each of them asks.
        emit: Takes what is emitted; the attempt that emits first has won.
        inner: What is called.

    Attributes:
        until: When nobody waits for the call any more, on Trio's clock.
    """

    __slots__ = (
        "_chosen",
        "_emit",
        "_hedges",
        "_inner",
        "_moved",
        "_outcome",
        "_over",
        "_primary",
        "_request",
        "_running",
        "_task",
        "until",
    )

    def __init__(self, request: Request, emit: Emit, inner: Service) -> None:
        self._request = request
        self._emit = emit
        self._inner = inner
        self.until = trio.current_effective_deadline()
        self._task = trio.lowlevel.current_task()
        self._primary = trio.CancelScope()
        self._hedges: list[trio.CancelScope] = []
        self._running = 0
        self._chosen: trio.CancelScope | None = None
        self._outcome: Outcome = None
        self._moved = trio.Event()
        self._over = False

    @property
    def hedges(self) -> list[bool]:
        """Of each hedge, whether it won."""
        return [scope is self._chosen for scope in self._hedges]

    @property
    def decided(self) -> bool:
        """Whether one more attempt makes no sense."""
        return self._over or self._chosen is not None

    async def run(self) -> Reply:
        """Make the first attempt; what the first reply of any is, else how the first one failed."""
        failure: BaseException | None = None
        with self._primary:
            try:
                reply = await self._inner(self._request, _Claiming(self, self._primary))
            except Exception as error:
                if not self._running:
                    raise
                failure = error
            else:
                if self._chosen in {None, self._primary}:
                    return reply
        while self._outcome is None and self._running:
            await self._moved.wait()
        outcome = self._outcome
        if isinstance(outcome, Reply):
            return outcome
        # One that had won and brought nothing was cut off: the gateway is closing.
        raise outcome or failure or Overloaded("not answered: the gateway is closing")

    def hedge(self, background: Background) -> None:
        """Start one more attempt.

        Raises:
            Overloaded: The gateway is closing.
        """
        scope = trio.CancelScope(deadline=self.until)
        # In the caller's context: log lines and what Python functions ask for are the request's.
        self._task.context.copy().run(background.start, partial(self._attempt, scope))
        self._hedges.append(scope)
        self._running += 1

    async def _attempt(self, scope: trio.CancelScope) -> None:
        try:
            claiming = _Claiming(self, scope)
            outcome = await made_apart(self._inner, self._request, claiming, scope)
            # How one fails counts only if it had won before.
            if outcome is not None and (
                self.choose(scope) if isinstance(outcome, Reply) else self._chosen is scope
            ):
                self._outcome = outcome
        finally:
            self._running -= 1
            self._moved.set()
            self._moved = trio.Event()

    def choose(self, scope: trio.CancelScope) -> bool:
        """Whether the attempt in `scope` is the one that counts; the others are cancelled then."""
        if self._chosen is None:
            self._chosen = scope
            for other in (self._primary, *self._hedges):
                if other is not scope:
                    other.cancel()
        return self._chosen is scope

    async def emit(self, scope: trio.CancelScope, item: Partial) -> None:
        """Pass on what the attempt in `scope` emits, unless another is the one that counts."""
        if not self.choose(scope):
            await trio.sleep_forever()  # it was cancelled
        await self._emit(item)

    def end(self) -> bool:
        """Have every hedge end; whether that is to be waited for."""
        self._over = True
        for scope in self._hedges:
            scope.cancel()
        return bool(self._running)

    async def ended(self) -> None:
        """Wait until every hedge has ended."""
        while self._running:
            await self._moved.wait()


class _Claiming:
    """One attempt's `Emit`."""

    __slots__ = ("_race", "_scope")

    def __init__(self, race: _Race, scope: trio.CancelScope) -> None:
        self._race = race
        self._scope = scope

    async def __call__(self, item: Partial, /) -> None:
        await self._race.emit(self._scope, item)


class _Line:
    """Calls that wait for the time at which they are made once more, those of a service together.

    One task sees to all of them, and wakes for the next. Most calls end before: to join and to
    leave costs little, and to find the next one, when that task wakes, as much as there are.
    """

    def __init__(self) -> None:
        self._waiting: dict[_Race, tuple[float, Callable[[_Race], None]]] = {}
        self._alarm = trio.CancelScope()

    def add(self, race: _Race, more: Callable[[_Race], None], at: float) -> None:
        """Call `more`, which neither waits nor fails, at a time on Trio's clock."""
        self._waiting[race] = (at, more)
        if at < self._alarm.deadline:  # noqa: PLR1730 - to move a deadline costs more than to look at it
            self._alarm.deadline = at

    def drop(self, race: _Race) -> None:
        """Let `race` wait no longer, if it does."""
        self._waiting.pop(race, None)

    async def attend(self) -> None:
        """See to them, until cancelled."""
        while True:
            first = min([at for at, _ in self._waiting.values()], default=math.inf)
            with trio.CancelScope(deadline=first) as self._alarm:
                await trio.sleep_forever()
            now = trio.current_time()
            due = [(race, more) for race, (at, more) in self._waiting.items() if at <= now]
            for race, more in due:
                del self._waiting[race]
                more(race)


def create(
    settings: HedgeSettings, environment: Environment
) -> Callable[[CallFacts], Hedge | None]:
    """The service's `hedge`; its calls share what is known of how long they take."""
    line = _Line()
    environment.background.keep(line.attend)
    latencies = Latencies()

    def policy(call: CallFacts) -> Hedge | None:
        if not call.idempotent:
            return None
        return Hedge(settings, environment, line, latencies, call.name)

    return policy
