"""2026-07-28: `subscriptions/listen`, a stream that tells of changed lists until its client leaves.

Source: MCP 2026-07-28, Subscriptions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import trio

from gateway.core.mcp import INVALID_REQUEST
from gateway.inbound.mcp.jsonrpc import ProtocolError, object_in
from gateway.net.asgi import ClientLeft, client_has_left

if TYPE_CHECKING:
    from gateway.core.federation import Federated, ListName
    from gateway.inbound.front import Front
    from gateway.inbound.mcp.jsonrpc import Message
    from gateway.inbound.mcp.stream import EventStream

__all__ = ["BEAT_S", "SUBSCRIPTION_KEY", "listen"]

BEAT_S: Final = 15.0
"""Seconds without a change after which the stream shows that it lives."""

SUBSCRIPTION_KEY: Final = "io.modelcontextprotocol/subscriptionId"
"""Where everything on the stream says which request it belongs to."""

_LISTS: Final[Mapping[ListName, str]] = {
    "tools": "tools",
    "prompts": "prompts",
    "resources": "resources",
    "resourceTemplates": "resources",
}
"""By a server's list, what notifications call it."""


async def listen(
    front: Front, servers: Iterable[Federated], message: Message, stream: EventStream
) -> dict[str, Any]:
    """Tell of changes until the client leaves or the gateway is about to end.

    Args:
        front: Whose drain ends it.
        servers: Whose lists may change. Without any, nothing is agreed to.
        message: The request; `notifications` in its params say what is wanted.
        stream: Where it is told.

    Returns:
        The `_meta` of its result, once the gateway is about to end.

    Raises:
        ProtocolError: The params are malformed, or the client takes no event stream.
        ClientLeft: The client left.

    Cancellation: nothing is heard any more.
    """
    if not stream.is_accepted:
        raise ProtocolError(
            INVALID_REQUEST,
            "Not acceptable: accept must list text/event-stream",
            status=406,
        )
    wanted = object_in(message.params, "notifications")
    sources = tuple(servers)
    agreed = {
        name
        for name in set(_LISTS.values())
        if sources and wanted.get(f"{name}ListChanged") is True
    }
    meta = {SUBSCRIPTION_KEY: message.id}
    changes = _Changes(agreed)
    with ExitStack() as stack:
        for server in sources:
            stack.enter_context(server.listening(changes.hear))
        with front.waiting():
            told = {f"{name}ListChanged": True for name in sorted(agreed)}
            await _tell(
                stream, "subscriptions/acknowledged", {"notifications": told, "_meta": meta}
            )
            await _tell_changes(stream, changes, meta)
    if client_has_left():
        raise ClientLeft
    return meta


async def _tell_changes(stream: EventStream, changes: _Changes, meta: Mapping[str, Any]) -> None:
    """Tell of changes until cancelled."""
    while True:
        changed = await changes.next()
        for name in changed:
            await _tell(stream, f"{name}/list_changed", {"_meta": meta})
        if not changed:
            await stream.beat()


class _Changes:
    """Which lists changed since they were last asked for.

    Args:
        names: Those that matter.
    """

    __slots__ = ("_came", "_changed", "_names")

    def __init__(self, names: set[str]) -> None:
        self._names = names
        self._changed: set[str] = set()
        self._came = trio.Event()

    def hear(self, name: ListName, /) -> None:
        """Take note of a change."""
        if _LISTS[name] in self._names:
            self._changed.add(_LISTS[name])
            self._came.set()

    async def next(self) -> list[str]:
        """Which changed, as soon as one has; none if none did for `BEAT_S`."""
        with trio.move_on_after(BEAT_S):
            await self._came.wait()
        changed, self._changed, self._came = sorted(self._changed), set(), trio.Event()
        return changed


async def _tell(stream: EventStream, method: str, params: Mapping[str, Any]) -> None:
    await stream.put({"jsonrpc": "2.0", "method": f"notifications/{method}", "params": params})
