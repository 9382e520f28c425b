"""Worker processes of one service: blocking functions that compute run there, side by side.

They are started when the service opens, and stay. A process whose call goes away is killed: that is
the only way to end what computes. One that was killed, or that ended by itself, is replaced beside
the calls, and its place is free again once the new one is ready.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import multiprocessing
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from gateway.adapters.python.work import Done, Job, Module, do, prepare, ready
from gateway.core.background import Background
from gateway.core.deadline import remaining_s
from gateway.core.errors import NotCalled, Overloaded, Unreachable
from gateway.telemetry.logs import LogForm

if TYPE_CHECKING:
    from trio_parallel import WorkerContext

__all__ = ["Processes", "can_have_processes"]

logger = logging.getLogger(__name__)

_LEAST_S = 0.001
_WAY = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
"""How processes are started: from a server that has imported the gateway, where the system can."""

_GRACE_S = 0.5
"""Seconds that an idle process has to end by itself when the service closes."""


def can_have_processes() -> bool:
    """Whether what runs them is installed."""
    return importlib.util.find_spec("trio_parallel") is not None


class Processes:
    """So many processes, each with the module in it.

    Args:
        service: Whose they are.
        most: How many.
        module: What is imported in them.
        background: Where they are replaced.

    Attributes:
        module: As above.
        limiter: Its places are the processes that are ready.
    """

    def __init__(self, service: str, most: int, module: Module, background: Background) -> None:
        self._service = service
        self.module = module
        self._background = background
        self._idle: list[WorkerContext] = []
        self.limiter = trio.CapacityLimiter(most)

    @contextlib.asynccontextmanager
    async def open(self, log: LogForm | None) -> AsyncIterator[None]:
        """Have all of them ready; leaving ends them.

        Args:
            log: The form of their log lines; `None` leaves them as Python has them.

        Raises:
            ValueError: One cannot be started, or cannot import the module.
        """
        problems: list[str] = []

        async def warm(context: WorkerContext) -> None:
            problem = await self._warm(context)
            if problem is not None:
                problems.append(problem)

        if _WAY == "forkserver":
            # What processes are forked from has imported once what each of them needs.
            multiprocessing.set_forkserver_preload([do.__module__])
        async with contextlib.AsyncExitStack() as stack:
            made = [
                await stack.enter_async_context(_context(self._service, partial(prepare, log)))
                for _ in range(int(self.limiter.total_tokens))
            ]
            async with trio.open_nursery() as nursery:
                for context in made:
                    nursery.start_soon(warm, context)
            if problems:
                raise ValueError(
                    f"services.{self._service}.processes: a worker process is not ready: {problems[0]}"
                )
            self._idle = made
            try:
                yield
            finally:
                self._idle = []

    async def run(self, job: Callable[[float], Job]) -> Done:
        """What a process made of a job, once one is free.

        Args:
            job: Makes it of the seconds left of the budget then; inf if there is no limit.

        Raises:
            NotCalled: Less than 1 ms was left when its turn came.
            Unreachable: The process ended in the middle of it; or there is none, and none to be had.

        Cancellation: the process is killed, and gone; another is started beside the calls.
        """
        from trio_parallel import BrokenWorkerError  # noqa: PLC0415 - an extra

        place = object()
        await self.limiter.acquire_on_behalf_of(place)
        if not self._idle:
            self.limiter.release_on_behalf_of(place)
            raise Unreachable(f"{self._service} is not open")
        context = self._idle.pop()
        is_whole = False
        try:
            left_s = remaining_s()
            if left_s + 1e-9 < _LEAST_S:
                is_whole = True
                raise NotCalled("not called: less than 1 ms of the budget is left")
            done: Done = await _run(context, do, job(left_s))
            is_whole = True
            return done
        except BrokenWorkerError as error:
            raise Unreachable(f"its worker process ended: {_how(error)}") from error
        except OSError as error:
            raise Unreachable(f"its worker process cannot be started: {error.strerror}") from error
        finally:
            if is_whole:
                self._give_back(context, place)
            else:
                self._replace(context, place)

    def _give_back(self, context: WorkerContext, place: object) -> None:
        self._idle.append(context)
        self.limiter.release_on_behalf_of(place)

    def _replace(self, context: WorkerContext, place: object) -> None:
        """Start another process, and then give its place back."""

        async def replace() -> None:
            try:
                problem = await self._warm(context)
                if problem is not None:
                    logger.error("%s: a worker process is not ready: %s", self._service, problem)
            finally:
                self._give_back(context, place)

        try:
            self._background.start(replace)
        except Overloaded:  # the gateway closes
            self._give_back(context, place)

    async def _warm(self, context: WorkerContext) -> str | None:
        """Have a process started and the module imported in it; what is wrong, if something is."""
        from trio_parallel import BrokenWorkerError  # noqa: PLC0415 - an extra

        try:
            problem: str | None = await _run(context, ready, self.module)
            return problem
        except BrokenWorkerError as error:
            return f"it ended: {_how(error)}"
        except OSError as error:
            return f"it cannot be started: {error.strerror}"


async def _run(context: WorkerContext, work: Callable[[Any], Any], value: Any) -> Any:
    """`work(value)` in the one process of `context`."""
    # Its turn it has had: the library's own limit, one for all services, must not hold it up.
    return await context.run_sync(
        work, value, kill_on_cancel=True, limiter=contextlib.nullcontext()
    )


@contextlib.asynccontextmanager
async def _context(service: str, init: Callable[[], None]) -> AsyncIterator[WorkerContext]:
    """Where one process at a time lives; leaving ends it, within its grace or killed."""
    from trio_parallel import (  # noqa: PLC0415 - an extra
        BrokenWorkerError,
        WorkerType,
        open_worker_context,
    )

    try:
        async with open_worker_context(
            idle_timeout=math.inf, init=init, grace_period=_GRACE_S, worker_type=WorkerType(_WAY)
        ) as context:
            yield context
    except BrokenWorkerError:
        logger.warning("%s: a worker process had to be killed when it was to end", service)


def _how(error: Exception) -> str:
    """How a process ended: its exit status, or the signal that ended it."""
    status = getattr(error.args[-1], "exitcode", None)
    if status is None:
        return "nobody knows how"
    return f"by signal {-status}" if status < 0 else f"with status {status}"
