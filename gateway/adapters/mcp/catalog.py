"""A server's lists, fetched beside all calls and kept: who asks for one waits for nobody.

Source: MCP 2026-07-28, Caching; Pagination; Subscriptions. MCP 2025-11-25, Tools, "List Changed
Notification".
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import attrs
import trio

from gateway.adapters.mcp.client import Client
from gateway.adapters.mcp.link import Era, Outdated, Refused
from gateway.adapters.mcp.offer import Found, Names, Offer
from gateway.adapters.mcp.results import Errors
from gateway.core.errors import BadReply, GatewayError, NotFound, Unreachable
from gateway.core.federation import LISTS, Listed, ListName
from gateway.core.mcp import METHOD_NOT_FOUND
from gateway.core.mcp_parameters import Parameters
from gateway.core.peer import JsonRpcError

__all__ = ["CHANGES", "Catalog"]

logger = logging.getLogger(__name__)

_METHODS: Mapping[ListName, tuple[str, str]] = {
    "tools": ("tools/list", "tools"),
    "prompts": ("prompts/list", "prompts"),
    "resources": ("resources/list", "resources"),
    "resourceTemplates": ("resources/templates/list", "resources"),
}
"""By list: its method, and the capability of servers that have it."""

CHANGES: Final[Mapping[str, tuple[ListName, ...]]] = {
    "notifications/tools/list_changed": ("tools",),
    "notifications/prompts/list_changed": ("prompts",),
    "notifications/resources/list_changed": ("resources", "resourceTemplates"),
}
"""By what a server tells: which lists are others by now."""

_MAX_PAGES = 500
"""Of one list."""

_AT_ONCE = 50
"""Items that are looked at before others get their turn."""

_FETCH_S = 30.0
"""Seconds in which all lists are to be there."""

_TTL_S = 300.0
"""For how long a list holds that does not say."""

_MOST_TOLD = 20
"""Items left out that the log names, each time a list changes."""

_LEAST_TTL_S = 10.0
_MOST_TTL_S = 86_400.0

_KEPT_S = 600.0
"""For how long a list is offered that could have been fetched anew, had the server been there."""

_BETWEEN_S = 0.5
"""Between two fetches, however often the server says that there is something new."""

_LEAST_PAUSE_S = 1.0
_MOST_PAUSE_S = 60.0
"""Between two attempts."""


@attrs.frozen(slots=True, kw_only=True)
class _Kept:
    """A list as it came."""

    offer: Offer
    fetched_at: float
    ttl_s: float


class Catalog:
    """All lists of one server.

    Args:
        name: The service's.
        client: Asks the server.
        errors: What its failures mean.
        names: What is offered, and as what.
    """

    def __init__(self, name: str, client: Client, errors: Errors, names: Names) -> None:
        self._name = name
        self._client = client
        self._errors = errors
        self._names = names
        self._kept: dict[ListName, _Kept] = {}
        self._why = f"{name} was not asked yet"
        self._listeners: list[Callable[[ListName], None]] = []
        self._due: set[ListName] = set(LISTS)
        self._stale = trio.Event()
        self._watched: Era | None = None
        self._watching = trio.CancelScope()
        self.tried = trio.Event()
        """That the server was asked once, whatever came of it."""

    # What others see.

    def listed(self, name: ListName, /) -> Listed:
        """As `Federated`."""
        kept = self._kept.get(name)
        if kept is None:
            return Listed(error=self._why)
        age_s = trio.current_time() - kept.fetched_at
        if self._why and age_s > kept.ttl_s + _KEPT_S:
            return Listed(age_s=age_s, error=self._why)
        error = self._why or self._errors.shown("; ".join(kept.offer.clashes))
        return Listed(items=kept.offer.items, age_s=age_s, error=error)

    @contextlib.contextmanager
    def listening(self, hear: Callable[[ListName], None], /) -> Iterator[None]:
        """As `Federated`."""
        self._listeners.append(hear)
        try:
            yield
        finally:
            self._listeners.remove(hear)

    def own_name(self, name: ListName, public: str) -> str:
        """What the server calls what is offered as `public`.

        Raises:
            NotFound: It offers no such thing.
            Unreachable: Whether it does is not known: it could not be asked.
        """
        if self.listed(name).age_s is None:
            raise Unreachable(f"{self._name} could not be asked what it has: {self._why}")
        own = self._kept[name].offer.own.get(public)
        if own is None:
            raise NotFound(f"{self._name} offers no {name.removesuffix('s')} {public[:128]!r}")
        return own

    def hides(self, name: ListName, own: str) -> bool:
        """Whether the server has this and it is not offered."""
        kept = self._kept.get(name)
        return kept is not None and own in kept.offer.hidden

    def parameters(self, own: str) -> Parameters | None:
        """What the request of a tool repeats in headers; `None` if it is not known."""
        kept = self._kept.get("tools")
        return None if kept is None else kept.offer.parameters.get(own)

    def expire(self, names: Iterable[ListName] = LISTS) -> None:
        """Have lists fetched anew, soon; it waits for nothing."""
        self._due.update(names)
        self._stale.set()

    # What keeps them.

    async def keep(self) -> None:
        """Fetch the lists, and again when they are over, have changed, or could not be had."""
        pause_s = _LEAST_PAUSE_S
        async with trio.open_nursery() as nursery:
            while True:
                self._stale = trio.Event()
                began = trio.current_time()
                why = await self._refresh(nursery)
                self._tell(why)
                self.tried.set()
                wait_s = self._left_s() if not why else pause_s
                pause_s = _LEAST_PAUSE_S if not why else min(_MOST_PAUSE_S, pause_s * 2)
                with trio.move_on_after(wait_s):
                    await self._stale.wait()
                    # A server that changes its mind all the time is not asked all the time.
                    await trio.sleep_until(began + _BETWEEN_S)

    def _left_s(self) -> float:
        """Seconds until the next list is over."""
        ends = min(kept.fetched_at + kept.ttl_s for kept in self._kept.values())
        return max(0.0, ends - trio.current_time())

    async def _refresh(self, nursery: trio.Nursery) -> str:
        """Fetch all lists; why that failed, empty if it did not."""
        try:
            with trio.move_on_after(_FETCH_S):
                era = await self._client.era()
                self._watch(era, nursery)
                for name in LISTS:
                    if name in self._due or self._is_over(name):
                        await self._renew(name, era)
                self._watch(await self._client.era(), nursery)  # it may have been agreed on anew
                return ""
            return f"{self._name} does not answer within {_FETCH_S:g} s"
        except GatewayError as error:
            return error.shown
        except JsonRpcError as error:
            return self._errors.of_error(error).detail
        except Exception as error:
            logger.exception("listing what %s has failed", self._name)
            return f"listing what {self._name} has failed: {type(error).__name__}"

    async def _renew(self, name: ListName, era: Era) -> None:
        self._due.discard(name)  # it may be told to be another one while it is fetched
        kept: _Kept | None = None
        try:
            kept = await self._fetch(name, era)
        finally:
            if kept is None:
                self._due.add(name)
        self._keep(name, kept)

    def _is_over(self, name: ListName) -> bool:
        kept = self._kept[name]
        return trio.current_time() >= kept.fetched_at + kept.ttl_s

    async def _fetch(self, name: ListName, era: Era) -> _Kept:
        """One list, all of its pages."""
        method, capability = _METHODS[name]
        found = Found(name)
        ttl_s = _MOST_TTL_S
        cursor: Any = None
        for number in range(_MAX_PAGES if capability in era.capabilities else 0):
            try:
                page = await self._client.ask(method, {} if cursor is None else {"cursor": cursor})
            except JsonRpcError as error:
                if error.code != METHOD_NOT_FOUND or number:
                    raise
                break
            items = page.get(name)
            if not isinstance(items, list):
                raise BadReply(f"{self._name} gave no list of {name}")
            for item in items:
                found.take(item)
                if found.count % _AT_ONCE == 0:  # to look at many takes a while
                    await trio.lowlevel.checkpoint()
            ttl_s = min(ttl_s, _ttl_of(page, era))
            cursor = page.get("nextCursor")
            if cursor is None:
                break
        else:
            if cursor is not None:
                raise BadReply(f"{self._name} lists over {_MAX_PAGES} pages of {name}")
        return _Kept(offer=found.offered(self._names), fetched_at=trio.current_time(), ttl_s=ttl_s)

    def _keep(self, name: ListName, kept: _Kept) -> None:
        before = self._kept.get(name)
        self._kept[name] = kept
        if before is not None and before.offer == kept.offer:
            return
        problems = (*kept.offer.problems, *kept.offer.clashes)
        for problem in problems[:_MOST_TOLD]:
            logger.warning("%s: not offered: %s", self._name, self._errors.shown(problem))
        if len(problems) > _MOST_TOLD:
            logger.warning("%s: not offered: %d more", self._name, len(problems) - _MOST_TOLD)
        self._announce(name)

    def _tell(self, why: str) -> None:
        if why == self._why:
            return
        self._why = why
        if why:
            logger.warning("%s: its lists cannot be had: %s", self._name, why)
        for name in LISTS:
            self._announce(name)

    def _announce(self, name: ListName) -> None:
        for hear in tuple(self._listeners):
            try:
                hear(name)
            except Exception:
                logger.exception("%s: a listener failed", self._name)

    # What the server tells by itself.

    def _watch(self, era: Era, nursery: trio.Nursery) -> None:
        """Hear of changes, if the server says that it tells them: once for what is agreed now."""
        if self._watched is era:
            return
        if self._watched is not None:
            self.expire()  # it may have begun anew, with other things to offer
        self._watched = era
        self._watching.cancel()
        self._watching = trio.CancelScope()
        tells = any(era.announces(key, "listChanged") for key in ("tools", "prompts", "resources"))
        # A legacy server tells of resources by the same way; another one has a stream for them.
        if tells or (era.announces("resources", "subscribe") and not era.is_modern):
            nursery.start_soon(self._listen, era, self._watching)

    async def _listen(self, era: Era, scope: trio.CancelScope) -> None:
        """Listen, and again when that ended: then the lists may have changed unheard."""
        pause_s = _LEAST_PAUSE_S
        with scope:
            while True:
                start = trio.current_time()
                try:
                    await self._client.listen(era)
                except JsonRpcError:
                    return
                except Refused as refused:
                    if refused.status < 500:
                        return  # there is nothing to be heard: their time to live has to do
                except (GatewayError, Outdated):
                    pass
                if trio.current_time() - start > _MOST_PAUSE_S:
                    pause_s = _LEAST_PAUSE_S
                await trio.sleep(pause_s)
                pause_s = min(_MOST_PAUSE_S, pause_s * 2)
                self.expire()


def _ttl_of(page: Mapping[str, Any], era: Era) -> float:
    """For how long a page holds."""
    ttl_ms = page.get("ttlMs")
    if not era.is_modern or not isinstance(ttl_ms, int | float) or isinstance(ttl_ms, bool):
        return _TTL_S
    return min(_MOST_TTL_S, max(_LEAST_TTL_S, ttl_ms / 1000))
