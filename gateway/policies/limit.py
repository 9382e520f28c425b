"""Limits: how many calls a service has under way, who waits for a place, and who is sent away."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

import attrs
import trio

from gateway.config import fields, values
from gateway.config.units import format_duration, format_share
from gateway.core.adapter import Environment
from gateway.core.begun import Begun
from gateway.core.errors import DeadlineExceeded, GatewayError, Overloaded
from gateway.core.messages import PRIORITIES, Priority, Reply, Request
from gateway.core.service import Beginnable, CallFacts, Emit, Service
from gateway.policies.capacity import Capacity
from gateway.policies.latencies import Latencies
from gateway.policies.observed import observed
from gateway.telemetry.events import LimitChanged, LineChanged, Refused

__all__ = ["FIXED", "Limit", "LimitSettings", "create"]

_CROWDED_S = 0.1
_SHARE_WAITING = 0.1
_BUSY = frozenset({429, 503})

FIXED = {
    "crowded after": format_duration(_CROWDED_S),
    "the line is then, of the places": format_share(_SHARE_WAITING),
}
"""The numbers that no key sets."""


@attrs.frozen(slots=True, kw_only=True)
class LimitSettings:
    """The keys of `limit`."""

    concurrency: int | Literal["adaptive"] = fields.field(
        values.either(values.integer(minimum=1), values.one_of("adaptive")),
        doc='How many calls are under way at most; "adaptive" finds it out from how long they take.',
    )
    queue: int = fields.integer(minimum=0, default=100, doc="How many calls may wait for a place.")
    queue_timeout: float = fields.duration(
        default="500ms", doc="How long a call waits for a place at most."
    )


class _Waiter:
    """A task in line."""

    __slots__ = ("seated", "task")

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self.task: trio.lowlevel.Task | None = task
        self.seated = False


class Limit:
    """Lets so many calls through at once; others wait in line, and those that need not wait long.

    First come, first served among those of one priority; those of a higher one go before. Who
    cannot have a place in time, by what calls take at the median, is refused at once. Is the line
    full, the newest of a lower priority makes room, if there is one.

    A line that has not been empty for a tenth of a second, or for what two calls take, is no
    burst but overload: waiting helps nobody then, for as many come as leave. From then on the
    line is a tenth of the places long, which keeps every place taken; nobody of low priority is
    let in, and who is refused knows at once. To each priority, only those at it and above are a line.

    The place is held until the reply is whole, however long it is emitted. One for all calls of a
    service.

    Args:
        settings: Its keys.
        environment: The service's.

    Attributes:
        taken: Places that are taken.
        waiting: Calls in line.

    Raises:
        Overloaded: No place in time.

    Cancellation: the place, or the one in line, is free.

    Source: Nichols and Jacobson, "Controlling Queue Delay" (2012), as Maurer, "Fail at Scale"
    (2015), has it for requests.
    """

    def __init__(self, settings: LimitSettings, environment: Environment) -> None:
        self._settings = settings
        self._environment = environment
        written = settings.concurrency
        self._capacity = Capacity() if written == "adaptive" else None
        self._places = written if isinstance(written, int) else Capacity().limit
        self.taken = 0
        self.waiting = 0
        self._lines: dict[str, deque[_Waiter]] = {name: deque() for name in PRIORITIES}
        self._empty_at = 0.0
        self._empty_up_to: dict[str, float] = dict.fromkeys(PRIORITIES, 0.0)
        self._latencies = Latencies()

    async def __call__(self, request: Request, emit: Emit, inner: Service, /) -> Reply:
        """Call `inner` once there is a place."""
        start = trio.current_time()
        if self.taken < self._places and not self.waiting:
            self._empty_at = start
            self.taken += 1
        else:
            await self._wait(request.context.priority, start)
            start = trio.current_time()
        under_way = self.taken
        reply = failure = None
        try:
            reply = await inner(request, emit)
            return reply
        except GatewayError as error:
            failure = error
            raise
        finally:
            self._ended((start, under_way), reply, failure, trio.current_time())
            del failure  # it has this frame in its traceback

    def begin(
        self, inner: Beginnable, request: Request, until: float, now: float, /
    ) -> Begun | None:
        """Begin the call, if there is a place."""
        if self.waiting or self.taken >= self._places:
            return None
        self._empty_at = now
        self.taken += 1
        under_way = self.taken
        try:
            begun = inner.begin(request, until, now)
        except BaseException as error:
            self._ended((now, under_way), None, error, now)
            raise
        if begun is None:
            self._leave(now)
            return None
        return observed(begun, self._ended, (now, under_way))

    def _ended(
        self,
        begun: tuple[float, int],
        reply: Reply | None,
        error: BaseException | None,
        now: float,
    ) -> None:
        """Take note of how a call ended, and give its place back.

        Args:
            begun: When it was, and how many calls were under way then.
            reply: As for `Observed`, like those that follow.
            error: As above.
            now: As above.
        """
        start, under_way = begun
        if reply is not None:
            self._latencies.add(now - start)
            if self._capacity is not None:
                self._learn(self._capacity, start, now, under_way, dropped=False)
        elif self._capacity is not None and _is_dropped(error):
            self._learn(self._capacity, start, now, under_way, dropped=True)
        self._leave(now)

    def refuses(self, priority: Priority, /) -> Overloaded | None:
        """As `Refuses`."""
        if self.taken < self._places and not self.waiting:
            return None
        wait_s = self._wait_s(priority)
        if wait_s > self._settings.queue_timeout:
            return self._refusal(f"for {format_duration(self._settings.queue_timeout)}", wait_s)
        if self.waiting >= self._room(priority, trio.current_time()):
            lower = PRIORITIES[PRIORITIES.index(priority) + 1 :]
            if not any(self._lines[name] for name in lower):
                return self._refusal(f"with {self.waiting} in line", wait_s)
        return None

    def _learn(
        self, capacity: Capacity, start: float, now: float, under_way: int, *, dropped: bool
    ) -> None:
        if capacity.add(start, now, under_way, dropped=dropped):
            self._places = capacity.limit
            environment = self._environment
            environment.record(LimitChanged(service=environment.service, concurrency=self._places))

    def _leave(self, now: float) -> None:
        """Give a place back, and on to those in line."""
        self.taken -= 1
        while self.waiting and self.taken < self._places:
            line = next(line for line in self._lines.values() if line)
            waiter = line.popleft()
            self._count(-1)
            self.taken += 1
            waiter.seated = True
            self._wake(waiter)
        if not self.waiting:
            self._empty_at = now
        else:
            self._note_empty(now)

    def _note_empty(self, now: float) -> None:
        """Take note of the priorities at which, and above which, nobody is in line."""
        for name, line in self._lines.items():
            if line:
                return
            self._empty_up_to[name] = now

    def _count(self, more: int) -> None:
        self.waiting += more
        environment = self._environment
        environment.record(LineChanged(service=environment.service, waiting=self.waiting))

    @staticmethod
    def _wake(waiter: _Waiter) -> None:
        task, waiter.task = waiter.task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    async def _wait(self, priority: str, now: float) -> None:
        """Wait for a place, which is taken then.

        Raises:
            Overloaded: There is none in time.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        wait_s = self._wait_s(priority)
        left_s = max(0.0, trio.current_effective_deadline() - now)
        timeout_s = min(self._settings.queue_timeout, left_s)
        if wait_s > timeout_s:
            raise self._refusal(f"for {format_duration(round(timeout_s, 3))}", wait_s)
        if self.waiting >= self._room(priority, now) and not self._make_room(priority):
            raise self._refusal(f"with {self.waiting} in line", wait_s)
        waiter = _Waiter(trio.lowlevel.current_task())
        line = self._lines[priority]
        line.append(waiter)
        self._count(+1)

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            waiter.task = None
            line.remove(waiter)
            self._count(-1)
            return trio.lowlevel.Abort.SUCCEEDED

        with trio.move_on_after(self._settings.queue_timeout):
            await trio.lowlevel.wait_task_rescheduled(abort)
        if not waiter.seated:
            raise self._refusal(f"for {format_duration(self._settings.queue_timeout)}", wait_s)

    def _wait_s(self, priority: str) -> float:
        """Seconds until a place is free for the next of this priority, as far as is known."""
        ahead = 0
        for name, line in self._lines.items():
            ahead += len(line)
            if name == priority:
                break
        return (ahead + 1) / self._places * (self._latencies.median or 0.0)

    def _room(self, priority: str, now: float) -> int:
        """How long the line may be for one of this priority to join it."""
        crowded_s = max(_CROWDED_S, 2 * (self._latencies.median or 0.0))
        # Those of lower priorities hold nobody up: they stand behind, and make room.
        if now - max(self._empty_at, self._empty_up_to[priority]) <= crowded_s:
            return self._settings.queue
        short = 0 if priority == "low" else max(1, int(self._places * _SHARE_WAITING))
        return min(short, self._settings.queue)

    def _make_room(self, priority: str) -> bool:
        """Whether the newest of the lowest priority left the line, for one of a higher priority."""
        for name in reversed(PRIORITIES):
            if name == priority:
                return False
            if self._lines[name]:
                self._count(-1)
                self._wake(self._lines[name].pop())
                return True
        return False

    def _refusal(self, waited: str, wait_s: float) -> Overloaded:
        environment = self._environment
        environment.record(Refused(service=environment.service, by="limit"))
        return Overloaded(
            f"not called: all {self._places} places of its limit are taken {waited}",
            retry_after_s=wait_s or 1.0,
        )


def _is_dropped(error: BaseException | None) -> bool:
    """Whether a call failed since the service has too many."""
    return isinstance(error, GatewayError) and (
        isinstance(error, DeadlineExceeded) or error.service_status in _BUSY
    )


def create(settings: LimitSettings, environment: Environment) -> Callable[[CallFacts], Limit]:
    """The service's `limit`: one for all of its calls."""
    limit = Limit(settings, environment)
    return lambda _call: limit
