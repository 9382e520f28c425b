"""A document's schemas as JSON Schema 2020-12, without null and without end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from gateway.config.openapi.document import Library, Unfit
from gateway.config.openapi.schemas import (
    MAX_SCHEMAS,
    SCALARS,
    TYPES,
    Schemas,
    types_of,
)

OLD = "3.0.3"
NEW = "3.1.0"
NULL = {"type": "null"}


@pytest.mark.parametrize(
    ("version", "written", "converted"),
    [
        (OLD, {"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        (OLD, {"type": "string", "nullable": False}, {"type": "string"}),
        (
            OLD,
            {"type": "string", "nullable": True, "enum": ["a", None], "description": "d"},
            {"description": "d", "anyOf": [{"type": "string", "enum": ["a"]}, NULL]},
        ),
        (OLD, {"type": "string", "enum": ["a", None]}, {"type": "string", "enum": ["a"]}),
        (
            OLD,
            {"nullable": True, "allOf": [{"type": "object"}]},
            {"anyOf": [{"allOf": [{"type": "object"}]}, NULL]},
        ),
        (
            OLD,
            {"type": "integer", "minimum": 1, "exclusiveMinimum": True, "maximum": 9},
            {"type": "integer", "exclusiveMinimum": 1, "maximum": 9},
        ),
        (OLD, {"exclusiveMaximum": True, "maximum": 9}, {"exclusiveMaximum": 9}),
        (OLD, {"exclusiveMaximum": False, "maximum": 9}, {"maximum": 9}),
        (NEW, {"exclusiveMaximum": 9}, {"exclusiveMaximum": 9}),
        (OLD, {"example": "x", "xml": {"name": "y"}, "x-y": 1}, {"examples": ["x"]}),
        (OLD, {"example": None}, {}),
        (OLD, {"example": "x" * 300}, {}),
        (NEW, {"examples": ["x", None, {"y": None}]}, {"examples": ["x"]}),
        (OLD, {"discriminator": {"propertyName": "a"}, "externalDocs": {}}, {}),
        (OLD, {"type": "array", "items": {}}, {"type": "array", "items": {}}),
        (NEW, {"type": ["string", "null"]}, {"type": ["string", "null"]}),
        (
            NEW,
            {"type": ["string", "null"], "enum": ["a", None]},
            {"anyOf": [{"type": ["string", "null"], "enum": ["a"]}, NULL]},
        ),
        (NEW, {"enum": [None]}, NULL),
        (NEW, {"enum": ["a", {"b": None}]}, {}),
        (NEW, {"enum": ["a", "a", 1]}, {"enum": ["a", 1]}),
        (NEW, {"const": None}, NULL),
        (NEW, {"const": 1}, {"const": 1}),
        (NEW, {"const": {"a": None}}, {}),
        (NEW, {"default": None, "type": "string"}, {"type": "string"}),
        (NEW, {"default": 3}, {"default": 3}),
        (NEW, {"pattern": "(unclosed"}, {}),
        (NEW, {"pattern": "^a+$"}, {"pattern": "^a+$"}),
        (NEW, {"pattern": r"^\p{L}{1,20}(?!x)$"}, {"pattern": r"^\p{L}{1,20}(?!x)$"}),
        (NEW, {"pattern": r"\p{L}{200}"}, {}),
        (NEW, {"required": ["a", "a"]}, {"required": ["a"]}),
        (NEW, {"required": True}, {}),
        (NEW, {"$schema": "x", "$comment": "y", "$anchor": "z"}, {}),
        (NEW, {"prefixItems": [True], "items": False}, {"prefixItems": [True], "items": False}),
        (NEW, {"unknown": {"$ref": "https://x"}}, {}),
    ],
)
def test_keywords(documents: Any, version: str, written: Any, converted: Any) -> None:
    assert documents.schema(written, version=version) == converted
    jsonschema_rs.meta.validate(
        {"$schema": "https://json-schema.org/draft/2020-12/schema"} | converted
    )


@pytest.mark.parametrize(
    ("version", "kept"),
    [(OLD, {"description": "d"}), (NEW, {"description": "d", "minLength": 1})],
)
def test_what_stands_beside_a_reference(documents: Any, version: str, kept: Any) -> None:
    written = {"$ref": "#/components/schemas/A", "description": "d", "minLength": 1}
    schema, definitions = documents.schema(written, version=version, A={"type": "string"})
    assert schema == {**kept, "$ref": "#/$defs/A"}
    assert definitions == {"A": {"type": "string"}}


def test_null_beside_a_reference(documents: Any) -> None:
    written = {"$ref": "#/components/schemas/A", "nullable": True}
    schema, _ = documents.schema(written, version=OLD, A={"type": "string"})
    assert schema == {"anyOf": [{"$ref": "#/$defs/A"}, NULL]}


def test_cycles_stay_what_they_are(documents: Any) -> None:
    tree = {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/A"}}}
    schema, definitions = documents.schema({"$ref": "#/components/schemas/A"}, A=tree)
    assert schema == {"$ref": "#/$defs/A"}
    assert definitions == {
        "A": {"type": "object", "properties": {"next": {"$ref": "#/$defs/A"}}},
    }


def test_definitions_have_names_of_their_own(documents: Any) -> None:
    documents.write("other.json", {"components": {"A": {"type": "integer"}}})
    written = {
        "anyOf": [
            {"$ref": "#/components/schemas/A"},
            {"$ref": "other.json#/components/A"},
            {"$ref": "#/components/schemas/B b"},
            {"$ref": "#/components/schemas/A"},
        ]
    }
    schema, definitions = documents.schema(written, A={"type": "string"}, **{"B b": {}})
    assert [branch["$ref"] for branch in schema["anyOf"]] == [
        "#/$defs/A",
        "#/$defs/A_2",
        "#/$defs/B_b",
        "#/$defs/A",
    ]
    assert definitions["A_2"] == {"type": "integer"}


def test_what_only_replies_have_is_left_out(documents: Any) -> None:
    written = {
        "required": ["id", "name"],
        "properties": {
            "id": {"readOnly": True},
            "by": {"$ref": "#/components/schemas/A"},
            "name": {"type": "string"},
            "password": {"writeOnly": True},
        },
    }
    assert documents.schema(written, A={"readOnly": True}) == {
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "password": {"writeOnly": True}},
    }


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("string", '#/schema: expected a schema, got "string"'),
        ({"items": [{}]}, "#/schema/items: expected a schema"),
        ({"allOf": {}}, "#/schema/allOf: expected a list"),
        ({"properties": []}, "#/schema/properties: expected an object"),
        ({"$ref": "#/components/schemas/B"}, "expected a reference to a part"),
        ({"$id": "https://x", "type": "string"}, "an $id of its own"),
        ({"properties": {"a": {"$ref": "https://x"}}}, "nothing is fetched"),
    ],
)
def test_what_is_no_schema(documents: Any, written: Any, message: str) -> None:
    with pytest.raises(Unfit) as caught:
        documents.schema(written)
    assert message in str(caught.value)


def test_long_chains_are_followed(documents: Any) -> None:
    count = 1200
    chain = {
        f"S{i}": {"properties": {"a": {"$ref": f"#/components/schemas/S{i + 1}"}}}
        for i in range(count)
    }
    _, definitions = documents.schema(
        {"$ref": "#/components/schemas/S0"}, **chain, **{f"S{count}": {}}
    )
    assert len(definitions) == count + 1


def test_the_number_of_schemas_is_bounded(documents: Any) -> None:
    with pytest.raises(Unfit, match=f"more than {MAX_SCHEMAS} schemas"):
        documents.schema({"allOf": [{}] * MAX_SCHEMAS})


@pytest.mark.parametrize(
    ("schema", "types"),
    [
        (True, TYPES),
        ({}, TYPES),
        ({"type": "string"}, {"string"}),
        ({"type": ["string", "null"]}, {"string", "null"}),
        ({"enum": ["a", 1]}, SCALARS),
        ({"enum": [[1]]}, {"array"}),
        ({"$ref": "#/$defs/a"}, {"array"}),
        ({"allOf": [{"$ref": "#/$defs/a"}, {}]}, {"array"}),
        ({"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}, {"array", "null"}),
        ({"$ref": "#/$defs/loop"}, TYPES),
    ],
)
def test_types(schema: Any, types: Any) -> None:
    definitions: Any = {"a": {"type": "array"}, "loop": {"anyOf": [{"$ref": "#/$defs/loop"}]}}
    assert types_of(schema, definitions) == types


def test_what_values_cost_counts_each_time(documents: Any) -> None:
    documents.write("api.json", {"s": {"enum": [f"{n:098}" for n in range(256)]}})
    library = Library(Path("api.json"), max_parts=250)
    node = library.root.get("s")
    assert node is not None
    for _ in range(2):
        Schemas(library, old=False).convert(node)
    with pytest.raises(Unfit, match="more than 250 parts"):
        Schemas(library, old=False).convert(node)
