"""The seam for authorization: what one client may know of, and so may ask for.

What a client may not know of is to it as if it were not there, in every list and search, in every
protocol, and when it is asked for by name. Without a `May` everybody may know of everything, and
nothing is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway.core.federation import ListName
    from gateway.core.messages import Context

__all__ = ["May"]


class May(Protocol):
    """Says whether one client may know of one thing. It is asked often, and must not wait."""

    def __call__(self, context: Context, kind: ListName, name: str, service: str, /) -> bool:
        """Whether whoever asks may know of it.

        Args:
            context: Who asks; its `principal` is whom it is about.
            kind: What it is: one of `tools`, `prompts`, `resources`, `resourceTemplates`.
            name: What it is asked for by: its name as it is offered, its URI, its URI template.
            service: The MCP server it comes from; empty for what is the gateway's own.
        """
        ...
