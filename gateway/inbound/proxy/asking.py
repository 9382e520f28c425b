"""A proxy's requests to its service, which carry its token where it has `oauth2`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable, AsyncIterator
from typing import Protocol

from gateway.adapters.http import HttpAdapter
from gateway.net.authorized import UNAUTHORIZED, Bearer, bearer
from gateway.net.connection import Connection
from gateway.net.http1 import sending

__all__ = ["Asker", "ask", "asking", "why_none"]


class Asker(Protocol):
    """Who asks.

    Attributes:
        for_token: Whether it waits for a token, or was waiting for one when it was cancelled.
    """

    for_token: bool


async def ask(
    asker: Asker,
    adapter: HttpAdapter,
    method: str,
    head: bytes,
    content: bytes | None,
    *,
    upgrades: bool = False,
) -> Connection:
    """A connection over which a whole request was answered, to be given back.

    It is asked once more, with a new token, where the service refuses the one at hand.

    Args:
        asker: Who asks.
        adapter: The service.
        method: As in `head`.
        head: As `Http1Client.begin` takes it.
        content: The whole body, or none.
        upgrades: As `Http1Client.begin` takes it.

    Raises:
        GatewayError: As `Http1Client.begin`; or no token is to be had.

    Cancellation: closes the connection.
    """
    client, tokens, origin = adapter.http1, adapter.tokens, adapter.origin
    if tokens is None:
        return await client.begin(origin, method, head, content, upgrades=upgrades)
    token = await _token(asker, tokens)
    connection = await client.begin(origin, method, head + _line(token), content, upgrades=upgrades)
    if connection.reply.status != UNAUTHORIZED or not tokens.distrust(token):
        return connection
    client.pool.give_back(connection)
    head += _line(await _token(asker, tokens))
    return await client.begin(origin, method, head, content, upgrades=upgrades)


@contextlib.asynccontextmanager
async def asking(
    asker: Asker,
    adapter: HttpAdapter,
    method: str,
    head: bytes,
    pieces: AsyncIterable[bytes],
    *,
    length: int | None,
) -> AsyncIterator[Connection]:
    """A connection over which the head of an answer came, while the request's body is sent.

    It is asked once, for the pieces come once: a token that is refused is the next request's to
    replace.

    Args:
        asker: Who asks.
        adapter: The service.
        method: As in `head`.
        head: As `Http1Client.begin` takes it.
        pieces: The body, iterated once.
        length: As `sending` takes it.

    Raises:
        GatewayError: As `ask`, and what `pieces` raised.

    Cancellation: closes the connection.
    """
    client, tokens = adapter.http1, adapter.tokens
    token = ""
    if tokens is not None:
        token = await _token(asker, tokens)
        head += _line(token)
    connection = await client.begin(adapter.origin, method, head, pieces)
    try:
        async with sending(connection, pieces, length):
            await connection.read_head()
            if tokens is not None and connection.reply.status == UNAUTHORIZED:
                tokens.distrust(token)
            yield connection
    finally:
        client.pool.give_back(connection)


def why_none(asker: Asker) -> str:
    """Why there is no answer, of one whose time was over."""
    if asker.for_token:
        return "no token for the service had come within the time there was"
    return "no answer had begun within the time there was"


async def _token(asker: Asker, tokens: Bearer) -> str:
    asker.for_token = True
    token = await tokens.token()
    asker.for_token = False  # not when it was cancelled: whoever did so is to know
    return token


def _line(token: str) -> bytes:
    """The line of a head that carries a token."""
    return "{}: {}\r\n".format(*bearer(token)).encode("latin-1")
