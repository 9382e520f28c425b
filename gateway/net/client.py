"""The one factory of HTTP clients for services: what it gives can be replaced behind it.

Today it is httpx, with what httpx lacks put before it (docs/reference/http-client.md): a limiter,
because a contended pool leaks connections when a request is cancelled (encode/httpcore#1093);
bounds on a reply, decompressed, and on the replies that redirect; an address guard; no cookie kept
from one request to another; nothing taken from the environment.
"""

from __future__ import annotations

import contextlib
import http.cookiejar
import ssl
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Protocol

import attrs
import httpcore
import httpx
import trio

from gateway.core.deadline import remaining_ms
from gateway.core.errors import (
    BadReply,
    DeadlineExceeded,
    GatewayError,
    InvalidArguments,
    Unreachable,
)
from gateway.net.guard import AddressGuard

__all__ = ["ClientSettings", "HttpClient", "HttpReply", "HttpRequest", "open_client"]

_WBITS = {"": None, "identity": None, "gzip": 31, "x-gzip": 31, "deflate": 47}
_MAX_REDIRECTS = 10
_HARMLESS = frozenset(
    {
        *("accept", "accept-encoding", "accept-language", "connection", "content-length"),
        *("content-type", "host", "traceparent", "user-agent"),
    }
)
"""What goes along to another origin that a redirect names; everything else may be a secret."""


@attrs.frozen(slots=True, kw_only=True)
class ClientSettings:
    """What a client of one service keeps to.

    Args:
        guard: Which addresses it may connect to.
        max_connections: Connections, and so requests under way, at once.
        max_reply_bytes: Largest reply body, decompressed.
        tls: Whether https may be spoken; without it no certificate is trusted, and loading the
            system's takes 40 ms a service.
        http2: Whether HTTP/2 is offered over TLS.
        budget_header: Carries what remains of the budget in whole milliseconds; in lower case.
        follow_redirects: Whether 3xx are followed, up to 10; the guard holds for each, and to
            another origin go harmless headers alone.
    """

    guard: AddressGuard
    max_connections: int
    max_reply_bytes: int
    budget_header: str
    tls: bool = True
    http2: bool = False
    follow_redirects: bool = False


@attrs.frozen(slots=True)
class HttpRequest:
    """One request: method, absolute URL, headers in order, the whole body or none.

    Headers are text as latin-1 has it: each character is one byte on the wire.
    """

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
            InvalidArguments: The URL is none; nothing was sent.
            DeadlineExceeded: Less than 1 ms of the budget was left; nothing was sent.

        Cancellation: the connection is closed, its permit given back.
        """
        ...


@contextlib.asynccontextmanager
async def open_client(settings: ClientSettings) -> AsyncIterator[HttpClient]:
    """A client for one service; leaving the context closes its connections."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=settings.max_connections)
    transport = httpx.AsyncHTTPTransport(
        verify=ssl.create_default_context() if settings.tls else _no_tls(),
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
        cookies=_no_cookies(),
        headers={"accept-encoding": "identity"},
    ) as client:
        yield _HttpxClient(client, settings)


def _no_tls() -> ssl.SSLContext:
    """A context that trusts nobody: every handshake fails."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _no_cookies() -> http.cookiejar.CookieJar:
    """A jar that takes none: one caller's session must not become another's."""
    policy = http.cookiejar.DefaultCookiePolicy(allowed_domains=[])
    return http.cookiejar.CookieJar(policy)


class _HttpxClient:
    def __init__(self, client: httpx.AsyncClient, settings: ClientSettings) -> None:
        self._client = client
        self._limiter = trio.CapacityLimiter(settings.max_connections)
        self._budget_header = settings.budget_header
        self._max_bytes = settings.max_reply_bytes
        self._max_redirects = _MAX_REDIRECTS if settings.follow_redirects else 0

    async def send(self, request: HttpRequest, /) -> HttpReply:
        try:
            following = self._client.build_request(
                request.method,
                request.url,
                headers=[(k.encode("latin-1"), v.encode("latin-1")) for k, v in request.headers],
                content=request.content,
            )
        except httpx.InvalidURL as error:
            raise InvalidArguments(f"not called: {error}") from error
        following.stream = _Content(request.content or b"")
        redirects = 0
        # The permit is held to the end of the body: the pool behind it is never contended.
        async with self._limiter:
            with _mapped():
                while True:
                    await self._tell_budget(following)
                    reply, redirected = await self._exchange(following)
                    if redirected is None or not self._max_redirects:
                        return reply
                    redirects += 1
                    if redirects > self._max_redirects:
                        raise BadReply(f"over {self._max_redirects} redirects")
                    _keep_secrets_at_home(following.url, redirected)
                    following = redirected

    async def _tell_budget(self, request: httpx.Request) -> None:
        """Say what remains now: waiting for the permit has taken its part."""
        left_ms = remaining_ms()
        if left_ms is None:
            return
        if left_ms < 1:
            # A request that was cancelled has nothing left either: it ends as cancelled.
            await trio.lowlevel.checkpoint_if_cancelled()
            raise DeadlineExceeded("not called: less than 1 ms of the budget is left")
        request.headers[self._budget_header] = str(left_ms)

    async def _exchange(self, request: httpx.Request) -> tuple[HttpReply, httpx.Request | None]:
        """The reply to one request, and the request it redirects to."""
        response = await self._client.send(request, stream=True, follow_redirects=False)
        try:
            headers = {name.lower(): value for name, value in response.headers.items()}
            body = await self._read(response, headers)
            if _has_surplus(response):
                # It would be read as the next request's reply: whose ever that is.
                await response.extensions["network_stream"].aclose()
        finally:
            await response.aclose()
        return HttpReply(response.status_code, headers, body), response.next_request

    async def _read(self, response: httpx.Response, headers: Mapping[str, str]) -> bytes:
        body = _Body(headers.get("content-encoding", ""), self._max_bytes)
        failure: BadReply | None = None
        # httpx's stream is six generators deep. Whoever stops half-way leaves them to the garbage
        # collector; so it is stopped from within, by the cancellation of its next read.
        with trio.CancelScope() as reading:
            # The response's own `aiter_raw` would give the connection back before it is looked at.
            async for raw in response.stream:  # type: ignore[union-attr]
                try:
                    body.take(raw)
                except BadReply as error:
                    failure = failure or error
                    reading.cancel()
        if failure is not None:
            raise failure
        return body.whole()


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


def _keep_secrets_at_home(origin: httpx.URL, following: httpx.Request) -> None:
    """Drop what a redirect to another origin must not take along.

    From http to https on the same host everything goes along, as browsers have it.
    """
    target = following.url
    same = (origin.scheme, origin.host, origin.port) == (target.scheme, target.host, target.port)
    safer = (origin.scheme, origin.port, target.scheme, target.port) == (
        "http",
        None,
        "https",
        None,
    )
    if same or (safer and origin.host == target.host):
        return
    for name in {name.lower() for name in following.headers} - _HARMLESS:
        del following.headers[name]


class _Content(httpx.AsyncByteStream):
    """A request's body. httpx's own is a generator, which a cancelled write leaves half-way."""

    def __init__(self, content: bytes) -> None:
        self._pieces = [content] if content else []

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Pieces(iter(self._pieces))


class _Pieces:
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


class _Body:
    """A reply's body in pieces, decompressed and bounded: a bomb stays small.

    Raises:
        BadReply: It is encoded as nothing known here.
    """

    def __init__(self, encoding: str, max_bytes: int) -> None:
        encoding = encoding.strip().lower()
        if encoding not in _WBITS:
            shown = repr(encoding[:60])
            raise BadReply(f"the reply is encoded as {shown}, though identity was asked for")
        wbits = _WBITS[encoding]
        self._unpack = None if wbits is None else zlib.decompressobj(wbits)
        self._max_bytes = max_bytes
        self._size = 0
        self._pieces: list[bytes] = []

    def take(self, raw: bytes) -> None:
        """Take the next piece.

        Raises:
            BadReply: It does not decompress, or the body is over the bound.
        """
        room = self._max_bytes - self._size
        piece = raw if self._unpack is None else self._unpacked(self._unpack, raw, room)
        if len(piece) > room:
            raise BadReply(f"the reply is over {self._max_bytes} bytes")
        self._size += len(piece)
        self._pieces.append(piece)

    def whole(self) -> bytes:
        """All of it.

        Raises:
            BadReply: It is compressed, and its end is missing.
        """
        if self._unpack is not None and self._pieces and not self._unpack.eof:
            raise BadReply("the reply does not decompress: it ends half-way")
        return b"".join(self._pieces)

    @staticmethod
    def _unpacked(unpack: Any, raw: bytes, room: int) -> bytes:
        """`raw` decompressed, at most one byte more than there is room for."""
        try:
            piece: bytes = unpack.decompress(raw, room + 1)
        except zlib.error as error:
            raise BadReply(f"the reply does not decompress: {error}") from error
        if unpack.unused_data:
            raise BadReply("the reply does not decompress: something follows its end")
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
        what = str(error).partition(":")[0]  # what follows quotes the service
        raise BadReply(f"what came back is not HTTP: {what}") from error
    except httpx.LocalProtocolError:
        raise  # what we sent is wrong: a bug of ours
    except httpx.UnsupportedProtocol as error:
        raise BadReply(f"the redirect is not to HTTP: {error}") from error
    except httpx.TransportError as error:
        raise Unreachable(str(error) or type(error).__name__) from error


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
