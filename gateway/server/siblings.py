"""What the workers of one server know of one another: who is ready, each one's metrics, what they tell.

Made before they are forked. A worker's state and the number of its connections are two cells of
memory that all of them share. Its metrics are asked for with a message to its own pair of sockets that carries one end of a fresh
pair: there the page comes back, and its end is the page's end. What it is told comes over one end of a
fresh pair likewise; that it is heard is the other end's. So there is nothing to bind, no
file to remove, and nobody else who could ask.
"""

from __future__ import annotations

import mmap
import os
import socket
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import trio

from gateway.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.admin.app import Render, Status

__all__ = ["Siblings"]

_ABSENT, _STARTING, _READY, _DRAINING = range(4)
_STATES: Mapping[Status, int] = {
    "starting": _STARTING,
    "ready": _READY,
    "draining": _DRAINING,
}

_CELL = 4
"""Bytes of a number in shared memory."""

_SLACK = 4
"""So many connections more are none that matter: most are short."""

_TIMEOUT_S = 1.0
"""For a sibling's page, from the question to its last byte; for what it is told likewise."""

_MAX_QUESTION = 1024
_MAX_PAGE = 16 << 20

_TOLD = b"!"
"""In the place of a question: something is told."""


class Siblings:
    """The workers `0` to `size - 1`, as each of them and their supervisor see them.

    Args:
        size: How many there are.
    """

    def __init__(self, size: int) -> None:
        self._memory = mmap.mmap(-1, 2 * size * _CELL)
        self._board = memoryview(self._memory).cast("I")
        self._ask: list[socket.socket] = []
        self._answer: list[socket.socket] = []
        self._turns = [trio.Lock() for _ in range(size)]
        try:
            for _ in range(size):
                # Datagrams: questions of several workers do not mix.
                ask, answer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._ask.append(ask)
                self._answer.append(answer)
                ask.setblocking(False)
                answer.setblocking(False)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Forget them, in this process alone."""
        for sock in (*self._ask, *self._answer):
            sock.close()
        self._board.release()
        self._memory.close()

    def mark(self, number: int, status: Status | None) -> None:
        """Note what worker `number` is about; `None` if it is gone."""
        self._board[2 * number] = _ABSENT if status is None else _STATES[status]

    def whole(self, status: Status) -> Status:
        """What the server as a whole is about: ready as soon as one worker is.

        Args:
            status: What the worker that asks is about.
        """
        return "ready" if _READY in self._board[::2] else status

    def ahead(self, number: int, connections: int) -> bool:
        """Whether worker `number`, which has so many connections, has clearly more than another."""
        self._board[2 * number + 1] = connections
        ready = [at for at in range(0, len(self._board), 2) if self._board[at] == _READY]
        return any(self._board[at + 1] + _SLACK < connections for at in ready)

    async def pages(self, number: int, accept: str) -> dict[int, bytes | None]:
        """Every other worker's metrics, asked for at once; within a second.

        Args:
            number: The worker that asks.
            accept: The scraper's `accept` header.

        Returns:
            By worker; `None` for one that is gone, or did not answer in time.
        """
        pages: dict[int, bytes | None] = {}
        async with trio.open_nursery() as nursery:
            for other in range(len(self._ask)):
                if other != number:
                    pages[other] = None
                    nursery.start_soon(self._fetch, other, accept, pages)
        return pages

    async def _fetch(self, other: int, accept: str, pages: dict[int, bytes | None]) -> None:
        if self._board[2 * other] == _ABSENT:
            return
        ours, theirs = socket.socketpair()
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        async with stream:
            with trio.move_on_after(_TIMEOUT_S), suppress(OSError, trio.BrokenResourceError):
                with closing(theirs):
                    question = accept.encode()[:_MAX_QUESTION] or b"*/*"
                    socket.send_fds(self._ask[other], [question], [theirs.fileno()])
                page = bytearray()
                while (piece := await stream.receive_some()) and len(page) <= _MAX_PAGE:
                    page += piece
                if page.endswith(b"\n") and not piece:  # whole: it did not end half-way
                    pages[other] = bytes(page)

    async def tell(self, number: int, message: bytes) -> None:
        """Tell every other worker something, and wait until each that is well has heeded it.

        Within a second: one that does not listen hears nothing.

        Args:
            number: The worker that tells.
            message: At most 16 MiB.

        Cancellation: some of them may have heard it.
        """
        async with trio.open_nursery() as nursery:
            for other in range(len(self._ask)):
                if other != number and self._board[2 * other] != _ABSENT:
                    nursery.start_soon(self._tell, other, message)

    async def _tell(self, other: int, message: bytes) -> None:
        ours, theirs = socket.socketpair()
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        async with stream:
            with trio.move_on_after(_TIMEOUT_S), suppress(OSError, trio.BrokenResourceError):
                with closing(theirs):
                    await self._hand_over(other, theirs)
                await stream.send_all(message)
                await stream.send_eof()
                await stream.receive_some()  # its end: it was heeded

    async def _hand_over(self, other: int, end: socket.socket) -> None:
        """Give one end of a pair to another worker, as soon as there is room for it."""
        async with self._turns[other]:
            while True:
                try:
                    socket.send_fds(self._ask[other], [_TOLD], [end.fileno()])
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self._ask[other])
                else:
                    return

    async def answer(
        self, number: int, metrics: Render, hear: Callable[[bytes], None] = lambda _message: None
    ) -> None:
        """Answer the other workers' questions, and hear what they tell, until cancelled.

        Args:
            number: The worker that answers.
            metrics: Its own metrics.
            hear: Called with what it is told.
        """
        questions = self._answer[number]
        async with trio.open_nursery() as nursery:
            while True:
                await trio.lowlevel.wait_readable(questions)
                with suppress(BlockingIOError):
                    question, fds, _, _ = socket.recv_fds(questions, _MAX_QUESTION, 1)
                    for fd in fds:
                        os.set_inheritable(fd, False)
                        asker = trio.socket.from_stdlib_socket(socket.socket(fileno=fd))
                        stream = trio.SocketStream(asker)
                        if question == _TOLD:
                            nursery.start_soon(_hear, stream, hear)
                        else:
                            accept = question.decode(errors="replace")
                            nursery.start_soon(_show, stream, metrics, accept)


async def _hear(stream: trio.SocketStream, hear: Callable[[bytes], None]) -> None:
    async with stream:
        try:
            message = bytearray()
            with trio.fail_after(_TIMEOUT_S):
                while (piece := await stream.receive_some()) and len(message) <= _MAX_PAGE:
                    message += piece
            if message and not piece:
                hear(bytes(message))
        except (trio.BrokenResourceError, trio.TooSlowError):
            return  # who told it has not waited
        except Exception:  # noqa: BLE001 - one that fails must not end the worker
            logger("gateway.server").exception("what another worker told failed")


async def _show(stream: trio.SocketStream, metrics: Render, accept: str) -> None:
    async with stream:
        try:
            page, _ = metrics(accept)
            with trio.move_on_after(_TIMEOUT_S):
                await stream.send_all(page)
        except trio.BrokenResourceError:
            return  # the asker has not waited
        except Exception:  # noqa: BLE001 - a page that fails must not end the worker
            logger("gateway.server").exception("metrics failed")
