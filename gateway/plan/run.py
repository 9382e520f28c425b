"""One request's way through a plan: each call starts the moment its inputs are there.

The caller opens the scope whose deadline is the request's budget around `Run.__call__`, and asks
`Run.conclude` for the answer after it: so an expired deadline ends every call and still leaves
what is there to be merged (docs/adr/0001).
"""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Any

import trio

from gateway.config.units import format_duration
from gateway.core.adapter import Record
from gateway.core.deadline import remaining_s
from gateway.core.errors import DeadlineExceeded, GatewayError, Internal, Overloaded, Skipped
from gateway.core.messages import Branch, Outcome, Reply, Request
from gateway.core.service import Emit, discard
from gateway.plan.expression import ExpressionError
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
        self._budget_s = float("inf")
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
        self._budget_s = remaining_s()
        first = self._plan.first
        if len(self._plan.nodes) == 1:
            await self._follow(first[0], emit, emit)
            return
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for node in first[1:]:
                nursery.start_soon(self._follow, node, emit, discard, name=node.name)
            await self._follow(first[0], emit, discard)  # a task less
        if self._unheard is not None:
            raise self._unheard

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

    async def _follow(self, node: Node, emit: Emit, call_emit: Emit) -> None:
        """Make `node`'s call, then start what waited for it alone, the first of it in this task."""
        current: Node | None = node
        while current is not None:
            if self._begin(current):
                if current.commit_timeout_s is not None and self._commits is not None:
                    await self._commit(current, self._commits)
                else:
                    self._end(current, *await self._invoke(current, call_emit))
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
            skipped = self._skip(node)
            if skipped is not None:
                self._end(node, error=skipped)
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

    async def _invoke(self, node: Node, emit: Emit) -> tuple[Any, GatewayError | None]:
        """The reply's value, or the failure: a bug becomes `Internal`, caused by what was raised."""
        try:
            arguments = node.render(self._namespace)
            request = Request(node.name, arguments, self._request.context)
            return (await node.invoke(request, emit)).value, None
        except GatewayError as error:
            return None, error
        except (trio.Cancelled, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseExceptionGroup as group:
            if group.subgroup((trio.Cancelled, KeyboardInterrupt)) is not None:
                raise
            return None, _bug("a service raised a group of exceptions", group)
        except BaseException as error:  # SystemExit too, and what compiled libraries panic with
            return None, _bug("a service raised what is no GatewayError", error)

    async def _commit(self, node: Node, commits: trio.Nursery) -> None:
        """Make the call in the app's nursery, and wait for it while the client does."""
        ended = trio.Event()

        async def work() -> None:
            error: GatewayError | None = DeadlineExceeded("no reply before the gateway closed")
            value = None
            try:
                with trio.move_on_after(node.commit_timeout_s or 0) as scope:
                    value, error = await self._invoke(node, discard)
                if scope.cancelled_caught:
                    shown = _shown(node.commit_timeout_s or 0)
                    error = DeadlineExceeded(f"no reply within {shown}")
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

    def _skip(self, node: Node) -> GatewayError | None:
        """Why `node` is not called at all; `None` if it is."""
        lacking = [name for name in node.reads if self._lacks(name)]
        if lacking:
            # A failure goes before what was merely skipped: who requires this call is told of it.
            name = min(lacking, key=lambda one: (_failure(self._error(one)) is None, one))
            error = self._error(name)
            skipped = Skipped(f"not called: it needs {name}, which is missing ({error.code})")
            skipped.__cause__ = _failure(error)
            return skipped
        if node.when is None:
            return None
        try:
            holds = node.when(self._namespace)
        except ExpressionError as error:
            return Skipped(f"not called: its condition does not fit the data: {error}")
        if holds is None or holds is False or holds in ("", [], {}):
            return Skipped(f"not called: {node.when.source} is false")
        return None

    def _lacks(self, name: str) -> bool:
        """Whether the call `name` is missing and has no default to go on with."""
        needed = self._plan.by_name[name]
        return self._branches[name].error is not None and not needed.has_default

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
        elif self._plan.quorum is None and not node.optional and self._fatal is None:
            self._fatal = _failure(branch.error)

    def _tell(self, branch: Branch) -> None:
        self._record(CallEnded(request=self._request, tool=self._plan.tool, branch=branch))

    def _branch(self, node: Node, value: Any, error: GatewayError | None) -> Branch:
        now = trio.current_time() - self._start
        return Branch(
            call=node.name,
            service=node.service,
            outcome="ok" if error is None else _outcome(error),
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
            until = f"{_shown(elapsed_s)}, when the gateway began to close"
        else:
            until = f"the budget of {_shown(self._budget_s)}"
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
                return _failure(self._error(name))
        return None

    def _too_few(self) -> GatewayError | None:
        """Under a quorum that was not reached: the failure to blame; `None` if all was skipped."""
        quorum = self._plan.quorum
        if quorum is None or self._succeeded >= quorum:
            return None
        failures = [
            failure
            for branch in self._branches.values()
            if branch.error is not None and (failure := _failure(branch.error)) is not None
        ]
        return failures[0] if failures else None


def _bug(what: str, cause: BaseException) -> Internal:
    error = Internal(what)
    error.__cause__ = cause
    return error


def _shown(seconds: float) -> str:
    """To the next millisecond: what was granted is read from a clock, and a little went by."""
    return format_duration(
        math.ceil(seconds * 1000 - 1e-6) / 1000 if seconds < math.inf else seconds
    )


def _outcome(error: GatewayError | None) -> Outcome:
    match error:
        case None:
            return "ok"
        case Skipped():
            return "skipped"
        case DeadlineExceeded():
            return "timeout"
        case _:
            return "error"


def _failure(error: GatewayError) -> GatewayError | None:
    """The failure to blame for `error`; `None` if nothing failed.

    A call that was not made is not to blame: what it lacked or waited for is.
    """
    cause = error.__cause__
    if isinstance(cause, GatewayError) and cause.call is not None:
        return cause
    return None if isinstance(error, Skipped) else error
