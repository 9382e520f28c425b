"""A plan: the calls of a tool as a graph, compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from gateway.core.begun import Begin
from gateway.core.errors import GatewayError
from gateway.core.expression import Expression
from gateway.core.messages import Priority
from gateway.core.service import Refuses, Service
from gateway.plan.fastest import Fastest
from gateway.plan.merge import Merge

__all__ = ["Node", "Plan"]


@attrs.frozen(slots=True, kw_only=True)
class Node:
    """One call of a plan, ready to be made.

    Args:
        name: Its name in the plan.
        service: The name of the service it goes to.
        invoke: The call's `Service`, its policies around it.
        begin: Begins the call without waiting, where its `Service` can.
        render: From the namespace to the request's arguments.
        when: Its condition; `None` is always.
        reads: The calls without whose values it cannot be made.
        waits_for: `reads` and the calls its condition reads.
        origins: By the name of an argument, which of `reads` are in it.
        takes_inputs: Whether the client's own arguments are in any of what its service is asked.
        optional: Whether the answer may do without it.
        default: Its value when it is missing.
        has_default: Whether that default was written: then calls that read it go ahead.
        opaque: Whether nothing reads its value, which is passed on whole.
        commit_timeout_s: For a committed call, the seconds it may go on without its client;
            `None` for every other.
        refusers: What would send it away at once, where the answer cannot do without it.
        fastest: How quickly it has succeeded lately.
    """

    name: str
    service: str
    invoke: Service
    render: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    begin: Begin | None = None
    when: Expression | None = None
    reads: frozenset[str] = frozenset()
    waits_for: frozenset[str] = frozenset()
    origins: Mapping[str, frozenset[str]] = attrs.field(factory=dict)
    takes_inputs: bool = True
    optional: bool = False
    default: Any = None
    has_default: bool = False
    opaque: bool = False
    commit_timeout_s: float | None = None
    refusers: tuple[Refuses, ...] = ()
    fastest: Fastest = attrs.field(factory=Fastest, init=False, eq=False, repr=False)


@attrs.frozen(slots=True)
class Plan:
    """A tool's calls as a graph.

    Args:
        tool: The tool's name.
        nodes: In the file's order.
        merge: The output.
        quorum: How many calls must succeed before the rest is cancelled; `None`: wait for all,
            and every required one must.

    Attributes:
        by_name: The nodes by their names.
        dependents: By a node's name, those that wait for it.
        first: Those that wait for none.
        waiting: By name, how many each of the others waits for.
        ordered: All, each after those it waits for.
        gates: Of those that are called first, what refuses the request with its call.
        begins: Whether any of those that are called first can be begun without waiting.
        told: The calls whose values clients may be told before the answer, which has them whole.
    """

    tool: str
    nodes: tuple[Node, ...]
    merge: Merge
    quorum: int | None = None
    by_name: Mapping[str, Node] = attrs.field(init=False, repr=False)
    dependents: Mapping[str, tuple[Node, ...]] = attrs.field(init=False, repr=False)
    first: tuple[Node, ...] = attrs.field(init=False, repr=False)
    waiting: Mapping[str, int] = attrs.field(init=False, repr=False)
    ordered: tuple[Node, ...] = attrs.field(init=False, repr=False)
    gates: tuple[tuple[Node, Refuses], ...] = attrs.field(init=False, repr=False)
    begins: bool = attrs.field(init=False, repr=False)
    told: frozenset[str] = attrs.field(init=False, repr=False)

    @by_name.default
    def _index(self) -> Mapping[str, Node]:
        return {node.name: node for node in self.nodes}

    @dependents.default
    def _invert(self) -> Mapping[str, tuple[Node, ...]]:
        return {
            node.name: tuple(other for other in self.nodes if node.name in other.waits_for)
            for node in self.nodes
        }

    @first.default
    def _find_first(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if not node.waits_for)

    @waiting.default
    def _count(self) -> Mapping[str, int]:
        return {node.name: len(node.waits_for) for node in self.nodes if node.waits_for}

    @gates.default
    def _find_gates(self) -> tuple[tuple[Node, Refuses], ...]:
        if self.quorum is not None or len(self.nodes) == 1:
            return ()  # others may do; it is refused by its own policies
        return tuple((node, refuses) for node in self.first for refuses in node.refusers)

    @begins.default
    def _find_whether_it_begins(self) -> bool:
        return any(node.begin is not None for node in self.first)

    @told.default
    def _find_told(self) -> frozenset[str]:
        return self.merge.whole

    def refusal(self, priority: Priority) -> GatewayError | None:
        """Why a request of this priority is refused before any call is made; `None` if it is not."""
        for node, refuses in self.gates:
            error = refuses(priority)
            if error is not None:
                return error.blamed(call=node.name, service=node.service)
        return None

    @ordered.default
    def _order(self) -> tuple[Node, ...]:
        """The nodes, each after those it waits for."""
        waiting = dict(self.waiting)
        ordered = list(self.first)
        for node in ordered:  # it grows while it is walked
            for other in self.dependents[node.name]:
                waiting[other.name] -= 1
                if not waiting[other.name]:
                    ordered.append(other)
        return tuple(ordered)
