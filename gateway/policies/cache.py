"""The cache: a reply is good for a while, and better than none for a while longer."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

import attrs
import msgspec
import trio

from gateway.config import fields, values
from gateway.config.units import format_duration, format_share
from gateway.core.adapter import Environment
from gateway.core.begun import Begun
from gateway.core.content import Content
from gateway.core.errors import GatewayError, Overloaded
from gateway.core.freshness import Asked, Freshness
from gateway.core.messages import Reply, Request
from gateway.core.service import Beginnable, CallFacts, Emit, Service, discard
from gateway.policies.apart import made_apart
from gateway.policies.keys import Keys, Vary
from gateway.policies.observed import observed
from gateway.policies.watched import Watched
from gateway.telemetry.events import CacheAsked
from gateway.telemetry.logs import logger

__all__ = ["FIXED", "Cache", "CacheSettings", "Entries", "create"]

_Found: TypeAlias = Literal["hit", "miss", "stale"]
_FOUND: tuple[_Found, ...] = ("hit", "miss", "stale")

_REFRESH_S = 30.0
"""A refresh takes no longer: nobody waits for it, so no deadline bounds it."""

_MAX_REFRESHES = 100
_LARGEST = 16
"""A reply over this part of the whole is not kept."""

FIXED = {
    "a refresh takes at most": format_duration(_REFRESH_S),
    "refreshes at once": _MAX_REFRESHES,
    "the largest reply, of max_size": format_share(1 / _LARGEST),
}
"""The numbers that no key sets."""


@attrs.frozen(slots=True, kw_only=True)
class CacheSettings:
    """The keys of `cache`."""

    ttl: float = fields.duration(doc="How long a reply is good.")
    stale: float | None = fields.duration(
        default=None,
        doc="How long after that it is still given, at once, while a new one is fetched or cannot be.",
    )
    max_entries: int = fields.integer(
        minimum=1,
        default=10_000,
        doc="How many replies are kept; of more, those longest unused go.",
    )
    max_size: int = fields.size(default="64MiB", doc="How much they may amount to, as JSON.")
    vary: tuple[str, ...] | None = fields.field(
        values.list_of(values.one_of("principal"), wanted='a list such as ["principal"]'),
        default=None,
        doc="What replies follow from beside what is asked; client headers that are forwarded always count.",
    )
    cache_control: bool = fields.boolean(
        default=True,
        doc="Whether what the service says of how long a reply is good makes that shorter.",
    )


class _Entry(msgspec.Struct, frozen=True, gc=False):
    """A reply that was kept.

    Args:
        body: Its value as JSON: nobody's changes to a value can reach another.
        good_until: When it is good no more, on Trio's clock.
        until: When it is not given any more.
    """

    body: bytes
    good_until: float
    until: float


class Entries:
    """The replies that are kept, the longest unused first; bound by number and by size.

    Args:
        max_entries: How many.
        max_bytes: How much, as JSON, what was asked included; one larger than a sixteenth of it
            is not kept.
    """

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._largest = max_bytes // _LARGEST
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: bytes) -> bool:
        return key in self._entries

    def get(self, key: bytes) -> _Entry | None:
        """The entry of this key, used just now."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: bytes, body: bytes, good_until: float, until: float) -> None:
        """Keep a reply.

        Args:
            key: Of what was asked.
            body: Its value as JSON.
            good_until: When it is good no more, on Trio's clock.
            until: When it is not given any more.
        """
        entries = self._entries
        if key in entries:
            self.drop(key)
        size = len(key) + len(body)
        if size > self._largest:
            return
        entries[key] = _Entry(body, good_until, until)
        self.size_bytes += size
        while len(entries) > self._max_entries or self.size_bytes > self._max_bytes:
            oldest, entry = entries.popitem(last=False)
            self.size_bytes -= len(oldest) + len(entry.body)

    def drop(self, key: bytes) -> None:
        """Keep it no longer."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size_bytes -= len(key) + len(entry.body)


class Cache:
    """Gives a reply again that came not long ago to the same call with the same values.

    While it is good it is given; after that, while it is stale, it is given too, and one call of
    its own fetches a new one. Failures are not kept, nor are replies that emitted anything, nor
    what has no JSON form, nor what its service forbids to keep.

    Only calls that change nothing.

    Args:
        settings: Its keys.
        environment: The service's.
        entries: The service's.
        refreshing: Keys that are fetched anew just now, of all calls of the service.
        keys: What is asked.
        call: The call's name.

    Source: RFC 5861 for `stale`: stale-while-revalidate, stale-if-error; RFC 9111 for what services
    say, which adapters read.
    """

    def __init__(  # noqa: PLR0917 - made in one place
        self,
        settings: CacheSettings,
        environment: Environment,
        entries: Entries,
        refreshing: set[bytes],
        keys: Keys,
        call: str,
    ) -> None:
        self._longest = Freshness(settings.ttl, settings.stale or 0.0)
        self._environment = environment
        self._entries = entries
        self._refreshing = refreshing
        self._keys = keys
        self._call = call
        service = environment.service
        self._asked = {
            found: CacheAsked(service=service, call=call, found=found) for found in _FOUND
        }

    async def __call__(self, request: Request, emit: Emit, inner: Service, /) -> Reply:
        """A kept reply, else that of `inner`."""
        key = self._keys.of(request)
        if key is None:
            return await inner(request, emit)
        kept = self._kept(key, request, inner, trio.current_time())
        if kept is not None:
            await trio.lowlevel.checkpoint()
            return kept
        self._tell("miss")
        return await self._fetch(key, request, emit, inner)

    def begin(
        self, inner: Beginnable, request: Request, until: float, now: float, /
    ) -> Begun | None:
        """A kept reply, else what `inner` begins."""
        key = self._keys.of(request)
        if key is None:
            return inner.begin(request, until, now)
        if key in self._entries:
            kept = self._kept(key, request, inner, now)
            if kept is not None:
                return _There(kept)
        begun = inner.begin(request, until, now)
        if begun is None:
            return None
        self._environment.record(self._asked["miss"])
        return observed(begun, self._came, key)

    def _kept(self, key: bytes, request: Request, inner: Service, now: float) -> Reply | None:
        """The reply that is kept; a new one is fetched if it is stale."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now >= entry.until:
            self._entries.drop(key)
            return None
        fresh = now < entry.good_until
        self._tell("hit" if fresh else "stale")
        if not fresh:
            self._refresh(key, request, inner)
        return _reply(entry.body, request)

    def _came(
        self, key: bytes, reply: Reply | None, _error: BaseException | None, now: float
    ) -> None:
        """Keep the reply that came to a call that was begun: it emitted nothing."""
        if reply is not None:
            self._keep(key, reply, now)

    async def _fetch(self, key: bytes, request: Request, emit: Emit, inner: Service) -> Reply:
        watched = Watched(emit)
        reply = await inner(request, watched)
        if not watched.emitted:
            self._keep(key, reply, trio.current_time())
        return reply

    def _keep(self, key: bytes, reply: Reply, now: float) -> None:
        """Keep a reply for as long as our keys and its service allow; if not at all, none before it."""
        body = _body(reply)
        if body is None:
            return
        said = reply.freshness
        lasts = self._longest if said is None else self._longest.least(said)
        good_until = now + lasts.good_s
        until = good_until + lasts.stale_s
        if until > now:
            self._entries.put(key, body, good_until, until)
        else:
            self._entries.drop(key)

    def _refresh(self, key: bytes, request: Request, inner: Service) -> None:
        """Fetch a new reply beside the request, unless that is under way."""
        if key in self._refreshing or len(self._refreshing) >= _MAX_REFRESHES:
            return
        try:
            self._environment.background.start(partial(self._fetch_anew, key, request, inner))
        except Overloaded:  # the gateway is closing
            return
        self._refreshing.add(key)

    async def _fetch_anew(self, key: bytes, request: Request, inner: Service) -> None:
        """Whatever fails, what is there stays as long as it may; the next who asks tries again."""

        async def fetch(request: Request, emit: Emit, /) -> Reply:
            return await self._fetch(key, request, emit, inner)

        scope = trio.CancelScope(deadline=trio.current_time() + _REFRESH_S)
        try:
            outcome = await made_apart(fetch, request, discard, scope)
        finally:
            self._refreshing.discard(key)
        if isinstance(outcome, BaseException) and not isinstance(outcome, GatewayError):
            # A bug, and nobody waits who could be told.
            logger("gateway.policies.cache").error(
                "refresh failed",
                exc_info=outcome,
                service=self._environment.service,
                call=self._call,
            )

    def _tell(self, found: _Found) -> None:
        self._environment.record(self._asked[found])


class _There:
    """A `Begun` whose reply is there already."""

    deadline = math.inf

    __slots__ = ("_reply",)

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    @staticmethod
    def listen(tell: Callable[[], None], /) -> None:
        tell()

    def take(self) -> Reply:
        return self._reply

    async def finish(self) -> Reply:
        await trio.lowlevel.checkpoint()
        return self._reply

    def close(self) -> None:
        pass


def _body(reply: Reply) -> bytes | None:
    """A reply's value as JSON; `None` if that is not all of it."""
    if reply.missing or isinstance(reply.value, Content):
        return None
    try:
        return msgspec.json.encode(reply.value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None


def _reply(body: bytes, request: Request) -> Reply:
    return Reply(msgspec.Raw(body) if request.opaque else msgspec.json.decode(body))


def create(
    settings: CacheSettings, environment: Environment
) -> Callable[[CallFacts], Cache | None]:
    """The service's `cache`: one for all of its calls."""
    entries = Entries(settings.max_entries, settings.max_size)
    refreshing: set[bytes] = set()
    vary = environment.shared(Vary)
    vary.by_principal = "principal" in (settings.vary or ())
    asked = environment.shared(Asked)
    asked.kept = "for one" if vary.by_principal else "for all"
    asked.heeded = settings.cache_control

    def policy(call: CallFacts) -> Cache | None:
        keys = vary.keys_for(call)
        if keys is None:
            return None
        return Cache(settings, environment, entries, refreshing, keys, call.name)

    return policy
