"""Type hints: what the values of a call are converted to before a function sees them."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway.core.errors import InvalidArguments

__all__ = ["NAMED", "OURS", "converted", "hints_of", "is_convertible", "parameters_of"]

OURS = frozenset({"timeout", "caller"})
"""Parameters whose values come from us, not from the call."""

NAMED = frozenset({inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY})
"""Kinds of parameters that are given by name."""

_EXACT = 2**53
"""Below it a number is the one that was written."""

_WHERE = re.compile(r" - at `\$(?P<path>[^`]*)`$")


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The type hints of a function, of a callable object, or of what a `partial` calls.

    Raises:
        Exception: One of them names what is not there, or is none.
    """
    while isinstance(function, functools.partial):
        function = function.func
    if not (inspect.isroutine(function) or inspect.isclass(function)):
        function = type(function).__call__
    return typing.get_type_hints(function, include_extras=True)


def parameters_of(signature: inspect.Signature) -> dict[str, inspect.Parameter]:
    """The parameters that are given by name, by the call."""
    return {
        name: parameter
        for name, parameter in signature.parameters.items()
        if parameter.kind in NAMED and name not in OURS
    }


def is_convertible(hint: Any) -> bool:
    """Whether JSON can be converted to a type, and described to clients."""
    try:
        msgspec.json.schema_components((hint,))
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def converted(
    function: str, types: Mapping[str, Any], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """`arguments` as the types that they are hinted as.

    Args:
        function: Whose arguments they are.
        types: By name; those that have none stay as they are.
        arguments: JSON values.

    Raises:
        InvalidArguments: Some of them are none of their type; `errors` has one breach of each.
    """
    made: dict[str, Any] = {}
    breaches: list[dict[str, str]] = []
    for name, value in arguments.items():
        made[name] = value
        if name not in types:
            continue
        try:
            made[name] = _convert(value, types[name])
        except (msgspec.ValidationError, RecursionError) as error:
            breaches.append(_breach(name, str(error)))
    if breaches:
        first = breaches[0]
        raise InvalidArguments(
            f"{function}() does not take these arguments: {first['pointer']}: {first['detail']}",
            errors=tuple(breaches),
        )
    return made


def _convert(value: Any, hint: Any) -> Any:
    """`value` as a type; 1.0 is an integer too, as JSON Schema has it.

    Raises:
        msgspec.ValidationError: It is none.
    """
    try:
        return msgspec.convert(value, hint, str_keys=True)
    except msgspec.ValidationError:
        return msgspec.convert(_with_integers(value), hint, str_keys=True)


def _with_integers(value: Any) -> Any:
    """`value` with an integer for each number that is whole, and known to be."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _EXACT else value
    if isinstance(value, list):
        return [_with_integers(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_integers(item) for key, item in value.items()}
    return value


def _breach(name: str, message: str) -> dict[str, str]:
    """A breach with its JSON pointer: msgspec names a place as `$.points[0].x`."""
    where = _WHERE.search(message)
    path = where["path"] if where else ""
    steps = re.sub(r"\[(\d+|\.\.\.)\]", r".\1", path).replace(".", "/")
    detail = message[: where.start()] if where else message
    return {"pointer": f"/{name}{steps}", "detail": detail[:1].lower() + detail[1:]}
