"""httpx's conveniences over our pool: for libraries that want an `httpx.AsyncClient`.

```python
async with open_http1(settings) as client:
    async with httpx.AsyncClient(transport=PoolTransport(client), timeout=None) as http:
        response = await http.get("https://users.internal/api")
```
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Iterator

import httpx

from gateway.core.errors import BadReply, DeadlineExceeded, GatewayError, Unreachable
from gateway.net.connection import Connection
from gateway.net.http1 import Http1Client
from gateway.net.messages import HttpRequest, Origin

__all__ = ["PoolTransport"]

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class PoolTransport(httpx.AsyncBaseTransport):
    """A transport of httpx's over a client of ours.

    Cookies, redirects, authentication, decompression are httpx's; connections, bounds on heads and
    the address guard are ours. httpx's timeouts do not count: what bounds a request is the cancel
    scope around it. A request's body is sent before its reply is read.

    Args:
        client: Sends the requests; whoever opened it closes it.
    """

    def __init__(self, client: Http1Client) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response to `request`, its body still to come; closing it frees the connection.

        Raises:
            httpx.TransportError: As httpx names what our clients raise.
        """
        with _mapped(request):
            connection = await self._client.ask(_translated(request))
        reply = connection.reply
        return httpx.Response(
            reply.status,
            headers=reply.headers,
            stream=_Body(self._client, connection, request),
            extensions={"http_version": b"HTTP/1.1"},
        )


def _translated(request: httpx.Request) -> HttpRequest:
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    framing = {name: value for name, value in headers if name in _FRAMING}
    try:
        origin = Origin.of(str(request.url))
    except ValueError as error:
        raise httpx.UnsupportedProtocol(str(error), request=request) from error
    length = framing.get(b"content-length")
    return HttpRequest(
        request.method,
        origin,
        request.url.raw_path.decode("ascii"),
        [(n.decode("latin-1"), v.decode("latin-1")) for n, v in headers if n not in _FRAMING],
        _content(request) if framing else None,  # httpx gives every body one of the two
        None if length is None else int(length),
    )


def _content(request: httpx.Request) -> bytes | AsyncIterable[bytes]:
    try:
        return request.content
    except httpx.RequestNotRead:
        if isinstance(request.stream, httpx.AsyncByteStream):
            return request.stream
        raise TypeError("a transport of an AsyncClient sends asynchronous bodies") from None


class _Body(httpx.AsyncByteStream):
    """A reply's body; an iterator of its own, for a generator would be left half-way."""

    def __init__(self, client: Http1Client, connection: Connection, request: httpx.Request) -> None:
        self._client = client
        self._connection: Connection | None = connection
        self._request = request

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._connection is None:
            raise httpx.StreamClosed
        with _mapped(self._request):
            piece = await self._connection.receive()
        if not piece:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._client.pool.give_back(connection)


@contextlib.contextmanager
def _mapped(request: httpx.Request) -> Iterator[None]:
    """Turn our errors into httpx's."""
    try:
        yield
    except Unreachable as error:
        raise httpx.NetworkError(error.detail, request=request) from error
    except BadReply as error:
        raise httpx.RemoteProtocolError(error.detail, request=request) from error
    except DeadlineExceeded as error:
        raise httpx.PoolTimeout(error.detail, request=request) from error
    except GatewayError as error:
        raise httpx.LocalProtocolError(error.detail, request=request) from error
