"""The one factory of HTTP clients for services: what it gives can be replaced behind it.

Today it is httpx, with what httpx lacks put before it (docs/reference/http-client.md): a limiter,
because a contended pool leaks connections when a request is cancelled (encode/httpcore#1093);
bounds on a reply, decompressed; an address guard; nothing taken from the environment.
"""

from __future__ import annotations

import contextlib
import ssl
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Protocol

import attrs
import httpcore
import httpx
import trio

from gateway.core.errors import BadReply, GatewayError, Unreachable
from gateway.net.guard import AddressGuard

__all__ = ["ClientSettings", "HttpClient", "HttpReply", "HttpRequest", "open_client"]

_WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 47}


@attrs.frozen(slots=True, kw_only=True)
class ClientSettings:
    """What a client of one service keeps to.

    Args:
        guard: Which addresses it may connect to.
        max_connections: Connections, and so requests under way, at once.
        max_reply_bytes: Largest reply body, decompressed.
        http2: Whether HTTP/2 is offered over TLS.
        follow_redirects: Whether 3xx are followed; the guard holds for each.
    """

    guard: AddressGuard
    max_connections: int
    max_reply_bytes: int
    http2: bool = False
    follow_redirects: bool = False


@attrs.frozen(slots=True)
class HttpRequest:
    """One request: method, absolute URL, headers in order, the whole body or none."""

    method: str
    url: str
    headers: Sequence[tuple[str, str]] = ()
    content: bytes | None = None


@attrs.frozen(slots=True)
class HttpReply:
    """One reply: status, headers (names in lower case, joined by `, `), the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient(Protocol):
    """Sends requests to one service."""

    async def send(self, request: HttpRequest, /) -> HttpReply:
        """The whole reply to `request`, whatever its status.

        Raises:
            Unreachable: No connection, or it broke.
            BadReply: What came is not HTTP, or over the bound.

        Cancellation: the connection is closed, its permit given back.
        """
        ...


@contextlib.asynccontextmanager
async def open_client(settings: ClientSettings) -> AsyncIterator[HttpClient]:
    """A client for one service; leaving the context closes its connections."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=settings.max_connections)
    transport = httpx.AsyncHTTPTransport(
        verify=ssl.create_default_context(),
        http2=settings.http2,
        limits=limits,
        trust_env=False,
    )
    # httpx has no argument for it: every connection of the pool is made by this backend.
    transport._pool._network_backend = _GuardedBackend(settings.guard)  # noqa: SLF001
    async with httpx.AsyncClient(
        transport=transport,
        timeout=None,  # noqa: S113 - the budget is a cancel scope: docs/adr/0001
        trust_env=False,
        follow_redirects=settings.follow_redirects,
        headers={"accept-encoding": "identity"},
    ) as client:
        yield _HttpxClient(client, settings)


class _HttpxClient:
    def __init__(self, client: httpx.AsyncClient, settings: ClientSettings) -> None:
        self._client = client
        self._limiter = trio.CapacityLimiter(settings.max_connections)
        self._max_bytes = settings.max_reply_bytes

    async def send(self, request: HttpRequest, /) -> HttpReply:
        # The permit is held to the end of the body: the pool behind it is never contended.
        async with self._limiter:
            with _mapped():
                async with self._client.stream(
                    request.method,
                    request.url,
                    headers=list(request.headers),
                    content=request.content,
                ) as response:
                    headers = {name.lower(): value for name, value in response.headers.items()}
                    body = await self._read(response, headers)
                    return HttpReply(response.status_code, headers, body)

    async def _read(self, response: httpx.Response, headers: Mapping[str, str]) -> bytes:
        unpack = _decoder(headers.get("content-encoding", ""))
        pieces: list[bytes] = []
        size = 0
        async for raw in response.aiter_raw():
            piece = raw if unpack is None else _unpacked(unpack, raw, self._max_bytes - size)
            size += len(piece)
            if size > self._max_bytes:
                raise BadReply(f"the reply is over {self._max_bytes} bytes")
            pieces.append(piece)
        return b"".join(pieces)


def _decoder(encoding: str) -> Any:
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        return None
    if encoding not in _WBITS:
        raise BadReply(f"the reply is encoded as {encoding[:60]!r}, though identity was asked for")
    return zlib.decompressobj(_WBITS[encoding])


def _unpacked(unpack: Any, raw: bytes, room: int) -> bytes:
    """`raw` decompressed, at most one byte more than there is room for: a bomb stays small."""
    try:
        piece: bytes = unpack.decompress(raw, room + 1)
    except zlib.error as error:
        raise BadReply(f"the reply does not decompress: {error}") from error
    return piece


@contextlib.contextmanager
def _mapped() -> Iterator[None]:
    """Turn httpx's errors into ours."""
    try:
        yield
    except GatewayError:
        raise
    except httpx.RemoteProtocolError as error:
        if "disconnected" in str(error) or "closed" in str(error):
            raise Unreachable(f"the connection broke: {error}") from error
        raise BadReply(f"what came back is not HTTP: {error}") from error
    except (httpx.DecodingError, httpx.TooManyRedirects) as error:
        raise BadReply(str(error)) from error
    except httpx.TransportError as error:
        raise Unreachable(str(error) or type(error).__name__) from error
    except httpx.InvalidURL as error:
        raise BadReply(f"not a URL: {error}") from error


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses only, trying one after the other."""

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard
        self._backend = httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = Unreachable(f"{host} has no address")
        for address in await self._guard.resolve(host, port):
            try:
                return await self._backend.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except httpcore.ConnectError as error:
                failure = error
        raise failure

    async def connect_unix_socket(self, *_args: Any, **_options: Any) -> Any:
        raise Unreachable("unix sockets are not connected to")

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)
