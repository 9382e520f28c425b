"""Which call waits for which: inferred from the placeholders, checked at load."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import attrs

from gateway.config import fields
from gateway.config.decoded import CallConfig
from gateway.core.expression import Expression, ExpressionError
from gateway.plan.template import (
    Template,
    TemplateError,
    compile_path,
    compile_text,
    compile_value,
)

__all__ = ["CompiledCall", "Names", "Report", "compile_call", "compile_expression", "find_cycles"]

Report: TypeAlias = Callable[[tuple[str | int, ...], str], None]
"""Takes a mistake: the key's path below the tool, and what was expected and found."""


@attrs.frozen(slots=True)
class Names:
    """What expressions of one tool may read.

    Args:
        inputs: The names of the input schema's properties.
        calls: The names of all calls.
    """

    inputs: frozenset[str]
    calls: frozenset[str]

    def unknown(self, name: str) -> str:
        """The mistake of reading `name`, which is neither an input nor a call."""
        known = sorted(self.inputs | self.calls)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        if name in {"true", "false", "null"}:
            hint = f"; the value is written with backticks: `{name}`"
        what = "an input or a call" if self.calls else "an input"
        return f"expected {what} ({', '.join(known) or 'none'}), got {name!r}{hint}"


@attrs.frozen(slots=True, kw_only=True)
class CompiledCall:
    """One call with every template compiled.

    Args:
        config: As written.
        templates: By the field of the kind's `call` class.
        when: Its condition.
        reads: The calls its templates read: without their values it cannot be made.
        waits_for: `reads` and the calls its condition reads.
    """

    config: CallConfig
    templates: Mapping[str, Template]
    when: Expression | None
    reads: frozenset[str]
    waits_for: frozenset[str]


def compile_call(call: CallConfig, names: Names, report: Report) -> CompiledCall:
    """Compile one call's templates and condition; mistakes go to `report`.

    Args:
        call: The call, decoded.
        names: What it may read.
        report: Takes mistakes, their paths starting at the call's keys.
    """
    templates: dict[str, Template] = {}
    for attribute in attrs.fields(type(call.keys)):
        mode = fields.template_of(attribute)
        value = getattr(call.keys, attribute.name)
        if mode is None or value is None:
            continue
        template = _compile_template(mode, value, attribute.name, names, report)
        if template is not None:
            templates[attribute.name] = template
    when = call.common.when and compile_expression(call.common.when, names, ("when",), report)
    reads = frozenset[str]().union(*(template.roots for template in templates.values()))
    waits_for = reads | (when.roots if when else frozenset())
    return CompiledCall(
        config=call,
        templates=templates,
        when=when or None,
        reads=reads & names.calls,
        waits_for=waits_for & names.calls,
    )


def compile_expression(
    source: str, names: Names, path: tuple[str | int, ...], report: Report, *, whole: bool = False
) -> Expression | None:
    """Compile a JMESPath over `names`; mistakes go to `report`, and give `None`.

    Args:
        source: The text.
        names: What it may read.
        path: Where it stands.
        report: Takes mistakes.
        whole: Whether it may read everything (`@`).
    """
    try:
        expression = Expression.compile(source)
    except ExpressionError as error:
        report(path, str(error))
        return None
    if expression.reads_all and not whole:
        report(path, f"expected the inputs or calls it reads by name, got {source[:60]!r}")
        return None
    return expression if _known(expression.roots, names, path, report) else None


def find_cycles(waits_for: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, ...]]:
    """Every cycle of calls that wait for each other, as the names along it; no name twice."""
    done: set[str] = set()
    for start in waits_for:
        trail: list[str] = []
        stack = [iter((start,))]
        while stack:
            name = next(stack[-1], None)
            if name is None:
                stack.pop()
                if trail:
                    done.add(trail.pop())
            elif name in trail:
                yield tuple(trail[trail.index(name) :])
                done.update(trail)
            elif name not in done and name in waits_for:
                trail.append(name)
                stack.append(iter(waits_for[name]))


def _compile_template(
    mode: str, value: Any, field: str, names: Names, report: Report
) -> Template | None:
    """Compile each string of `value` by itself first: a mistake is reported at its own line."""
    fine = True
    for path, text in _strings(value, (field,)):
        try:
            roots = compile_value(text).roots
        except TemplateError as error:
            report(path, str(error))
            fine = False
        else:
            fine = _known(roots, names, path, report) and fine
    if not fine:
        return None
    if mode == "path":
        return compile_path(value, names.inputs)
    return compile_text(value) if mode == "text" else compile_value(value)


def _strings(
    value: Any, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    match value:
        case str():
            yield path, value
        case Mapping():
            for key, item in value.items():
                yield from _strings(item, (*path, key))
        case list() | tuple():
            for index, item in enumerate(value):
                yield from _strings(item, (*path, index))


def _known(
    roots: frozenset[str], names: Names, path: tuple[str | int, ...], report: Report
) -> bool:
    unknown = sorted(roots - names.inputs - names.calls)
    for name in unknown:
        report(path, names.unknown(name))
    return not unknown
