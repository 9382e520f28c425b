"""Resources that somebody wants to be told of, and one server's word on them.

Source: MCP 2026-07-28, Subscriptions. MCP 2025-11-25, Resources, "Subscriptions".
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final

import trio

from gateway.adapters.mcp.client import Client
from gateway.adapters.mcp.link import Era, Outdated, Refused
from gateway.core.errors import GatewayError
from gateway.core.peer import JsonRpcError

__all__ = ["UPDATED", "Watches"]

logger = logging.getLogger(__name__)

UPDATED: Final = "notifications/resources/updated"
"""What tells that a resource changed."""

_MAX_WATCHED = 1_000
"""Resources of one server; further ones are not watched."""

_LEAST_PAUSE_S = 1.0
_MOST_PAUSE_S = 60.0
"""Between two attempts; and between two words with the server, where clients come and go."""

_LOOK_S = 10.0
"""After which it is seen that a legacy server knows of no subscription any more."""


class Watches:
    """The resources of one server that are watched.

    Args:
        name: The service's.
        client: Asks the server.
    """

    def __init__(self, name: str, client: Client) -> None:
        self._name = name
        self._client = client
        self._hearers: dict[str, list[Callable[[], None]]] = {}
        self._changed = trio.Event()
        self._subscribed: tuple[Era | None, frozenset[str]] = (None, frozenset())

    def watching(
        self, uri: str, hear: Callable[[], None], /
    ) -> AbstractContextManager[None] | None:
        """As `Federated`."""
        era = self._client.agreed
        if era is None or not era.announces("resources", "subscribe"):
            return None
        if len(self._hearers) >= _MAX_WATCHED and uri not in self._hearers:
            return None
        return self._watching(uri, hear)

    @contextlib.contextmanager
    def _watching(self, uri: str, hear: Callable[[], None]) -> Iterator[None]:
        hearers = self._hearers.setdefault(uri, [])
        hearers.append(hear)
        if len(hearers) == 1:
            self._changed.set()
        try:
            yield
        finally:
            hearers.remove(hear)
            if not hearers:
                del self._hearers[uri]
                self._changed.set()

    def hear(self, uri: object) -> None:
        """Take the server's word that a resource, or one below it, changed."""
        if isinstance(uri, str):
            self._announce(
                [one for one in self._hearers if uri == one or uri.startswith(f"{one}/")]
            )

    def _announce(self, uris: list[str]) -> None:
        for uri in uris:
            for hear in tuple(self._hearers.get(uri, ())):
                try:
                    hear()
                except Exception:
                    logger.exception("%s: a listener failed", self._name)

    async def keep(self) -> None:
        """Have the server told what is watched, and again whenever that is something else."""
        before = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            while True:
                self._changed = trio.Event()
                scope = trio.CancelScope()
                nursery.start_soon(self._tell, frozenset(self._hearers), scope)
                await trio.sleep(_LEAST_PAUSE_S)  # both are heard, that nothing is lost between
                before.cancel()
                before = scope
                await self._changed.wait()

    async def _tell(self, wanted: frozenset[str], scope: trio.CancelScope) -> None:
        """Tell it until cancelled, and again where that failed: what changed went unheard."""
        with scope:
            await self._keep_telling(wanted)

    async def _keep_telling(self, wanted: frozenset[str]) -> None:
        pause_s = _LEAST_PAUSE_S
        while wanted or self._subscribed[1]:
            with contextlib.suppress(GatewayError, JsonRpcError, Refused, Outdated):
                era = await self._client.era()
                if era.is_modern:
                    await self._client.listen(era, sorted(wanted))
                else:
                    await self._subscribe(era, wanted)
                    pause_s = _LEAST_PAUSE_S
                    while self._client.agreed is era:  # noqa: ASYNC110 - nobody tells of its end
                        await trio.sleep(_LOOK_S)
            await trio.sleep(pause_s)
            pause_s = min(_MOST_PAUSE_S, pause_s * 2)
            self._announce(sorted(wanted))

    async def _subscribe(self, era: Era, wanted: frozenset[str]) -> None:
        known_by, known = self._subscribed
        if known_by is not era:
            known = frozenset()
        for method, uris in (
            ("resources/subscribe", wanted - known),
            ("resources/unsubscribe", known - wanted),
        ):
            for uri in sorted(uris):
                with contextlib.suppress(JsonRpcError):  # others may be watched all the same
                    await self._client.ask(method, {"uri": uri})
        self._subscribed = (era, wanted)
