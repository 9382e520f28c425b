"""The ASGI side of a connection: headers, bounded bodies, answers, the client's leaving.

Source: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from typing import Any, Protocol, TypeAlias, TypeVar
from urllib.parse import quote

import msgspec
import trio

from gateway.core.errors import InvalidRequest, TooLarge

__all__ = [
    "FIELDS",
    "PEER",
    "ASGIApp",
    "ClientLeft",
    "Fields",
    "Incoming",
    "Peer",
    "Receive",
    "Scope",
    "Send",
    "client_has_left",
    "ends_with_client",
    "headers_of",
    "lose_client",
    "next_piece",
    "path_of",
    "peer_of",
    "read_body",
    "respond",
    "telling_of_leaving",
    "while_connected",
    "with_headers",
]

Scope: TypeAlias = MutableMapping[str, Any]
"""What a connection is about."""

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""Gives the client's next message."""

Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
"""Takes a message for the client."""

ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
"""Answers one connection."""

T = TypeVar("T")

FIELDS = "gateway.fields"
"""The extension of an ASGI scope under which our own server gives `Fields`."""

PEER = "gateway.peer"
"""The extension of an ASGI scope under which our own server gives a `Peer`."""


class Cancels(Protocol):
    """What can be cancelled, as a cancel scope can."""

    def cancel(self) -> None:
        """Cancel it."""
        ...


class Peer(Protocol):
    """What our own server tells of a request's client, beyond ASGI.

    Attributes:
        left: Whether it has left.
        cancels: Cancelled when it leaves; whoever works for it sets it, and takes it back.
    """

    left: bool
    cancels: Cancels | None

    def body_at_hand(self) -> bytes | None:
        """The whole body if it was read already; then `receive` does not give it any more."""
        ...

    async def send(self, message: MutableMapping[str, Any], /) -> None:
        """The request's ASGI `send`, where nothing stands before the application."""
        ...

    async def answer(
        self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes
    ) -> None:
        """Send a whole answer, as `send` would its two messages."""
        ...


def peer_of(scope: Scope) -> Peer | None:
    """The request's `Peer`; `None` under another server."""
    peer: Peer | None = scope.get("extensions", {}).get(PEER)
    return peer


class ClientLeft(Exception):
    """The client closed its connection before its answer; there is nobody to tell."""


class Incoming(msgspec.Struct, frozen=True):
    """A request whose head was read: what every protocol asks of it, found once.

    Args:
        scope: Its ASGI scope.
        path: As `path_of` gives it.
        headers: As `headers_of` gives them.
    """

    scope: Scope
    path: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, scope: Scope) -> Incoming:
        """The request with this ASGI scope."""
        return cls(scope, path_of(scope), headers_of(scope))


class Fields:
    """Headers by name, found once for all requests that come with the same.

    Args:
        raw: As they came; not to be changed.
    """

    __slots__ = ("_by_name", "_raw")

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._raw = raw
        self._by_name: Mapping[str, str] | None = None

    def of(self, headers: object) -> Mapping[str, str] | None:
        """These by name; `None` if what stands before the application has changed them."""
        if headers != self._raw:
            return None
        if self._by_name is None:
            self._by_name = _by_name(self._raw)
        return self._by_name


def headers_of(scope: Scope) -> Mapping[str, str]:
    """The request's headers: names in lower case, several values of one name joined by `, `.

    Other requests may share them.
    """
    headers = scope["headers"]
    fields: Fields | None = scope.get("extensions", {}).get(FIELDS)
    return (fields and fields.of(headers)) or _by_name(headers)


def _by_name(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name = _names.get(raw_name) or _named(raw_name)
        value = str(raw_value, "latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


_names: dict[bytes, str] = {}
"""Names of headers as they came: clients send the same few again and again."""
_MAX_NAMES, _LONG_NAME = 1000, 64


def _named(raw_name: bytes) -> str:
    name = str(raw_name, "latin-1").lower()
    if len(_names) < _MAX_NAMES and len(raw_name) <= _LONG_NAME:
        _names[raw_name] = name
    return name


def path_of(scope: Scope) -> str:
    """The path below the mount point, still percent-encoded, always starting with `/`."""
    raw = scope.get("raw_path")
    path: str = raw.decode("latin-1").partition("?")[0] if raw else quote(scope["path"])
    mounted_at = scope.get("root_path", "").rstrip("/")
    if mounted_at:
        for root in (mounted_at, quote(mounted_at)):
            if path == root or path.startswith(root + "/"):
                path = path[len(root) :]
                break
    return path or "/"


async def read_body(receive: Receive, *, max_bytes: int, timeout_s: float) -> bytes:
    """The whole request body.

    Args:
        receive: The request's ASGI `receive`.
        max_bytes: More than this is refused before it is kept.
        timeout_s: Seconds between two pieces that hold anything; a client slower than that is
            refused. For the whole body the caller's deadline holds.

    Raises:
        TooLarge: The body is over `max_bytes`.
        InvalidRequest: It stopped half-way for `timeout_s`.
        ClientLeft: The client left before it was complete.
    """
    body = bytearray()
    more = True
    while more:
        piece, more = await next_piece(receive, timeout_s)
        if len(body) + len(piece) > max_bytes:
            raise TooLarge(f"the body is over {max_bytes} bytes")
        if not more and not body:
            return piece
        body += piece
    return bytes(body)


async def next_piece(receive: Receive, timeout_s: float) -> tuple[bytes, bool]:
    """The next piece of a request's body, and whether more follows.

    Args:
        receive: The request's ASGI `receive`.
        timeout_s: Seconds until it comes. A piece that holds nothing is none.

    Raises:
        InvalidRequest: It did not.
        ClientLeft: The client left before.
    """
    with trio.CancelScope(deadline=trio.current_time() + timeout_s):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            piece: bytes = message.get("body", b"")
            more: bool = message.get("more_body", False)
            if piece or not more:
                return piece, more
    raise InvalidRequest(f"the body stopped: nothing came for {timeout_s:g} s")


async def respond(
    send: Send,
    status: int,
    headers: Iterable[tuple[str, str]],
    body: bytes = b"",
    *,
    peer: Peer | None = None,
) -> None:
    """Send one whole answer; `content-length` is added.

    Args:
        send: The request's ASGI `send`.
        status: The answer's.
        headers: The answer's.
        body: The answer's.
        peer: The request's, who takes an answer at once if nothing stands before us.
    """
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    if status != 204:
        raw.append((b"content-length", b"%d" % len(body)))
    if peer is not None and peer.send == send:
        await peer.answer(status, raw, body)
        return
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def telling_of_leaving(send: Send) -> Send:
    """A `send` that raises `ClientLeft` where ASGI's raises an `OSError`, and nothing else does."""

    async def send_or_tell(message: MutableMapping[str, Any]) -> None:
        try:
            await send(message)
        except OSError as error:
            raise ClientLeft from error

    return send_or_tell


def with_headers(send: Send, headers: Iterable[tuple[str, str]]) -> Send:
    """A `send` that adds `headers` to the answer's own."""
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]

    async def send_with(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *raw]
        await send(message)

    return send_with


class _Client:
    """Whether the client of a `while_connected` has left, under another server."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = False


_client: ContextVar[_Client | Peer | None] = ContextVar("client", default=None)


def client_has_left() -> bool:
    """Whether it is the client's leaving that cancels: asked below `while_connected`."""
    client = _client.get()
    return client is not None and client.left


def lose_client() -> None:
    """Take note that the client cannot be told anything any more: as if it had left.

    Whoever finds that out below `while_connected` cancels what is done for it.
    """
    client = _client.get()
    if client is not None:
        client.left = True


def ends_with_client(scope: Cancels) -> None:
    """Have the client's leaving cancel `scope`: for whoever works below `while_connected`.

    Args:
        scope: The outermost one of all that waits for something. Of several the last one counts.
    """
    peer = _client.get()
    if isinstance(peer, _Client) or peer is None:
        return  # its nursery is cancelled, or there is nobody to leave
    peer.cancels = scope
    if peer.left:
        scope.cancel()


async def while_connected(scope: Scope, receive: Receive, work: Callable[[], Awaitable[T]]) -> T:
    """Do `work` while the client stays; its leaving cancels it.

    Call it once the body was read: until then `receive` belongs to `read_body`. Under our own
    server it costs next to nothing: the scope that `work` opens for its deadline is the one that
    the client's leaving cancels, by `ends_with_client`.

    Args:
        scope: The request's ASGI scope.
        receive: The request's ASGI `receive`.
        work: What to do for the client. Wherever it waits, it does so in a scope that was given
            to `ends_with_client`; once that was cancelled and `client_has_left`, it raises
            `ClientLeft`.

    Returns:
        What `work` returned.

    Raises:
        ClientLeft: The client left first; `work` was cancelled and has ended.
        Exception: What `work` or `receive` raised first, bare.
    """
    peer = peer_of(scope)
    if peer is None:
        return await _while_watched(receive, work)
    if peer.left:
        raise ClientLeft
    before = _client.set(peer)
    try:
        return await work()
    finally:
        _client.reset(before)
        peer.cancels = None


async def _while_watched(receive: Receive, work: Callable[[], Awaitable[T]]) -> T:
    """`while_connected` under a server that tells of a client's leaving by `receive` alone."""
    results: list[T] = []
    errors: list[Exception] = []
    client = _Client()

    async def watch() -> None:
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        except Exception as caught:  # noqa: BLE001 - carried out of the nursery, so that it stays bare
            errors.append(caught)
        else:
            client.left = True
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        token = _client.set(client)
        try:
            results.append(await work())
        except Exception as caught:  # noqa: BLE001 - as above
            errors.append(caught)
        finally:
            _client.reset(token)
        nursery.cancel_scope.cancel()
    if errors:
        raise errors[0]
    if results:
        return results[0]
    assert client.left  # noqa: S101 - the scope was cancelled by `watch`, or a line above was reached
    raise ClientLeft
