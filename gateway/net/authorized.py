"""A client whose requests carry a token that ends one day.

Source: RFC 6750, sections 2.1 and 3.1.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from gateway.net.messages import HttpClient, HttpReply, HttpRequest, HttpStream

__all__ = ["UNAUTHORIZED", "Authorized", "Bearer", "bearer"]

UNAUTHORIZED = 401
"""What a service answers to a token that it does not take, or takes no more."""


class Bearer(Protocol):
    """Where tokens come from."""

    async def token(self) -> str:
        """One that is good as far as is known.

        Raises:
            GatewayError: There is none to be had.
        """
        ...

    def distrust(self, token: str, /) -> bool:
        """Take note that a service refused `token`; whether another one may be had by now."""
        ...


class Authorized:
    """A client that adds a token, and once another where the service refuses it.

    Args:
        client: Sends each request.
        tokens: Where they come from.

    Attributes:
        client: As above.
    """

    def __init__(self, client: HttpClient, tokens: Bearer) -> None:
        self.client = client
        self._tokens = tokens

    async def send(self, request: HttpRequest, /) -> HttpReply:
        """As `HttpClient`.

        Raises:
            GatewayError: No token is to be had; nothing was sent.
        """
        token = await self._tokens.token()
        reply = await self.client.send(_with(request, token))
        if reply.status == UNAUTHORIZED and _is_whole(request) and self._tokens.distrust(token):
            return await self.client.send(_with(request, await self._tokens.token()))
        return reply

    @contextlib.asynccontextmanager
    async def stream(self, request: HttpRequest, /) -> AsyncIterator[HttpStream]:
        """As `HttpClient`.

        Raises:
            GatewayError: No token is to be had; nothing was sent.
        """
        token = await self._tokens.token()
        async with contextlib.AsyncExitStack() as stack:
            stream = await stack.enter_async_context(self.client.stream(_with(request, token)))
            refused = stream.status == UNAUTHORIZED
            if refused and _is_whole(request) and self._tokens.distrust(token):
                await stack.aclose()
                request = _with(request, await self._tokens.token())
                stream = await stack.enter_async_context(self.client.stream(request))
            yield stream


def bearer(token: str) -> tuple[str, str]:
    """The header that carries a token."""
    return "authorization", f"Bearer {token}"


def _with(request: HttpRequest, token: str) -> HttpRequest:
    headers = (*request.headers, bearer(token))
    return msgspec.structs.replace(request, headers=headers)


def _is_whole(request: HttpRequest) -> bool:
    """Whether it can be sent again: what comes in pieces comes once."""
    return request.content is None or isinstance(request.content, bytes)
