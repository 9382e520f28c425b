"""The seam between the MCP servers behind us and whoever speaks MCP to clients.

Neither side knows the other: adapters offer a `Federated`, inbound protocols take one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import attrs

from gateway.core.messages import Context
from gateway.core.service import Emit

__all__ = ["LISTS", "Federated", "ListName", "Listed"]

ListName: TypeAlias = Literal["tools", "prompts", "resources", "resourceTemplates"]
"""A list of a server's, by the key of its items in the protocol."""

LISTS: tuple[ListName, ...] = ("tools", "prompts", "resources", "resourceTemplates")
"""Every list a server may have."""


@attrs.frozen(slots=True, kw_only=True)
class Listed:
    """One list of a server's, as it is offered now.

    Args:
        items: The protocol's objects as they came, but for the names they are offered under.
        age_s: Seconds since they were listed; `None` if they never were.
        error: Why they are not as they should be: the server cannot be reached, two names clash.
            Empty if nothing is wrong; `items` may be there nonetheless.
    """

    items: tuple[Mapping[str, Any], ...] = ()
    age_s: float | None = None
    error: str = ""


@runtime_checkable
class Federated(Protocol):
    """Another MCP server behind us.

    Attributes:
        name: The service's name.
    """

    @property
    def name(self) -> str:
        """The service's name."""
        ...

    def listed(self, name: ListName, /) -> Listed:
        """A list as it is known now: it asks nobody."""
        ...

    def listening(self, hear: Callable[[ListName], None], /) -> AbstractContextManager[None]:
        """Within this `with`, `hear` is told of each list whose items or error changed.

        It is called from the loop, must not wait and must not raise.
        """
        ...

    def watching(
        self, uri: str, hear: Callable[[], None], /
    ) -> AbstractContextManager[None] | None:
        """Within this `with`, `hear` is told whenever the resource changed, or may have.

        It is called as for `listening`. `None` if the server does not tell.
        """
        ...

    async def ask(
        self, method: str, params: Mapping[str, Any], context: Context, emit: Emit, /
    ) -> dict[str, Any]:
        """Ask the server, for one client.

        Args:
            method: `tools/call`, `prompts/get`, `resources/read` or `completion/complete`.
            params: As the client sent them, with names as they are offered; of `_meta` what is
                the client's own, without keys that belong to one hop.
            context: Who asks; its `peer` is asked what the server asks back.
            emit: Where progress goes; where it is `discard` the server is asked for none.

        Returns:
            The result as it came, unknown fields and all. In 2026-07-28 it may be one that
            requires input, where the peer takes that in rounds, or there is none to give it.

        Raises:
            JsonRpcError: The server's own.
            NotFound: It offers nothing of that name.
            GatewayError: It could not be asked, or what came is no answer.

        Cancellation: the server is told; its answer is dropped.
        """
        ...
