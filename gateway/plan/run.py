"""One request's way through a plan: each call starts the moment its inputs are there.

The caller opens the scope whose deadline is the request's budget around `Run.__call__`, and asks
`Run.conclude` for the answer after it: so an expired deadline ends every call and still leaves
what is there to be merged (docs/adr/0001).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Container, Sequence
from typing import Any

import trio

from gateway.core.adapter import Record
from gateway.core.errors import (
    DeadlineExceeded,
    GatewayError,
    Internal,
    NotCalled,
    Overloaded,
    Skipped,
)
from gateway.core.messages import Branch, Reply, Request
from gateway.core.service import Begun, Emit, discard
from gateway.plan.flight import Flight
from gateway.plan.outcomes import failure_behind, outcome_of, shown, tried, why_skipped
from gateway.plan.plan import Node, Plan
from gateway.telemetry.events import CallEnded, CallStarted

__all__ = ["Run"]

_MAX_COMMITS = 1000
"""Commits under way at once: their clients may have left, so nothing else bounds their number."""


class Run:
    """One request's way through a plan. Call it once, then `conclude`; nothing starts before.

    Args:
        plan: What to run.
        request: The tool's request, its arguments validated.
        record: Where the events of its calls go.
        commits: The app's nursery in which committed calls outlive their client. Without one they
            end with the request like every other.

    Cancellation: every call under it ends; committed ones go on in the app's nursery.
    """

    def __init__(
        self, plan: Plan, request: Request, record: Record, commits: trio.Nursery | None
    ) -> None:
        self._plan = plan
        self._request = request
        self._record = record
        self._commits = commits
        self._start = trio.current_time()
        self._until = self._budget_s = math.inf
        self._namespace: dict[str, Any] = dict(request.arguments)
        self._waiting = dict(plan.waiting)
        self._started: dict[str, float] = {}
        self._branches: dict[str, Branch] = {}
        self._committed: set[str] = set()
        self._fatal: GatewayError | None = None
        self._succeeded = 0
        self._nursery: trio.Nursery | None = None
        self._unheard: Exception | None = None

    async def __call__(self, emit: Emit = discard, /) -> None:
        """Make the calls; return when all have ended or the rest is not needed."""
        self._until = trio.current_effective_deadline()
        self._budget_s = max(0.0, self._until - trio.current_time())
        first: Sequence[Node] = self._plan.first
        if len(self._plan.nodes) == 1:
            await self._follow(first[0], emit, emit)
            return
        flight = Flight()
        try:
            if emit is discard and len(first) > 1:
                first = await self._fly(flight)
            if first:
                await self._follow_all(first, flight, emit)
        finally:
            flight.close()
        if self._unheard is not None:
            raise self._unheard

    async def _follow_all(self, nodes: Sequence[Node], flight: Flight, emit: Emit) -> None:
        """Make these calls at once, each with what waits for it; some may be in flight."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for node in nodes[1:]:
                nursery.start_soon(self._follow, node, emit, discard, flight, name=node.name)
            await self._follow(nodes[0], emit, discard, flight)  # a task less

    async def _fly(self, flight: Flight) -> Sequence[Node]:
        """Begin the first calls, and take their replies as they come, all in this task.

        Returns:
            Whose calls are to be followed: they have to wait for more than a reply, or could only
            be made once others had been. All that are in flight still are among them.
        """
        rest = self._begin_all(flight)
        while flight and not rest and not self._is_over():
            node, begun = await flight.told()
            reply, error = tried(begun.take)
            if reply is None and error is None:
                break
            flight.end(node)
            self._end(node, None if reply is None else reply.value, error)
            rest = self._released_by(node)
        return () if self._is_over() else [*rest, *flight.nodes]

    def _begin_all(self, flight: Flight) -> list[Node]:
        """Have the first calls in flight that can be begun without waiting; the other ones."""
        others: list[Node] = []
        for node in self._plan.first:
            begin = node.begin
            if begin is None or self._is_late(node):
                others.append(node)
                continue
            begun, error = tried(lambda: begin(self._asked(node), self._until))  # noqa: B023 - called at once
            if begun is not None:
                flight.add(node, begun)
                self._begin(node)
            elif error is None:
                others.append(node)
            else:
                self._begin(node)
                self._end(node, error=error)
                others += self._released_by(node)
        return others

    def conclude(self) -> Reply:
        """The answer with what is there; what has not ended by now is missing.

        Raises:
            GatewayError: A required call is missing, or too few succeeded: the failure to blame.
        """
        if self._succeeded == len(self._plan.nodes):  # nothing is missing: nothing to judge
            return Reply(self._plan.merge(self._namespace, frozenset()), self.branches)
        unfinished = [node for node in self._plan.nodes if node.name not in self._branches]
        # Judged together: what one of them is booked as must not change what the next one is.
        errors = {node.name: self._unfinished(node) for node in unfinished}
        # While enough calls may still succeed, it is time that decides, not an earlier failure.
        out_of_time = self._plan.quorum is not None and not self._is_over()
        # Those under way first: they are to blame, not the ones that waited for them.
        under_way = [node for node in unfinished if node.name in self._started]
        for node in under_way:
            self._end(node, error=errors[node.name])
        for node in self._plan.ordered:
            if node.name in errors and node.name not in self._branches:
                error = errors[node.name]
                error.__cause__ = self._held_up(node, errors)
                self._end(node, error=error)
        branches = tuple(self._branches[node.name] for node in self._plan.nodes)
        fatal = self._fatal or self._too_few()
        if out_of_time and under_way:
            fatal = self._error(under_way[0].name)
        if fatal is not None:
            raise fatal
        missing = tuple(branch.error for branch in branches if branch.error is not None)
        names = frozenset(branch.call for branch in branches if branch.error is not None)
        return Reply(self._plan.merge(self._namespace, names), branches, missing)

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
            self._end(node, error=skipped)

    async def _follow(
        self, node: Node, emit: Emit, call_emit: Emit, flight: Flight | None = None
    ) -> None:
        """Make `node`'s call, then start what waited for it alone, the first of it in this task."""
        current: Node | None = node
        begun = None if flight is None else flight.remove(node)
        while current is not None:
            if begun is not None or self._begin(current):
                await self._make(current, call_emit, begun)
                begun = None
            over = self._is_over()
            ready = [] if over else self._released_by(current)
            ended, current = self._branches[current.name], None
            if ready and emit is discard:  # there is nobody to wait for before the next call
                current = ready.pop(0)
            for other in ready:
                assert self._nursery is not None  # noqa: S101 - a second node means a nursery
                self._nursery.start_soon(self._follow, other, emit, call_emit, name=other.name)
            if emit is not discard:
                over = not await self._emitted(emit, ended) or over
            if over:
                if self._nursery is not None:
                    self._nursery.cancel_scope.cancel()
                return

    async def _emitted(self, emit: Emit, branch: Branch) -> bool:
        """Whether `branch` went out; what `emit` raised is kept, to leave the nursery bare."""
        if self._nursery is None:
            await emit(branch)
            return True
        try:
            await emit(branch)
        except Exception as error:  # noqa: BLE001 - raised again by `__call__`
            self._unheard = self._unheard or error
            return False
        return True

    def _released_by(self, node: Node) -> list[Node]:
        ready: list[Node] = []
        for other in self._plan.dependents[node.name]:
            self._waiting[other.name] -= 1
            if not self._waiting[other.name]:
                ready.append(other)
        return ready

    def _begin(self, node: Node) -> bool:
        """Book the start of `node`'s call, or that it is skipped; whether it is to be made."""
        if node.waits_for or node.when is not None:
            skipped = why_skipped(node, self._plan, self._branches, self._namespace)
            if skipped is not None:
                self._end(node, error=skipped)
                return False
        if self._is_late(node):
            self._end(node, error=self._too_late(node))
            return False
        self._started[node.name] = trio.current_time() - self._start
        self._record(
            CallStarted(
                request=self._request,
                tool=self._plan.tool,
                call=node.name,
                service=node.service,
            )
        )
        return True

    def _is_late(self, node: Node) -> bool:
        """Whether less time is left than `node`'s call has ever taken lately."""
        if not node.fastest.least_s:
            return False
        now = trio.current_time()
        return node.fastest.exceeds(self._until - now, now)

    def _too_late(self, node: Node) -> NotCalled:
        left_s, least_s = self._until - trio.current_time(), node.fastest.least_s
        return NotCalled(
            f"not called: {shown(max(0.0, left_s))} of the budget are left, "
            f"and lately it has taken {shown(least_s)} at the least"
        )

    async def _make(self, node: Node, emit: Emit, begun: Begun | None) -> None:
        if node.commit_timeout_s is not None and self._commits is not None:
            await self._commit(node, self._commits)
            return
        error: GatewayError | None = None
        value = None
        try:
            value = await self._invoke(node, emit, begun)
        except GatewayError as caught:
            error = caught
        self._end(node, value, error)

    async def _invoke(self, node: Node, emit: Emit, begun: Begun | None = None) -> Any:
        """The value of the reply, to what was begun if something was.

        Raises:
            GatewayError: As every service raises it; a bug of ours becomes `Internal`, caused by what was raised.
        """
        try:
            if begun is None:
                return (await node.invoke(self._asked(node), emit)).value
            with contextlib.closing(begun):
                return (await begun.finish()).value
        except (GatewayError, trio.Cancelled, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseExceptionGroup as group:
            if group.subgroup((trio.Cancelled, KeyboardInterrupt)) is not None:
                raise
            raise Internal("a service raised a group of exceptions") from group
        except BaseException as error:  # SystemExit too, and what compiled libraries panic with
            raise Internal("a service raised what is no GatewayError") from error

    def _asked(self, node: Node) -> Request:
        """What `node`'s service is asked."""
        arguments = node.render(self._namespace)
        return Request(node.name, arguments, self._request.context, node.opaque)

    async def _commit(self, node: Node, commits: trio.Nursery) -> None:
        """Make the call in the app's nursery, and wait for it while the client does."""
        ended = trio.Event()

        async def work() -> None:
            error: GatewayError | None = DeadlineExceeded("no reply before the gateway closed")
            value = None
            try:
                with trio.move_on_after(node.commit_timeout_s or 0) as scope:
                    try:
                        value = await self._invoke(node, discard)
                        error = None
                    except GatewayError as caught:
                        error = caught
                if scope.cancelled_caught:
                    error = DeadlineExceeded(f"no reply within {shown(node.commit_timeout_s or 0)}")
            finally:  # the end of a drain cuts it here
                if node.name in self._branches:  # the request went on without it
                    self._tell(self._branch(node, value, error))
                else:
                    self._committed.discard(node.name)
                    self._end(node, value, error)
                ended.set()

        if len(commits.child_tasks) >= _MAX_COMMITS:
            self._end(node, error=Overloaded(f"not called: {_MAX_COMMITS} commits are under way"))
            return
        try:
            commits.start_soon(work)
        except RuntimeError:  # Trio's word for a nursery that has closed
            self._end(node, error=Overloaded("not called: the gateway is closing"))
            return
        self._committed.add(node.name)
        await ended.wait()

    def _error(self, name: str) -> GatewayError:
        error = self._branches[name].error
        assert error is not None  # noqa: S101 - asked of calls that are missing
        return error

    def _end(self, node: Node, value: Any = None, error: GatewayError | None = None) -> None:
        """Book how `node`'s call ended."""
        name = node.name
        self._branches[name] = branch = self._branch(node, value, error)
        self._namespace[name] = branch.value
        if name not in self._committed:
            self._tell(branch)
        if branch.error is None:
            self._succeeded += 1
            if branch.started_s is not None:
                took_s = branch.ended_s - branch.started_s
                node.fastest.add(took_s, self._start + branch.ended_s)
        elif self._plan.quorum is None and not node.optional and self._fatal is None:
            self._fatal = failure_behind(branch.error)

    def _tell(self, branch: Branch) -> None:
        self._record(CallEnded(request=self._request, tool=self._plan.tool, branch=branch))

    def _branch(self, node: Node, value: Any, error: GatewayError | None) -> Branch:
        now = trio.current_time() - self._start
        return Branch(
            call=node.name,
            service=node.service,
            outcome="ok" if error is None else outcome_of(error),
            value=value if error is None else node.default,
            error=error and error.blamed(call=node.name, service=node.service),
            started_s=self._started.get(node.name),
            ended_s=now,
            budget_left_s=max(0.0, self._budget_s - now),
        )

    def _is_over(self) -> bool:
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
        if self._is_over():
            return Skipped("not waited for: the request had failed")
        elapsed_s = trio.current_time() - self._start
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
