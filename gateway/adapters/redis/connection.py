"""One connection to Redis: logging in, a command, its reply.

One whose reply was not read is of no use to anybody else: the next reply would be another's.

Source: Redis, "HELLO", "Redis serialization protocol", section "Simple errors".
"""

from __future__ import annotations

from typing import Any

from gateway.adapters.redis.resp import Refusal, ReplyReader, packed
from gateway.core.errors import BadReply, GatewayError, Overloaded, Rejected, Unreachable
from gateway.net.wire import Wire

__all__ = ["Connection"]

_BUSY = frozenset(
    {
        *("BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM"),
        *("TRYAGAIN", "UNBLOCKED"),
    }
)
_FULL = "ERR max number of clients reached"
_ELSEWHERE = frozenset({"ASK", "CROSSSLOT", "MOVED"})
_NOT_LET_IN = frozenset({"NOAUTH", "NOPERM", "WRONGPASS"})


class Connection:
    """A connection, for one command at a time.

    Args:
        wire: Connected; from here on this connection's.
        max_reply_bytes: Of a reply.
    """

    def __init__(self, wire: Wire, max_reply_bytes: int) -> None:
        self._wire = wire
        self._max_reply_bytes = max_reply_bytes
        self._is_whole = True

    @property
    def is_good(self) -> bool:
        """Whether it may serve a command: none is under way, and nothing came unasked for."""
        return self._is_whole and not self._wire.is_stale()

    async def log_in(self, user: str, password: str, database: int) -> None:
        """Make it ready for commands.

        Args:
            user: Empty for the one there is without a name.
            password: Empty for none.
            database: Its number.

        Raises:
            GatewayError: It is no Redis of version 6 or later, or lets nobody in.
        """
        words = [b"HELLO", b"3"]
        if user or password:
            words += [b"AUTH", (user or "default").encode(), password.encode()]
        server = await self.ask(words)
        if not isinstance(server, dict) or server.get("proto") != 3:
            raise BadReply("it is no Redis of version 6 or later")
        if database:
            await self.ask([b"SELECT", b"%d" % database])

    async def ask(self, words: list[bytes]) -> Any:
        """Send a command; its reply, in JSON's types.

        Raises:
            Unsent: The connection broke, and nothing of the command had left.
            GatewayError: Redis refuses it, the connection broke, or the reply is none.

        Cancellation: its reply is not read, and the connection not good any more.
        """
        self._is_whole = False
        await self._wire.send(packed(words))
        reader = ReplyReader(self._max_reply_bytes)
        is_whole = False
        while not is_whole:
            data = await self._wire.receive()
            if not data:
                raise Unreachable("the connection ended before the reply did")
            is_whole = reader.feed(data)
        self._is_whole = not reader.rest
        if isinstance(reader.value, Refusal):
            raise _failure_of(reader.value.said)
        return reader.value

    def close(self) -> None:
        """Close it at once, in whatever state it is."""
        self._wire.close()


def _failure_of(said: str) -> GatewayError:
    """What a refusal of Redis' means."""
    code, _, _ = said.partition(" ")
    if code in _BUSY or said.startswith(_FULL):
        return Overloaded(f"Redis cannot answer now: {said}", retry_after_s=1)
    if code in _ELSEWHERE:  # its words name addresses
        return BadReply(f"{code}: the keys are on other nodes of a cluster: one server is asked")
    if code in _NOT_LET_IN:
        return Rejected(f"Redis refuses the gateway: {said}")
    return Rejected(
        f"Redis refused it: {said}", service_status=409 if code == "WRONGTYPE" else None
    )
