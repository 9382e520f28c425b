"""What a transport promises: one exchange for each request, whatever goes to and fro in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeAlias

import attrs

from gateway.adapters.mcp.messages import Asked, Message, Told
from gateway.core.mcp import MODERN
from gateway.core.messages import Context

__all__ = ["NEVER_CANCELLED", "Call", "Era", "Exchange", "Hear", "Link", "Outdated", "Refused"]

NEVER_CANCELLED = frozenset({"initialize", "server/discover"})
"""What no `notifications/cancelled` may name, or comes before a server understands one."""

Hear: TypeAlias = Callable[[Told], None]
"""Takes a notification that belongs to no request."""


@attrs.frozen(slots=True, eq=False, kw_only=True)
class Era:
    """What was agreed with a server.

    Args:
        version: The revision.
        capabilities: What the server said it can do.
        session_id: The session, in legacy revisions over HTTP, where there is one.
        life: Which life of the program it was agreed with; 0 over HTTP.
    """

    version: str
    capabilities: Mapping[str, Any]
    session_id: str | None = attrs.field(default=None, repr=False)
    life: int = 0

    @property
    def is_modern(self) -> bool:
        """Whether requests stand alone."""
        return self.version == MODERN

    def announces(self, key: str, option: str) -> bool:
        """Whether the server said that it has `option` of the capability `key`."""
        capability = self.capabilities.get(key)
        return isinstance(capability, dict) and capability.get(option) is True


@attrs.frozen(slots=True, eq=False)
class Call:
    """One request of ours.

    Args:
        id: Its id, which is its progress token as well; none is used twice.
        method: What is asked for.
        params: All of its parameters, `_meta` included.
        era: What it is sent under; `None` for what agrees on it in a legacy revision.
        context: For whom; `None` if it is for the gateway itself.
        headers: Further ones, over HTTP.
    """

    id: int
    method: str
    params: Mapping[str, Any]
    era: Era | None
    context: Context | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Outdated(Exception):
    """The server takes no longer what was agreed, and did not do what it was asked.

    Args:
        said: How it says so.
    """

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


class Refused(Exception):
    """Over HTTP the server refused a request, by a status and not in JSON-RPC's words.

    Args:
        status: The status, 300 or more.
        said: Its body's beginning.
        retry_after: The header of this name.
    """

    def __init__(self, status: int, said: str, retry_after: str | None = None) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.said = said
        self.retry_after = retry_after


class Exchange(Protocol):
    """A request that was sent, for as long as its context lasts.

    Attributes:
        session_id: The session that the server gave with its answer.
    """

    @property
    def session_id(self) -> str | None:
        """The session the server gave."""
        ...

    async def receive(self) -> Message:
        """What comes next for this request; its response comes last.

        Raises:
            Refused: The server refused it.
            Outdated: It refused the session, or the program is another one by now.
            Unreachable: The connection broke, or the program ended.
            BadReply: What came is no message, or over the bound.
        """
        ...

    async def answer(self, message: bytes) -> None:
        """Send the answer to what the server asked.

        Raises:
            Unreachable: It cannot be sent.
        """
        ...


class Link(Protocol):
    """How one server is reached.

    Attributes:
        life: As `Era.life`: what was agreed with another life counts for nothing.
    """

    @property
    def life(self) -> int:
        """Which life of the server's it is."""
        ...

    def open(self, hear: Hear, decline: Decline) -> AbstractAsyncContextManager[None]:
        """Be ready for exchanges; leaving closes everything, within seconds.

        Args:
            hear: Takes what the server tells beside all requests.
            decline: Answers what it asks where nobody can be asked.
        """
        ...

    async def ready(self) -> None:
        """Wait until the server can be asked, if it is on its way.

        Raises:
            Unreachable: It is not.
        """
        ...

    def exchange(self, call: Call, /) -> AbstractAsyncContextManager[Exchange]:
        """Send a request. Leaving before the response cancels it, without waiting for anything.

        Raises:
            As `Exchange.receive`.

        Cancellation: as leaving.
        """
        ...

    def listen(self, era: Era, /) -> AbstractAsyncContextManager[Exchange] | None:
        """What a legacy server tells beside all requests, where that has a way of its own."""
        ...

    async def tell(self, method: str, era: Era, /) -> None:
        """Send a notification.

        Raises:
            Unreachable: It cannot be sent.
            Refused: The server refused it.
        """
        ...

    async def end(self, era: Era, /) -> None:
        """End the session, where there is one; failures are nobody's concern.

        Cancellation: the server will forget it by itself.
        """
        ...

    def hurry(self) -> None:
        """Have no patience with the server, now that `open` is left or about to be."""
        ...


Decline: TypeAlias = Callable[[Asked], bytes]
"""The answer to a request of the server's, where nobody can be asked."""
