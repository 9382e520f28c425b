"""What operations answer, as the schemas of tools' answers."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.openapi.document import Unfit
from gateway.config.openapi.replies import output_schema_of
from gateway.config.openapi.schemas import MAX_BYTES
from gateway.plan.validation import Validator

OLD = "3.0.3"
JSON = "application/json"
TEXT = {"type": "string"}
USER = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
REFERENCE = {"$ref": "#/components/schemas/User"}


def answered(schema: Any, media_type: str = JSON) -> dict[str, Any]:
    return {"description": "Fine.", "content": {media_type: {"schema": schema}}}


def output_of(documents: Any, responses: Any, method: str = "get", **rest: Any) -> Any:
    document = documents.read({"/x": {method: {"responses": responses}}}, **rest)
    return output_schema_of(document.operations[0], document)


@pytest.mark.parametrize(
    ("responses", "output"),
    [
        ({"200": answered(USER)}, USER),
        ({"200": answered(USER), "404": answered(TEXT), "default": answered(TEXT)}, USER),
        ({"2XX": answered(USER, "application/hal+json; charset=utf-8")}, USER),
        ({"200": answered(REFERENCE)}, USER),
        ({"200": answered(REFERENCE), "201": answered(REFERENCE)}, USER),
        ({"200": {"$ref": "#/components/responses/One"}}, USER),
        (
            {"200": answered(USER), "202": answered({"type": "object"})},
            {"anyOf": [USER, {"type": "object"}], "type": "object"},
        ),
        ({"200": answered({"allOf": [USER]})}, {"allOf": [USER], "type": "object"}),
        ({"200": answered({"type": ["object"]})}, {"type": "object"}),
    ],
)
def test_objects(documents: Any, responses: Any, output: Any) -> None:
    components = {"schemas": {"User": USER}, "responses": {"One": answered(REFERENCE)}}
    assert output_of(documents, responses, components=components) == output


@pytest.mark.parametrize(
    "responses",
    [
        None,
        {},
        {"default": answered(USER)},
        {"404": answered(USER)},
        {"204": {"description": "Nothing."}},
        {"200": answered(USER), "204": {"description": "Nothing."}},
        {"200": answered(USER), "202": answered(TEXT)},
        {"200": {"content": {JSON: {"schema": USER}, "text/csv": {"schema": TEXT}}}},
        {"200": {"content": {JSON: {}}}},
        {"200": answered(TEXT)},
        {"200": answered({"type": "array", "items": USER})},
        {"200": answered({"type": ["object", "null"]})},
        {"200": answered({"properties": {}})},
        {"200": answered(True)},
        {"200": answered(USER, "application/xml")},
    ],
)
def test_what_may_be_no_object_has_no_schema(documents: Any, responses: Any) -> None:
    assert output_of(documents, responses) is None


def test_a_head_answers_nothing(documents: Any) -> None:
    assert output_of(documents, {"200": answered(USER)}, "head") is None


def test_of_3_0_null_counts(documents: Any) -> None:
    nullable = {**USER, "nullable": True}
    assert output_of(documents, {"200": answered(nullable)}, version=OLD) is None
    inner = {"type": "object", "properties": {"a": nullable}}
    output = output_of(documents, {"200": answered(inner)}, version=OLD)
    assert output["properties"]["a"]["type"] == ["object", "null"]


def test_cycles_stay(documents: Any) -> None:
    tree = {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Tree"}}}
    output = output_of(
        documents,
        {"200": answered({"$ref": "#/components/schemas/Tree"})},
        components={"schemas": {"Tree": tree}},
    )
    inner = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Tree"}}}
    assert output == {**inner, "$defs": {"Tree": inner}}


@pytest.mark.parametrize(
    ("schema", "reply"),
    [
        ({"properties": {"a": TEXT}, "additionalProperties": False}, {"a": "x", "new": 1}),
        ({"properties": {"a": TEXT}, "unevaluatedProperties": False}, {"a": "x", "new": 1}),
        (
            {
                "oneOf": [
                    {"properties": {"a": TEXT}, "additionalProperties": False},
                    {"properties": {"b": TEXT}, "additionalProperties": False},
                ]
            },
            {"a": "x", "b": "y"},
        ),
        ({"oneOf": [{"required": ["a"]}], "anyOf": [{"required": ["b"]}]}, {"a": 1, "b": 2}),
        ({"not": {"required": ["a"]}}, {"a": 1}),
        ({"if": {"required": ["a"]}, "then": {"required": ["b"]}}, {"a": 1}),
        ({"required": ["p"], "properties": {"p": {"writeOnly": True}}}, {}),
        ({"properties": {"p": {"readOnly": True, **TEXT}}}, {"p": "x"}),
        ({"properties": {"p": {"format": "date-time", **TEXT}}}, {"p": "yesterday"}),
    ],
)
def test_a_service_may_say_more(documents: Any, schema: Any, reply: Any) -> None:
    output = output_of(documents, {"200": answered({"type": "object", **schema})})
    assert Validator(output).is_valid(reply)


@pytest.mark.parametrize(
    ("schema", "reply"),
    [
        ({"required": ["p"]}, {}),
        ({"properties": {"p": {"readOnly": True, **TEXT}}}, {"p": 1}),
        ({"additionalProperties": TEXT}, {"p": 1}),
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {}),
        ({"oneOf": [{"required": ["a"]}], "anyOf": [{"required": ["b"]}]}, {"b": 1}),
        ({"properties": {"p": {"enum": ["a", "b"]}}}, {"p": "c"}),
    ],
)
def test_a_service_may_not_say_less(documents: Any, schema: Any, reply: Any) -> None:
    output = output_of(documents, {"200": answered({"type": "object", **schema})})
    assert not Validator(output).is_valid(reply)


def test_it_is_bounded(documents: Any) -> None:
    wide = {"type": "object", "properties": {f"{'p' * 60}{n}": {} for n in range(1000)}}
    with pytest.raises(Unfit, match=r"its output schema has 6\dKiB, of at most 64KiB"):
        output_of(documents, {"200": answered(wide)})
    many = {"type": "object", "properties": {"a": REFERENCE}}
    with pytest.raises(Unfit, match=f"a schema of more than {MAX_BYTES // 1024}KiB, references"):
        output_of(documents, {"200": answered(many)}, components={"schemas": {"User": wide}})
