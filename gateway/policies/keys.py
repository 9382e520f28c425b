"""What makes two calls the same: the call, its values, and what else the reply may follow from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.core.messages import Request
from gateway.core.service import CallFacts

__all__ = ["Keys", "Vary"]

_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder().decode

_PLAIN = frozenset({str, int, bool, type(None)})
"""Of these, and not of their subclasses, no two have the same form."""


class Keys:
    """The key of each request of one call; of two that are equal, either's reply is the other's.

    Args:
        identity: The call's, as in `CallFacts`.
        headers: The client's headers that its service sees.
        by_principal: Whether replies differ between principals.
    """

    __slots__ = ("_by_principal", "_ends", "_headers", "_identity", "_last")

    def __init__(self, identity: bytes, headers: tuple[str, ...], by_principal: bool) -> None:
        self._identity = identity
        self._headers = headers
        self._by_principal = by_principal
        self._last: tuple[Request, bytes | None] | None = None
        self._ends = None if headers or by_principal else (_end(False), _end(True))

    def of(self, request: Request) -> bytes | None:
        """The key; `None` if there is none, for some value is none of JSON's."""
        last = self._last
        if last is not None and last[0] is request:  # the next policy asks for the same
            return last[1]
        key = None
        values = _form(request.arguments)
        if values is not None:
            ends = self._ends
            end = self._end_of(request) if ends is None else ends[request.opaque]
            # JSON holds no zero byte: no part can be taken for another's end.
            key = b"\0".join((self._identity, values, end))
        self._last = (request, key)
        return key

    def _end_of(self, request: Request) -> bytes:
        context = request.context
        principal = context.principal if self._by_principal else None
        return _end(request.opaque, principal, *map(context.headers.get, self._headers))


def _form(arguments: Mapping[str, Any]) -> bytes | None:
    """What is asked, as JSON; `None` if that does not tell it apart from all else."""
    try:
        form = _encode(arguments)
        for value in arguments.values():
            if type(value) not in _PLAIN:
                # A date and its text have the same form: only values that come back as they were
                # are told apart by it.
                return form if _decode(form) == arguments else None
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None
    return form


def _end(opaque: bool, principal: str | None = None, *seen: str | None) -> bytes:
    """The part of a key that is not what is asked."""
    return _encode((opaque, principal, seen))


class Vary:
    """What the replies of a service follow from beside what is asked: its cache says.

    Attributes:
        by_principal: Whether they differ between principals.
    """

    def __init__(self) -> None:
        self.by_principal = False
        self._keys: dict[CallFacts, Keys] = {}

    def keys_for(self, call: CallFacts) -> Keys | None:
        """The keys of a call's requests, the same for all who ask; `None` if it may change something, or is not known."""
        if not call.read_only or not call.identity:
            return None
        if call not in self._keys:
            identity = call.identity.encode("utf-8", "backslashreplace")
            self._keys[call] = Keys(identity, call.headers, self.by_principal)
        return self._keys[call]
