"""What a file says that cannot be meant: each certain, each with a way out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import attrs

from gateway.build import Layer
from gateway.config.units import format_duration as shown
from gateway.core.expression import ExpressionError
from gateway.explain.arithmetic import Bounds
from gateway.explain.describe import Call, Explanation, Guard
from gateway.plan.outcomes import is_false

__all__ = ["Warned", "warnings_of"]


@attrs.frozen(slots=True, kw_only=True)
class Warned:
    """One warning.

    Args:
        code: What it is about, in one word: for scripts.
        call: The call.
        origin: Where what it is about stands.
        message: What does not work, and what would.
    """

    code: str
    call: str
    origin: str
    message: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.call}: {self.message}"


def warnings_of(explained: Explanation) -> tuple[Warned, ...]:
    """What is worth a warning in a tool, in the order of its calls."""
    never = dict(_never_called(explained))
    found: list[Warned] = []
    for name, call in explained.calls.items():
        if name in never:
            code, message = never[name]
            found.append(Warned(code=code, call=name, origin=call.origin, message=message))
            continue
        found += _of_call(call, explained.services[call.node.service].longest_s)
        found += _of_default(call, explained)
    # What is wrong with a service is wrong for each call to it: said once.
    once = {(each.code, each.origin, each.message): each for each in reversed(found)}
    return tuple(each for each in found if once[each.code, each.origin, each.message] is each)


def _never_called(explained: Explanation) -> Iterator[tuple[str, tuple[str, str]]]:
    """The calls that are never made, each with a code and why."""
    plan = explained.tool.plan
    never: set[str] = set()
    needs: dict[str, frozenset[str]] = {}
    for node in plan.ordered:
        lacking = [name for name in sorted(node.reads) if not plan.by_name[name].has_default]
        # All that must have succeeded before it is made.
        needs[node.name] = frozenset(lacking).union(*(needs[name] for name in lacking))
        gone = [name for name in lacking if name in never]
        quorum = plan.quorum
        if gone:
            why = f"never called: it needs {gone[0]}, which is never called and has no default"
        elif quorum is not None and len(needs[node.name]) >= quorum:
            why = (
                f"never called: it needs {', '.join(sorted(needs[node.name]))}, and once "
                f"{quorum} of the calls succeeded, the rest is cancelled (wait)"
            )
        elif _constant(explained.calls[node.name]) is False:
            why = "never called: its condition reads nothing and is always false"
        else:
            continue
        never.add(node.name)
        yield node.name, ("never_called", why)


def _constant(call: Call) -> bool | None:
    """What a condition that reads nothing always is; `None` where it depends on something."""
    when = call.node.when
    if when is None or when.roots:
        return None
    try:
        return not is_false(when({}))
    except ExpressionError:
        return False


def _of_call(call: Call, longest_s: float) -> Iterator[Warned]:
    guards = {_name(guard.layer): guard for guard in call.stack}
    own = guards.get("call timeout")
    budget_s = min(call.budget_s, own.layer.value if own else math.inf)

    def warned(code: str, message: str, origin: str = call.origin) -> Warned:
        return Warned(code=code, call=call.node.name, origin=origin, message=message)

    if _constant(call):
        yield warned("constant_condition", "its condition reads nothing and is always true")
    for guard in call.idle:
        message = _IDLE.get(guard.layer.key)
        if message is not None and guard.origin != "with cache":
            yield warned(
                "does_not_apply", f"{guard.layer.key} does not apply: {message}", guard.origin
            )
    if own and own.layer.value > call.budget_s:
        message = f"its timeout, {shown(own.layer.value)}, is over the deadline of"
        message += f" {shown(call.budget_s)}, which ends it first"
        yield warned("timeout_over_deadline", message, own.origin)
    bounds = call.window.bounds
    found = (
        *_of_service(bounds, guards, longest_s),
        *_of_breaker(bounds, guards),
        *_of_load(bounds, guards),
        *_of_time(bounds, guards, budget_s),
    )
    for code, message, key in found:
        yield warned(code, message, guards[key].origin)
    if "fault" in guards:
        message = "faults are injected on purpose: no service is as bad as this one is made"
        yield warned("fault", message, guards["fault"].origin)


def _name(layer: Layer) -> str:
    return f"call {layer.key}" if layer.of_call else layer.key


_IDLE = {
    "retry": "making the call twice may do harm; if not, say idempotent = true",
    "hedge": "making the call twice may do harm; if not, say idempotent = true",
    "cache": "the call, idempotent or not, may change something, so its reply is not kept",
    "coalesce": "the call, idempotent or not, may change something, so each is made",
}
"""Why a policy is not for a call."""


def _of_service(
    bounds: Bounds, guards: Mapping[str, Guard], longest_s: float
) -> Iterator[tuple[str, str, str]]:
    """What no call to the service has the time for: it serves tools with other deadlines too."""
    if _is_refreshed(guards):
        return
    budgets = f"every budget that a call to it has, {shown(longest_s)} at most"
    if "timeout" in guards and bounds.attempt_s > longest_s:
        message = f"the timeout of an attempt, {shown(bounds.attempt_s)}, is over {budgets}"
        yield "timeout_over_deadline", message, "timeout"
    if "limit" in guards and bounds.queue_s > longest_s:
        message = f"queue_timeout, {shown(bounds.queue_s)}, is over {budgets}"
        yield "timeout_over_deadline", message, "limit"


def _is_refreshed(guards: Mapping[str, Guard]) -> bool:
    """Whether some of the calls are made for the cache alone: no request's budget bounds those."""
    return "cache" in guards and guards["cache"].layer.value.stale is not None


def _of_time(
    bounds: Bounds, guards: Mapping[str, Guard], budget_s: float
) -> Iterator[tuple[str, str, str]]:
    """What cannot work for lack of time: a code, a message, and the policy it is about."""
    retry, hedge = guards.get("retry"), guards.get("hedge")
    if retry and bounds.attempt_s >= budget_s and not _is_refreshed(guards):
        if budget_s == math.inf:
            message = "an attempt that hangs does so for ever: it needs a timeout"
        else:
            message = f"an attempt that hangs leaves no time for another in {shown(budget_s)}"
            useful_s = _useful(bounds, budget_s)
            if useful_s > 0:
                message += f": all {bounds.attempts} fit in with a timeout of {shown(useful_s)}"
        yield "retry_without_time", message, "retry"
    if retry and retry.layer.value.backoff > retry.layer.value.max_backoff:
        message = (
            f"backoff is over max_backoff: no wait is longer than {shown(bounds.backoffs_s[0])}"
        )
        yield "backoff", message, "retry"
    ends_s = math.inf if bounds.rated else bounds.sent_s
    if "coalesce" not in guards:  # others may wait for the same call for longer
        ends_s = min(ends_s, budget_s)
    if hedge and bounds.hedge_after_s is not None and bounds.hedge_after_s > ends_s:
        message = f"never made once more: by then, {shown(bounds.hedge_after_s)}, it has ended"
        yield "hedge_too_late", f"{message}, after {shown(ends_s)} at the latest", "hedge"


def _of_load(bounds: Bounds, guards: Mapping[str, Guard]) -> Iterator[tuple[str, str, str]]:
    """What an outage makes worse."""
    retry = guards.get("retry")
    if retry and retry.layer.value.budget == math.inf:
        most = bounds.attempts * (1 + bounds.hedges)
        message = f"nothing bounds what it adds: a service that fails gets {most} times its traffic"
        yield "retry_storm", message, "retry"


def _useful(bounds: Bounds, budget_s: float) -> float:
    """The timeout with which all attempts fit in, to the millisecond below; 0 if none does."""
    try_s = (budget_s - sum(bounds.backoffs_s)) / bounds.attempts
    # The inverse of `Bounds.try_s`: hedges that begin in time, or too late to begin.
    sent_s = try_s / (1 + bounds.hedges)
    if bounds.hedge_after_s is not None:
        after_s = bounds.hedge_after_s
        sent_s = max(min(after_s, try_s), try_s - bounds.hedges * after_s)
    return max(0, math.floor((sent_s - bounds.queue_s) * 1000 + 1e-6)) / 1000


def _of_breaker(bounds: Bounds, guards: Mapping[str, Guard]) -> Iterator[tuple[str, str, str]]:
    """A breaker whose least count can never be reached in its window."""
    breaker, rate = guards.get("breaker"), guards.get("rate")
    if breaker is None or rate is None or bounds.attempt_s == math.inf:
        return
    settings, per_s = breaker.layer.value, rate.layer.value
    # Calls end up to their longest time after their turn came, and one second's may come at once.
    most = per_s * (settings.window + bounds.queue_s + bounds.attempt_s) + max(1.0, per_s)
    if most < settings.of:
        message = (
            f"it never opens: at its rate at most {math.floor(most)} calls end within "
            f"{shown(settings.window)}, and it waits for {settings.of}"
        )
        yield "breaker_never_opens", message, "breaker"


def _of_default(call: Call, explained: Explanation) -> Iterator[Warned]:
    """A default that nothing ever sees: the call is required, and nothing skips it."""
    node = call.node
    if (
        node.has_default
        and not node.optional
        and node.when is None
        and not node.waits_for
        and explained.tool.plan.quorum is None
    ):
        message = (
            "its default is never used: where it fails, so does the request; say optional = true"
        )
        yield Warned(code="unused_default", call=node.name, origin=call.origin, message=message)
