"""JMESPath: whatever the data, an expression gives a value or says that it does not fit."""

from __future__ import annotations

import itertools

import pytest
from jmespath.functions import Functions

from gateway.core.expression import Expression, ExpressionError

VALUES = [None, True, 0, -1, 1.5, "", "x", [], [1], ["a", 1, None], {}, {"k": 1}, [{"k": 1}]]


@pytest.mark.parametrize("name", sorted(Functions.FUNCTION_TABLE))
def test_every_function_fits_or_says_that_it_does_not(name: str) -> None:
    signature = Functions.FUNCTION_TABLE[name]["signature"]
    expref = any("expref" in argument["types"] for argument in signature)
    second = "&k" if expref and signature[-1]["types"] == ["expref"] else "b"
    first = "&k" if expref and signature[0]["types"] == ["expref"] else "a"
    arguments = {1: first, 2: f"{first}, {second}"}[min(2, len(signature))]
    expressions = [Expression.compile(f"{name}({arguments})")]
    if any(argument.get("variadic") for argument in signature):
        expressions.append(Expression.compile(f"{name}(a, b)"))
    for expression, a, b in itertools.product(expressions, VALUES, VALUES):
        try:
            expression({"a": a, "b": b})
        except ExpressionError as error:
            assert expression.source in str(error)  # noqa: PT017 - most of them raise nothing


@pytest.mark.parametrize(
    "source",
    ["a[::0]", "a < b", "a[?@ > `1`]", "a[?k > b]", "sort(a)", "a == b", "!a", "a || b", "a.k.k"],
)
def test_operators_too(source: str) -> None:
    expression = Expression.compile(source)
    for a, b in itertools.product(VALUES, VALUES):
        try:
            expression({"a": a, "b": b})
        except ExpressionError as error:
            assert source in str(error)  # noqa: PT017 - see above


@pytest.mark.parametrize("source", ["(" * 3000 + "a" + ")" * 3000, "!" * 5000 + "a", "a." * 3000])
def test_an_expression_that_nests_too_deeply_is_refused(source: str) -> None:
    with pytest.raises(ExpressionError):
        Expression.compile(source)
