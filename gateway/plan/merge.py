"""The values of the calls → the answer's value."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import attrs

from gateway.core.errors import BadReply
from gateway.core.expression import Expression, ExpressionError

__all__ = ["Merge"]


@attrs.frozen(slots=True)
class Merge:
    """A tool's `output`, compiled.

    Args:
        output: One expression for the whole, one for each key, or `None` for every call's value
            under its name.
        calls: The calls' names, in the file's order.
    """

    output: Expression | Mapping[str, Expression] | None
    calls: tuple[str, ...]

    @property
    def whole(self) -> frozenset[str]:
        """The calls whose values the answer has whole: they may be told before it."""
        match self.output:
            case None:
                return frozenset(self.calls)
            case Expression() as whole:
                outputs: Collection[Expression] = (whole,)
            case table:
                outputs = table.values()
        return frozenset(
            name
            for name in self.calls
            if any(
                output.roots == {name} and output.source.strip().strip('"') == name
                for output in outputs
            )
        )

    def __call__(self, namespace: Mapping[str, Any], missing: frozenset[str]) -> Any:
        """The answer's value.

        Args:
            namespace: The inputs and the value of every call.
            missing: The calls that are absent. An expression that cannot do without one of them
                is null.

        Raises:
            BadReply: An expression does not fit the values of calls that are there.
        """
        match self.output:
            case None:
                return {name: namespace.get(name) for name in self.calls}
            case Expression() as whole:
                return _evaluate(whole, "output", namespace, missing)
            case table:
                return {
                    key: _evaluate(expression, f"output.{key}", namespace, missing)
                    for key, expression in table.items()
                }


def _evaluate(
    expression: Expression, place: str, namespace: Mapping[str, Any], missing: frozenset[str]
) -> Any:
    try:
        return expression(namespace)
    except ExpressionError as error:
        if missing and (expression.reads_all or expression.roots & missing):
            return None
        raise BadReply(f"the replies do not fit {place}: {error}") from error
