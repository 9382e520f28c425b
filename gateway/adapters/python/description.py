"""What a function says of itself, for a tool: mostly in a process of its own, see `tools.py`.

Its parameters' hints are the schema of the tool's arguments, its docstring's first paragraph is the
tool's description, and where it is hinted to return an object, that is the schema of the answers.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, get_args, get_origin

import msgspec

from gateway.adapters.python.docstring import of_arguments, summary
from gateway.adapters.python.function import Function
from gateway.adapters.python.hints import hints_of, is_convertible, parameters_of
from gateway.adapters.python.modules import function_of, imported, is_being_imported

__all__ = ["describe", "look_at", "main"]

_REFERENCE = "#/$defs/{name}"


def main(asked: Mapping[str, Any], answer: Callable[[str], object]) -> None:
    """Look at functions of the user's, for the process that asks.

    Args:
        asked: `functions`: lists of a module, a function, the file's folder, and whether it is a tool.
        answer: Takes an answer at a time, a line of JSON: the fields of a `Described`.
    """
    for module, name, directory, is_tool in asked["functions"]:
        if directory not in sys.path:
            sys.path.append(directory)
        try:
            found = imported(module, Path(directory))
        except ValueError as error:
            said: dict[str, Any] = {"problem": str(error), "wrong": "module"}
        else:
            said = look_at(found, name, known_as=module, is_tool=is_tool)
        answer(json.dumps(said) + "\n")


def look_at(module: ModuleType, name: str, *, known_as: str, is_tool: bool) -> dict[str, Any]:
    """What there is to say of a function of a module that is imported.

    Args:
        module: It.
        name: The function's; empty if it is the module alone that is looked at.
        known_as: The module's name in the file.
        is_tool: Whether the function is a tool, and so is to be described.

    Returns:
        The fields of a `Described`.
    """
    if not name:
        return {}
    try:
        function = function_of(module, name, known_as)
    except ValueError as error:
        if is_being_imported(module):
            return {"problem": f"{error} yet: {known_as} is being imported", "wrong": "tool"}
        return {"problem": str(error), "wrong": "function"}
    known = Function.of(name, function)
    said: dict[str, Any] = {
        "takes": known.takes(),
        "needs": known.needs(),
        "bound_here": known.bound_here(),
    }
    if not is_tool:
        return said
    try:
        return said | describe(function, f"{known_as}:{name}")
    except ValueError as error:
        return said | {"problem": str(error), "wrong": "tool"}


def describe(function: Callable[..., Any], known_as: str) -> dict[str, Any]:
    """A function as a tool.

    Args:
        function: It.
        known_as: Its name in the file.

    Returns:
        `description`, a text; `input` and `output`, JSON Schemas, the second one perhaps `None`.

    Raises:
        ValueError: No tool can be made of it; the message says why.
    """
    try:
        signature = inspect.signature(function)
        hints = hints_of(function)
    except Exception as error:  # hints are code of the user's: they may raise anything
        raise ValueError(
            f"the hints of {known_as} cannot be read: {type(error).__name__}: {error}"
        ) from error
    text = inspect.getdoc(function)
    return {
        "description": summary(text),
        "input": _input(signature, hints, of_arguments(text), known_as),
        "output": _output(function, hints.get("return", Any)),
    }


def _input(
    signature: inspect.Signature,
    hints: Mapping[str, Any],
    said: Mapping[str, str],
    known_as: str,
) -> dict[str, Any]:
    """The schema of the arguments."""
    kinds = inspect.Parameter
    for name, parameter in signature.parameters.items():
        if parameter.kind == kinds.POSITIONAL_ONLY and parameter.default is kinds.empty:
            raise ValueError(f"{known_as}: {name} is positional only; arguments come by name")
    parameters = parameters_of(signature)
    types = [hints.get(name, Any) for name in parameters]
    for name, hint in zip(parameters, types, strict=True):
        if not is_convertible(hint):
            raise ValueError(
                f"{known_as}: {name} is hinted as {_shown(hint)}, which JSON cannot be made into; "
                "hint it as another type, or declare the tool's input and give it a default"
            )
    schemas, definitions = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            name: _property(one, hint, parameter, said.get(name))
            for one, hint, (name, parameter) in zip(schemas, types, parameters.items(), strict=True)
        },
    }
    required = [name for name, one in parameters.items() if one.default is kinds.empty]
    if required:
        schema["required"] = required
    if not any(one.kind == kinds.VAR_KEYWORD for one in signature.parameters.values()):
        schema["additionalProperties"] = False
    if definitions:
        schema["$defs"] = definitions
    return schema


def _property(
    schema: Mapping[str, Any], hint: Any, parameter: inspect.Parameter, said: str | None
) -> dict[str, Any]:
    """One argument: its type's schema, its default, and what is said of it."""
    own = dict(schema)
    annotated = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    told = next((one for one in annotated if isinstance(one, str)), said)
    if told and ("description" not in own or said is None):
        own["description"] = told
    if parameter.default is not inspect.Parameter.empty:
        with contextlib.suppress(TypeError, ValueError):  # it has one, and no JSON says which
            own["default"] = json.loads(msgspec.json.encode(parameter.default))
    return own


def _output(function: Callable[..., Any], hint: Any) -> dict[str, Any] | None:
    """The schema of what it returns, if that is hinted as an object of known members."""
    gives_items = Function.of("", function).shape.endswith("generator")
    if gives_items or hint is Any or not is_convertible(hint):
        return None
    (schema,), definitions = msgspec.json.schema_components((hint,), ref_template=_REFERENCE)
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    root = definitions.get(name, {})
    if "properties" not in root:
        return None
    return {**root, "$defs": definitions}


def _shown(hint: Any) -> str:
    return inspect.formatannotation(hint)[:100]
