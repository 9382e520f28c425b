"""`{placeholders}`: JMESPath over the inputs and earlier calls, compiled at load.

A value that is one placeholder keeps its type. In a path a placeholder is percent-encoded as one
segment; in text it stands as text. `{{` and `}}` are literal braces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import quote

import attrs
import msgspec

from gateway.core.errors import BadReply, InvalidArguments
from gateway.core.expression import Expression, ExpressionError

__all__ = ["Template", "TemplateError", "compile_path", "compile_text", "compile_value"]

Namespace: TypeAlias = Mapping[str, Any]


_HYPHENATED = re.compile(r"[A-Za-z]\w*(?:-\w+)+")


class TemplateError(ValueError):
    """A template that does not compile."""


@attrs.frozen(slots=True)
class Template:
    """A compiled template.

    Args:
        roots: The names its placeholders read.
        render: From the namespace to the value. Raises `GatewayError` where a placeholder's
            value does not fit its place.
    """

    roots: frozenset[str]
    render: Callable[[Namespace], Any]


def compile_value(value: Any) -> Template:
    """Compile any JSON value: placeholders in its strings; a lone one keeps its value's type.

    Raises:
        TemplateError: A placeholder is not closed or not JMESPath.
    """
    match value:
        case str():
            parts = _parts(value)
            if len(parts) == 1 and isinstance(parts[0], Expression):
                return Template(parts[0].roots, _evaluated(parts[0]))
            return _joined(parts, _as_text)
        case Mapping():
            items = {key: compile_value(item) for key, item in value.items()}
            roots = frozenset[str]().union(*(item.roots for item in items.values()))
            if not roots:
                return _constant({key: item.render({}) for key, item in items.items()})
            renders = tuple((key, item.render) for key, item in items.items())
            return Template(roots, lambda names: {key: render(names) for key, render in renders})
        case list() | tuple():
            elements = tuple(compile_value(item) for item in value)
            roots = frozenset[str]().union(*(item.roots for item in elements))
            if not roots:
                return _constant([item.render({}) for item in elements])
            return Template(roots, lambda names: [item.render(names) for item in elements])
        case _:
            return _constant(value)


_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]+")


def compile_text(text: str) -> Template:
    """Compile a text: each placeholder stands as text, null as nothing, lists as JSON.

    Raises:
        TemplateError: A placeholder is not closed or not JMESPath.
    """
    return _joined(_parts(text), _as_text)


def compile_path(path: str, inputs: frozenset[str] = frozenset()) -> Template:
    """Compile a URL path: each placeholder is percent-encoded as one segment, or part of one.

    A value that is null, empty or a dot segment would name another resource than the path says:
    the call is not made, and the caller is to blame if the value came from `inputs` alone, else
    the service whose reply it came from.

    Raises:
        TemplateError: A placeholder is not closed or not JMESPath.

    Source: RFC 3986, sections 2.1 and 3.3.
    """

    def as_segment(value: Any, expression: Expression) -> str:
        if type(value) is int:
            return str(value)
        text = _as_text(value, expression)
        if text in {"", ".", ".."}:
            blame = InvalidArguments if expression.roots <= inputs else BadReply
            shown = "null" if value is None else repr(text)
            raise blame(f"not called: {{{expression.source}}} in its path is {shown}")
        # Numbers and plain names, nearly always: `quote` has work to do before it sees that.
        return text if _UNRESERVED.fullmatch(text) else quote(text, safe="")

    return _joined(_parts(path), as_segment)


def _constant(value: Any) -> Template:
    return Template(frozenset(), lambda _names: value)


def _evaluated(expression: Expression) -> Callable[[Namespace], Any]:
    if expression.getter is not None:
        return expression.getter

    def render(names: Namespace) -> Any:
        try:
            return expression(names)
        except ExpressionError as error:
            raise BadReply(f"a placeholder does not fit its data: {error}") from error

    return render


def _joined(parts: list[str | Expression], convert: Callable[[Any, Expression], str]) -> Template:
    if all(isinstance(part, str) for part in parts):
        return _constant("".join(part for part in parts if isinstance(part, str)))
    roots = frozenset[str]().union(*(p.roots for p in parts if isinstance(p, Expression)))
    expressions = [part for part in parts if isinstance(part, Expression)]
    if len(expressions) == 1:
        return Template(roots, _around(parts, expressions[0], convert))
    pieces = tuple(part if isinstance(part, str) else (_evaluated(part), part) for part in parts)

    def render(names: Namespace) -> str:
        return "".join(
            [
                piece if type(piece) is str else convert(piece[0](names), piece[1])  # type: ignore[operator, arg-type] # a pair
                for piece in pieces
            ]
        )

    return Template(roots, render)


def _around(
    parts: list[str | Expression],
    expression: Expression,
    convert: Callable[[Any, Expression], str],
) -> Callable[[Namespace], str]:
    """A text with one placeholder, as most paths are."""
    at = parts.index(expression)
    before, after = "".join(map(str, parts[:at])), "".join(map(str, parts[at + 1 :]))
    value = _evaluated(expression)
    return lambda names: before + convert(value(names), expression) + after


def _as_text(value: Any, _expression: Expression) -> str:
    if type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    return "" if value is None else msgspec.json.encode(value).decode()


def _parts(text: str) -> list[str | Expression]:
    """Split `text` into literal pieces and the expressions of its placeholders."""
    parts: list[str | Expression] = []
    literal: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        if text[at : at + 2] in {"{{", "}}"}:
            literal.append(char)
            at += 2
        elif char == "{":
            end = _closing(text, at)
            if literal:
                parts.append("".join(literal))
                literal.clear()
            parts.append(_placeholder(text[at + 1 : end]))
            at = end + 1
        elif char == "}":
            raise TemplateError('a "}" without "{": write "}}" for a literal brace')
        else:
            literal.append(char)
            at += 1
    if literal or not parts:
        parts.append("".join(literal))
    return parts


def _placeholder(source: str) -> Expression:
    try:
        expression = Expression.compile(source.strip())
    except ExpressionError as error:
        hint = ' (write "{{" for a literal brace)'
        hyphenated = _HYPHENATED.search(source)
        if hyphenated:
            hint = f' (a name with "-" is quoted: {{"{hyphenated[0]}"}})'
        raise TemplateError(f"{error}{hint}") from None
    if expression.reads_all:
        raise TemplateError(f"{{{source}}} reads everything: name the inputs or calls it needs")
    return expression


def _closing(text: str, opening: int) -> int:
    """Where the placeholder that opens at `opening` ends: braces nest, quotes hide them."""
    depth = 0
    quoted = ""
    at = opening
    while at < len(text):
        char = text[at]
        if quoted:
            if char == "\\":
                at += 1
            elif char == quoted:
                quoted = ""
        elif char in "\"'`":
            quoted = char
        elif char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    raise TemplateError('a "{" without "}": write "{{" for a literal brace')
