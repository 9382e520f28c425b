"""A tool as it is written → a tool as it runs; every mistake of its plan found at load."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from gateway.config.decoded import CallConfig, ToolConfig
from gateway.config.problems import with_key
from gateway.config.settings import ToolSettings
from gateway.config.text import did_you_mean
from gateway.core.adapter import Kind
from gateway.core.begun import begin_of
from gateway.core.expression import Expression
from gateway.core.service import Refuses, Service
from gateway.plan.answers import AnswerSchema
from gateway.plan.arguments import ArgumentsSchema
from gateway.plan.graph import (
    CompiledCall,
    Names,
    Report,
    compile_call,
    compile_expression,
    find_cycles,
)
from gateway.plan.merge import Merge
from gateway.plan.plan import Node, Plan
from gateway.plan.template import compile_value
from gateway.plan.tool import Tool

__all__ = ["Services", "compile_tool", "is_idempotent"]


class Services(Protocol):
    """What a plan needs to know of the services its calls go to."""

    def kind(self, name: str) -> Kind:
        """The kind of the service `name`."""
        ...

    def bind(self, call: CallConfig) -> Service:
        """The `Service` of `call`, its policies around it.

        Raises:
            ValueError: The call cannot be served; the message says why.
        """
        ...

    def refusers(self, call: CallConfig) -> tuple[Refuses, ...]:
        """What would send `call` away at once."""
        ...

    def commit_timeout_s(self, call: CallConfig) -> float:
        """The seconds that `call`, once begun, may go on without its client."""
        ...


def compile_tool(
    tool: ToolConfig,
    services: Services,
    report: Report,
    *,
    ceiling_s: float,
    failed_calls: frozenset[str] = frozenset(),
    judge_only: bool = False,
) -> Tool | None:
    """Compile one tool.

    Args:
        tool: As written, its keys decoded.
        services: Where its calls go.
        report: Takes mistakes, their paths starting at the tool's keys.
        ceiling_s: The server's deadline, the ceiling of the tool's.
        failed_calls: Calls with mistakes that are told already: they may be referred to.
        judge_only: Whether the tool itself has such mistakes: then it is judged, and not made.

    Returns:
        The tool; `None` where it has a mistake.
    """
    mistakes: list[str] = []

    def note(path: tuple[str | int, ...], message: str) -> None:
        mistakes.append(message)
        report(path, message)

    settings = tool.settings
    arguments = _arguments(settings, note)
    inputs = frozenset() if arguments is None else arguments.names
    names = Names(inputs, (frozenset(tool.calls) | failed_calls) - inputs)
    calls = {
        name: compile_call(call, names, _below(note, "calls", name))
        for name, call in tool.calls.items()
    }
    _check_names(tool, names, note)
    _check_cycles(calls, note)
    _check_route(settings.http, names, note)
    _check_hints(settings, note)
    answers = _answers(tool, note)
    merge = Merge(_output(settings.output, names, note), tuple(calls))
    if mistakes or failed_calls or judge_only or arguments is None:
        return None
    nodes = _nodes(calls, services, names.inputs, _read(calls, merge), note)
    if len(nodes) < len(calls):
        return None
    plan = Plan(tool.name, nodes, merge, _quorum(settings.wait))
    deadline_s = min(settings.deadline or ceiling_s, ceiling_s)
    return _tool(tool, arguments, plan, services, deadline_s, answers=answers)


def _arguments(settings: ToolSettings, report: Report) -> ArgumentsSchema | None:
    try:
        arguments = ArgumentsSchema.compile(settings.input)
    except ValueError as error:
        report(("input",), f"not fit for arguments of strangers: {error}")
        return None
    for name, message in arguments.wrong_defaults():
        path = ("input", "properties", name, "default")
        report(path, f"breaks the property's own schema: {message}")
    return arguments


def _answers(tool: ToolConfig, report: Report) -> AnswerSchema | None:
    settings = tool.settings
    if settings.output_schema is None:
        return None
    partial = settings.wait != "all" or any(
        call.common.optional or call.common.when is not None for call in tool.calls.values()
    )
    try:
        return AnswerSchema.compile(settings.output_schema, partial=partial)
    except ValueError as error:
        report(("output_schema",), f"not fit for answers: {error}")
        return None


def _tool(
    tool: ToolConfig,
    arguments: ArgumentsSchema,
    plan: Plan,
    services: Services,
    deadline_s: float,
    *,
    answers: AnswerSchema | None,
) -> Tool:
    method, _, path = (tool.settings.http or "").partition(" ")
    calls = [(services.kind(call.common.service), call) for call in tool.calls.values()]
    idempotent = all(is_idempotent(kind, call) for kind, call in calls)
    return Tool(
        name=tool.name,
        description=tool.settings.description,
        arguments=arguments,
        plan=plan,
        deadline_s=deadline_s,
        idempotent=_or(tool.settings.idempotent, idempotent),
        read_only=_or(
            tool.settings.read_only, all(kind.read_only(call.keys) for kind, call in calls)
        ),
        method=method or None,
        path=path or None,
        title=tool.settings.title,
        destructive=tool.settings.destructive,
        open_world=tool.settings.open_world,
        answers=answers,
    )


def _below(report: Report, *prefix: str) -> Report:
    return lambda path, message: report((*prefix, *path), message)


def _or(written: bool | None, inferred: bool) -> bool:
    return inferred if written is None else written


def is_idempotent(kind: Kind, call: CallConfig) -> bool:
    """Whether making `call` twice is harmless: as written, else by its verb."""
    return _or(call.common.idempotent, kind.idempotent(call.keys))


def _check_hints(settings: ToolSettings, report: Report) -> None:
    if settings.read_only and settings.destructive:
        message = "expected false, got true: a tool that is read_only changes nothing"
        report(("destructive",), message)


def _check_names(tool: ToolConfig, names: Names, report: Report) -> None:
    for name in tool.calls:
        if name in names.inputs:
            report(("calls", name), f"expected a name of its own, got {name!r}, an input's name")


def _check_cycles(calls: Mapping[str, CompiledCall], report: Report) -> None:
    for cycle in find_cycles({name: sorted(call.waits_for) for name, call in calls.items()}):
        around = " → ".join((*cycle, cycle[0]))
        message = f"expected calls that can start, got a cycle in which each waits: {around}"
        report(("calls", cycle[0]), message)


def _check_route(route: str | None, names: Names, report: Report) -> None:
    """Every placeholder of the route must be an input: it becomes an argument."""
    for segment in (route or "").split("/")[1:]:
        name = segment[1:-1]
        if segment.startswith("{") and name not in names.inputs:
            report(("http",), Names(names.inputs, frozenset()).unknown(name))


def _quorum(wait: str | int) -> int | None:
    """How many calls must succeed; `None` for all that are required."""
    if isinstance(wait, int):
        return wait
    return 1 if wait == "first" else None


def _output(
    written: str | Mapping[str, str] | None, names: Names, report: Report
) -> Expression | Mapping[str, Expression] | None:
    if written is None:
        return None
    if isinstance(written, str):
        return compile_expression(written, names, ("output",), report, whole=True)
    compiled = {
        key: compile_expression(source, names, ("output", key), report, whole=True)
        for key, source in written.items()
    }
    return {key: expression for key, expression in compiled.items() if expression is not None}


def _read(calls: Mapping[str, CompiledCall], merge: Merge) -> frozenset[str]:
    """The calls whose values something looks into: the output, or another call."""
    read = frozenset[str]().union(*(call.waits_for for call in calls.values()))
    match merge.output:
        case None:
            outputs: Iterable[Expression] = ()
        case Expression() as whole:
            outputs = (whole,)
        case table:
            outputs = table.values()
    for expression in outputs:
        if expression.reads_all:
            return frozenset(calls)
        if not expression.is_name:
            read |= expression.roots
    return read


def _nodes(
    calls: Mapping[str, CompiledCall],
    services: Services,
    inputs: frozenset[str],
    read: frozenset[str],
    report: Report,
) -> tuple[Node, ...]:
    """Every call bound to its service; one that cannot be is reported."""
    nodes: list[Node] = []
    for call in calls.values():
        try:
            nodes.append(_node(call, services, inputs, opaque=call.config.name not in read))
        except ValueError as error:
            report(*with_key(("calls", call.config.name), call.config.keys, str(error)))
    return tuple(nodes)


def _node(call: CompiledCall, services: Services, inputs: frozenset[str], *, opaque: bool) -> Node:
    config = call.config
    common = config.common
    kind = services.kind(common.service)
    inputs_key = kind.inputs_key
    service = services.bind(config)
    if _takes_inputs(call, inputs_key):
        for name in sorted(kind.takes(config.keys) - inputs):
            near = did_you_mean(name, inputs)
            raise ValueError(f"{inputs_key}: missing, and {name!r} is no input of the tool{near}")
    # What has a condition, or is committed, has a way of its own.
    is_plain = call.when is None and not common.commit
    return Node(
        name=config.name,
        service=common.service,
        invoke=service,
        begin=begin_of(service) if is_plain else None,
        render=_renderer(call, inputs_key, inputs),
        when=call.when,
        reads=call.reads,
        waits_for=call.waits_for,
        origins=_origins(call, inputs_key),
        takes_inputs=_takes_inputs(call, inputs_key)
        or any(template.roots & inputs for template in call.templates.values()),
        optional=common.optional,
        default=common.default,
        has_default=config.has_default,
        opaque=opaque,
        refusers=services.refusers(config) if is_plain and not common.optional else (),
        commit_timeout_s=services.commit_timeout_s(config) if common.commit else None,
    )


def _takes_inputs(call: CompiledCall, inputs_key: str | None) -> bool:
    """Whether all inputs are its arguments, for it names none."""
    return inputs_key is not None and inputs_key not in call.templates


def _origins(call: CompiledCall, inputs_key: str | None) -> dict[str, frozenset[str]]:
    """By the name of an argument, the calls whose values are in it."""
    written = getattr(call.config.keys, inputs_key or "", None)
    if not call.reads or not isinstance(written, Mapping):
        return {}
    return {name: compile_value(value).roots & call.reads for name, value in written.items()}


def _renderer(
    call: CompiledCall, inputs_key: str | None, inputs: frozenset[str]
) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """From the namespace to the call's arguments: all work that can be done at load is done."""
    takes_inputs = _takes_inputs(call, inputs_key)
    constants = {
        name: template.render({}) for name, template in call.templates.items() if not template.roots
    }
    renders = tuple(
        (name, template.render) for name, template in call.templates.items() if template.roots
    )
    if not renders and not takes_inputs:
        return lambda _namespace: constants

    def render_all(namespace: Mapping[str, Any]) -> Mapping[str, Any]:
        values = dict(constants)
        for name, render in renders:
            values[name] = render(namespace)
        if takes_inputs and inputs_key is not None:
            values[inputs_key] = {name: namespace[name] for name in inputs if name in namespace}
        return values

    return render_all
