"""What makes two calls the same: the call, its values, and what else the reply may follow from."""

from __future__ import annotations

import attrs
import msgspec

from gateway.core.messages import Request
from gateway.core.service import CallFacts

__all__ = ["Keys", "Vary", "keys_for"]

_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder().decode


@attrs.frozen(slots=True)
class Keys:
    """The key of each request of one call; of two that are equal, either's reply is the other's.

    Args:
        identity: The call's, as in `CallFacts`.
        headers: The client's headers that its service sees.
        by_principal: Whether replies differ between principals.
    """

    identity: bytes
    headers: tuple[str, ...]
    by_principal: bool

    def of(self, request: Request) -> bytes | None:
        """The key; `None` if there is none, for some value is none of JSON's.

        A date and its text have the same form: only values that come back as they were are told
        apart by it.
        """
        try:
            values = _encode(request.arguments)
            if _decode(values) != request.arguments:
                return None
        except (TypeError, ValueError, OverflowError, RecursionError):
            return None
        context = request.context
        principal = context.principal if self.by_principal else None
        seen = [context.headers.get(name) for name in self.headers]
        # JSON holds no zero byte: no part can be taken for another's end.
        return b"\0".join((self.identity, values, _encode((request.opaque, principal, seen))))


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
    identity = call.identity.encode("utf-8", "backslashreplace")
    return Keys(identity, call.headers, by_principal)
