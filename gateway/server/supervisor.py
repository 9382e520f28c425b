"""Several workers from one configuration: started, replaced, reloaded, ended, none left behind.

A process of its own without loop and threads, so that forking it is clean. It holds the listening
sockets for as long as the server lives: a worker may come and go, and no connection is refused.
"""

from __future__ import annotations

import gc
import math
import os
import select
import signal
import socket
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import attrs

from gateway.server import forked
from gateway.server.backoff import Backoff
from gateway.server.child import HEEDED, Child, Order, fork, how_ended
from gateway.server.life import explain
from gateway.server.offer import Generation, Offer, Post
from gateway.server.orphans import Orphans
from gateway.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["supervise"]

_GRACE_S = 1.0
"""After the drain, a worker that is still there is killed; likewise after being told to end now."""


_LONGEST_WAIT_S = 3600
"""The system counts milliseconds, and not for ever."""


def supervise(load: Callable[[], Offer], reload: Callable[[], Offer]) -> int:
    """Serve what `load` gives by its workers until a signal ends them.

    * SIGTERM or SIGINT drains all workers: within the drain and a second all have ended. The
      second one ends them at once.
    * SIGHUP serves what `reload` gives instead, without a refused connection; if that fails, or
      its first worker does not start, nothing changes.
    * A worker that ends unasked is replaced, and what it had started is ended.

    Args:
        load: Reads the configuration. A signal meanwhile is heeded after it, before anything starts.
        reload: Reads it anew; whatever it raises is logged.

    Returns:
        The exit status: 0 after an end that was asked for; 1 if it could not start: a line on
        standard error says why; 128 and the signal's number if a second signal cut it.

    Raises:
        Exception: What `load` raised.
    """
    with _signals() as inbox:
        offer = load()
        supervisor = _Supervisor(inbox, reload, orphans=Orphans.taken_in())
        try:
            return supervisor.run(offer)
        except BaseException as error:  # noqa: BLE001 - the process ends here, with a status
            return explain(error)
        finally:
            supervisor.clear()


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket from which signals are read, one byte each: its number."""
    inbox, outbox = socket.socketpair()
    inbox.setblocking(False)
    outbox.setblocking(False)
    before = {number: signal.getsignal(number) for number in (*HEEDED, signal.SIGCHLD)}
    wakeup = signal.set_wakeup_fd(outbox.fileno(), warn_on_full_buffer=False)
    try:
        for number in before:
            signal.signal(number, _note)
        yield inbox
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        inbox.close()
        outbox.close()


def _note(_number: int, _frame: object) -> None:
    """Python writes the number to the wake-up socket: that is all there is to do."""


@attrs.define(slots=True)
class _Seat:
    """A worker's place, whoever sits in it.

    Attributes:
        due: When a worker is to start in it, monotonic seconds; inf while there is one.
        restarts: How many ended unasked.
    """

    due: float = math.inf
    restarts: int = 0
    backoff: Backoff = attrs.field(factory=Backoff)


_Fork: TypeAlias = "Callable[[Callable[[socket.socket], int]], tuple[int, socket.socket]]"


class _Supervisor:
    """The state, and what changes it: signals, news of workers, ends of workers, time.

    Args:
        inbox: Signals.
        reload: As for `supervise`.
        fork: Starts a process, as `gateway.server.child.fork` does.
        orphans: Those of its workers.
    """

    def __init__(
        self,
        inbox: socket.socket,
        reload: Callable[[], Offer],
        fork: _Fork = fork,
        *,
        orphans: Orphans | None = None,
    ) -> None:
        self._inbox = inbox
        self._fork = fork
        self._reload = reload
        self._log = logger("gateway.supervisor")
        self._children: set[Child] = set()
        self._orphans = orphans or Orphans()
        self._seats: list[_Seat] = []
        self._current: Generation | None = None
        self._trial: Generation | None = None
        self._again = False
        self._ending = False
        self._status = 0

    # ------------------------------------------------------------------ the loop

    def run(self, offer: Offer) -> int:
        """Serve until the last worker has ended; the exit status."""
        self._heed_arrived()
        if not self._ending:
            self._try(offer)
        while self._children or not self._ending:
            self._wait()
            self._heed_arrived()
            for child in [*self._children]:
                if not child.silent and child.says_serving():
                    self._serving(child)
                status = child.ended()
                if status is not None:
                    self._ended(child, status)
            self._orphans.tend(self._pids)
            self._keep_time()
        if self._status != 1:  # a worker that could not start has told why
            self._log.info("ended", status=self._status)
        return self._status

    def clear(self) -> None:
        """Leave nothing: no process, no socket, no socket's file."""
        for child in self._children:
            child.kill()
        for child in self._children:
            os.waitpid(child.pid, 0)
            child.line.close()
        self._children.clear()
        self._orphans.end((), now=True)
        self._close()

    @property
    def _pids(self) -> set[int]:
        return {child.pid for child in self._children}

    def _wait(self) -> None:
        """Until there is something to do."""
        # Not epoll: a forked process would share it.
        poll = select.poll()
        for sock in (self._inbox, *(child.line for child in self._children if not child.silent)):
            poll.register(sock, select.POLLIN)
        instants = [self._orphans.kill_at, *(child.kill_at for child in self._children)]
        if not self._ending:
            instants += [seat.due for seat in self._seats]
        wait_s = min(instants, default=math.inf) - time.monotonic()
        poll.poll(math.ceil(1000 * min(_LONGEST_WAIT_S, max(0, wait_s))))

    def _arrived(self) -> bytes:
        with suppress(BlockingIOError):
            return self._inbox.recv(4096)
        return b""

    def _heed_arrived(self) -> None:
        for number in self._arrived():
            self._heed(number)

    def _heed(self, number: int) -> None:
        if number in {signal.SIGTERM, signal.SIGINT}:
            self._end(number)
        elif number == signal.SIGHUP and not self._ending:
            self._load_anew()

    def _keep_time(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.kill_at <= now:
                self._log.warning("worker does not end: killed", **child.about)
                child.kill()
        for number, seat in enumerate(self._seats):
            if seat.due <= now and not self._ending and self._current is not None:
                seat.due = math.inf
                self._fill(self._current, number)

    # ------------------------------------------------------------------ from one offer to the next

    def _try(self, offer: Offer) -> None:
        """Let one worker show that `offer` can be served; `_adopt` follows when it does."""
        self._trial = Generation.open(offer, self._current)
        # What is there now is what all workers share: their collectors leave its pages alone.
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._hire(self._trial, 0)

    def _load_anew(self) -> None:
        if self._current is None:
            self._again = True  # the first one is still starting
            return
        self._drop_trial()
        try:
            self._try(self._reload())
        except Exception as error:  # noqa: BLE001 - what is wrong with a new file ends no old one
            self._drop_trial()
            self._log.error("not reloaded: nothing changes", problems=str(error).splitlines())

    def _drop_trial(self) -> None:
        """Give up what is on trial, if anything is."""
        trial, self._trial = self._trial, None
        if trial is None:
            return
        for child in self._children:
            if child.generation is trial:
                child.tell(Order.CUT, time.monotonic() + _GRACE_S)
        trial.close(but=self._current)

    def _adopt(self, generation: Generation) -> None:
        """Serve it from now on: every place gets a worker of it, then the old one leaves."""
        old, self._current, self._trial = self._current, generation, None
        if old is not None:
            old.close(but=generation)
        size = generation.offer.workers
        restarts = [seat.restarts for seat in self._seats[:size]]
        restarts += [0] * (size - len(restarts))
        now = time.monotonic()
        self._seats = [
            _Seat(due=now if number else math.inf, restarts=ended)
            for number, ended in enumerate(restarts)
        ]
        self._log.info("reloaded" if old else "started", workers=size)
        try:
            generation.offer.serving(generation.addresses)
        except OSError as error:  # nobody reads standard output any more
            self._log.warning("not told where", error=str(error))
        for child in self._children:
            if child.post.number >= size:
                self._send_away(child)
        if self._again:
            self._again = False
            self._load_anew()

    def _send_away(self, child: Child) -> None:
        drain = child.generation.offer.settings.drain
        child.tell(Order.LEAVE, time.monotonic() + drain + _GRACE_S)

    def _end(self, number: int) -> None:
        """Begin the end, or cut it short."""
        now = time.monotonic()
        if self._ending:
            self._status = 128 + number
            for child in self._children:
                child.tell(Order.CUT, now + _GRACE_S)
            return
        self._ending = True
        self._close()
        for child in self._children:
            drain = child.generation.offer.settings.drain
            child.tell(Order.END, now + drain + _GRACE_S)

    def _close(self) -> None:
        """Close the listening sockets, before any worker does: no file of theirs stays."""
        for generation in (self._current, self._trial):
            if generation is not None:
                generation.close(but=None)

    # ------------------------------------------------------------------ one worker

    def _hire(self, generation: Generation, number: int) -> None:
        """Start a worker.

        Raises:
            OSError: The system has no room for it.
        """
        restarts = self._seats[number].restarts if number < len(self._seats) else 0
        post = Post(
            number=number,
            size=generation.offer.workers,
            restarts=restarts,
            on_trial=generation is self._trial and self._current is not None,
        )
        pid, line = self._fork(partial(self._be_worker, generation, post))
        child = Child(pid=pid, line=line, post=post, generation=generation)
        self._children.add(child)
        self._log.debug("worker started", **child.about)

    def _fill(self, generation: Generation, number: int) -> None:
        try:
            self._hire(generation, number)
        except OSError as error:
            seat = self._seats[number]
            pause_s = seat.backoff.pause_s(None)
            seat.due = time.monotonic() + pause_s
            self._log.error(
                "worker not started", worker=number, error=str(error), again_in_s=pause_s
            )

    def _be_worker(self, generation: Generation, post: Post, line: socket.socket) -> int:
        """What the new process does: forget what is the supervisor's, and work."""
        self._inbox.close()
        for child in self._children:
            # Else a sibling would not see the supervisor's end while this process lives.
            child.line.close()
        for other in (self._current, self._trial):
            if other is not None and other is not generation:
                # Else an address would stay bound that is served no more.
                other.forget(but=generation)
        return forked.live(generation, post, line)

    def _serving(self, child: Child) -> None:
        child.serving_since = time.monotonic()
        if self._ending:
            return
        if child.generation is self._trial:
            self._adopt(child.generation)
        for other in self._children:
            if (
                child.generation is self._current
                and other.generation is not self._current
                and other.post.number == child.post.number
                and not other.leaving
            ):
                self._send_away(other)

    def _ended(self, child: Child, status: int) -> None:
        self._children.discard(child)
        child.line.close()
        if status and (left := self._orphans.end(self._pids, now=self._ending)):
            self._log.warning("what a worker had started is ended", **child.about, processes=left)
        if child.generation is self._trial and not self._ending:
            self._failed(child, status)
        elif child.leaving or self._ending:
            self._log.debug("worker left", **child.about, **how_ended(status))
        elif child.generation is self._current:
            self._replace(child, status)
        else:
            self._log.warning("worker ended", **child.about, **how_ended(status))

    def _failed(self, child: Child, status: int) -> None:
        """The worker on trial has ended: its offer is not served."""
        self._drop_trial()
        if self._current is None:
            # It has told why on standard error.
            self._log.debug("not started", **child.about, **how_ended(status))
            self._ending = True
            self._status = 1
        else:
            self._log.error("not reloaded: nothing changes", problems=[_failure(status)])

    def _replace(self, child: Child, status: int) -> None:
        child.generation.mark(child.post.number, None)
        seat = self._seats[child.post.number]
        since = child.serving_since
        pause_s = seat.backoff.pause_s(None if since is None else time.monotonic() - since)
        seat.due = time.monotonic() + pause_s
        seat.restarts += 1
        self._log.error("worker ended", **child.about, **how_ended(status), again_in_s=pause_s)


def _failure(status: int) -> str:
    how = ", ".join(f"{key} {value}" for key, value in how_ended(status).items())
    return f"the new worker did not start ({how}); its own lines say why"
