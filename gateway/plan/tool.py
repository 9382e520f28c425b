"""A tool: what clients call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from gateway.plan.answers import AnswerSchema
    from gateway.plan.arguments import ArgumentsSchema
    from gateway.plan.plan import Plan

__all__ = ["Tool"]


@attrs.frozen(slots=True, kw_only=True)
class Tool:
    """What clients call: a name, an input schema, a plan. Offered over MCP and HTTP alike.

    Args:
        name: Unique among all tools; fit for every model's name pattern.
        description: For models and people; may be empty.
        arguments: The input schema, compiled: coerces text, validates, lists every breach.
        plan: The calls, compiled.
        deadline_s: The tool's budget in seconds; inf where only the server's ceiling holds.
        idempotent: Whether a repeated call is harmless.
        read_only: Whether a call changes nothing.
        method: The HTTP method of its own route; `None` where it has none.
        path: The path of its own route, such as `/customers/{id}`.
        title: Its name as people are shown it; may be empty.
        destructive: Whether a call may undo or overwrite something; `None` if nothing says so.
        open_world: Whether it reaches beyond what is known; `None` if nothing says so.
        answers: The output schema, compiled; `None` where answers may be anything.
    """

    name: str
    description: str
    arguments: ArgumentsSchema
    plan: Plan
    deadline_s: float
    idempotent: bool
    read_only: bool
    method: str | None = None
    path: str | None = None
    title: str = ""
    destructive: bool | None = None
    open_world: bool | None = None
    answers: AnswerSchema | None = None

    @property
    def input_schema(self) -> Mapping[str, Any]:
        """JSON Schema 2020-12 of the arguments, `type: object` at its root."""
        return self.arguments.schema
