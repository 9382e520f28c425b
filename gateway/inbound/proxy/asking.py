"""A proxy's requests to its service, which carry its token where it has `oauth2`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable, AsyncIterator

from gateway.adapters.http import HttpAdapter
from gateway.net.authorized import UNAUTHORIZED, bearer
from gateway.net.connection import Connection
from gateway.net.http1 import sending

__all__ = ["ask", "asking"]


async def ask(
    adapter: HttpAdapter, method: str, head: bytes, content: bytes | None, *, upgrades: bool = False
) -> Connection:
    """A connection over which a whole request was answered, to be given back.

    It is asked once more, with a new token, where the service refuses the one at hand.

    Args:
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
    token = await tokens.token()
    connection = await client.begin(origin, method, head + _line(token), content, upgrades=upgrades)
    if connection.reply.status != UNAUTHORIZED or not tokens.distrust(token):
        return connection
    client.pool.give_back(connection)
    head += _line(await tokens.token())
    return await client.begin(origin, method, head, content, upgrades=upgrades)


@contextlib.asynccontextmanager
async def asking(
    adapter: HttpAdapter,
    method: str,
    head: bytes,
    pieces: AsyncIterable[bytes],
    length: int | None,
) -> AsyncIterator[Connection]:
    """A connection over which the head of an answer came, while the request's body is sent.

    It is asked once, for the pieces come once: a token that is refused is the next request's to
    replace.

    Args:
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
        token = await tokens.token()
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


def _line(token: str) -> bytes:
    """The line of a head that carries a token."""
    return "{}: {}\r\n".format(*bearer(token)).encode("latin-1")
