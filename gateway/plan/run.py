"""One request's way through a plan: each call starts the moment its inputs are there.

`Run.__call__` opens the scope whose deadline is the request's budget, and its caller asks its book
for the answer after it: so an expired deadline ends every call and still leaves what is there to be
merged (docs/adr/0001). Calls that can be begun need no scope (docs/adr/0011).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import trio

from gateway.core.adapter import Record
from gateway.core.begun import Begun
from gateway.core.errors import (
    DeadlineExceeded,
    GatewayError,
    Internal,
    Overloaded,
)
from gateway.core.messages import Branch, Reply, Request
from gateway.core.service import Emit, discard
from gateway.plan.book import Book
from gateway.plan.flight import Flight
from gateway.plan.named import Named
from gateway.plan.outcomes import shown, tried
from gateway.plan.plan import Node, Plan
from gateway.plan.root import Root

__all__ = ["Run"]

_MAX_COMMITS = 1000
"""Commits under way at once: their clients may have left, so nothing else bounds their number."""


class Life(Protocol):
    """What a request's calls end with, beside themselves: its budget, its client, the gateway."""

    def within(self, timeout_s: float, /) -> Root:
        """A scope for them."""
        ...

    def flight(self, until: float, /) -> Flight:
        """A flight for them, until then on Trio's clock."""
        ...


class Run:
    """One request's way through a plan. Call it once; nothing starts before.

    Args:
        plan: What to run.
        request: The tool's request, its arguments validated.
        record: Where the events of its calls go.
        commits: The app's nursery in which committed calls outlive their client. Without one they
            end with the request like every other.

    Attributes:
        book: What is known of its calls; `book.conclude` gives the answer.

    Cancellation: every call under it ends; committed ones go on in the app's nursery.
    """

    __slots__ = ("_commits", "_nursery", "_plan", "_request", "_unheard", "_waiting", "book")

    def __init__(
        self, plan: Plan, request: Request, record: Record, commits: trio.Nursery | None
    ) -> None:
        self._plan = plan
        self._request = request
        self._commits = commits
        self.book = Book(plan, request, record)
        self._waiting = dict(plan.waiting)
        self._nursery: trio.Nursery | None = None
        self._unheard: Exception | None = None

    async def __call__(self, life: Life, budget_s: float, emit: Emit = discard, /) -> None:
        """Make the calls; return when all have ended, the rest is not needed, or the budget is over.

        Args:
            life: What ends them beside.
            budget_s: Seconds they may take.
            emit: Where partial output goes.
        """
        if emit is not discard or not self._plan.begins:
            with life.within(budget_s):
                self.book.open()
                await self._follow_all(self._plan.first, emit)
        else:
            with life.flight(self.book.began + budget_s) as flight:
                self.book.open(flight.deadline)
                rest = await self._fly(flight)
                if rest:
                    flight.land()
                    with life.within(flight.deadline - trio.current_time()):
                        await self._follow_all(rest, emit, flight)
        if self._unheard is not None:
            raise self._unheard

    async def _follow_all(
        self, nodes: Sequence[Node], emit: Emit, flight: Flight | None = None
    ) -> None:
        """Make these calls at once, each with what waits for it; some may be in flight."""
        if len(self._plan.nodes) == 1:
            await self._follow(nodes[0], emit, flight)
            return
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for node in nodes[1:]:
                nursery.start_soon(self._follow, node, emit, flight, name=node.name)
            await self._follow(nodes[0], emit, flight)  # a task less

    async def _fly(self, flight: Flight) -> Sequence[Node]:
        """Begin the first calls, and take their replies as they come, all in this task.

        Returns:
            Whose calls are to be followed: they have to wait for more than a reply, or could only
            be made once others had been. All that are in flight still are among them.
        """
        rest = self._begin_all(flight)
        while flight and not rest and not self.book.is_over():
            told = await flight.told()
            if told is None:
                return ()
            node, begun = told
            reply, error = tried(begun.take)
            if reply is None and error is None:
                break
            flight.end(node, failed=error is not None)
            self.book.end(node, reply, error)
            rest = self._released_by(node)
        return () if self.book.is_over() else [*rest, *flight.nodes]

    def _begin_all(self, flight: Flight) -> list[Node]:
        """Have the first calls in flight that can be begun without waiting; the other ones."""
        others: list[Node] = []
        book, now = self.book, self.book.began
        if flight.deadline <= now:
            return others  # a drain has ended: nothing is called any more
        for node in self._plan.first:
            begin = node.begin
            if begin is None or book.is_late(node, now):
                others.append(node)
                continue
            begun, error = tried(lambda: begin(self._asked(node), book.until, now))  # noqa: B023 - called at once
            if begun is not None:
                flight.add(node, begun)
                book.start(node, now)
            elif error is None:
                others.append(node)
            else:
                book.start(node, now)
                book.end(node, error=error)
                others += self._released_by(node)
        return others

    async def _follow(self, node: Node, emit: Emit, flight: Flight | None = None) -> None:
        """Make `node`'s call, then start what waited for it alone, the first of it in this task."""
        current: Node | None = node
        begun = None if flight is None else flight.remove(node)
        while current is not None:
            if begun is not None or self.book.begin(current):
                call_emit = emit if emit is discard else Named(emit, current.name)
                await self._make(current, call_emit, begun)
                begun = None
            over = self.book.is_over()
            ready = [] if over else self._released_by(current)
            ended, current = self.book.ended(current), None
            if ready and emit is discard:  # there is nobody to wait for before the next call
                current = ready.pop(0)
            for other in ready:
                assert self._nursery is not None  # noqa: S101 - a second node means a nursery
                self._nursery.start_soon(self._follow, other, emit, name=other.name)
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

    async def _make(self, node: Node, emit: Emit, begun: Begun | None) -> None:
        if node.commit_timeout_s is not None and self._commits is not None:
            await self._commit(node, self._commits)
            return
        error: GatewayError | None = None
        reply = None
        try:
            reply = await self._invoke(node, emit, begun)
        except GatewayError as caught:
            error = caught
        self.book.end(node, reply, error)

    async def _invoke(self, node: Node, emit: Emit, begun: Begun | None = None) -> Reply:
        """The reply, to what was begun if something was.

        Raises:
            GatewayError: As every service raises it; a bug of ours becomes `Internal`, caused by what was raised.
        """
        try:
            if begun is None:
                asked = self._asked(node)
                if node.begin is not None and emit is discard:
                    begun = node.begin(asked, self.book.until, trio.current_time())
                if begun is None:
                    return await node.invoke(asked, emit)
            try:
                return await begun.finish()  # not `finished`: a turn less on every request's way
            finally:
                begun.close()
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
        arguments = node.render(self.book.namespace)
        return Request(node.name, arguments, self._request.context, node.opaque)

    async def _commit(self, node: Node, commits: trio.Nursery) -> None:
        """Make the call in the app's nursery, and wait for it while the client does."""
        ended = trio.Event()

        async def work() -> None:
            error: GatewayError | None = DeadlineExceeded("no reply before the gateway closed")
            reply = None
            try:
                with trio.move_on_after(node.commit_timeout_s or 0) as scope:
                    try:
                        reply = await self._invoke(node, discard)
                        error = None
                    except GatewayError as caught:
                        error = caught
                if scope.cancelled_caught:
                    error = DeadlineExceeded(f"no reply within {shown(node.commit_timeout_s or 0)}")
            finally:  # the end of a drain cuts it here
                self.book.end_commit(node, reply, error)
                ended.set()

        if len(commits.child_tasks) >= _MAX_COMMITS:
            self.book.end(
                node, error=Overloaded(f"not called: {_MAX_COMMITS} commits are under way")
            )
            return
        try:
            commits.start_soon(work)
        except RuntimeError:  # Trio's word for a nursery that has closed
            self.book.end(node, error=Overloaded("not called: the gateway is closing"))
            return
        self.book.commit(node)
        await ended.wait()
