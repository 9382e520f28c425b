"""Legacy sessions: signed tokens, and what a process keeps of those in use.

The token says all that has to be known of a session: its revision, whose it is, what its client can
be asked. So every worker knows every session, and opening one costs no memory. What a process keeps
beside it concerns calls in flight here: whom `notifications/cancelled` means, for it comes as a POST
of its own and names nothing but a request id, which every client counts from 1. Losing that costs
its client nothing but a cancel. What a client says for a call that is in flight in another worker is
told there: `said.py`.

Source: MCP 2025-11-25, Transports, "Session Management"; Cancellation.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec
import trio

from gateway.inbound.mcp.questions import Questions

if TYPE_CHECKING:
    from gateway.core.messages import Context
    from gateway.inbound.mcp.jsonrpc import RequestId
    from gateway.inbound.mcp.listen import Changes
    from gateway.inbound.mcp.signing import Signer

__all__ = ["IDLE_S", "MAX_CALLS", "MAX_OF_CLIENT", "MAX_SESSIONS", "Session", "Sessions"]

MAX_SESSIONS: Final = 10_000
"""In use at once, and ended ones remembered; beyond it the one used least recently goes."""

MAX_OF_CLIENT: Final = 1_000
"""In use at once by one client's address; beyond it one of its own goes, by the same rule."""

MAX_CALLS: Final = 1_000
"""Calls in flight at once in one session; beyond it a call is refused as overloaded."""

IDLE_S: Final = 3600.0
"""Seconds without a request after which nothing is kept of a session."""

_MAX_CAPABILITIES: Final = 512


class _Claims(msgspec.Struct, frozen=True, array_like=True):
    """What a token says."""

    nonce: str
    version: str
    principal: str
    capabilities: dict[str, Any]


@attrs.define(slots=True, eq=False)
class Session:
    """One client's session.

    Args:
        id: Its token.
        version: The revision negotiated by `initialize`.
        principal: Who opened it, and may use it.
        client: The address that its last request came from; empty where there is none.
        used: When its last request came, in Trio's time.
        calls: The scope of each call in flight, by request id.
        capabilities: What its client can be asked for.
        questions: What it was asked, and has not answered yet.
        least: How grave a log message has to be to be sent; `None` until the client says so.
        subscribed: The resources it wants to be told of.
        listener: What its stream tells of, while it has one.
    """

    id: str
    version: str
    principal: str
    client: str
    used: float
    calls: dict[RequestId, trio.CancelScope] = attrs.field(factory=dict, repr=False)
    capabilities: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    questions: Questions = attrs.field(factory=Questions, repr=False)
    least: int | None = None
    subscribed: set[str] = attrs.field(factory=set, repr=False)
    listener: Changes | None = attrs.field(default=None, repr=False)

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

    def cancel(self, request_id: RequestId) -> bool:
        """Cancel a call; whether it was in flight here."""
        scope = self.calls.get(request_id)
        if scope is not None:
            scope.cancel()
        return scope is not None


class Sessions:
    """The sessions of a gateway, as one process knows them.

    Args:
        signer: Signs tokens.
        limit: How many may be in use at once.
        of_client: How many of them by one client's address; clients without one share `limit`.
        idle_s: Seconds without a request after which nothing is kept of one.
    """

    def __init__(
        self,
        signer: Signer,
        *,
        limit: int = MAX_SESSIONS,
        of_client: int = MAX_OF_CLIENT,
        idle_s: float = IDLE_S,
    ) -> None:
        self._signer = signer
        self._limit = limit
        self._of_client = of_client
        self._idle_s = idle_s
        # Each in the order of use.
        self._used: OrderedDict[str, Session] = OrderedDict()
        self._clients: dict[str, OrderedDict[str, Session]] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        """How many are in use, those that nobody has missed yet included."""
        return len(self._used)

    def open(self, version: str, principal: str, capabilities: Mapping[str, Any]) -> str:
        """A new session's token. Nothing is kept of it before its first use.

        Args:
            version: The revision negotiated.
            principal: Who opens it.
            capabilities: What the client can be asked for; of long ones only the names.
        """
        kept = dict(capabilities)
        if len(msgspec.json.encode(kept)) > _MAX_CAPABILITIES:  # the token is to fit a header
            kept = {name: {} for name in kept}
        claims = _Claims(secrets.token_hex(16), version, principal, kept)
        return self._signer.signed(msgspec.json.encode(claims))

    def find(self, token: str, context: Context) -> Session | None:
        """The session, which counts as used now.

        Args:
            token: As the client sent it.
            context: Who sent it.

        Returns:
            `None` if the token is none of ours, or somebody else's, or its session was ended here.
        """
        session = self._known(token)
        if session is None or session.principal != context.principal:
            return None
        self._use(session, context.client)
        return session

    def told_of(self, token: str, client: str) -> Session | None:
        """The session that another worker was asked something in, which counts as used now.

        Args:
            token: As the other worker found it to be right.
            client: The address that asked.
        """
        session = self._known(token)
        if session is not None:
            self._use(session, client)
        return session

    def close(self, session: Session) -> None:
        """End a session and cancel what is in flight in it here: its client is done."""
        self._remove(session)
        self._ended[session.id] = None
        if len(self._ended) > self._limit:
            self._ended.popitem(last=False)
        for scope in session.calls.values():
            scope.cancel()

    def _known(self, token: str) -> Session | None:
        self._expire()
        return self._used.get(token) or self._opened(token)

    def _use(self, session: Session, client: str) -> None:
        self._remove(session)
        session.used, session.client = trio.current_time(), client
        self._keep(session)

    def _opened(self, token: str) -> Session | None:
        payload = None if token in self._ended else self._signer.opened(token)
        if payload is None:
            return None
        claims = msgspec.json.decode(payload, type=_Claims)
        return Session(
            id=token,
            version=claims.version,
            principal=claims.principal,
            client="",
            used=0,
            capabilities=claims.capabilities,
        )

    def _keep(self, session: Session) -> None:
        """Keep it as the one used last; if there is no room another goes.

        What is in flight in one that goes is answered all the same.
        """
        own = self._clients.get(session.client)
        if session.client and own is not None and len(own) >= self._of_client:
            self._remove(next(iter(own.values())))
        if len(self._used) >= self._limit:
            self._remove(next(iter(self._used.values())))
        self._used[session.id] = session
        self._clients.setdefault(session.client, OrderedDict())[session.id] = session

    def _remove(self, session: Session) -> None:
        if self._used.pop(session.id, None) is None:
            return
        own = self._clients[session.client]
        del own[session.id]
        if not own:
            del self._clients[session.client]

    def _expire(self) -> None:
        now = trio.current_time()
        while self._used:
            oldest = next(iter(self._used.values()))
            if now - oldest.used < self._idle_s:
                break
            self._remove(oldest)
