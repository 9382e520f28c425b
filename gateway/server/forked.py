"""One worker in a process of its own, below a supervisor: its orders, its siblings."""

from __future__ import annotations

import math
import signal
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from gateway.admin.exposition import merged
from gateway.server.child import HEEDED, SERVING, Order
from gateway.server.life import Life
from gateway.server.worker import Addresses, serve
from gateway.telemetry.logs import logger

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from gateway.admin.app import Status
    from gateway.net.asgi import ASGIApp
    from gateway.server.draining import Reason
    from gateway.server.offer import Generation, Post, Work
    from gateway.server.siblings import Siblings

__all__ = ["live"]

_GRACE_S = 1.0
"""After the drain, for a worker without a supervisor, which nobody else would kill."""


def live(generation: Generation, post: Post, line: socket.socket) -> int:
    """Be a worker until told to end, or until nobody is left to tell.

    SIGTERM and SIGINT drain it, however often they come: a terminal and a service manager send
    them to all processes of a group. Only its supervisor cuts it.

    Args:
        generation: What is served, and where.
        post: Its place.
        line: To the supervisor.

    Returns:
        The exit status.
    """
    return _Worker(generation, post, line).live()


@attrs.frozen(slots=True)
class _Worker:
    generation: Generation
    post: Post
    line: socket.socket
    life: Life = attrs.field(factory=Life)

    def live(self) -> int:
        self._mark("starting")
        return self.life.run(self._heed, self._serve, self._started)

    def _mark(self, status: Status) -> None:
        self.generation.mark(self.post.number, status)

    async def _serve(self, task_status: trio.TaskStatus[Addresses]) -> None:
        number, siblings = self.post.number, self.generation.siblings
        tell = None if siblings is None else partial(siblings.tell, number)
        work = self.generation.offer.work(attrs.evolve(self.post, tell=tell))
        async with trio.open_nursery() as nursery:
            if siblings is not None:
                nursery.start_soon(siblings.answer, number, work.metrics, work.hear)
            try:
                await serve(
                    work.app,
                    self.generation.offer.settings,
                    admin=partial(self._admin, work, siblings),
                    listeners=self.generation.listeners.lent(),
                    succeeds=self.post.on_trial,
                    ahead=None if siblings is None else partial(siblings.ahead, number),
                    shutdown=self.life.shutdown,
                    reason=lambda: self.life.reason,
                    task_status=task_status,
                )
            finally:
                nursery.cancel_scope.cancel()

    def _admin(self, work: Work, siblings: Siblings | None, own: Callable[[], Status]) -> ASGIApp:
        if siblings is None:
            return work.admin(own, None)
        number = self.post.number

        async def complete(page: bytes, accept: str) -> bytes:
            return merged({**await siblings.pages(number, accept), number: page})

        return work.admin(lambda: siblings.whole(own()), complete)

    def _started(self, _addresses: Addresses) -> None:
        self._mark("ready")
        with suppress(OSError):  # the supervisor is gone: `_obey` learns it
            self.line.send(SERVING)

    async def _heed(self, _life: Life, /, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(*HEEDED) as signals:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HEEDED)
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._obey)
                async for number in signals:
                    if (
                        number != signal.SIGHUP
                    ):  # a closed terminal's; what to do is not ours to say
                        self._drain()

    async def _obey(self) -> None:
        """Do what the supervisor says."""
        line = trio.socket.from_stdlib_socket(self.line)
        while order := await self._order(line):
            match Order(order):
                case Order.END:
                    self._drain()
                case Order.LEAVE:
                    self._drain("restarting")
                case Order.CUT:
                    self.life.cut(0)
        drain_s = self.generation.offer.settings.drain
        logger("gateway.server").error("the supervisor is gone")
        self._drain()
        if drain_s < math.inf:
            # Nobody would kill us any more, should we hang.
            signal.setitimer(signal.ITIMER_REAL, drain_s + _GRACE_S)

    async def _order(self, line: trio.socket.SocketType) -> bytes:
        try:
            return await line.recv(1)
        except OSError:
            return b""

    def _drain(self, reason: Reason = "ending") -> None:
        self._mark("draining")
        self.life.drain(reason)
