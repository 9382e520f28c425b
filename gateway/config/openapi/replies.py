"""An operation's replies → the schema of a tool's answers.

A service that says a little more than its document promises is no reason to refuse its reply: what
an API may add later without breaking anybody is allowed.

Source: OpenAPI 3.0.4 and 3.1.1, "Responses Object".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gateway.config.openapi.parameters import is_json
from gateway.config.openapi.schemas import Schemas, checked, types_of

if TYPE_CHECKING:
    from gateway.config.openapi.document import Library, Node
    from gateway.config.openapi.operations import Document, Operation

__all__ = ["output_schema_of"]

_SUCCESS = re.compile("2([0-9][0-9]|XX|xx)")
_OBJECT = frozenset({"object"})


def output_schema_of(operation: Operation, document: Document) -> dict[str, Any] | None:
    """The schema of what an operation answers where it succeeds.

    Args:
        operation: Which.
        document: Whose.

    Returns:
        It, if all of these answers are JSON objects by their schemas; else `None`.

    Raises:
        Unfit: They are, and a schema cannot be written, or is too large.
    """
    library = document.library
    parts = _parts(operation, library)
    schemas = Schemas(library, old=document.old, replies=True)
    branches = [schemas.convert(part) for part in parts]
    branch: dict[str, Any] = {"anyOf": branches}
    if not branches or types_of(branch, schemas.definitions) != _OBJECT:
        return None
    if len(branches) == 1 and isinstance(branches[0], dict):
        branch = branches[0]
    schema = {**branch, "type": "object"}
    if schemas.definitions:
        schema["$defs"] = schemas.definitions
    return checked(schema, operation.node, "output schema")


def _parts(operation: Operation, library: Library) -> list[Node]:
    """The schemas of all successful replies; none where one of these is no JSON, or nothing."""
    responses = operation.node.get("responses")
    if responses is None or operation.method == "head":
        return []
    found: dict[Any, Node] = {}
    for status, response in responses.items():
        if not _SUCCESS.fullmatch(status):
            continue
        content = library.resolve(response).table("a response").get("content")
        types = {} if content is None else dict(content.items())
        schemas = [media.get("schema") for name, media in types.items() if is_json(name)]
        if not schemas or len(schemas) < len(types):
            return []
        for schema in schemas:
            if schema is None:
                return []
            part = _named(schema, library)
            found[part.key] = part
    return list(found.values())


def _named(node: Node, library: Library) -> Node:
    """What a schema that is a reference and nothing else refers to."""
    library.resolve(node)  # it ends somewhere
    while isinstance(node.value, Mapping) and node.value.keys() == {"$ref"}:
        node = library.follow(node)
    return node
