"""The scope that everything done for one request runs in."""

from __future__ import annotations

import trio

from gateway.net.asgi import ends_with_client
from gateway.plan.flight import Ends

__all__ = ["Root"]


class Root:
    """A cancel scope with the request's deadline, known to whoever ends all of them.

    A class, not a generator: every request enters one.

    Args:
        roots: Where it stands while it is open.
        deadline: The request's, on Trio's clock.
    """

    __slots__ = ("_roots", "_scope")

    def __init__(self, roots: set[Ends], deadline: float) -> None:
        self._roots = roots
        self._scope = trio.CancelScope(deadline=deadline)

    def __enter__(self) -> trio.CancelScope:
        scope = self._scope
        self._roots.add(scope)
        ends_with_client(scope)
        return scope.__enter__()

    def __exit__(self, *exc_info: object) -> bool | None:
        self._roots.discard(self._scope)
        return self._scope.__exit__(*exc_info)  # type: ignore[arg-type] # passed on as it came
