"""A document's schemas → JSON Schema 2020-12, as one tool's input or answer needs them.

A schema that is referred to becomes one of the tool's `$defs`, so cycles stay what they are. What
is no JSON Schema (`xml`, `discriminator`, `example`) is translated or left out, and so is null
among values: TOML has none, and the same tables are printed as TOML.

Source: OpenAPI 3.0.4 and 3.1.1, "Schema Object"; JSON Schema 2020-12.
"""

from __future__ import annotations

import functools
import re
from collections import deque
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import jsonschema_rs
import msgspec

from gateway.config.schema_bounds import work_of
from gateway.config.text import show

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config.openapi.document import Library, Node

__all__ = [
    "MAX_BYTES",
    "MAX_SCHEMAS",
    "SCALARS",
    "TYPES",
    "Schema",
    "Schemas",
    "checked",
    "types_of",
]

Schema: TypeAlias = dict[str, Any] | bool
"""A JSON Schema."""

SCALARS = frozenset({"string", "number", "integer", "boolean", "null"})
"""Types whose values have no parts."""

TYPES = SCALARS | {"array", "object"}
"""Every type."""

MAX_SCHEMAS = 5000
"""Schemas of one tool, those within others too."""

MAX_BYTES = 65_536
"""Largest schema of a tool, as JSON: models read it whole."""

_BYTES_A_PART = 256
"""Bytes that are converted in the time that a part of a document takes, or less."""

_MAX_EXAMPLE = 200
"""Characters of an example that is kept: it is there to show a form."""

_ONE = frozenset(
    {
        *("items", "additionalProperties", "not", "if", "then", "else", "contains"),
        *("propertyNames", "unevaluatedItems", "unevaluatedProperties"),
    }
)
"""Keywords whose value is a schema."""

_LIST = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
"""Keywords whose value is a list of schemas."""

_NAMED = frozenset({"properties", "patternProperties", "dependentSchemas"})
"""Keywords whose value is an object of schemas."""

_MAX_PATTERN_BYTES = 1024 * 1024
"""Of a pattern as it is compiled: larger ones take long to compile."""

_BOUNDS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
_AS_IT_IS = frozenset(
    {
        *("type", "format", "title", "description", "multipleOf", "maximum", "minimum"),
        *_BOUNDS,
        *("maxLength", "minLength", "maxItems", "minItems", "uniqueItems", "maxContains"),
        *("minContains", "maxProperties", "minProperties", "dependentRequired", "deprecated"),
        *("contentEncoding", "contentMediaType", "writeOnly"),
    }
)
_WORDS = ("title", "description", "deprecated")
_ANNOTATIONS = ("title", "description", "default", "examples", "deprecated")
_CLOSING = frozenset({"additionalProperties", "unevaluatedProperties", "unevaluatedItems"})
_EXCLUDING = frozenset({"not", "if", "then", "else"})
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")
_APPLIED = ("allOf", "anyOf", "oneOf")


def checked(schema: dict[str, Any], node: Node, what: str) -> dict[str, Any]:
    """`schema`, if clients can be shown it, and values be held against it in time.

    Args:
        schema: A tool's.
        node: Its operation.
        what: Which of the tool's it is.

    Raises:
        Unfit: It is too large, or branches too much.
    """
    size = len(msgspec.json.encode(schema))
    if size > MAX_BYTES:
        raise node.unfit(f"its {what} has {size // 1024}KiB, of at most {MAX_BYTES // 1024}KiB")
    try:
        work_of(schema)
    except ValueError as error:
        raise node.unfit(f"its {what}: {error}") from None
    return schema


class Schemas:
    """The schemas of one tool.

    Args:
        library: The document.
        old: Whether it is OpenAPI 3.0, where nothing but words counts beside a `$ref`.
        replies: Whether what a service says is to fit, rather than what it is told: then objects may
            have more properties than are named, and more than one of several schemas may fit.

    Attributes:
        definitions: What the converted schemas refer to: the tool's `$defs`.
    """

    def __init__(self, library: Library, *, old: bool, replies: bool = False) -> None:
        self.definitions: dict[str, Schema] = {}
        self._library = library
        self._old = old
        self._replies = replies
        self._count = 0
        self._bytes = 0
        self._pending: deque[tuple[str, Node]] = deque()
        self._names: dict[tuple[Path, tuple[str, ...]], str] = {}

    def convert(self, node: Node) -> Schema:
        """The schema at `node`, what it refers to among `definitions`.

        Raises:
            Unfit: A part of it is no schema, or refers to nothing; or all of it is too large.
        """
        schema = self._convert(node)
        self._weigh(schema, node)
        while self._pending:
            name, target = self._pending.popleft()
            self.definitions[name] = definition = self._convert(target)
            self._bytes += self._weigh(definition, target)
            if self._bytes > MAX_BYTES:
                raise node.unfit(
                    f"a schema of more than {MAX_BYTES // 1024}KiB, references followed"
                )
        return schema

    def _weigh(self, schema: Schema, node: Node) -> int:
        """How many bytes a schema has: values in it cost as well."""
        size = len(msgspec.json.encode(schema))
        self._library.spend(node, size // _BYTES_A_PART)
        return size

    def _convert(self, node: Node) -> Schema:
        self._library.spend(node)
        self._count += 1
        if self._count > MAX_SCHEMAS:
            raise node.unfit(f"more than {MAX_SCHEMAS} schemas in one of a tool's")
        if isinstance(node.value, bool):
            return node.value
        written = node.table("a schema").value
        if isinstance(written.get("$id"), str):
            raise node.unfit("a schema with an $id of its own: references in it are not followed")
        schema: dict[str, Any] = {}
        refers = isinstance(written.get("$ref"), str)
        hidden = self._hidden(node)
        for name, part in node.items():
            if not (self._old and refers) or name in _WORDS:
                self._keyword(schema, name, part, hidden)
        _spell_out_bounds(schema)
        if self._replies:
            _let_several_fit(schema)
        if refers:
            schema["$ref"] = self._reference(node)
        elif isinstance(written.get("enum"), list):
            schema = _with_values(schema, written["enum"])
        elif "const" in written:
            schema = _with_const(schema, written["const"])
        return _or_null(schema) if written.get("nullable") is True else schema

    def _reference(self, node: Node) -> str:
        """A reference to the definition that `node` refers to, made if it is not there yet."""
        self._library.resolve(node)  # it ends somewhere
        target = self._library.follow(node)
        name = self._names.get(target.key)
        if name is None:
            words = target.pointer[-1] if target.pointer else target.file.path.stem
            name = base = _UNFIT.sub("_", words) or "_"
            number = 1
            while name in self.definitions:
                number += 1
                name = f"{base}_{number}"
            self._names[target.key] = name
            self.definitions[name] = True  # taken, and converted in its turn: chains may be long
            self._pending.append((name, target))
        return f"#/$defs/{name}"

    def _hidden(self, node: Node) -> frozenset[str]:
        """The properties that only replies have, or of replies those that they never have."""
        properties = node.get("properties")
        if properties is None:
            return frozenset()
        return frozenset(
            name
            for name, item in properties.items()
            if self._library.resolve(item).flag("writeOnly" if self._replies else "readOnly")
        )

    def _keyword(
        self, schema: dict[str, Any], name: str, part: Node, hidden: Container[str]
    ) -> None:
        """Add what a keyword says to `schema`."""
        if self._replies and (name in _EXCLUDING or (name in _CLOSING and part.value is False)):
            return
        if name in _ONE:
            schema[name] = self._convert(part)
        elif name in _LIST:
            schema[name] = [self._convert(element) for element in part.elements()]
        elif name in _NAMED:
            left_out = hidden if name == "properties" else ()
            schema[name] = {
                key: self._convert(item) for key, item in part.items() if key not in left_out
            }
        elif name == "required" and isinstance(part.value, list):
            names = dict.fromkeys(key for key in part.value if isinstance(key, str))
            schema[name] = [key for key in names if key not in hidden]
        elif (value := _value_of(name, part)) is not None:
            schema["examples" if name == "example" else name] = value


def _value_of(name: str, part: Node) -> Any:
    """What a keyword without schemas in it says; `None` where it is left out.

    Raises:
        Unfit: It is no name of a type.
    """
    value = part.value
    if name == "type" and not all(isinstance(kind, str) for kind in _named_types(value)):
        raise part.unfit(f"expected the name of a type, got {show(value)}")
    if name == "pattern":
        # One that is none is the service's own to check.
        return value if isinstance(value, str) and _is_pattern(value) else None
    if name in {"example", "examples"}:
        return _examples(value if name == "examples" else [value]) or None
    is_kept = name in _AS_IT_IS or (name == "default" and not _has_null(value))
    return value if is_kept else None


def _with_values(schema: dict[str, Any], values: list[Any]) -> dict[str, Any]:
    """`schema` with an `enum`; null among its values is said without a null."""
    rest = [value for value in values if value is not None]
    if any(_has_null(value) for value in rest):
        return schema  # the service checks what TOML cannot say
    if not rest:
        return schema | {"type": "null"}
    # Twice the same value is a mistake that harms nobody.
    distinct = {msgspec.json.encode(value): value for value in rest}
    schema = schema | {"enum": list(distinct.values())}
    takes_null = len(rest) < len(values) and "null" in _named_types(schema.get("type", "null"))
    return _or_null(schema) if takes_null else schema


def _with_const(schema: dict[str, Any], value: Any) -> dict[str, Any]:
    if value is None:
        return schema | {"type": "null"}
    return schema if _has_null(value) else schema | {"const": value}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema that takes null too; its words stay outside."""
    kind = schema.get("type")
    if kind is not None and not {"enum", "const", "$ref", *_APPLIED} & schema.keys():
        return schema | {"type": list(dict.fromkeys([*_named_types(kind), "null"]))}
    words = {key: schema[key] for key in _ANNOTATIONS if key in schema}
    rest = {key: value for key, value in schema.items() if key not in words}
    return {**words, "anyOf": [rest, {"type": "null"}]}


def _named_types(kind: Any) -> list[Any]:
    return kind if isinstance(kind, list) else [kind]


def _spell_out_bounds(schema: dict[str, Any]) -> None:
    """Of 3.0, `exclusiveMinimum: true` says how `minimum` is meant."""
    for exclusive, bound in _BOUNDS.items():
        if schema.get(exclusive) is True and bound in schema:
            schema[exclusive] = schema.pop(bound)
        elif isinstance(schema.get(exclusive), bool):
            del schema[exclusive]


def _let_several_fit(schema: dict[str, Any]) -> None:
    """Of several schemas of which one is to fit, any may: where one says more, others fit as well."""
    branches = schema.pop("oneOf", None)
    if branches is not None and "anyOf" in schema:
        schema.setdefault("allOf", []).append({"anyOf": branches})
    elif branches is not None:
        schema["anyOf"] = branches


def _examples(values: Any) -> list[Any]:
    """Those that show a form; of a media type's examples, which are an object, none."""
    return [
        value
        for value in (values if isinstance(values, list) else ())
        if not _has_null(value) and len(msgspec.json.encode(value)) <= _MAX_EXAMPLE
    ]


def _has_null(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_null, value.values()))
    return any(map(_has_null, value)) if isinstance(value, list) else value is None


@functools.lru_cache(maxsize=1024)
def _is_pattern(text: str) -> bool:
    options = jsonschema_rs.FancyRegexOptions(size_limit=_MAX_PATTERN_BYTES)
    try:
        jsonschema_rs.Draft202012Validator({"pattern": text}, pattern_options=options)
    except jsonschema_rs.ValidationError:
        return False
    return True


def types_of(
    schema: Schema,
    definitions: Mapping[str, Schema],
    known: dict[str, frozenset[str]] | None = None,
) -> frozenset[str]:
    """The types a value may have; all of them where a schema does not say.

    Args:
        schema: As `Schemas` makes them.
        definitions: What it refers to.
        known: What is known of these already.
    """
    if isinstance(schema, bool):
        return TYPES
    known = {} if known is None else known
    types = TYPES
    if "type" in schema:
        types = frozenset(map(str, _named_types(schema["type"])))
    elif "enum" in schema:
        types = frozenset[str]().union(*(_types_of_value(value) for value in schema["enum"]))
    if "$ref" in schema:
        name = _name_in(schema)
        if name not in known:
            known[name] = TYPES  # where it refers to itself, it says nothing
            known[name] = types_of(definitions[name], definitions, known)
        types &= known[name]
    for branch in schema.get("allOf", ()):
        types &= types_of(branch, definitions, known)
    for keyword in ("anyOf", "oneOf"):
        if schema.get(keyword):
            branches = [types_of(branch, definitions, known) for branch in schema[keyword]]
            types &= frozenset[str]().union(*branches)
    return types


def _name_in(schema: dict[str, Any]) -> str:
    """Which definition a schema with a `$ref` refers to."""
    return str(schema["$ref"]).removeprefix("#/$defs/")


def _types_of_value(value: Any) -> frozenset[str]:
    if isinstance(value, (list, Mapping)):
        return frozenset({"array" if isinstance(value, list) else "object"})
    return SCALARS
