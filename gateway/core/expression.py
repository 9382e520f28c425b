"""JMESPath, compiled at load, with the names it reads.

Source: https://jmespath.org/specification.html
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import jmespath
from jmespath.exceptions import JMESPathError, JMESPathTypeError
from jmespath.functions import Functions

__all__ = ["Expression", "ExpressionError"]

_READS_LEFT_ONLY = frozenset(
    {
        "subexpression",
        "index_expression",
        "projection",
        "value_projection",
        "filter_projection",
        "pipe",
    }
)
"""Nodes whose first child sees what they see; the others see what the first one made."""


_FUNCTIONS = frozenset(Functions.FUNCTION_TABLE)
"""Every function of the language."""


_MAX_QUOTED = 60

_UNFIT = (JMESPathError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)
"""What evaluation raises where data does not fit: the library lets Python's own errors through,
from `merge(a, null)` and `contains('x', null)` for example."""


class ExpressionError(ValueError):
    """An expression that does not compile, or does not fit the data it was given."""


@attrs.frozen(slots=True)
class Expression:
    """A compiled JMESPath expression over one flat namespace.

    Args:
        source: The text.
        roots: The names it reads from the namespace.
        reads_all: Whether it reads the namespace as a whole (`@`).
        getter: Gives its value and raises nothing, where it is as plain as `a` or `a.b`.
    """

    source: str
    roots: frozenset[str]
    reads_all: bool
    getter: Callable[[Mapping[str, Any]], Any] | None = attrs.field(repr=False, eq=False)
    _search: Callable[[Mapping[str, Any]], Any] = attrs.field(repr=False, eq=False)

    @property
    def is_name(self) -> bool:
        """Whether it is a name from the namespace, and no more: its value is given as it is."""
        return self.roots == {self.source.strip()}

    @classmethod
    def compile(cls, source: str) -> Expression:
        """Compile `source`.

        Raises:
            ExpressionError: `source` is not JMESPath; the message says where.
        """
        try:
            compiled = jmespath.compile(source)
        except (JMESPathError, RecursionError) as error:
            reason = str(error).partition("\n")[0]
            raise ExpressionError(f"expected JMESPath, got {_quoted(source)}: {reason}") from None
        unknown = sorted(set(_functions(compiled.parsed)) - _FUNCTIONS)
        if unknown:
            near = difflib.get_close_matches(unknown[0], _FUNCTIONS, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise ExpressionError(
                f"expected JMESPath, got {_quoted(source)}: no function {unknown[0]!r}{hint}"
            )
        names = frozenset(_roots(compiled.parsed))
        roots = frozenset(name for name in names if name is not None)
        getter = _dotted(compiled.parsed)
        return cls(source, roots, None in names, getter, getter or compiled.search)

    def __call__(self, namespace: Mapping[str, Any]) -> Any:
        """The expression's value; `None` where the data has nothing there.

        Raises:
            ExpressionError: A function of the expression got a value of the wrong type.
        """
        try:
            return self._search(namespace)
        except _UNFIT as error:
            raise ExpressionError(f"{_quoted(self.source)}: {_reason(error)}") from error

    def of(self, value: Any) -> Any:
        """The expression's value over any value of JSON's, a list as well.

        Raises:
            ExpressionError: As calling it.
        """
        if self.getter is not None and not isinstance(value, Mapping):
            return None
        return self(value)


def _reason(error: Exception) -> str:
    """Why it does not fit, without the data: that may be anyone's, and a secret."""
    if isinstance(error, JMESPathTypeError):
        wanted = " or ".join(error.expected_types)
        return f"{error.function_name}() got {error.actual_type}, expected {wanted}"
    return "the data is not of the types it needs"


def _quoted(source: str) -> str:
    return repr(source if len(source) <= _MAX_QUOTED else source[:_MAX_QUOTED] + "…")


def _functions(node: Mapping[str, Any]) -> Iterator[str]:
    """The names of the functions that `node` calls, at any depth."""
    if node["type"] == "function_expression":
        yield node["value"]
    for child in node["children"]:
        if isinstance(child, Mapping):
            yield from _functions(child)


def _roots(node: Mapping[str, Any]) -> Iterator[str | None]:
    """The names `node` reads from what it is applied to; `None` for all of it."""
    kind = node["type"]
    if kind == "field":
        yield node["value"]
    elif kind in {"current", "identity"}:
        yield None
    elif kind in _READS_LEFT_ONLY:
        yield from _roots(node["children"][0])
    elif kind != "expref":  # an expref is applied to elements, not to the namespace
        for child in node["children"]:
            yield from _roots(child)


def _dotted(node: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Any] | None:
    """A direct getter for `a`, `a.b`, `a.b.c`: nearly all placeholders are one of these."""
    names: list[str] = []
    while node["type"] == "subexpression":
        first, *rest = node["children"]
        if any(child["type"] != "field" for child in rest):
            return None
        names[:0] = [child["value"] for child in rest]
        node = first
    if node["type"] != "field":
        return None
    names.insert(0, node["value"])
    if len(names) == 1:
        name = names[0]
        return lambda namespace: namespace.get(name)

    def get(namespace: Mapping[str, Any]) -> Any:
        value: Any = namespace
        for name in names:
            if not isinstance(value, Mapping):
                return None
            value = value.get(name)
        return value

    return get
