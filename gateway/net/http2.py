"""HTTP/2 to services that are told to offer it: httpx, with what it lacks put before it.

A limiter, because a contended pool leaks connections when a request is cancelled
(encode/httpcore#1093); bounds on a reply; the address guard; no cookies, nothing from the
environment. A service that does not choose HTTP/2 is spoken to in HTTP/1.1, here too.
"""

from __future__ import annotations

import contextlib
import http.cookiejar
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from typing import Any

import httpcore
import httpx
import trio

from gateway.core.errors import BadReply, GatewayError, Unreachable
from gateway.net.body import Body
from gateway.net.client import ClientSettings
from gateway.net.guard import AddressGuard
from gateway.net.messages import HttpReply, HttpRequest, HttpStream, by_name
from gateway.net.request import closing, head_of, tell_budget

__all__ = ["open_http2"]


@contextlib.asynccontextmanager
async def open_http2(settings: ClientSettings) -> AsyncIterator[Http2Client]:
    """A client for one service; leaving the context closes its connections."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=settings.max_connections)
    transport = httpx.AsyncHTTPTransport(
        verify=ssl.create_default_context(), http2=True, limits=limits, trust_env=False
    )
    # httpx has no argument for it: every connection of the pool is made by this backend.
    transport._pool._network_backend = _GuardedBackend(settings.guard)  # noqa: SLF001
    async with httpx.AsyncClient(
        transport=transport,
        timeout=None,  # noqa: S113 - the budget is a cancel scope: docs/adr/0001
        trust_env=False,
        cookies=_no_cookies(),
        headers={"accept-encoding": "identity"},
    ) as client:
        yield Http2Client(client, settings)


def _no_cookies() -> http.cookiejar.CookieJar:
    """A jar that takes none: one caller's session must not become another's."""
    policy = http.cookiejar.DefaultCookiePolicy(allowed_domains=[])
    return http.cookiejar.CookieJar(policy)


class Http2Client:
    """Sends requests over HTTP/2 where the service chooses it.

    Args:
        client: httpx's.
        settings: What it keeps to.
    """

    def __init__(self, client: httpx.AsyncClient, settings: ClientSettings) -> None:
        self._client = client
        self._limiter = trio.CapacityLimiter(settings.max_connections)
        self._budget_header = settings.budget_header
        self._max_bytes = settings.max_reply_bytes

    async def send(self, request: HttpRequest, /) -> HttpReply:
        """As `HttpClient`."""
        async with self.stream(request) as stream:
            fields = by_name(stream.raw_headers)
            encoding = fields.get(b"content-encoding", b"").decode("latin-1")
            body = Body(encoding, self._max_bytes)
            while piece := await stream.receive():
                body.take(piece)
            return HttpReply(stream.status, fields, body.whole())

    @contextlib.asynccontextmanager
    async def stream(self, request: HttpRequest, /) -> AsyncIterator[HttpStream]:
        """As `HttpClient`; but a body in pieces is sent before the reply is read."""
        prepared = self._prepared(request)
        # The permit is held to the end of the body: the pool behind it is never contended.
        async with closing(request.content), self._limiter:
            left_ms = await tell_budget()
            if left_ms is not None:
                prepared.headers[self._budget_header] = str(left_ms)
            with _mapped():
                response = await self._client.send(prepared, stream=True)
            stream = _Stream(response)
            try:
                yield stream
            finally:
                await stream.aclose()

    def _prepared(self, request: HttpRequest) -> httpx.Request:
        head_of(request, self._budget_header)  # HTTP/1.1 may be chosen: it must carry it too
        headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in request.headers]
        if request.content_length is not None:
            headers.append((b"content-length", b"%d" % request.content_length))
        prepared = self._client.build_request(
            request.method,
            f"{request.origin}{request.target}",
            headers=headers,
            content=request.content,
        )
        prepared.stream = _Content(request.content)
        return prepared


class _Stream:
    """A response of httpx's, read from within: its own reading leaves generators half-way."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._pieces = response.stream.__aiter__()  # type: ignore[union-attr]
        self.status: int = response.status_code
        self.raw_headers: Sequence[tuple[bytes, bytes]] = [
            (name.lower(), value) for name, value in response.headers.raw
        ]
        self._ended = False

    async def receive(self) -> bytes:
        with _mapped():
            async for piece in self._pieces:
                if piece:
                    return bytes(piece)
        self._ended = True
        return b""

    async def aclose(self) -> None:
        # httpx's stream is six generators deep. Whoever stops half-way leaves them to the garbage
        # collector; so it is stopped from within, by the cancellation of its next read.
        with trio.CancelScope() as reading, contextlib.suppress(GatewayError):
            reading.cancel()
            while not self._ended:
                await self.receive()
        if self._ended and _has_surplus(self._response):
            # It would be read as the next request's reply: whose ever that is.
            await self._response.extensions["network_stream"].aclose()
        await self._response.aclose()


def _has_surplus(response: httpx.Response) -> bool:
    """Whether more came over the connection than the reply: nobody asked for it.

    Source: RFC 9112, section 9.2: a reply without a request is not to be taken for the next one's.
    """
    inner: Any = response.stream
    # There is no public way to httpx's HTTP/1.1 parser; over HTTP/2 the way ends before it.
    for name in ("_stream", "_httpcore_stream", "_stream", "_connection", "_h11_state"):
        inner = getattr(inner, name, None)
        if inner is None:
            return False
    return bool(inner.trailing_data[0])


class _Content(httpx.AsyncByteStream):
    """A request's body. httpx's own is a generator, which a cancelled write leaves half-way."""

    def __init__(self, content: bytes | AsyncIterable[bytes] | None) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        if self._content is None or isinstance(self._content, bytes):
            return _Once(self._content)
        return self._content.__aiter__()


class _Once:
    """One piece, if there is one."""

    def __init__(self, piece: bytes | None) -> None:
        self._piece = piece

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece, self._piece = self._piece, None
        if not piece:
            raise StopAsyncIteration
        return piece


@contextlib.contextmanager
def _mapped() -> Iterator[None]:
    """Turn httpx's errors into ours."""
    try:
        yield
    except httpx.RemoteProtocolError as error:
        if "disconnected" in str(error) or "closed" in str(error):
            raise Unreachable(f"the connection broke: {error}") from error
        what = str(error).partition(":")[0]  # what follows quotes the service
        raise BadReply(f"what came back is not HTTP: {what}") from error
    except httpx.LocalProtocolError:
        raise  # what we sent is wrong: a bug of ours
    except httpx.TransportError as error:
        why = "cannot connect" if isinstance(error, httpx.ConnectError) else "the connection broke"
        raise Unreachable(why, where=str(error) or type(error).__name__) from error


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
        failure: Exception = Unreachable("its name has no address", where=host)
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
