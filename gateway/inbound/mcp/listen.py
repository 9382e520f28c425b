"""Streams that tell of changed lists and resources until their client leaves.

In 2026-07-28 `subscriptions/listen` is one, which says what it wants; in the revisions before it a
GET is, which is told of every list, and of what its session has subscribed to.

Source: MCP 2026-07-28, Subscriptions. MCP 2025-11-25, Transports, "Listening for Messages from the
Server"; Resources, "Subscriptions".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, Self

import trio

from gateway.core.mcp import INVALID_PARAMS, INVALID_REQUEST
from gateway.inbound.mcp.jsonrpc import ProtocolError, object_in
from gateway.net.asgi import ClientLeft, client_has_left
from gateway.net.events import BEAT_S

if TYPE_CHECKING:
    from gateway.core.federation import Federated, ListName
    from gateway.inbound.front import Front
    from gateway.inbound.mcp.jsonrpc import Message
    from gateway.inbound.mcp.stream import EventStream
    from gateway.inbound.mcp.watched import Begin, Watch

__all__ = ["MAX_WATCHED", "SUBSCRIPTION_KEY", "Changes", "hear", "listen"]

MAX_WATCHED: Final = 100
"""Resources that one client may be told of at once."""

SUBSCRIPTION_KEY: Final = "io.modelcontextprotocol/subscriptionId"
"""Where everything on the stream says which request it belongs to."""

_LISTS: Final[Mapping[ListName, str]] = {
    "tools": "tools",
    "prompts": "prompts",
    "resources": "resources",
    "resourceTemplates": "resources",
}
"""By a server's list, what notifications call it."""

_NAMES: Final = frozenset(_LISTS.values())


async def listen(
    front: Front,
    servers: Iterable[Federated],
    message: Message,
    stream: EventStream,
    begin: Begin,
) -> dict[str, Any]:
    """Tell of changes until the client leaves or the gateway is about to end.

    Args:
        front: Whose drain ends it.
        servers: Whose lists may change. Without any, no list is agreed to.
        message: The request; `notifications` in its params say what is wanted.
        stream: Where it is told.
        begin: Begins to watch a resource.

    Returns:
        The `_meta` of its result, once the gateway is about to end.

    Raises:
        ProtocolError: The params are malformed, or the client takes no event stream.
        ClientLeft: The client left.

    Cancellation: nothing is heard any more.
    """
    check_stream(stream)
    wanted = object_in(message.params, "notifications")
    uris = wanted.get("resourceSubscriptions") or []
    if not isinstance(uris, list) or not all(isinstance(uri, str) for uri in uris):
        why = "Invalid params: notifications: resourceSubscriptions: expected a list of URIs"
        raise ProtocolError(INVALID_PARAMS, why)
    sources = tuple(servers)
    agreed = {name for name in _NAMES if sources and wanted.get(f"{name}ListChanged") is True}
    meta = {SUBSCRIPTION_KEY: message.id}
    changes = Changes(agreed)
    with ExitStack() as stack:
        for server in sources:
            stack.enter_context(server.listening(changes.hear))
        stack.enter_context(changes)
        with front.waiting():
            watched = [uri for uri in uris[:MAX_WATCHED] if await changes.follow(uri, begin)]
            told: dict[str, Any] = {f"{name}ListChanged": True for name in sorted(agreed)}
            if watched:
                told["resourceSubscriptions"] = watched
            await _tell(
                stream, "subscriptions/acknowledged", {"notifications": told, "_meta": meta}
            )
            await _tell_changes(stream, changes, {"_meta": meta})
    if client_has_left():
        raise ClientLeft
    return meta


async def hear(
    front: Front, servers: Iterable[Federated], stream: EventStream, changes: Changes
) -> None:
    """Tell a legacy client of every list, and of what `changes` follow, as `listen` does."""
    check_stream(stream)
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(server.listening(changes.hear))
        stack.enter_context(changes)
        with front.waiting():
            await stream.beat()
            await _tell_changes(stream, changes, {})
    if client_has_left():
        raise ClientLeft


def check_stream(stream: EventStream) -> None:
    """The client takes an event stream.

    Raises:
        ProtocolError: It does not.
    """
    if not stream.is_accepted:
        raise ProtocolError(
            INVALID_REQUEST,
            "Not acceptable: accept must list text/event-stream",
            status=406,
        )


async def _tell_changes(stream: EventStream, changes: Changes, params: Mapping[str, Any]) -> None:
    """Tell of changes until cancelled."""
    beats_at = trio.current_time() + BEAT_S
    while True:
        lists, uris = await changes.next(beats_at)
        for name in lists:
            await _tell(stream, f"{name}/list_changed", params)
        for uri in uris:
            await _tell(stream, "resources/updated", {"uri": uri, **params})
        if lists or uris:
            beats_at = trio.current_time() + BEAT_S
        elif trio.current_time() >= beats_at:
            await stream.beat()
            beats_at = trio.current_time() + BEAT_S


class Changes:
    """What changed since it was last asked for. What it follows is let go as it is left.

    Args:
        names: The lists that matter.
    """

    __slots__ = ("_came", "_lists", "_names", "_uris", "_watches")

    def __init__(self, names: Iterable[str] = _NAMES) -> None:
        self._names = frozenset(names)
        self._lists: set[str] = set()
        self._uris: set[str] = set()
        self._watches: dict[str, Watch] = {}
        self._came = trio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        for uri in tuple(self._watches):
            self.leave(uri)

    def hear(self, name: ListName, /) -> None:
        """Take note of a changed list."""
        if _LISTS[name] in self._names:
            self._lists.add(_LISTS[name])
            self._came.set()

    async def follow(self, uri: str, begin: Begin) -> bool:
        """Take note of a resource's changes too, if somebody tells of them."""
        if uri in self._watches:
            return True
        begun = begin(uri, lambda: self._updated(uri))
        if begun is None:
            return False
        self._watches[uri] = begun
        await begun.look()
        self._came.set()  # when it is to be looked at again, `next` has to know
        return True

    def leave(self, uri: str) -> None:
        """Follow a resource no longer."""
        begun = self._watches.pop(uri, None)
        self._uris.discard(uri)
        if begun is not None:
            begun.stop()

    def _updated(self, uri: str) -> None:
        self._uris.add(uri)
        self._came.set()

    async def next(self, until: float) -> tuple[list[str], list[str]]:
        """Which lists and resources changed: as soon as one has, none if none did."""
        looks = [watch for watch in self._watches.values() if watch.every_s < math.inf]
        soonest = min((watch.every_s for watch in looks), default=math.inf)
        with trio.move_on_at(min(until, trio.current_time() + soonest)) as scope:
            await self._came.wait()
        if scope.cancelled_caught:
            for watch in looks:
                await watch.look()
        lists, uris = sorted(self._lists), sorted(self._uris)
        self._lists, self._uris, self._came = set(), set(), trio.Event()
        return lists, uris


async def _tell(stream: EventStream, method: str, params: Mapping[str, Any]) -> None:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": f"notifications/{method}"}
    await stream.put({**message, "params": params} if params else message)
