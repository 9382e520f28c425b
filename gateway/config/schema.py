"""The JSON Schema of `gateway.toml`, made from the same fields that decode it.

Editors complete and check by it (`#:schema ./gateway.schema.json`). It is draft 7, the dialect
that TOML language servers know best. What a schema cannot follow, such as which keys a call has by
the kind of the service it names, it leaves open: every key of some kind is allowed there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from gateway.config.decode import SECTIONS, profile_codec
from gateway.config.settings import (
    CallSettings,
    ImportSettings,
    PromptSettings,
    ProxySettings,
    ResourceSettings,
    ToolSettings,
)
from gateway.config.tables import codecs_of, optional, schema_of
from gateway.config.values import NAME_PATTERN, one_of, strings

if TYPE_CHECKING:
    from gateway.config.codec import Codec
    from gateway.core.adapter import Kind

__all__ = ["json_schema"]


def json_schema(kinds: Mapping[str, Kind], policies: Mapping[str, Codec]) -> dict[str, Any]:
    """The schema of a whole file.

    Args:
        kinds: The kinds of services there are, by the value of `kind`.
        policies: The codec of each policy's key.

    Returns:
        A JSON Schema (draft 7), fit for `json.dumps`.
    """
    policies = optional(policies)
    definitions: dict[str, Any] = {
        "profile": schema_of(policies),
        "call": {"anyOf": [_reference(f"call.{kind}") for kind in kinds]},
        "service": {"oneOf": [_reference(f"service.{kind}") for kind in kinds]},
        "tool": _tool(),
        "import": schema_of(codecs_of(ImportSettings)),
        "proxy": schema_of(codecs_of(ProxySettings)),
        "prompt": schema_of(codecs_of(PromptSettings)),
        "resource": schema_of(codecs_of(ResourceSettings)),
    }
    for name, kind in kinds.items():
        definitions[f"service.{name}"] = _service(name, kind, policies)
        definitions[f"call.{name}"] = schema_of(codecs_of(CallSettings) | codecs_of(kind.call))
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "gateway.toml",
        "type": "object",
        "properties": _sections(),
        "additionalProperties": False,
        "definitions": definitions,
    }


def _sections() -> dict[str, Any]:
    include = "Files merged into this one: patterns relative to its folder."
    sections: dict[str, Any] = {
        "include": {**strings().schema, "description": include},
    }
    for name, cls in SECTIONS.items():
        sections[name] = {**schema_of(codecs_of(cls)), "description": _title(cls)}
    sections["services"] = _named("service", "What is behind us.")
    sections["profiles"] = _named("profile", 'Policies by name: `use = "NAME"` in a service.')
    tools = _named("tool", "What clients call.")
    tools["additionalProperties"] = {"anyOf": [_reference("tool"), _reference("import")]}
    sections["tools"] = tools
    sections["proxies"] = _named("proxy", "What is passed through to a service, byte for byte.")
    sections["prompts"] = _named("prompt", "Texts that clients offer to people, over MCP.")
    sections["resources"] = _named("resource", "What clients may read, over MCP.")
    return sections


def _service(name: str, kind: Kind, policies: Mapping[str, Codec]) -> dict[str, Any]:
    codecs = {
        "kind": attrs.evolve(one_of(name), doc="What kind of service this is."),
        **codecs_of(kind.settings),
        "use": profile_codec({}),
    }
    return schema_of({**policies, **codecs})


def _tool() -> dict[str, Any]:
    schema = schema_of(codecs_of(ToolSettings))
    calls = _named("call", "Calls by name; they run at once unless one needs another's reply.")
    schema["properties"]["calls"] = {**calls, "minProperties": 1}
    schema["oneOf"] = [{"required": ["calls"]}, {"required": ["function"]}]
    return schema


def _named(definition: str, doc: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": doc,
        "propertyNames": {"pattern": NAME_PATTERN},
        "additionalProperties": _reference(definition),
    }


def _reference(definition: str) -> dict[str, str]:
    return {"$ref": f"#/definitions/{definition}"}


def _title(cls: type[Any]) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0].replace("`", "")
