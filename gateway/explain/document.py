"""An explanation as JSON, for programs: docs/reference/cli.md has its keys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gateway.explain.describe import Call, Explanation, Guard
from gateway.explain.values import Value
from gateway.explain.warnings import Warned

__all__ = ["document_of"]


def document_of(explained: Explanation, warned: Sequence[Warned]) -> dict[str, Any]:
    """One tool as JSON's types; seconds are numbers, `null` where there is no bound."""
    return {
        "tool": explained.tool.name,
        "origin": explained.origin,
        "deadline_s": _seconds(explained.tool.deadline_s),
        "quorum": explained.tool.plan.quorum,
        "values": _values(explained.values),
        "calls": [_call(call) for call in explained.calls.values()],
        "services": [
            {
                "name": service.name,
                "kind": service.kind,
                "origin": service.origin,
                "values": _values(service.values),
            }
            for service in explained.services.values()
        ],
        "longest_path": list(explained.path),
        "warnings": [
            {
                "code": each.code,
                "call": each.call,
                "origin": each.origin,
                "message": each.message,
            }
            for each in warned
        ],
    }


def _values(values: Sequence[Value]) -> list[dict[str, Any]]:
    return [{"key": each.key, "value": each.value, "origin": each.origin} for each in values]


def _call(call: Call) -> dict[str, Any]:
    node, window = call.node, call.window
    bounds = window.bounds
    return {
        "name": node.name,
        "service": node.service,
        "asks": call.asks,
        "origin": call.origin,
        "optional": node.optional,
        "has_default": node.has_default,
        "default": node.default,
        "when": None if node.when is None else node.when.source,
        "commit": node.commit_timeout_s is not None,
        "reads": sorted(node.reads),
        "waits_for": sorted(node.waits_for),
        "values": _values(call.values),
        "policies": [_guard(guard, applies=True) for guard in call.stack]
        + [_guard(guard, applies=False) for guard in call.idle],
        "worst": {
            "attempts": bounds.attempts,
            "attempt_s": _seconds(bounds.try_s),
            "backoffs_s": list(bounds.backoffs_s),
            "all_attempts_s": _seconds(bounds.all_s),
            "call_s": _seconds(bounds.worst_s),
            "budget_s": _seconds(min(call.budget_s, bounds.call_s)),
            "attempts_that_fit": call.fits[0],
            "attempts_that_fit_after_others": call.fits[1],
            "start_s": _seconds(window.start_s),
            "end_s": _seconds(window.end_s),
        },
    }


def _guard(guard: Guard, *, applies: bool) -> dict[str, Any]:
    return {
        "key": guard.layer.key,
        "of": guard.of,
        "applies": applies,
        "origin": guard.origin,
        "values": _values(guard.values),
    }


def _seconds(seconds: float) -> float | None:
    return None if seconds == math.inf else round(seconds, 9)
