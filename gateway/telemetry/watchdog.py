"""The watchdog: who holds the loop, with the stack that does.

For development: a step of a task that takes longer than `[telemetry] blocked_after` is told as it
happens, from a thread beside the loop, and once more when it is over. Where it is off nothing of it
is there.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import attrs
import trio

from gateway.core.adapter import Record
from gateway.telemetry.events import LoopBlocked
from gateway.telemetry.logs import logger

if TYPE_CHECKING:
    from contextvars import Context, Token
    from types import FrameType

__all__ = ["Watchdog", "on_loop"]

_LOOKS = 4
"""How often it looks in the time after which it tells: it may tell that much late."""

_NOBODY = ("", "")
_MAX_FRAMES = 30
"""Of a stack, the innermost."""

_running: ContextVar[tuple[str, str]] = ContextVar("running", default=_NOBODY)


class on_loop:  # noqa: N801 - used as the function it would be; a generator costs several times more
    """Within this `with` a function of the user's runs on the loop, and so do tasks started below.

    Args:
        service: Whose function.
        function: Its name.
    """

    __slots__ = ("_before", "_what")

    _before: Token[tuple[str, str]]

    def __init__(self, service: str, function: str) -> None:
        self._what = (service, function)

    def __enter__(self) -> None:
        self._before = _running.set(self._what)

    def __exit__(self, *exc_info: object) -> None:
        _running.reset(self._before)


@attrs.frozen(slots=True, eq=False)
class _Step:
    """A task's turn, from one of its checkpoints to the next.

    Args:
        task: Its name.
        context: Its context variables.
        since_s: When it began, on the monotonic clock.
    """

    task: str
    context: Context
    since_s: float


class Watchdog(trio.abc.Instrument):
    """Watches the loop that it is entered in, until it is left.

    Args:
        after_s: How long a step may take before it is told, seconds.
        record: Where `LoopBlocked` goes.
    """

    def __init__(self, after_s: float, record: Record) -> None:
        self._after_s = after_s
        self._record = record
        self._log = logger("gateway.watchdog")
        self._step: _Step | None = None
        self._told: _Step | None = None
        self._left = threading.Event()
        self._loop_thread = 0
        self._thread = threading.Thread(target=self._watch, name="gateway's watchdog", daemon=True)

    def __enter__(self) -> None:
        self._loop_thread = threading.get_ident()
        trio.lowlevel.add_instrument(self)
        self._thread.start()

    def __exit__(self, *exc_info: object) -> None:
        trio.lowlevel.remove_instrument(self)
        self._left.set()
        self._thread.join()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task has its turn."""
        self._step = _Step(task.name, task.context, time.monotonic())

    def after_task_step(self, _task: trio.lowlevel.Task) -> None:
        """Its turn is over."""
        step, self._step = self._step, None
        if step is not None and step is self._told:
            took_s = time.monotonic() - step.since_s
            self._tell("the loop goes on", step, blocked_ms=round(took_s * 1000, 1))

    def _watch(self) -> None:
        while not self._left.wait(self._after_s / _LOOKS):
            step = self._step
            if step is None or step is self._told:
                continue
            if time.monotonic() - step.since_s >= self._after_s:
                frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - made for this
                if frame is not None and step is self._step:
                    self._told = step
                    self._tell("the loop is blocked", step, stack=_stack(frame))
                    self._record(LoopBlocked(step.context.get(_running, _NOBODY)[0]))

    def _tell(self, what: str, step: _Step, **more: Any) -> None:
        service, function = step.context.get(_running, _NOBODY)
        fields = {"service": service, "function": function} if service else {}
        # In the task's own context: the line carries its request's id.
        step.context.copy().run(self._log.warning, what, task=step.task, **fields, **more)


def _stack(frame: FrameType) -> list[str]:
    """Where a thread is, outermost first: a file, a line, a function each; never a value."""
    frames = traceback.extract_stack(frame)[-_MAX_FRAMES:]
    return [f"{one.filename}:{one.lineno} {one.name}" for one in frames]
