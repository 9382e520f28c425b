"""How a kind of downstream service is declared: its keys, a call's keys, and how it is opened.

An adapter's file holds three things beside each other: the attrs class whose fields *are* the
TOML keys of `[services.NAME]`, the attrs class whose fields are the keys of a call, and the
`Service`. A `Kind` names them for the table in `adapters/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import attrs

from gateway.core.service import Service

__all__ = ["Adapter", "Kind"]


class Adapter(Protocol):
    """One downstream service, open."""

    def bind(self, call: Any, /) -> Service:
        """The `Service` of one call of a plan.

        Done once, at load: what a call fixes is worked out here, not per request.

        Args:
            call: The call's keys, an instance of the kind's `call` class; placeholders in it are
                still text. Their values arrive as the request's `arguments`, under the names of
                the fields.
        """
        ...


@attrs.frozen(slots=True, kw_only=True)
class Kind:
    """A kind of downstream service.

    Args:
        settings: The attrs class whose fields are the keys of `[services.NAME]`.
        call: The attrs class whose fields are the keys of a call.
        open: From a service's name and settings to an async context manager that opens its
            `Adapter` and closes it again, leaving nothing behind. It runs in the app's lifespan,
            so it may hold a nursery.
        check: What is wrong with a call as a whole, beyond its fields: `(key, message)` pairs.
        idempotent: Whether a call may be made twice without more effect than once.
        read_only: Whether a call changes nothing.
    """

    settings: type[Any]
    call: type[Any]
    open: Callable[[str, Any], AbstractAsyncContextManager[Adapter]]
    check: Callable[[Any], list[tuple[str, str]]] = lambda _call: []
    idempotent: Callable[[Any], bool] = lambda _call: False
    read_only: Callable[[Any], bool] = lambda _call: False
