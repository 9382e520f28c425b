"""The ASGI `send` of a request, and the shorter way for an answer that is whole.

Source: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping, Sequence

__all__ = ["Answering"]

Head = TypeVar("Head")


class Answering(ABC, Generic[Head]):
    """A request that its application answers, over any version of HTTP.

    Whoever is one says how a head is made and how a piece is sent, and when all of it was.
    """

    __slots__ = ("_answer", "_finished")

    _head_of: Callable[[int, Iterable[tuple[bytes, bytes]]], Head]
    """Makes a head of a status and headers."""

    def __init__(self) -> None:
        self._answer: Head | None = None
        self._finished = False

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Take the application's next message: the ASGI `send`.

        Raises:
            Gone: The client left, or did not read.
            RuntimeError: The message does not follow what was sent before.

        Cancellation: the answer is cut: over HTTP/1 the connection with it, over HTTP/2 its stream
        alone.
        """
        kind = message["type"]
        answer = self._answer
        if kind == "http.response.start" and answer is None:
            self._answer = self._head_of(message["status"], message.get("headers", ()))
            return
        if kind != "http.response.body" or answer is None or self._finished:
            raise RuntimeError(f"{kind} is out of turn")
        await self._send(answer, message.get("body", b""), more=message.get("more_body", False))

    async def answer(
        self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes
    ) -> None:
        """As `Peer`.

        Raises:
            Gone: The client left, or did not read.
            RuntimeError: An answer has begun already.

        Cancellation: as `send`.
        """
        if self._answer is not None:
            raise RuntimeError("an answer is out of turn")
        self._answer = answer = self._head_of(status, headers)
        await self._send(answer, body, more=False)

    @abstractmethod
    async def _send(self, answer: Head, body: bytes, *, more: bool) -> None:
        """Send a piece of the body, and before the first of them the head."""
