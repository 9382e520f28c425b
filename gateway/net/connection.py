"""One connection to a service: a request, its reply, the next request."""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.errors import Unreachable
from gateway.net.messages import Origin
from gateway.net.reply import ReplyReader
from gateway.net.wire import Unsent, Wire

__all__ = ["ONE_WRITE", "Connection"]

ONE_WRITE = 65_536
"""Bytes of head and body that leave together; of a larger body there is no copy."""


class Connection:
    """An HTTP/1.1 connection, one request at a time.

    Args:
        origin: Who is at its other end.
        wire: Its bytes; from here on this connection's.

    Attributes:
        origin: As above.
        idle_since: The time at which it was last given back.
        reused: Whether it has served a request.
        reply: The reply under way, or the last one.
    """

    __slots__ = ("_ahead", "_sent", "_wire", "idle_since", "origin", "reply", "reused")

    def __init__(self, origin: Origin, wire: Wire) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self.reused = False
        self.reply = ReplyReader()
        self._wire = wire
        self._sent = False
        self._ahead = b""

    @property
    def reusable(self) -> bool:
        """Whether its request and reply are complete, and another may follow."""
        return self._sent and self.reply.ended and self.reply.keeps_alive

    @property
    def headed(self) -> bool:
        """Whether the reply's head is complete."""
        return self.reply.status >= 200

    @property
    def at_hand(self) -> bytes:
        """What of the reply's body has come and was not received yet."""
        return self._ahead

    @property
    def ready(self) -> bool:
        """Whether `receive` gives the next piece, or the end, without waiting."""
        return bool(self._ahead) or self.reply.ended

    def is_stale(self) -> bool:
        """Whether the service closed it, or sent what nobody asked for, while it was idle."""
        return self._wire.is_stale()

    def may_repeat(self, error: Unreachable, *, repeatable: bool) -> bool:
        """Whether a request that broke here may be sent again over a new connection.

        Args:
            error: How it broke.
            repeatable: Whether sending it twice is harmless.
        """
        if not self.reused or self.reply.started:
            return False
        return repeatable or isinstance(error, Unsent)

    def close(self) -> None:
        """Close it at once; a second time does nothing."""
        self._wire.close()

    def restart(self, wire: Wire) -> None:
        """Go on over `wire`, as new."""
        self._wire = wire
        self.reused = False

    async def begin(self, head: bytes, *, bodiless: bool, upgrades: bool = False) -> None:
        """Begin a request: send `head`; its body is still to come.

        Args:
            head: The head, complete, and perhaps the body with it.
            bodiless: Whether the reply has no body whatever it says: the request is a HEAD.
            upgrades: Whether it asks for another protocol. What comes of that after a reply 101
                is received, and sent, as it is; the connection serves no request after it.

        Raises:
            Unsent: The connection broke, and nothing had left.
            Unreachable: The connection broke.
        """
        self._begin(bodiless=bodiless, upgrades=upgrades)
        await self._wire.send(head)

    def _begin(self, *, bodiless: bool, upgrades: bool) -> None:
        self.reply = ReplyReader(bodiless=bodiless, upgrades=upgrades)
        self._sent = False
        self._ahead = b""

    async def send(self, data: bytes) -> None:
        """Send some more of the request's body, framed already; of what it asked to upgrade to.

        Raises:
            Unreachable: The connection broke.
        """
        await self._wire.send(data)

    def end(self) -> None:
        """Say that all of the request was sent."""
        self._sent = True

    async def ask(
        self, head: bytes, content: bytes | None, *, bodiless: bool, upgrades: bool = False
    ) -> None:
        """Send a whole request and read the head of its reply; arguments as for `begin`.

        Raises:
            Unsent: The connection broke, and nothing had left.
            Unreachable: The connection broke.
            BadReply: What came is not HTTP.
        """
        if content is None or len(head) + len(content) <= ONE_WRITE:
            self._begin(bodiless=bodiless, upgrades=upgrades)
            await self._wire.send(head + content if content else head)
            self._sent = True
            while not self._take(await self._wire.receive()):
                pass
            return
        await self.begin(head, bodiless=bodiless)
        broken: Unreachable | None = None
        try:
            await self._wire.send(content)
            self._sent = True
        except Unreachable as error:
            broken = error  # whoever refuses a body answers, and closes before it has it all
        try:
            await self.read_head()
        except Unreachable:
            if broken is None:
                raise
            # Not as it was raised: nothing of the body may have left, but the head has.
            raise Unreachable(broken.detail) from None

    def ask_at_once(self, head: bytes, *, bodiless: bool) -> bool:
        """Send a whole request without waiting; arguments as for `begin`.

        Returns:
            Whether all of it was sent; if not, the connection is of no use any more.
        """
        prompt = self._wire.prompt
        if prompt is None:
            return False
        self._begin(bodiless=bodiless, upgrades=False)
        self._sent = prompt.send_at_once(head)
        return self._sent

    def listen(self, tell: Callable[[], None]) -> None:
        """Have `tell` called, once, when something came: of one that was asked at once."""
        if self._wire.prompt is not None:
            self._wire.prompt.listen(tell)

    def read_at_once(self) -> bool:
        """Read what came of the reply, without waiting; whether it is all of it.

        Raises:
            Unreachable: The connection broke.
            BadReply: What came is not HTTP.
        """
        data = None if self._wire.prompt is None else self._wire.prompt.receive_at_once()
        if data is None:
            return False
        self._take(data)
        return self.reply.ended

    def _take(self, data: bytes) -> bool:
        """Take the next bytes of the reply's head; whether it is complete."""
        reply = self.reply
        if not data:
            reply.take_end()
        rest = reply.take_head(data)
        if rest is None:
            return False
        self._ahead = reply.take_body(rest) if rest else b""
        return True

    async def read_head(self) -> None:
        """Read the reply's head, or the rest of it; `reply` has it then.

        Raises:
            Unreachable: The connection broke.
            BadReply: What came is not HTTP.
        """
        while not self._take(await self._wire.receive()):
            pass

    async def receive(self) -> bytes:
        """The next piece of the body, `b""` at its end.

        Raises:
            Unreachable: The connection broke.
            BadReply: What came is not HTTP.
        """
        if self._ahead:
            piece, self._ahead = self._ahead, b""
            return piece
        reply = self.reply
        while not reply.ended:
            data = await self._wire.receive()
            if not data:
                reply.take_end()
                break
            piece = reply.take_body(data)
            if piece:
                return piece
        return b""
