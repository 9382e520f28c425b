"""What is known of one request's calls: how each began and ended, and what answer follows."""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Any

import trio

from gateway.core.adapter import Record
from gateway.core.errors import DeadlineExceeded, GatewayError, NotCalled, Skipped
from gateway.core.messages import Branch, Reply, Request
from gateway.plan.outcomes import failure_behind, laid_at_replies, outcome_of, shown, why_skipped
from gateway.plan.plan import Node, Plan
from gateway.telemetry.events import CallEnded, CallStarted

__all__ = ["Book"]


class Book:
    """The calls of one request: what was made of each, and when the rest is not needed any more.

    Args:
        plan: What is run.
        request: The tool's request.
        record: Where the events of its calls go.

    Attributes:
        began: When the request's way through its plan began, on Trio's clock.
        until: The end of the request's budget, likewise.
        namespace: The inputs, and the value of every call that has ended.
    """

    __slots__ = (
        *("_branches", "_budget_s", "_committed", "_fatal", "_lacking", "_plan", "_record"),
        *("_request", "_started", "_succeeded", "began", "namespace", "until"),
    )

    def __init__(self, plan: Plan, request: Request, record: Record) -> None:
        self._plan = plan
        self._request = request
        self._record = record
        self.began = trio.current_time()
        self.until = self._budget_s = math.inf
        self.namespace: dict[str, Any] = dict(request.arguments)
        self._committed: set[str] = set()
        self._started: dict[str, float] = {}
        self._branches: dict[str, Branch] = {}
        self._fatal: GatewayError | None = None
        self._succeeded = 0
        self._lacking: dict[str, tuple[GatewayError, ...]] = {}

    def open(self, until: float = math.inf) -> None:
        """Take note of the budget: until then, or the deadline of whoever runs the plan."""
        self.until = min(until, trio.current_effective_deadline())
        self._budget_s = max(0.0, self.until - trio.current_time())

    def begin(self, node: Node) -> bool:
        """Book the start of `node`'s call, or that it is skipped; whether it is to be made."""
        if node.waits_for or node.when is not None:
            skipped = why_skipped(node, self._plan, self._branches, self.namespace)
            if skipped is not None:
                self.end(node, error=skipped)
                return False
        now = trio.current_time()
        if self.is_late(node, now):
            self.end(node, error=self._too_late(node, now))
            return False
        self.start(node, now)
        return True

    def start(self, node: Node, now: float) -> None:
        """Book the start of `node`'s call, which nothing keeps from being made."""
        self._started[node.name] = now - self.began
        self._record(
            CallStarted(
                request=self._request,
                tool=self._plan.tool,
                call=node.name,
                service=node.service,
            )
        )

    def is_late(self, node: Node, now: float) -> bool:
        """Whether less time is left than `node`'s call has ever taken lately."""
        fastest = node.fastest
        if not fastest.least_s:
            return False
        return fastest.exceeds(self.until - now, now)

    def _too_late(self, node: Node, now: float) -> NotCalled:
        left_s, least_s = self.until - now, node.fastest.least_s
        return NotCalled(
            f"not called: {shown(max(0.0, left_s))} of the budget are left, "
            f"and lately it has taken {shown(least_s)} at the least"
        )

    def conclude(self) -> Reply:
        """The answer with what is there; what has not ended by now is missing.

        Raises:
            GatewayError: A required call is missing, or too few succeeded: the failure to blame.
        """
        if (
            self._succeeded == len(self._plan.nodes) and not self._lacking
        ):  # nothing is missing: nothing to judge
            return Reply(self._plan.merge(self.namespace, frozenset()), self.branches)
        unfinished = [node for node in self._plan.nodes if node.name not in self._branches]
        # Judged together: what one of them is booked as must not change what the next one is.
        errors = {node.name: self._unfinished(node) for node in unfinished}
        # While enough calls may still succeed, it is time that decides, not an earlier failure.
        out_of_time = self._plan.quorum is not None and not self.is_over()
        # Those under way first: they are to blame, not the ones that waited for them.
        under_way = [node for node in unfinished if node.name in self._started]
        for node in under_way:
            self.end(node, error=errors[node.name])
        for node in self._plan.ordered:
            if node.name in errors and node.name not in self._branches:
                error = errors[node.name]
                error.__cause__ = self._held_up(node, errors)
                self.end(node, error=error)
        branches = tuple(self._branches[node.name] for node in self._plan.nodes)
        fatal = self._fatal or self._too_few()
        if out_of_time and under_way:
            fatal = self._error(under_way[0].name)
        if fatal is not None:
            raise fatal
        missing: list[GatewayError] = []
        for branch in branches:
            own = self._lacking.get(branch.call, ())
            missing += own if branch.error is None else (branch.error,)
        names = frozenset(branch.call for branch in branches if branch.error is not None)
        return Reply(self._plan.merge(self.namespace, names), branches, tuple(missing))

    @property
    def branches(self) -> tuple[Branch, ...]:
        """How each call ended, as far as it has, in the plan's order."""
        found = self._branches
        return tuple([found[node.name] for node in self._plan.nodes if node.name in found])

    def abandon(self, reason: str) -> None:
        """Book the calls that were cut off because nobody waits for the answer any more.

        Args:
            reason: Why nobody does, such as `the client left`.
        """
        for node in self._plan.nodes:
            if node.name not in self._started or node.name in self._branches:
                continue
            if node.name in self._committed:
                skipped = Skipped(f"not waited for: {reason}; it is committed and goes on")
            else:
                skipped = Skipped(f"cancelled: {reason}")
            self.end(node, error=skipped)

    def _error(self, name: str) -> GatewayError:
        error = self._branches[name].error
        assert error is not None  # noqa: S101 - asked of calls that are missing
        return error

    def end(
        self, node: Node, reply: Reply | None = None, error: GatewayError | None = None
    ) -> None:
        """Book how `node`'s call ended."""
        name = node.name
        self._branches[name] = branch = self._branch(node, reply, error)
        if reply is not None and reply.missing:
            blamed = [one.blamed(call=name, service=node.service) for one in reply.missing]
            self._lacking[name] = tuple(blamed)
        self.namespace[name] = branch.value
        if name not in self._committed:
            self._tell(branch)
        if branch.error is None:
            self._succeeded += 1
            if branch.started_s is not None:
                took_s = branch.ended_s - branch.started_s
                node.fastest.add(took_s, self.began + branch.ended_s)
        elif self._plan.quorum is None and not node.optional and self._fatal is None:
            self._fatal = failure_behind(branch.error)

    def ended(self, node: Node) -> Branch:
        """How `node`'s call, which has ended, did."""
        return self._branches[node.name]

    def commit(self, node: Node) -> None:
        """Take note that `node`'s call may outlive the request."""
        self._committed.add(node.name)

    def end_commit(self, node: Node, reply: Reply | None, error: GatewayError | None) -> None:
        """Book how a committed call ended, or tell it if the request went on without it."""
        if node.name in self._branches:
            self._tell(self._branch(node, reply, error))
            return
        self._committed.discard(node.name)
        self.end(node, reply, error)

    def _tell(self, branch: Branch) -> None:
        self._record(CallEnded(request=self._request, tool=self._plan.tool, branch=branch))

    def _branch(self, node: Node, reply: Reply | None, error: GatewayError | None) -> Branch:
        now = trio.current_time() - self.began
        if error is not None:
            error = laid_at_replies(error, node, self._plan)
        return Branch(
            call=node.name,
            service=node.service,
            outcome="ok" if error is None else outcome_of(error),
            value=node.default if reply is None or error is not None else reply.value,
            error=error and error.blamed(call=node.name, service=node.service),
            started_s=self._started.get(node.name),
            ended_s=now,
            budget_left_s=max(0.0, self._budget_s - now),
        )

    def is_over(self) -> bool:
        """Whether the rest of the calls is not needed any more."""
        quorum = self._plan.quorum
        if quorum is None:
            return self._fatal is not None
        # Calls that their conditions skip fail nothing: then the others are waited for.
        unreachable = self._possible() < quorum and self._too_few() is not None
        return self._succeeded >= quorum or unreachable

    def _possible(self) -> int:
        """How many calls have succeeded or still may."""
        return self._succeeded + len(self._plan.nodes) - len(self._branches)

    def _unfinished(self, node: Node) -> GatewayError:
        """What `node`, which has not ended, is missing for."""
        quorum = self._plan.quorum
        if quorum is not None and self._succeeded >= quorum:
            return Skipped(f"not waited for: {quorum} of {len(self._plan.nodes)} had answered")
        if self.is_over():
            return Skipped("not waited for: the request had failed")
        elapsed_s = trio.current_time() - self.began
        if elapsed_s + 0.001 < self._budget_s:
            until = f"{shown(elapsed_s)}, when the gateway began to close"
        else:
            until = f"the budget of {shown(self._budget_s)}"
        if node.name in self._committed:
            return DeadlineExceeded(f"no reply within {until}; it is committed and goes on")
        if node.name in self._started:
            return DeadlineExceeded(f"no reply within {until}")
        pending = sorted(name for name in node.waits_for if name not in self._branches)
        return DeadlineExceeded(f"not called within {until}: it waited for {', '.join(pending)}")

    def _held_up(self, node: Node, unfinished: Container[str]) -> GatewayError | None:
        """The failure to blame for `node`, which never began: of a call it still waited for."""
        for name in sorted(node.waits_for):
            if name in unfinished:
                return failure_behind(self._error(name))
        return None

    def _too_few(self) -> GatewayError | None:
        """Under a quorum that was not reached: the failure to blame; `None` if all was skipped."""
        quorum = self._plan.quorum
        if quorum is None or self._succeeded >= quorum:
            return None
        failures = [
            failure
            for branch in self._branches.values()
            if branch.error is not None and (failure := failure_behind(branch.error)) is not None
        ]
        return failures[0] if failures else None
