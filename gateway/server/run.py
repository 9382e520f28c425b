"""The blocking entry: one worker in this process, its signals, its exit status."""

from __future__ import annotations

import gc
import signal
import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from gateway.server.containment import leaves
from gateway.server.listeners import ListenError
from gateway.server.worker import Addresses, Served, StartError, serve
from gateway.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from gateway.admin.app import Status
    from gateway.config.settings import ServerSettings
    from gateway.net.asgi import ASGIApp

__all__ = ["run"]

_THRESHOLDS = (50_000, 20, 100)
"""Collections this rare keep the tail latency of 10,000 connections at a tenth of what it was."""


def run(
    make_app: Callable[[], Served],
    settings: ServerSettings,
    *,
    admin: Callable[[Callable[[], Status]], ASGIApp] | None = None,
    on_started: Callable[[Addresses], None] = lambda _addresses: None,
) -> int:
    """Serve until a signal ends it.

    The first SIGTERM or SIGINT drains, as `serve` says, or ends a start-up under way; the second
    cuts everything at once.

    Args:
        make_app: Makes what is served; called within the loop.
        settings: The bounds of `[server]`.
        admin: As for `serve`.
        on_started: Called with the real addresses once requests are served. It must not wait.

    Returns:
        The exit status: 0 after a drain, or a start-up that a signal ended; 1 if it could not
        start, or broke down: one line on standard error says why; 128 and the signal's number
        if a second signal cut it.
    """
    life = _Life()
    try:
        trio.run(life.live, make_app, settings, admin, on_started)
    except BaseException as error:  # noqa: BLE001 - the process ends here, with a status
        return _explained(error)
    return life.status


@attrs.define(slots=True)
class _Life:
    """What signals do to a worker."""

    shutdown: trio.Event = attrs.field(factory=trio.Event)
    cut: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    started: bool = False
    status: int = 0

    async def live(
        self,
        make_app: Callable[[], Served],
        settings: ServerSettings,
        admin: Callable[[Callable[[], Status]], ASGIApp] | None,
        on_started: Callable[[Addresses], None],
    ) -> None:
        """Serve, with this process's signals."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.heed, signals)
                with self.cut, _few_collections() as freeze:
                    await serve(
                        make_app(),
                        settings,
                        admin=admin,
                        shutdown=self.shutdown,
                        task_status=_Started(partial(self.start, freeze, on_started)),
                    )
                    if not self.shutdown.is_set():
                        raise RuntimeError("the worker ended by itself")
                nursery.cancel_scope.cancel()
        logger("gateway.server").info("stopped", status=self.status)

    def start(
        self,
        freeze: Callable[[], None],
        on_started: Callable[[Addresses], None],
        addresses: Addresses,
    ) -> None:
        """Requests are served from now on."""
        self.started = True
        freeze()
        on_started(addresses)

    async def heed(self, signals: AsyncIterator[int]) -> None:
        """Drain at the first signal, cut at the second."""
        async for number in signals:
            again = self.shutdown.is_set()
            self.shutdown.set()
            if again:
                self.status = 128 + number
            if again or not self.started:
                self.cut.cancel()


@attrs.frozen(slots=True)
class _Started(trio.TaskStatus[Addresses]):
    tell: Callable[[Addresses], None]

    def started(self, value: Addresses | None = None) -> None:
        if value is not None:
            self.tell(value)


@contextmanager
def _few_collections() -> Iterator[Callable[[], None]]:
    """Collect garbage rarely, and never what was there when the yielded function was called."""
    before = gc.get_threshold()

    def freeze() -> None:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_THRESHOLDS)

    try:
        yield freeze
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def _explained(error: BaseException) -> int:
    """Say on standard error why it ended; the exit status for it."""
    causes = leaves(error)
    if all(isinstance(cause, KeyboardInterrupt) for cause in causes):
        return 128 + signal.SIGINT
    first = next(cause for cause in causes if not isinstance(cause, KeyboardInterrupt))
    log = logger("gateway.server")
    if isinstance(first, (ListenError, StartError)):
        line = str(first)
        log.debug("not started", exc_info=error)
    else:
        line = f"broke down: {type(first).__name__}: {first}"
        log.error("broke down", exc_info=error)
    sys.stderr.write(f"gateway: {line}\n")
    return 1
