"""How a call ends: what it was skipped for, what a failure is to blame on, how that is said."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gateway.config.units import format_duration
from gateway.core.errors import (
    BadReply,
    DeadlineExceeded,
    GatewayError,
    Internal,
    InvalidArguments,
    Skipped,
)
from gateway.core.expression import ExpressionError
from gateway.core.messages import Branch, Outcome
from gateway.plan.plan import Node, Plan

__all__ = [
    "failure_behind",
    "is_false",
    "laid_at_replies",
    "outcome_of",
    "shown",
    "tried",
    "why_skipped",
]

T = TypeVar("T")


def why_skipped(
    node: Node, plan: Plan, branches: Mapping[str, Branch], namespace: Mapping[str, Any]
) -> GatewayError | None:
    """Why `node`, whose time has come, is not called at all; `None` if it is.

    Args:
        node: One of the plan's.
        plan: As above.
        branches: How the calls it waits for ended, by name.
        namespace: The inputs, and the values of calls.
    """
    lacking = {
        name: error
        for name in node.reads
        if (error := branches[name].error) is not None and not plan.by_name[name].has_default
    }
    if lacking:
        # A failure goes before what was merely skipped: who requires this call is told of it.
        name = min(lacking, key=lambda one: (failure_behind(lacking[one]) is None, one))
        error = lacking[name]
        skipped = Skipped(f"not called: it needs {name}, which is missing ({error.code})")
        skipped.__cause__ = failure_behind(error)
        return skipped
    if node.when is None:
        return None
    try:
        holds = node.when(namespace)
    except ExpressionError as error:
        return Skipped(f"not called: its condition does not fit the data: {error}")
    if is_false(holds):
        return Skipped(f"not called: {node.when.source} is false")
    return None


def is_false(value: Any) -> bool:
    """Whether a condition with this value does not hold, as JMESPath has it."""
    return value is None or value is False or value in ("", [], {})


def tried(step: Callable[[], T]) -> tuple[T | None, GatewayError | None]:
    """What a step of a service's that does not wait gives, or its failure, as `Run._invoke` has it."""
    try:
        return step(), None
    except GatewayError as error:
        return None, error
    except Exception as error:  # noqa: BLE001 - a bug, told as one
        bug = Internal("a service raised what is no GatewayError")
        bug.__cause__ = error
        return None, bug


def shown(seconds: float) -> str:
    """To the next millisecond: what was granted is read from a clock, and a little went by."""
    return format_duration(
        math.ceil(seconds * 1000 - 1e-6) / 1000 if seconds < math.inf else seconds
    )


def laid_at_replies(error: GatewayError, node: Node, plan: Plan) -> GatewayError:
    """`error`, but for arguments of `node` that other calls' replies have filled in a bad reply.

    The client is to blame for what came from its own arguments alone, and for what cannot be told.

    Args:
        error: What `node`'s call failed with.
        node: One of the plan's.
        plan: As above.
    """
    if not isinstance(error, InvalidArguments) or not node.reads:
        return error
    pointers = [breach.get("pointer", "").split("/") for breach in error.errors]
    # RFC 6901, section 4: how a name is written in one.
    wrong = {names[1].replace("~1", "/").replace("~0", "~") for names in pointers if len(names) > 1}
    if wrong and wrong <= node.origins.keys():
        found = [node.origins[name] for name in wrong]
    else:
        found = [frozenset() if node.takes_inputs else node.reads]
    if not all(found):
        return error
    names = sorted(frozenset[str]().union(*found))
    service = plan.by_name[names[0]].service if len(names) == 1 else None
    failure = BadReply(
        f"what {' and '.join(names)} gave does not fit: {error.detail}",
        call=error.call,
        service=service,
    )
    failure.__cause__ = error.__cause__
    return failure


def outcome_of(error: GatewayError | None) -> Outcome:
    """The word for how a call with this failure ended."""
    match error:
        case None:
            return "ok"
        case Skipped():
            return "skipped"
        case DeadlineExceeded():
            return "timeout"
        case _:
            return "error"


def failure_behind(error: GatewayError) -> GatewayError | None:
    """The failure to blame for `error`; `None` if nothing failed.

    A call that was not made is not to blame: what it lacked or waited for is.
    """
    cause = error.__cause__
    if isinstance(cause, GatewayError) and cause.call is not None:
        return cause
    return None if isinstance(error, Skipped) else error
