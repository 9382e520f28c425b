"""An operation's request body → an input `body`, and the keys of its call that carry it.

JSON, forms, text and multipart bodies are written; anything else is not: then the operation is no
tool.

Source: OpenAPI 3.0.4 and 3.1.1, "Request Body Object", "Media Type Object", "Encoding Object".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.config.openapi.parameters import Inputs, is_json, placeholder, style_of
from gateway.config.openapi.schemas import Schema
from gateway.config.text import show

if TYPE_CHECKING:
    from gateway.config.openapi.document import Library, Node

__all__ = ["BODY", "add_body"]

BODY = "body"
"""The name of the input."""

_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
_BRANCHES = ("allOf", "anyOf", "oneOf")
_ONE_TYPE = re.compile(r"[^\s,;*]+/[^\s,;*]+(;[^,*]*)?")
_FILE: dict[str, Any] = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {
                "filename": {"type": "string"},
                "content_type": {"type": "string"},
                "text": {"type": "string"},
                "base64": {"type": "string"},
            },
            "oneOf": [{"required": ["text"]}, {"required": ["base64"]}],
            "additionalProperties": False,
        },
    ]
}
"""A file as a tool takes it: its text, or an object that says more of it."""


def add_body(inputs: Inputs, node: Node, library: Library) -> dict[str, Any]:
    """Add what a request body asks for.

    Args:
        inputs: What is added to.
        node: The operation's `requestBody`.
        library: The document.

    Returns:
        The keys of the call.

    Raises:
        Unfit: It is of a kind that is not written.
    """
    node = library.resolve(node).table("a request body")
    content = node.get("content")
    types = {} if content is None else dict(content.items())
    if not types:
        return {}
    for fits, write in _WRITERS:
        for media_type, part in types.items():
            if fits(media_type):
                required = node.flag("required")
                keys, schema = write(_Body(inputs, media_type, part, library))
                inputs.add(BODY, schema, node.text("description"), required=required)
                return keys if required else {**keys, "optional_body": True}
    raise node.unfit(
        f"expected a body of JSON, a form, text or multipart, got {show(sorted(types))}"
    )


class _Body:
    """One of the bodies that an operation takes.

    Args:
        inputs: Which it is to be among.
        media_type: What it is.
        node: Its media type object.
        library: The document.
    """

    def __init__(self, inputs: Inputs, media_type: str, node: Node, library: Library) -> None:
        self.inputs = inputs
        self.media_type = media_type
        self.library = library
        self.node = node
        self.part = node.get("schema")

    def schema(self) -> Schema:
        """Its schema, as the tool has it."""
        return {} if self.part is None else self.inputs.schemas.convert(self.part)

    def fields(self) -> dict[str, Node] | None:
        """The fields of an object that has no others; `None` where more may be there."""
        if self.part is None:
            return None
        node = self.library.resolve(self.part).table("a schema")
        properties = node.get("properties")
        open_ended = node.value.get("additionalProperties") not in (None, False)
        if properties is None or open_ended or any(branch in node.value for branch in _BRANCHES):
            return None
        return {
            name: item
            for name, item in properties.items()
            if not self.library.resolve(item).flag("readOnly")
        }

    def header(self, usual: str) -> None:
        """Say what the body is, where the call's own keys would say something else."""
        name = self.media_type.partition(";")[0].strip().lower()
        if name != usual and "*" not in name:
            self.inputs.headers["content-type"] = self.media_type


def _json(body: _Body) -> tuple[dict[str, Any], Schema]:
    body.header("application/json")
    return {"json": placeholder(BODY)}, body.schema()


def _text(body: _Body) -> tuple[dict[str, Any], Schema]:
    body.header("text/plain")
    return {"body": placeholder(BODY)}, body.schema() or {"type": "string"}


def _form(body: _Body) -> tuple[dict[str, Any], Schema]:
    fields = body.fields()
    encoding = body.node.get("encoding")
    schema = body.schema()
    if fields is None:
        if encoding is not None:
            raise encoding.unfit("expected a form whose schema names all of its fields")
        body.inputs.style("form", BODY, placeholder(BODY), "form", explode=True)
        return {}, schema
    form: dict[str, str] = {}
    for name in fields:
        how = None if encoding is None else encoding.get(name)
        style, explode = ("form", True) if how is None else style_of(how, "form")
        reserved = how is not None and how.flag("allowReserved")
        value = placeholder(BODY, name)
        if style == "form" and explode and not reserved:
            form[name] = value
            continue
        body.inputs.style("form", name, value, style, explode=explode, allow_reserved=reserved)
    # What else is in it would not be sent: better refused than lost.
    closed = schema | {"unevaluatedProperties": False} if isinstance(schema, dict) else schema
    return {"form": form} if form else {}, closed


def _multipart(body: _Body) -> tuple[dict[str, Any], Schema]:
    fields = body.fields()
    if not fields or body.part is None:
        raise body.node.unfit("expected a multipart body whose schema names all of its parts")
    required = body.library.resolve(body.part).value.get("required")
    names = set(required) if isinstance(required, list) else set()
    encoding = body.node.get("encoding")
    parts: dict[str, Any] = {}
    properties: dict[str, Schema] = {}
    for name, item in fields.items():
        how = None if encoding is None else encoding.get(name)
        sent_as = "" if how is None else how.text("contentType")
        parts[name] = placeholder(BODY, name)
        element = _element(body.library, item)
        if not _is_file(element, sent_as):
            properties[name] = body.inputs.schemas.convert(item)
            continue
        # Who gives none has a name given: without one it would be no file.
        parts[name] = {"filename": name, "file": parts[name]}
        media_type = sent_as or element.text("contentMediaType")
        if _ONE_TYPE.fullmatch(media_type):
            parts[name]["content_type"] = media_type
        node = body.library.resolve(item)
        is_list = node.get("items") is not None
        description = node.text("description")
        properties[name] = {
            **({"type": "array", "items": _FILE} if is_list else _FILE),
            **({"description": description} if description else {}),
        }
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    schema["required"] = [name for name in properties if name in names]
    schema["additionalProperties"] = False
    return {"multipart": parts}, schema


def _element(library: Library, node: Node) -> Node:
    """The schema of a part, of a list of parts that of each."""
    node = library.resolve(node).table("a schema")
    items = node.get("items")
    return node if items is None else library.resolve(items).table("a schema")


def _is_file(node: Node, sent_as: str) -> bool:
    """Whether a part is bytes.

    What is to be encoded (`contentEncoding`, or `byte` of 3.0) is the text that it is encoded as.

    Args:
        node: Its schema.
        sent_as: The media types that its encoding names.
    """
    if node.text("contentEncoding") or node.text("format") == "byte":
        return False
    if node.text("format") == "binary" or node.text("contentMediaType"):
        return True
    # Of bytes 3.1 need not say more than as what they are sent.
    said = sent_as.strip().lower()
    return not node.value and bool(said) and not is_json(said) and not said.startswith("text/")


def _is_named(name: str) -> Callable[[str], bool]:
    return lambda media_type: media_type.partition(";")[0].strip().lower() == name


_WRITERS: tuple[
    tuple[Callable[[str], bool], Callable[[_Body], tuple[dict[str, Any], Schema]]], ...
] = (
    (is_json, _json),
    (_is_named(_FORM), _form),
    (lambda media_type: media_type.lower().startswith("text/"), _text),
    (_is_named(_MULTIPART), _multipart),
)
"""What is written, and how; the first that an operation takes is."""
