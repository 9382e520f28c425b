"""What a legacy client says for a call that another worker may have: passed round among them.

A connection leads to any worker, and so does each POST: an answer to a question, a cancel, a log
level, the end of a session. Whatever does not find what it is for where it comes in is told to the
others; there it has the effect that it would have had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    from gateway.inbound.mcp.sessions import Session, Sessions

__all__ = ["Said", "hear", "said"]

Kind: TypeAlias = Literal["answer", "cancel", "level", "end"]


class Said(msgspec.Struct, frozen=True, array_like=True):
    """One thing that a client said.

    Args:
        kind: What it is.
        session: Its session's token.
        client: Its address.
        value: An answer: the response. A cancel: the request's id. A level: how grave a message has
            to be. An end: nothing.
    """

    kind: Kind
    session: str
    client: str
    value: Any = None


def said(kind: Kind, session: Session, value: Any = None) -> bytes:
    """What is told to the other workers."""
    return msgspec.json.encode(Said(kind, session.id, session.client, value))


def hear(message: bytes, sessions: Sessions) -> None:
    """Heed what another worker was told.

    Args:
        message: As `said` gave it.
        sessions: As this worker knows them.
    """
    told = msgspec.json.decode(message, type=Said)
    session = sessions.told_of(told.session, told.client)
    if session is None:  # ended here too
        return
    match told.kind:
        case "answer":
            session.questions.hear(told.value)
        case "cancel":
            session.cancel(told.value)
        case "level":
            session.least = told.value
        case "end":
            sessions.close(session)
