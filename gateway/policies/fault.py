"""Faults on purpose: delays, failures, silence and nonsense, for some share of the calls."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
import msgspec
import trio

from gateway.config import fields
from gateway.core.adapter import Environment
from gateway.core.begun import Begun
from gateway.core.content import plain
from gateway.core.messages import Reply, Request
from gateway.core.service import Beginnable, CallFacts, Emit, Service
from gateway.policies.failures import Failure, failure_codec, failure_of
from gateway.telemetry.events import FaultInjected
from gateway.telemetry.logs import logger

__all__ = ["Fault", "FaultSettings", "create"]

_encode = msgspec.json.Encoder(enc_hook=plain).encode

_Draws: TypeAlias = tuple[float, float, float, float]


@attrs.frozen(slots=True, kw_only=True)
class FaultSettings:
    """The keys of `fault`."""

    delay: float | None = fields.duration(default=None, doc="How long a call is held back first.")
    delay_share: float | None = fields.share(
        default=None, doc="Of how many calls; without it of all, if there is a `delay`."
    )
    abort: Failure | None = fields.field(
        failure_codec(), default=None, doc="The failure that calls end with: a code or a status."
    )
    abort_share: float | None = fields.share(
        default=None, doc="How many calls; without it all, if there is an `abort`."
    )
    corrupt_share: float | None = fields.share(
        default=None, doc="How many replies are cut in half."
    )
    hang_share: float | None = fields.share(default=None, doc="How many calls are never answered.")
    seed: int | None = fields.integer(
        default=None, doc="What chance follows from, to have the same faults again."
    )


class Fault:
    """Makes calls go wrong, each kind of fault by its own share of chance.

    Args:
        settings: Its keys.
        environment: The service's.
        chance: What decides.
        call: The call's name.

    Raises:
        GatewayError: The `abort`.
    """

    def __init__(
        self,
        settings: FaultSettings,
        environment: Environment,
        chance: random.Random,
        call: str,
    ) -> None:
        self._settings = settings
        self._shares = _shares(settings)
        self._largest = max(self._shares)
        self._environment = environment
        self._chance = chance
        self._call = call
        self._spare: _Draws | None = None

    async def __call__(self, request: Request, emit: Emit, inner: Service, /) -> Reply:
        """Call `inner`, or have that go wrong."""
        settings = self._settings
        delayed, hung, aborted, corrupted = map(operator.lt, self._draw(), self._shares)
        if delayed and settings.delay is not None:
            self._tell("delay")
            await trio.sleep(settings.delay)
        if hung:
            self._tell("hang")
            await trio.sleep_forever()
        if aborted and settings.abort is not None:
            self._tell("abort")
            await trio.lowlevel.checkpoint()
            raise failure_of(settings.abort, "a fault that was asked for in the configuration")
        reply = await inner(request, emit)
        if corrupted:
            self._tell("corrupt")
            return _cut(reply)
        return reply

    def begin(
        self, inner: Beginnable, request: Request, until: float, now: float, /
    ) -> Begun | None:
        """Begin the call, unless it is to go wrong."""
        draws = self._draw()
        begun = None
        # Most are past the largest of the shares, and so past each of them.
        if min(draws) >= self._largest or not any(map(operator.lt, draws, self._shares)):
            begun = inner.begin(request, until, now)
        if begun is None:
            self._spare = draws
        return begun

    def _draw(self) -> _Draws:
        """Chance for one call: what the last one, which could not be begun, left over, or anew.

        Drawn all at once: what one share decides must not move what the others draw.
        """
        draws, self._spare = self._spare, None
        if draws is None:
            draw = self._chance.random
            draws = (draw(), draw(), draw(), draw())
        return draws

    def _tell(self, fault: Any) -> None:
        environment = self._environment
        environment.record(FaultInjected(service=environment.service, call=self._call, fault=fault))


def _shares(settings: FaultSettings) -> _Draws:
    """Of how many calls each fault is: delay, silence, failure, nonsense."""
    delay = 1.0 if settings.delay_share is None else settings.delay_share
    abort = 1.0 if settings.abort_share is None else settings.abort_share
    return (
        0.0 if settings.delay is None else delay,
        settings.hang_share or 0.0,
        0.0 if settings.abort is None else abort,
        settings.corrupt_share or 0.0,
    )


def _cut(reply: Reply) -> Reply:
    """The first half of a reply, as the text it is; of one that is none, nothing."""
    try:
        text = _encode(reply.value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):
        text = ""
    return Reply(text[: len(text) // 2])


def create(settings: FaultSettings, environment: Environment) -> Callable[[CallFacts], Fault]:
    """The service's `fault`; loud, for nobody wants it to be forgotten."""
    logger("gateway.policies.fault").warning(
        "faults are injected on purpose", service=environment.service
    )
    chance = environment.random if settings.seed is None else random.Random(settings.seed)  # noqa: S311 - no secret
    return lambda call: Fault(settings, environment, chance, call.name)
