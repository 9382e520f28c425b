"""An operation → the table of a tool, as `gateway.toml` would write it.

The tool has one call; its answer is the call's reply. What the operation takes is its input:
parameters by their names, a body as `body`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.config.openapi.bodies import add_body
from gateway.config.openapi.names import described
from gateway.config.openapi.operations import Document, Operation, server_of
from gateway.config.openapi.parameters import Inputs, add_parameters
from gateway.config.openapi.schemas import Schemas, checked
from gateway.config.text import show

if TYPE_CHECKING:
    from gateway.config.openapi.document import Node

__all__ = ["table_of"]

_REPLY = "reply"


def table_of(operation: Operation, document: Document, service: str) -> dict[str, Any]:
    """The table of the tool that an operation becomes.

    Args:
        operation: Which.
        document: Whose.
        service: The name of the service that is called.

    Raises:
        Unfit: It cannot be a tool: something of it is wrong, or not to be written, or too large.
    """
    node = operation.node
    _check_server(operation, document)
    schemas = Schemas(document.library, old=document.old)
    # What is behind a # tells operations from one another in the document, and is never sent.
    inputs = Inputs(schemas, operation.path.partition("#")[0])
    hidden = frozenset((scheme.place, scheme.key) for scheme in document.schemes if scheme.place)
    lists = [part for at in (operation.item, node) if (part := at.get("parameters")) is not None]
    add_parameters(inputs, node, lists, document.library, hidden)
    body = node.get("requestBody")
    keys = {} if body is None else add_body(inputs, body, document.library)
    reply = _REPLY
    while reply in inputs.properties:
        reply += "_"
    call: dict[str, Any] = {"service": service, operation.method: inputs.path}
    call |= {"query": inputs.query} if inputs.query else {}
    call |= {"headers": inputs.headers} if inputs.headers else {}
    call |= keys
    call |= {"parameters": inputs.styled} if inputs.styled else {}
    return {
        "description": described(
            node.text("summary") or operation.item.text("summary"),
            node.text("description") or operation.item.text("description"),
            f"{operation.method.upper()} {operation.path}",
            deprecated=node.flag("deprecated"),
        ),
        "output": reply,
        "input": _input(inputs, node),
        "calls": {reply: call},
    }


def _input(inputs: Inputs, node: Node) -> dict[str, Any]:
    """The schema of the arguments.

    Raises:
        Unfit: It is too large, or branches too much.
    """
    schema: dict[str, Any] = {
        "type": "object",
        **({"required": inputs.required} if inputs.required else {}),
        # A model that slips in a name is told, rather than answered something else.
        "additionalProperties": False,
        "properties": inputs.properties,
    }
    if inputs.schemas.definitions:
        schema["$defs"] = inputs.schemas.definitions
    return checked(schema, node, "input schema")


def _check_server(operation: Operation, document: Document) -> None:
    """An operation at another server would be called at the wrong one.

    Raises:
        Unfit: It has servers of its own.
    """
    usual = document.server
    if usual is None:
        first = document.operations[0]
        usual = server_of(first.node) or server_of(first.item)
    own = server_of(operation.node) or server_of(operation.item)
    if own is not None and own != usual:
        raise operation.node.unfit(
            f"servers: it is at {show(own)}, the rest of the document at {show(usual or '/')}"
        )
