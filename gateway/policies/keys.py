"""What makes two calls the same: the call, its values, and what else the reply may follow from."""

from __future__ import annotations

from collections.abc import Hashable

import attrs
import msgspec

from gateway.core.messages import Request
from gateway.core.service import CallFacts

__all__ = ["Keys", "Vary", "keys_for"]

_encode = msgspec.json.Encoder(order="deterministic").encode


@attrs.frozen(slots=True)
class Keys:
    """The key of each request of one call; of two that are equal, either's reply is the other's.

    Args:
        identity: The call's, as in `CallFacts`.
        headers: The client's headers that its service sees.
        by_principal: Whether replies differ between principals.
    """

    identity: str
    headers: tuple[str, ...]
    by_principal: bool

    def of(self, request: Request) -> Hashable | None:
        """The key; `None` if there is none, for some value has no JSON form."""
        try:
            values = _encode(request.arguments)
        except (TypeError, ValueError, OverflowError, RecursionError):
            return None
        context = request.context
        principal = context.principal if self.by_principal else None
        seen = tuple([context.headers.get(name) for name in self.headers]) if self.headers else ()
        return (self.identity, values, request.opaque, principal, seen)


class Vary:
    """What the replies of a service follow from beside what is asked: its cache says.

    Attributes:
        by_principal: Whether they differ between principals.
    """

    def __init__(self) -> None:
        self.by_principal = False


def keys_for(call: CallFacts, *, by_principal: bool) -> Keys | None:
    """The keys of a call's requests; `None` if it may change something, or is not known."""
    if not call.read_only or not call.identity:
        return None
    return Keys(call.identity, call.headers, by_principal)
