"""An explanation as text, for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from gateway.config.text import printable, show
from gateway.config.units import format_duration as shown
from gateway.explain.arithmetic import Bounds
from gateway.explain.describe import Call, Explanation, Guard
from gateway.explain.values import Value
from gateway.explain.warnings import Warned

__all__ = ["lines_of"]


def lines_of(explained: Explanation, warned: Sequence[Warned]) -> Iterator[str]:
    """The lines that explain one tool."""
    for line in _lines(explained, warned):
        yield printable(line).rstrip()


def _lines(explained: Explanation, warned: Sequence[Warned]) -> Iterator[str]:
    tool = explained.tool
    yield f"{tool.name}  ({explained.origin})"
    yield from _table(explained.values, "  ")
    yield ""
    yield "plan"
    yield from _tree(explained)
    for call in explained.calls.values():
        yield ""
        yield from _call(call)
    yield ""
    yield "at worst"
    yield from _path(explained)
    for service in explained.services.values():
        yield ""
        yield f"service {service.name}, kind {service.kind}  ({service.origin})"
        yield from _table(service.values, "  ")
    yield ""
    yield "warnings" if warned else "no warnings"
    for each in warned:
        yield f"  {each}"


def _table(values: Iterable[Value], margin: str) -> Iterator[str]:
    rows = [(value.key, _written(value.value), value.origin) for value in values]
    if not rows:
        return
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    for key, value, origin in rows:
        yield f"{margin}{key.ljust(first)}  {value.ljust(second)}  {origin}"


def _written(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, dict) and value:
        return "{ " + ", ".join(f"{key} = {_written(item)}" for key, item in value.items()) + " }"
    return "{}" if value == {} else show(value)


def _tree(explained: Explanation) -> Iterator[str]:
    """Each call below the one it waits for last; what else it waits for stands beside it."""
    below: dict[str | None, list[Call]] = {}
    for call in explained.calls.values():
        below.setdefault(_above(call, explained), []).append(call)
    # A stack: plans may be as deep as they are long.
    pending = _branches(below.get(None, []), "  ")
    while pending:
        call, head, margin = pending.pop()
        yield f"{head}{call.node.name} → {call.node.service}: {call.asks}  [{_nature(call)}]"
        pending += _branches(below.get(call.node.name, []), margin)


def _above(call: Call, explained: Explanation) -> str | None:
    order = list(explained.calls)
    return max(call.node.waits_for, key=order.index, default=None)


def _branches(calls: Sequence[Call], margin: str) -> list[tuple[Call, str, str]]:
    """These calls, the first of them last, each with the beginning of its line and of those below."""
    found = [(call, f"{margin}├─ ", f"{margin}│  ") for call in calls[:-1]]
    found += [(call, f"{margin}└─ ", f"{margin}   ") for call in calls[-1:]]
    return found[::-1]


def _nature(call: Call) -> str:
    node = call.node
    words = ["optional" if node.optional else "required"]
    if node.has_default:
        words.append(f"default {_written(node.default)}")
    words.append(f"after {', '.join(sorted(node.waits_for))}" if node.waits_for else "at once")
    if node.when is not None:
        words.append(f"when {node.when.source}")
    if node.commit_timeout_s is not None:
        words.append("commit")
    return "; ".join(words)


def _call(call: Call) -> Iterator[str]:
    yield f"call {call.node.name}  ({call.origin})"
    yield from _table(call.values, "  ")
    if call.stack:
        yield "  policies, outermost first"
        for number, guard in enumerate(call.stack, start=1):
            yield from _guard(guard, f"{number}.")
    else:
        yield "  no policies"
    if call.idle:
        yield "  policies of its service that are not for it"
        for guard in call.idle:
            yield f"    -  {guard.layer.key}  ({guard.of}, {guard.origin})"
    yield "  at worst"
    for line in _arithmetic(call):
        yield f"    {line}"


def _guard(guard: Guard, mark: str) -> Iterator[str]:
    whose = guard.origin if guard.of == "service" else f"{guard.of}, {guard.origin}"
    if len(guard.values) == 1 and guard.values[0].key == guard.layer.key:
        yield f"    {mark} {guard.layer.key} = {_written(guard.values[0].value)}  ({whose})"
        return
    yield f"    {mark} {guard.layer.key}  ({whose})"
    yield from _table(guard.values, "       ")


def _arithmetic(call: Call) -> Iterator[str]:
    """Its longest time, summed up, and what of it fits into its budget."""
    bounds, budget_s = call.window.bounds, call.budget_s
    yield from _sum(bounds)
    if bounds.all_s <= min(budget_s, bounds.call_s):
        yield _fitting(call)
    else:
        yield from _cut(call)
    start_s = call.window.start_s
    if call.window.after is None or call.config.common.commit:
        return
    if start_s >= budget_s:
        yield f"it may begin only after {call.window.after} has taken all of it: not called then"
        return
    yield f"begins after {shown(start_s)} if {call.window.after} takes as long as can be"
    if call.fits[1] < call.fits[0]:
        yield f"  in what is left then, {call.fits[1]} of {bounds.attempts} end for sure"


def _sum(bounds: Bounds) -> Iterator[str]:
    parts = []
    if bounds.queue_s:
        parts.append(f"{shown(bounds.queue_s)} in line (limit)")
    if bounds.attempt_s < math.inf:
        parts.append(f"{shown(bounds.attempt_s)} (timeout)")
    else:
        parts.append("no timeout of its own")
    one = shown(bounds.try_s) if bounds.try_s < math.inf else "as long as the budget lasts"
    if bounds.hedges and (bounds.hedge_after_s or 0.0) < bounds.sent_s:
        after = "a percentile" if bounds.hedge_after_s is None else shown(bounds.hedge_after_s)
        parts.append(f"{bounds.hedges} more after {after} each (hedge)")
    yield f"one attempt: {' + '.join(parts)} = {one}"
    if bounds.attempts > 1:
        waits = " + ".join(shown(wait_s) for wait_s in bounds.backoffs_s)
        total = "more than the budget" if bounds.all_s == math.inf else shown(bounds.all_s)
        yield f"{bounds.attempts} attempts: {bounds.attempts} times {one} + back-offs {waits} = {total}"
    if bounds.rated:
        yield "beside that, each waits for its turn (rate), as long as the budget lasts"


def _budget(call: Call) -> str:
    bounds = call.window.bounds
    if bounds.call_s <= call.budget_s:
        return f"its timeout of {shown(bounds.call_s)}"
    return f"the deadline of {shown(call.budget_s)}"


def _fitting(call: Call) -> str:
    attempts, budget = call.window.bounds.attempts, _budget(call)
    if attempts == 1:
        return f"ends by itself within {budget}"
    return f"all {attempts} fit into {budget}, even if each takes as long as can be"


def _cut(call: Call) -> Iterator[str]:
    bounds = call.window.bounds
    budget = _budget(call)
    if bounds.attempts == 1:
        yield f"{budget} ends it"
    elif call.fits[0] <= 1:
        yield f"{budget} leaves no time for a further one after an attempt that takes so long:"
        yield "  only failures that come sooner are tried again"
    else:
        count = call.fits[0]
        yield f"into {budget} fit {count} of {bounds.attempts} attempts that take so long:"
        yield "  the others are made only if some fail sooner"


def _path(explained: Explanation) -> Iterator[str]:
    """The path of the plan that takes longest, against the deadline."""
    steps, deadline_s = [], explained.tool.deadline_s
    total_s = 0.0
    for name in explained.path:
        worst_s = explained.calls[name].window.bounds.worst_s
        total_s += worst_s
        steps.append(f"{name} {shown(worst_s)}" if worst_s < math.inf else f"{name} without end")
    budget = "no deadline" if deadline_s == math.inf else f"the deadline of {shown(deadline_s)}"
    yield f"  the longest path: {' → '.join(steps)}"
    if total_s <= deadline_s < math.inf:
        yield f"  = {shown(total_s)}: within {budget}"
    elif total_s < math.inf:
        late = [name for name, call in explained.calls.items() if call.window.late]
        yield f"  = {shown(total_s)}: over {budget}, which then cuts {', '.join(late)}"
    else:
        yield f"  nothing but {budget} ends it"
