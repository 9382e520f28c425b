"""Legacy sessions: whom `notifications/cancelled` means.

A cancel comes as a POST of its own and names nothing but a request id, which every client counts
from 1. The session tells whose request it is; it holds nothing else of worth, so losing one
costs its client a new `initialize`.

Source: MCP 2025-11-25, Transports, "Session Management"; Cancellation.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import attrs
import trio

if TYPE_CHECKING:
    from gateway.inbound.mcp.jsonrpc import RequestId

__all__ = ["IDLE_S", "MAX_CALLS", "MAX_SESSIONS", "Session", "Sessions"]

MAX_SESSIONS: Final = 10_000
"""Open at once; beyond it the one that was used least recently goes."""

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
        used: When its last request came, in Trio's time.
        calls: The scope of each call in flight, by request id.
    """

    id: str
    version: str
    used: float
    calls: dict[RequestId, trio.CancelScope] = attrs.field(factory=dict, repr=False)

    @property
    def is_full(self) -> bool:
        """Whether as many calls are in flight as may be."""
        return len(self.calls) >= MAX_CALLS

    def enter(self, request_id: RequestId) -> trio.CancelScope:
        """The scope for a call; whoever asks for it must `leave` afterwards.

        An id that is in flight already names the later call from here on.
        """
        scope = self.calls[request_id] = trio.CancelScope()
        return scope

    def leave(self, request_id: RequestId, scope: trio.CancelScope) -> None:
        """Forget a call; one that took over its id stays."""
        if self.calls.get(request_id) is scope:
            del self.calls[request_id]

    def cancel(self, request_id: RequestId) -> None:
        """Cancel a call; an unknown id is a call that has ended, and is ignored."""
        scope = self.calls.get(request_id)
        if scope is not None:
            scope.cancel()


class Sessions:
    """All sessions of one process, in order of use.

    Args:
        limit: How many may be open at once.
        idle_s: Seconds without a request after which one is forgotten.
    """

    def __init__(self, *, limit: int = MAX_SESSIONS, idle_s: float = IDLE_S) -> None:
        self._limit = limit
        self._idle_s = idle_s
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        """How many are open, those that nobody has missed yet included."""
        return len(self._sessions)

    def open(self, version: str) -> Session:
        """Open a session; the one used least recently goes if there is no room.

        What is in flight in a session that goes is answered all the same.
        """
        self._expire()
        while len(self._sessions) >= self._limit:
            self._sessions.popitem(last=False)
        session = Session(secrets.token_hex(16), version, trio.current_time())
        self._sessions[session.id] = session
        return session

    def find(self, session_id: str) -> Session | None:
        """The session, which counts as used now; `None` if it is unknown or was forgotten."""
        self._expire()
        session = self._sessions.get(session_id)
        if session is not None:
            session.used = trio.current_time()
            self._sessions.move_to_end(session_id)
        return session

    def close(self, session: Session) -> None:
        """End a session and cancel what is in flight in it: its client is done."""
        self._sessions.pop(session.id, None)
        for scope in session.calls.values():
            scope.cancel()

    def _expire(self) -> None:
        now = trio.current_time()
        while self._sessions:
            oldest = next(iter(self._sessions.values()))
            if now - oldest.used < self._idle_s:
                return
            del self._sessions[oldest.id]
