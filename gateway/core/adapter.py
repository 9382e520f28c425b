"""How a kind of downstream service is declared: its keys, a call's keys, and its adapter.

An adapter's file holds three things beside each other: the attrs class whose fields *are* the
TOML keys of `[services.NAME]`, the attrs class whose fields are the keys of a call, and the
`Service`. A `Kind` names them for the table in `adapters/__init__.py`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import attrs

from gateway.core.background import Background
from gateway.core.service import Service

__all__ = ["Adapter", "Environment", "Kind", "Record"]

Record: TypeAlias = Callable[[Any], None]
"""Takes an event of `gateway.telemetry.events`; synchronous, never raises."""

T = TypeVar("T")


@attrs.frozen(slots=True, kw_only=True)
class Environment:
    """What the gateway gives to an adapter or a policy of one service.

    Args:
        service: The service's name.
        record: Where its events go.
        directory: The folder of the file it is written in; what it names may stand there.
        background: Where it starts what belongs to several requests, or to none.
        random: Where all of its chance comes from; a simulation seeds it.
    """

    service: str
    record: Record
    directory: Path = Path()
    background: Background = attrs.field(factory=Background)
    random: random.Random = attrs.field(factory=random.Random)
    _shared: dict[type[Any], Any] = attrs.field(factory=dict, init=False, repr=False, eq=False)

    def shared(self, kind: type[T]) -> T:
        """The one `kind` of this service, made when first asked for: its policies and adapter share it."""
        if kind not in self._shared:
            self._shared[kind] = kind()
        made: T = self._shared[kind]
        return made


class Adapter(Protocol):
    """One downstream service."""

    def bind(self, call: Any, /) -> Service:
        """The `Service` of one call of a plan, made at load: what the call fixes is worked out once.

        Args:
            call: The call's keys, an instance of the kind's `call` class; placeholders in it are
                still text. Their values arrive as the request's `arguments`, under the names of
                the fields.

        Raises:
            ValueError: The call cannot be served; the message says why.
        """
        ...

    def open(self) -> AbstractAsyncContextManager[None]:
        """Be ready to serve; leaving the context closes everything again.

        It is entered in the app's lifespan, so it may hold a nursery. What it raises keeps the
        gateway from starting.
        """
        ...


@attrs.frozen(slots=True, kw_only=True)
class Kind:
    """A kind of downstream service.

    Args:
        settings: The attrs class whose fields are the keys of `[services.NAME]`.
        call: The attrs class whose fields are the keys of a call.
        create: From a service's settings and what the gateway gives it to its `Adapter`; opens
            nothing yet. A `ValueError` it raises is a mistake of the file.
        check: What is wrong with a call as a whole, beyond its fields: `(key, message)` pairs;
            the empty key blames the call itself.
        idempotent: Whether making a call twice is harmless, as far as its keys tell.
        read_only: Whether a call changes nothing, as far as its keys tell.
        inputs_key: The key of a call that, left out, holds all of the tool's inputs.
        takes: Which of them a call takes then, as far as its keys tell: each has to be one.
        forwards: The client's headers that a service with these settings sees, in lower case.
    """

    settings: type[Any]
    call: type[Any]
    create: Callable[[Any, Environment], Adapter]
    check: Callable[[Any], list[tuple[str, str]]] = lambda _call: []
    idempotent: Callable[[Any], bool] = lambda _call: False
    read_only: Callable[[Any], bool] = lambda _call: False
    inputs_key: str | None = None
    takes: Callable[[Any], frozenset[str]] = lambda _call: frozenset()
    forwards: Callable[[Any], tuple[str, ...]] = lambda _settings: ()
