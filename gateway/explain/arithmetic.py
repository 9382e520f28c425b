"""How long a call may take at worst, and how many of its attempts fit into its budget."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import attrs

from gateway.build import Layer
from gateway.plan.plan import Plan
from gateway.policies.hedge import Percentile

__all__ = ["Bounds", "Window", "bounds_of", "windows_of"]


@attrs.frozen(slots=True, kw_only=True)
class Bounds:
    """What bounds one call's time: seconds, inf where nothing does.

    Args:
        attempt_s: The service's `timeout`.
        queue_s: The longest wait for a place of its `limit`.
        rated: Whether attempts also wait for their turn: as long as the budget lasts, so no sum
            here counts it.
        hedges: How often an attempt is made once more at most.
        hedge_after_s: After how long, each; `None` where a percentile says.
        attempts: How often the call is tried at most.
        backoffs_s: The longest wait before each attempt but the first.
        call_s: The call's own `timeout`.
    """

    attempt_s: float = math.inf
    queue_s: float = 0.0
    rated: bool = False
    hedges: int = 0
    hedge_after_s: float | None = None
    attempts: int = 1
    backoffs_s: tuple[float, ...] = ()
    call_s: float = math.inf

    @property
    def sent_s(self) -> float:
        """One attempt as it is sent once, the wait for a place included."""
        return self.queue_s + self.attempt_s

    @property
    def try_s(self) -> float:
        """One attempt, its hedges included: the last of them is begun as late as can be."""
        after_s = self.sent_s if self.hedge_after_s is None else self.hedge_after_s
        # None is begun after the one before it has ended.
        if not self.hedges or (self.hedge_after_s is not None and after_s >= self.sent_s):
            return self.sent_s
        return self.sent_s + self.hedges * after_s

    @property
    def all_s(self) -> float:
        """All attempts, each as long as can be, and the waits between them."""
        return self.attempts * self.try_s + sum(self.backoffs_s)

    @property
    def worst_s(self) -> float:
        """The longest that the call takes."""
        return min(self.call_s, self.all_s)

    def fitting(self, budget_s: float) -> int:
        """How many attempts end within `budget_s` even if each takes as long as can be."""
        budget_s = min(budget_s, self.call_s)
        end_s, count = 0.0, 0
        for wait_s in (0.0, *self.backoffs_s):
            end_s += wait_s + self.try_s
            if end_s > budget_s:
                return count
            count += 1
        return count


def bounds_of(layers: Iterable[Layer]) -> Bounds:
    """What a stack says of a call's time."""
    found: dict[str, float | int | bool | tuple[float, ...] | None] = {}
    for layer in layers:
        value = layer.value
        if layer.policy is None:
            continue
        match layer.key:
            case "timeout":
                found["call_s" if layer.of_call else "attempt_s"] = value
            case "limit":
                found["queue_s"] = value.queue_timeout if value.queue else 0.0
            case "rate":
                found["rated"] = True
            case "hedge":
                found["hedges"] = value.max
                after = value.after
                found["hedge_after_s"] = None if isinstance(after, Percentile) else after
            case "retry":
                found["attempts"] = value.attempts
                found["backoffs_s"] = tuple(
                    min(value.max_backoff, value.backoff * 2**number)
                    for number in range(value.attempts - 1)
                )
            case _:
                pass
    return Bounds(**found)  # type: ignore[arg-type] # by the names above


@attrs.frozen(slots=True, kw_only=True)
class Window:
    """When a call of a plan is under way, if it and all before it take as long as can be.

    Args:
        bounds: What bounds it.
        start_s: When it begins, from the request's start.
        end_s: When it has ended; the deadline at the latest.
        after: The call it waited for last; `None` if for none.
        late: Whether it would not end before the deadline by itself.
    """

    bounds: Bounds
    start_s: float
    end_s: float
    after: str | None
    late: bool


def windows_of(
    plan: Plan, bounds: Mapping[str, Bounds], deadline_s: float
) -> tuple[dict[str, Window], tuple[str, ...]]:
    """Each call's window, and the names along the path that takes longest.

    Args:
        plan: The calls.
        bounds: Of each, by name.
        deadline_s: The tool's.
    """
    windows: dict[str, Window] = {}
    for node in plan.ordered:
        # By name, where several end together: the same file gives the same text.
        after = max(
            sorted(node.waits_for), key=lambda name: (windows[name].end_s, name), default=None
        )
        start_s = 0.0 if after is None else windows[after].end_s
        end_s = start_s + bounds[node.name].worst_s
        windows[node.name] = Window(
            bounds=bounds[node.name],
            start_s=start_s,
            end_s=min(end_s, deadline_s),
            after=after,
            late=end_s > deadline_s,
        )
    # Of those that end together the one that comes last: the path before it is the longer one.
    last: str | None = max(reversed(windows), key=lambda name: windows[name].end_s)
    path: list[str] = []
    while last is not None:
        path.append(last)
        last = windows[last].after
    return windows, tuple(reversed(path))
