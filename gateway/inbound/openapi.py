"""`GET /openapi.json`: all tools as one OpenAPI 3.1 document.

Source: https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.errors import ERRORS, Skipped
from gateway.net.events import EVENT_STREAM
from gateway.plan.tool import Tool

__all__ = ["openapi_document"]

_PARAMETER = re.compile(r"\{([^}]*)\}")
_LOCAL = re.compile(r"#(/|$)")
_DATA = frozenset({"const", "enum", "default", "examples"})
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_BODILESS = frozenset({"get", "delete", "head"})


def openapi_document(tools: Mapping[str, Tool], root_path: str = "") -> dict[str, Any]:
    """The OpenAPI 3.1 document of `tools`.

    Each tool has an operation at `POST /tools/NAME`, and one at its own route where it has one.

    Args:
        tools: By name.
        root_path: Where the gateway is mounted in its host; empty where it is not.
    """
    paths: dict[str, dict[str, Any]] = {}
    for tool in tools.values():
        paths.setdefault(f"/tools/{tool.name}", {})["post"] = _operation(tool, tool.name, "post")
        if tool.method is not None and tool.path is not None:
            method = tool.method.lower()
            # A dot stands in no tool's name: no other operation has this one's.
            operation = _operation(tool, f"{tool.name}.{method}", method, tool.path)
            paths.setdefault(tool.path, {})[method] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gateway",
            "version": importlib.metadata.version("trio-gateway"),
            "description": "Each tool fans out to its services and answers by its deadline.",
        },
        "servers": [{"url": root_path or "/"}],
        "paths": paths,
        "components": {
            "schemas": {
                **{tool.name: _rebased(tool.input_schema, tool.name) for tool in tools.values()},
                **{
                    _answer_name(tool): _rebased(tool.answers.schema, _answer_name(tool))
                    for tool in tools.values()
                    if tool.answers is not None
                },
                _PROBLEM_NAME: _PROBLEM,
                _EVENTS_NAME: _EVENTS,
            },
            "responses": _RESPONSES,
        },
    }


def _operation(tool: Tool, name: str, method: str, path: str = "") -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": tool.title or (tool.description or tool.name).strip().partition("\n")[0],
        "tags": [tool.name],
        "responses": {
            "200": {
                "description": "The answer; partial if it says so.",
                "headers": {"x-gateway-partial": _PARTIAL_HEADER},
                "content": {
                    "application/json": {"schema": _answer(tool)},
                    EVENT_STREAM: {"schema": {"$ref": f"#/components/schemas/{_EVENTS_NAME}"}},
                },
            },
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }
    if tool.description:
        operation["description"] = tool.description
    in_path = frozenset(_PARAMETER.findall(path))
    schema = _rebased(tool.input_schema, tool.name)
    parameters = [_BUDGET, *_parameters(schema, in_path, "path")]
    rest = _without(schema, in_path)
    if method in _BODILESS:
        parameters += _parameters(schema, frozenset(rest["properties"]), "query")
    elif rest["properties"] or not path:
        operation["requestBody"] = {
            "required": bool(rest.get("required")),
            "content": {"application/json": {"schema": rest if in_path else _whole(tool)}},
        }
    operation["parameters"] = parameters
    return operation


def _parameters(
    schema: Mapping[str, Any], names: frozenset[str], where: str
) -> Iterator[dict[str, Any]]:
    required = schema.get("required", ())
    for name, part in schema.get("properties", {}).items():
        if name not in names:
            continue
        parameter = {
            "name": name,
            "in": where,
            "required": where == "path" or name in required,
            "schema": part,
        }
        if isinstance(part, Mapping) and "description" in part:
            parameter["description"] = part["description"]
        yield parameter


def _whole(tool: Tool) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{tool.name}"}


def _answer(tool: Tool) -> dict[str, str]:
    """The schema of its answers; one that says nothing where it declares none."""
    return {} if tool.answers is None else {"$ref": f"#/components/schemas/{_answer_name(tool)}"}


def _answer_name(tool: Tool) -> str:
    return f"{tool.name}.answer"  # the dot keeps it apart from every tool's own


def _rebased(part: Any, name: str, *, named: bool = False) -> Any:
    """`part` of a tool's schema with its references led to where that schema stands in here.

    Args:
        part: The schema, or a part of it.
        name: The tool's.
        named: Whether the keys of `part` are names that the schema gives, not keywords.
    """
    match part:
        case Mapping():
            return {
                key: value
                if key in _DATA and not named
                else _led(value, name)
                if key == "$ref" and isinstance(value, str)
                else _rebased(value, name, named=key in _NAMED and not named)
                for key, value in part.items()
            }
        case list() | tuple():
            return [_rebased(item, name) for item in part]
        case _:
            return part


def _led(reference: str, name: str) -> str:
    return f"#/components/schemas/{name}{reference[1:]}" if _LOCAL.match(reference) else reference


def _without(schema: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    rest = {key: part for key, part in schema.items() if key not in {"$defs", "definitions"}}
    properties = schema.get("properties", {})
    rest["properties"] = {name: part for name, part in properties.items() if name not in names}
    required = [name for name in schema.get("required", ()) if name not in names]
    rest.pop("required", None)
    if required:
        rest["required"] = required
    return rest


_BUDGET = {
    "name": "x-request-timeout-ms",
    "in": "header",
    "required": False,
    "description": "The client's budget in whole milliseconds.",
    "schema": {"type": "integer", "minimum": 0},
}
_PARTIAL_HEADER = {
    "description": "Which calls are missing and why: `orders=deadline_exceeded, crm=unreachable`.",
    "schema": {"type": "string"},
}
_PROBLEM_NAME = "problem.details"
"""The dot keeps it apart from every tool's schema."""

_EVENTS_NAME = "event.stream"
"""Likewise."""

_EVENTS = {
    "type": "string",
    "description": (
        "Server-sent events, the data of each one JSON value: `chunk`, `branch`, `progress` and `log` "
        "while the tool is at work, `partial` if something is missing, and last either `answer`, the "
        "same as without a stream, or `error`, a problem."
    ),
}
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {
            "type": "string",
            "enum": [error.code for error in ERRORS if error is not Skipped],
        },
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "call": {"type": "string"},
        "service": {"type": "string"},
        "service_status": {"type": "integer"},
        "retry_after_s": {"type": "number"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
_RESPONSES = {
    "Problem": {
        "description": "What the client is told instead of an answer.",
        "content": {
            "application/problem+json": {
                "schema": {"$ref": f"#/components/schemas/{_PROBLEM_NAME}"}
            }
        },
    }
}
