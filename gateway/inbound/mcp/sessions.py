"""Legacy sessions: whom `notifications/cancelled` means.

A cancel comes as a POST of its own and names nothing but a request id, which every client counts
from 1. The session tells whose request it is; it holds nothing else of worth, so losing one
costs its client a new `initialize`.

Source: MCP 2025-11-25, Transports, "Session Management"; Cancellation.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from gateway.inbound.mcp.questions import Questions

if TYPE_CHECKING:
    from gateway.inbound.mcp.jsonrpc import RequestId

__all__ = ["IDLE_S", "MAX_CALLS", "MAX_OF_CLIENT", "MAX_SESSIONS", "Session", "Sessions"]

MAX_SESSIONS: Final = 10_000
"""Open at once; beyond it one goes that was never used, else the one used least recently."""

MAX_OF_CLIENT: Final = 1_000
"""Open at once for one client's address; beyond it one of its own goes, by the same rule."""

MAX_CALLS: Final = 1_000
"""Calls in flight at once in one session; beyond it a call is refused as overloaded."""

IDLE_S: Final = 3600.0
"""Seconds without a request after which a session is forgotten."""


@attrs.define(slots=True, eq=False)
class Session:
    """One client's session.

    Args:
        id: 128 random bits as hex digits: whoever knows it may cancel its calls.
        version: The revision negotiated by `initialize`.
        client: The address it was opened from; empty where there is none.
        used: When its last request came, in Trio's time.
        calls: The scope of each call in flight, by request id.
        capabilities: What its client can be asked for.
        questions: What it was asked, and has not answered yet.
        least: How grave a log message has to be to be sent; `None` until the client says so.
    """

    id: str
    version: str
    client: str
    used: float
    calls: dict[RequestId, trio.CancelScope] = attrs.field(factory=dict, repr=False)
    capabilities: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    questions: Questions = attrs.field(factory=Questions, repr=False)
    least: int | None = None

    @property
    def is_full(self) -> bool:
        """Whether as many calls are in flight as may be."""
        return len(self.calls) >= MAX_CALLS

    def enter(self, request_id: RequestId) -> trio.CancelScope:
        """The scope for a call, whose id is not in flight; whoever asks for it must `leave`."""
        scope = self.calls[request_id] = trio.CancelScope()
        return scope

    def leave(self, request_id: RequestId) -> None:
        """Forget a call."""
        del self.calls[request_id]

    def cancel(self, request_id: RequestId) -> None:
        """Cancel a call; an unknown id is a call that has ended, and is ignored."""
        scope = self.calls.get(request_id)
        if scope is not None:
            scope.cancel()


class _Queue:
    """Sessions in the order in which they would go."""

    __slots__ = ("_fresh", "_used")

    def __init__(self) -> None:
        self._fresh: OrderedDict[str, Session] = OrderedDict()
        self._used: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._fresh) + len(self._used)

    def add(self, session: Session) -> None:
        self._fresh[session.id] = session

    def touch(self, session: Session) -> None:
        """It was used after `initialize`: flooding does not do that."""
        self._fresh.pop(session.id, None)
        self._used[session.id] = session
        self._used.move_to_end(session.id)

    def remove(self, session: Session) -> None:
        self._fresh.pop(session.id, None)
        self._used.pop(session.id, None)

    def first(self) -> Session:
        """The one to go: the oldest that was never used, else the one used least recently."""
        return next(iter((self._fresh or self._used).values()))

    def oldest(self) -> Session | None:
        """The one whose last request is longest ago."""
        heads = [next(iter(each.values())) for each in (self._fresh, self._used) if each]
        return min(heads, key=lambda session: session.used, default=None)


class Sessions:
    """All sessions of one process.

    Args:
        limit: How many may be open at once.
        of_client: How many of them for one client's address; clients without one share `limit`.
        idle_s: Seconds without a request after which one is forgotten.
    """

    def __init__(
        self,
        *,
        limit: int = MAX_SESSIONS,
        of_client: int = MAX_OF_CLIENT,
        idle_s: float = IDLE_S,
    ) -> None:
        self._limit = limit
        self._of_client = of_client
        self._idle_s = idle_s
        self._by_id: dict[str, Session] = {}
        self._queue = _Queue()
        self._clients: dict[str, _Queue] = {}

    def __len__(self) -> int:
        """How many are open, those that nobody has missed yet included."""
        return len(self._by_id)

    def open(
        self, version: str, client: str = "", capabilities: Mapping[str, Any] | None = None
    ) -> Session:
        """Open a session; if there is no room another goes.

        One that was never used after `initialize` goes first, so that no flood of those costs
        anyone a session in use. What is in flight in one that goes is answered all the same.

        Args:
            version: The revision negotiated.
            client: The client's address.
            capabilities: What the client can be asked for.
        """
        self._expire()
        own = self._clients.get(client)
        if client and own is not None and len(own) >= self._of_client:
            self._remove(own.first())
        if len(self._by_id) >= self._limit:
            self._remove(self._queue.first())
        session = Session(
            id=secrets.token_hex(16),
            version=version,
            client=client,
            used=trio.current_time(),
            capabilities=capabilities or {},
        )
        self._by_id[session.id] = session
        self._queue.add(session)
        self._clients.setdefault(client, _Queue()).add(session)
        return session

    def find(self, session_id: str) -> Session | None:
        """The session, which counts as used now; `None` if it is unknown or was forgotten."""
        self._expire()
        session = self._by_id.get(session_id)
        if session is not None:
            session.used = trio.current_time()
            self._queue.touch(session)
            self._clients[session.client].touch(session)
        return session

    def close(self, session: Session) -> None:
        """End a session and cancel what is in flight in it: its client is done."""
        self._remove(session)
        for scope in session.calls.values():
            scope.cancel()

    def _remove(self, session: Session) -> None:
        if self._by_id.pop(session.id, None) is None:
            return
        self._queue.remove(session)
        own = self._clients[session.client]
        own.remove(session)
        if not own:
            del self._clients[session.client]

    def _expire(self) -> None:
        now = trio.current_time()
        while (oldest := self._queue.oldest()) is not None and now - oldest.used >= self._idle_s:
            self._remove(oldest)
