"""An operation's parameters → a tool's inputs, and the keys of its call that carry them.

Source: OpenAPI 3.0.4 and 3.1.1, "Parameter Object".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from gateway.config.headers import RESERVED
from gateway.config.openapi.names import readable
from gateway.config.openapi.schemas import SCALARS, Schema, Schemas, types_of
from gateway.config.styled import STYLES
from gateway.config.text import alternatives, show

if TYPE_CHECKING:
    from gateway.config.openapi.document import Library, Node

__all__ = ["Inputs", "add_parameters", "is_json", "placeholder", "style_of"]

_PLACES = ("path", "query", "header", "cookie")
_NOT_PARAMETERS = frozenset({"accept", "content-type", "authorization"})
"""Headers of whose parameters OpenAPI says that they are ignored: other parts say them."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")
_IN_PATH = re.compile(r"\{([^{}]*)\}")
_MAX_NAME = 64
_MAX_SHOWN = 60


@attrs.define(slots=True)
class Inputs:
    """A tool's inputs, and the keys of its call, as they come together.

    Args:
        schemas: Converts their schemas.
        path: The path, placeholders filled in as parameters come.
    """

    schemas: Schemas
    path: str
    properties: dict[str, Schema] = attrs.field(factory=dict)
    required: list[str] = attrs.field(factory=list)
    query: dict[str, str] = attrs.field(factory=dict)
    headers: dict[str, str] = attrs.field(factory=dict)
    styled: list[dict[str, Any]] = attrs.field(factory=list)

    def add(self, name: str, schema: Schema, description: str, *, required: bool) -> None:
        """Add an input.

        Args:
            name: Fit for models: see `_fit`.
            schema: As `schemas` made it.
            description: Beside what the schema says itself.
            required: Whether the tool's arguments must have it.
        """
        written: dict[str, Any] = dict(schema) if isinstance(schema, dict) else {}
        if schema is False:
            written = {"not": {}}
        said = readable(description or str(written.pop("description", "")))
        default = written.pop("default", None)
        if default is not None:
            # Not ours to send: the service has it, and may tell it from a value that was sent.
            shown = msgspec.json.encode(default).decode()
            if len(shown) <= _MAX_SHOWN:
                said = f"{said} Default: {shown}.".strip()
        if said:
            written["description"] = said
        self.properties[name] = written
        if required:
            self.required.append(name)

    def style(
        self,
        to: str,
        name: str,
        value: str,
        style: str,
        *,
        explode: bool,
        allow_reserved: bool = False,
    ) -> None:
        """Add one of the call's `parameters`; what is usual there is not written.

        Args:
            to: Where it goes, of `STYLES`.
            name: Its name there.
            value: The placeholder of its value.
            style: Of that place.
            explode: Whether each item is by itself; of no meaning to deep objects.
            allow_reserved: Whether reserved characters stay as they are; in a query or a form.
        """
        written: dict[str, Any] = {"to": to, "name": _literal(name), "value": value}
        if style != STYLES[to][0]:
            written["style"] = style
        if explode != (style == "form") and style != "deepObject":
            written["explode"] = explode
        if allow_reserved:
            written["allow_reserved"] = True
        self.styled.append(written)


@attrs.frozen(slots=True)
class _Parameter:
    """A parameter that is a tool's input."""

    node: Node
    place: str
    name: str


def add_parameters(
    inputs: Inputs,
    operation: Node,
    lists: Iterable[Node],
    library: Library,
    hidden: frozenset[tuple[str, str]],
) -> None:
    """Add what an operation's parameters ask for, and fill them into the path.

    Args:
        inputs: What is added to.
        operation: Which.
        lists: The lists of parameters, a path's before its operation's own: these win.
        library: The document.
        hidden: Places and names of what a security scheme provides.

    Raises:
        Unfit: One of them cannot be written.
    """
    written = set(_IN_PATH.findall(inputs.path))
    parameters = [
        parameter
        for parameter in _parameters(lists, library, hidden)
        if parameter.place != "path" or parameter.name in written
    ]
    names = Counter(_fit(parameter.name) for parameter in parameters)
    filled: dict[str, str] = {}
    for parameter in parameters:
        argument = _fit(parameter.name)
        if names[argument] > 1 or argument == "body":
            argument = _fit(f"{parameter.place}_{parameter.name}")
        if argument in inputs.properties:
            raise parameter.node.unfit(
                f"expected a name of its own, got {show(parameter.name)}, as models see it {show(argument)}"
            )
        _add(inputs, parameter, argument, filled)
    if set(_IN_PATH.sub("", inputs.path)) & {"{", "}"}:
        raise operation.unfit(f"expected a path whose braces are closed, got {show(inputs.path)}")
    missing = sorted(written - filled.keys())
    if missing:
        raise operation.unfit(f"parameters: expected one in path for {{{missing[0]}}}")
    inputs.path = _IN_PATH.sub(lambda match: filled[match[1]], inputs.path)


def _parameters(
    lists: Iterable[Node], library: Library, hidden: frozenset[tuple[str, str]]
) -> list[_Parameter]:
    found: dict[tuple[str, str], _Parameter] = {}
    for nodes in lists:
        for element in nodes.elements():
            node = library.resolve(element).table("a parameter")
            place, name = node.text("in"), node.text("name")
            if place not in _PLACES:
                got = show(node.value.get("in", ""))
                raise node.unfit(f"in: expected {alternatives(_PLACES)}, got {got}")
            if not name:
                raise node.unfit("name: missing; expected the parameter's name")
            folded = name.lower() if place == "header" else name
            found[place, folded] = _Parameter(node, place, name)
    return [parameter for key, parameter in found.items() if not _is_hidden(key, hidden)]


def _is_hidden(key: tuple[str, str], hidden: frozenset[tuple[str, str]]) -> bool:
    """Whether it is not for models: the service's headers, the client or its body say it."""
    place, name = key
    ours = place == "header" and (name in _NOT_PARAMETERS or name in RESERVED)
    return ours or key in hidden


def _fit(name: str) -> str:
    """A name that models may use for an argument: `filter[name]` is `filter_name`."""
    name = name.replace("<", "_lt").replace(">", "_gt")
    return _UNFIT.sub("_", name).strip("_.-")[:_MAX_NAME] or "value"


def _add(inputs: Inputs, parameter: _Parameter, argument: str, filled: dict[str, str]) -> None:
    node, place = parameter.node, parameter.place
    schema, json = _schema(node, inputs.schemas)
    required = place == "path" or node.flag("required")
    inputs.add(argument, schema, node.text("description"), required=required)
    style, explode = ("json", False) if json else style_of(node, place)
    types = types_of(schema, inputs.schemas.definitions)
    plain = types <= SCALARS and style == STYLES[place][0]
    value = placeholder(argument)
    # Of other places, and of JSON, it says nothing.
    reserved = place == "query" and not json and node.flag("allowReserved")
    if place == "query" and style == "form" and explode and not reserved and "object" not in types:
        inputs.query[parameter.name] = value
    elif place == "header" and plain:
        inputs.headers[parameter.name] = value
    elif place == "path" and plain:
        filled[parameter.name] = value
    else:
        inputs.style(place, parameter.name, value, style, explode=explode, allow_reserved=reserved)
        if place == "path":
            filled[parameter.name] = f"{{{{{parameter.name}}}}}"


def _schema(node: Node, schemas: Schemas) -> tuple[Schema, bool]:
    """A parameter's schema, and whether its value is written as JSON."""
    content = node.get("content")
    part, json = node.get("schema"), False
    if content is not None:
        types = list(content.items())
        if len(types) != 1:
            raise content.unfit(f"expected one media type, got {len(types)}")
        json = is_json(types[0][0])
        part = types[0][1].get("schema")
    schema: Schema = {} if part is None else schemas.convert(part)
    return schema, json


def style_of(node: Node, place: str) -> tuple[str, bool]:
    """The style that a parameter or an encoding says, and whether each item is by itself.

    Args:
        node: Which.
        place: Where it goes, of `STYLES`.

    Raises:
        Unfit: The style is none of that place.
    """
    styles = STYLES[place][:-1]  # the last is ours, for JSON
    style = node.table().text("style") or styles[0]
    if style not in styles:
        raise node.unfit(f"style: expected {alternatives(styles)}, got {show(style)}")
    explode = node.value.get("explode")
    return style, explode if isinstance(explode, bool) else style == "form"


def is_json(media_type: str) -> bool:
    """Whether what has this media type is JSON."""
    name = media_type.partition(";")[0].strip().lower()
    return name in {"application/json", "*/*", "application/*"} or name.endswith("+json")


def _literal(text: str) -> str:
    """Text that a template leaves as it is."""
    return text.replace("{", "{{").replace("}", "}}")


def placeholder(*names: str) -> str:
    """The placeholder of an input, or of a part of it: names that need it quoted."""
    quoted = (
        name if _IDENTIFIER.fullmatch(name) else msgspec.json.encode(name).decode()
        for name in names
    )
    return "{" + ".".join(quoted) + "}"
