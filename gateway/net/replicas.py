"""Several addresses of one service: who is asked next, and who is left out for a while.

No I/O: who sends says how each attempt ended, and who checks says what it found.

Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001); Envoy's
outlier detection, for consecutive failures and success rates.
"""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Literal, Self, TypeAlias

import trio

from gateway.core.begun import Begun
from gateway.core.errors import BadReply, GatewayError, Unreachable
from gateway.core.messages import Reply, Request
from gateway.net.messages import Origin

__all__ = ["Attempt", "Replica", "Replicas", "Tell", "Why"]

Why: TypeAlias = Literal["start", "failures", "share", "health", "trial"]
"""Why a replica is in or out.

It always was; it failed several times in a row; it failed more often than the others; a check found
it so; an attempt was let through and found it so.
"""

Tell: TypeAlias = Callable[["Replica", Why], None]
"""Told of each replica that is in or out from now on; neither raises nor waits."""

_Verdict: TypeAlias = Literal["success", "failure", "late", "neither"]

_IN_A_ROW = 5
"""Failures one after the other that put a replica out."""
_SLOT_S = 5.0
"""Shares are of the last one to two of these."""
_LEAST = 5
"""Attempts that a share is told from."""
_FIRST_OUT_S = 4.0
_LONGEST_OUT_S = 8.0
"""Out for so long at first, twice as long each further time, and never longer than this."""
_FORGIVEN_S = 30.0
"""After so long in, the next time out is a first one."""


class Replica:
    """One address.

    Args:
        origin: Where it is.

    Attributes:
        origin: As above.
        pending: Attempts under way.
        ejected: Whether attempts put it out.
        healthy: Whether checks find it well; `True` where nobody checks.
    """

    __slots__ = (
        *("ejected", "healthy", "origin", "pending"),
        *("_back_at", "_before", "_in_a_row", "_in_since", "_now", "_out_s", "_slot", "_trying"),
    )

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.pending = 0
        self.ejected = False
        self.healthy = True
        self._in_a_row = 0
        self._now = self._before = (0, 0)
        self._slot = -1
        self._in_since = 0.0
        self._back_at = 0.0
        self._out_s = 0.0
        self._trying = False

    @property
    def is_in(self) -> bool:
        """Whether it is among those that are chosen from."""
        return self.healthy and not self.ejected

    def is_due(self, now: float) -> bool:
        """Whether it is out, and one attempt may find out if that still has to be."""
        return self.ejected and self.healthy and not self._trying and now >= self._back_at

    def begin(self, now: float) -> bool:
        """Take note of an attempt; whether it is the one that finds out."""
        trial = self.is_due(now)
        self._trying = self._trying or trial
        self.pending += 1
        return trial

    def end(self, verdict: _Verdict, *, trial: bool) -> None:
        """Take note of how it ended."""
        self.pending -= 1
        if trial:
            self._trying = False
        if verdict == "neither":
            return
        self._in_a_row = 0 if verdict == "success" else self._in_a_row + (verdict == "failure")
        self._turn()
        total, failed = self._now
        self._now = (total + 1, failed + (verdict != "success"))

    def _turn(self) -> None:
        slot = int(trio.current_time() / _SLOT_S)
        if slot != self._slot:
            self._before = self._now if slot == self._slot + 1 else (0, 0)
            self._now = (0, 0)
            self._slot = slot

    @property
    def counts(self) -> tuple[int, int]:
        """The attempts that lately told something, and how many of them failed or were late."""
        self._turn()
        return self._now[0] + self._before[0], self._now[1] + self._before[1]

    @property
    def fails_in_a_row(self) -> bool:
        """Whether so many failed one after the other that it is to be out."""
        return self._in_a_row >= _IN_A_ROW

    def put_out(self, now: float) -> None:
        """Choose it no more for a while."""
        forgiven = not self.ejected and now - self._in_since > _FORGIVEN_S
        self._out_s = min(_LONGEST_OUT_S, self._out_s * 2) if not forgiven else 0.0
        self._out_s = self._out_s or _FIRST_OUT_S
        self.ejected = True
        self._back_at = now + self._out_s

    def let_in(self, now: float) -> None:
        """Choose it again; what it did before counts no more."""
        self.ejected = False
        self._in_since = now
        self._in_a_row = 0
        self._now = self._before = (0, 0)


class Replicas:
    """Chooses the replica of each attempt: of two by chance, the one with fewer attempts under way.

    One that fails five times in a row, or half of the time while the others fail less than half as
    often, is out for a while. Then one attempt is let through: its success lets the replica in
    again, its failure puts it out for longer. What ran out of time counts for the second rule
    alone: a small budget is nobody's fault, and finds all of them as slow. Never is more than half
    put out by attempts; if checks leave none, all are chosen from.

    An attempt for a request that others were made for goes to another replica, if there is one.

    Args:
        origins: Where they are; two or more, or one that is only checked.
        chance: Who is compared.
        tell: Told of who is in and out.
    """

    def __init__(self, origins: Sequence[Origin], chance: random.Random, tell: Tell) -> None:
        self.all = tuple(Replica(origin) for origin in origins)
        self._in = list(self.all)
        self._chance = chance
        self._tell = tell
        # By the request's identity: it is gone with the request.
        self._tried: dict[int, tuple[weakref.ref[Request], list[Replica]]] = {}

    def attempt(self, request: Request, until: float) -> Attempt:
        """Choose a replica, and count an attempt as under way there; it is to be ended.

        Args:
            request: What it is made for.
            until: When it runs out of time, on Trio's clock; may be inf.
        """
        tried = self._tried_for(request)
        now = trio.current_time()
        replica = self._choose(tried, now)
        tried.append(replica)
        return Attempt(self, replica, tried, until, trial=replica.begin(now))

    def _tried_for(self, request: Request) -> list[Replica]:
        key = id(request)
        found = self._tried.get(key)
        if found is None:
            gone = weakref.ref(request, lambda _ref: self._tried.pop(key, None))
            found = self._tried[key] = (gone, [])
        return found[1]

    def _choose(self, tried: Sequence[Replica], now: float) -> Replica:
        if len(self._in) < len(self.all):
            for replica in self.all:
                if replica.is_due(now) and replica not in tried:
                    return replica
        choice: Sequence[Replica] = self._in or self.all
        if tried:
            others = [replica for replica in choice if replica not in tried]
            choice = others or [one for one in choice if one is not tried[-1]] or choice
        if len(choice) == 1:
            return choice[0]
        one, other = self._chance.sample(choice, 2)
        return other if other.pending < one.pending else one

    def ended(self, replica: Replica, verdict: _Verdict, *, trial: bool) -> None:
        """Take note of how an attempt ended."""
        replica.end(verdict, trial=trial)
        if verdict == "neither":
            return
        now = trio.current_time()
        if trial and replica.ejected:
            if verdict == "success":
                replica.let_in(now)
                self._changed(replica, "trial")
            else:
                replica.put_out(now)
        elif verdict != "success" and not replica.ejected:
            why: Why = "failures" if replica.fails_in_a_row else "share"
            if (why == "failures" or self._is_worse(replica)) and self._may_eject(replica):
                replica.put_out(now)
                self._changed(replica, why)

    def _is_worse(self, replica: Replica) -> bool:
        """Whether it fails half of the time, and the others less than half as often."""
        total, failed = replica.counts
        if total < _LEAST or failed * 2 < total:
            return False
        counts = [other.counts for other in self._in if other is not replica]
        others, bad = sum(count[0] for count in counts), sum(count[1] for count in counts)
        return others >= _LEAST and bad * total * 2 < failed * others

    def _may_eject(self, replica: Replica) -> bool:
        out = sum(not other.is_in for other in self.all if other is not replica)
        return out + 1 <= len(self.all) // 2

    def found(self, replica: Replica, *, healthy: bool) -> None:
        """Take note of what checks found; well after it was not, it is in whatever it did."""
        if healthy == replica.healthy:
            return
        replica.healthy = healthy
        if healthy:
            replica.let_in(trio.current_time())
        self._changed(replica, "health")

    def _changed(self, replica: Replica, why: Why) -> None:
        self._in = [each for each in self.all if each.is_in]
        self._tell(replica, why)


class Attempt:
    """One attempt at one replica: a context that takes note of how it ends.

    Args:
        replicas: Who chose.
        replica: Who is asked.
        tried: Whom the request was tried at; it is the last.
        until: When it runs out of time, on Trio's clock.
        trial: Whether it finds out if the replica is well again.

    Attributes:
        origin: Where it goes.
    """

    __slots__ = ("_ended", "_replica", "_replicas", "_trial", "_tried", "_until", "origin")

    def __init__(
        self,
        replicas: Replicas,
        replica: Replica,
        tried: list[Replica],
        until: float,
        *,
        trial: bool,
    ) -> None:
        self.origin = replica.origin
        self._replicas = replicas
        self._replica = replica
        self._tried = tried
        self._until = until
        self._trial = trial
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.end("success" if error is None else self._verdict_on(error))

    def _verdict_on(self, error: BaseException) -> _Verdict:
        if isinstance(error, (Unreachable, BadReply)):
            return "failure"
        if isinstance(error, GatewayError):  # it said no, and so it is there; or nothing was sent
            return "neither" if error.service_status is None else "success"
        return self._cut()

    def _cut(self) -> _Verdict:
        """What it means that it was cancelled."""
        return "late" if trio.current_time() >= self._until else "neither"

    def begun(self, begin: Callable[[], Begun | None]) -> Begun | None:
        """What `begin` begins, watched for how it ends; `None` if nothing: then nothing was tried.

        Raises:
            GatewayError: As `begin`.
        """
        try:
            begun = begin()
        except BaseException as error:
            self.end(self._verdict_on(error))
            raise
        if begun is None:
            self._tried.pop()
            self.end("neither")
            return None
        return _Watched(begun, self)

    def end(self, verdict: _Verdict | None = None) -> None:
        """It ended; without a verdict it was cut off. Told again, it counts for nothing."""
        if not self._ended:
            self._ended = True
            self._replicas.ended(self._replica, verdict or self._cut(), trial=self._trial)


class _Watched:
    """A call that was begun at a replica."""

    __slots__ = ("_attempt", "_begun", "deadline", "listen")

    def __init__(self, begun: Begun, attempt: Attempt) -> None:
        self._begun = begun
        self._attempt = attempt
        self.deadline = begun.deadline
        self.listen = begun.listen

    def take(self) -> Reply | None:
        """As `Begun`."""
        try:
            reply = self._begun.take()
        except GatewayError as error:
            self._attempt.__exit__(None, error, None)
            raise
        if reply is not None:
            self._attempt.end("success")
        return reply

    async def finish(self) -> Reply:
        """As `Begun`."""
        with self._attempt:
            return await self._begun.finish()

    def close(self) -> None:
        """As `Begun`."""
        self._begun.close()
        self._attempt.end()
