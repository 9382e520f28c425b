"""`input`: the short forms, and what is said of every keyword that is wrong."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from gateway.config.input_schema import refuse_to_fetch

HEAD = """\
[services.users]
kind = "http"
url = "http://users/"
[tools.t.calls]
a = { service = "users", get = "/a" }
[tools.t.input]
"""
"""Six lines; the schema begins in the seventh."""

TYPES = '"string", "number", "integer", "boolean", "object", "array", "null"'


def schema(files: Any, text: str) -> Any:
    return files.load(HEAD + text).unwrap().tools["t"].settings.input


def test_short_forms_are_spelt_out_wherever_properties_stand(files: Any) -> None:
    text = """
properties.id = "integer"
properties.properties = "string"
properties.where = { type = "object", properties = { lat = "number" } }
properties.list = { type = "array", items = { properties = { x = "null" } } }
properties.either = { anyOf = [{ properties = { y = "boolean" } }, true] }
properties.data = { default = { properties = { z = "not a type" } }, enum = [{ properties = { z = "zz" } }] }
"""
    assert schema(files, text) == {
        "type": "object",
        "properties": {
            "id": {"type": "integer"},
            "properties": {"type": "string"},
            "where": {"type": "object", "properties": {"lat": {"type": "number"}}},
            "list": {"type": "array", "items": {"properties": {"x": {"type": "null"}}}},
            "either": {"anyOf": [{"properties": {"y": {"type": "boolean"}}}, True]},
            "data": {
                "default": {"properties": {"z": "not a type"}},
                "enum": [{"properties": {"z": "zz"}}],
            },
        },
    }


def test_references_within_the_schema(files: Any) -> None:
    text = (
        'properties = { a = { "$ref" = "#/$defs/a~1b%20c" }, b = { "$ref" = "#" }, '
        'c = { "$ref" = "#/anyOf/0" } }\nanyOf = [true]\n'
        '"$defs" = { "a/b c" = { type = "integer" } }\n'
    )
    made = jsonschema_rs.Draft202012Validator(schema(files, text), retriever=refuse_to_fetch)
    assert made.is_valid({"a": 1})
    assert not made.is_valid({"a": "x"})


def test_dates_are_text(files: Any) -> None:
    text = 'properties.day = { type = "string", default = 1979-05-27 }\n'
    assert schema(files, text)["properties"]["day"]["default"] == "1979-05-27"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(text, lines, id=text.splitlines()[0])
        for text, *lines in [
            (
                'properties.a = "int"\n',
                f':7: tools.t.input.properties.a: expected one of {TYPES}, got "int"; did you mean "integer"?',
            ),
            (
                'properties.a = { type = "strng" }\n',
                f':7: tools.t.input.properties.a.type: expected one of {TYPES}, got "strng"; did you mean "string"?',
            ),
            (
                'properties.a = { type = ["string", "nul"] }\n',
                f':7: tools.t.input.properties.a.type: expected one of {TYPES}, got "nul"; did you mean "null"?',
            ),
            (
                'type = "array"\n',
                ':7: tools.t.input.type: expected "object": what it is of has names; got "array"',
            ),
            (
                '"$schema" = "http://json-schema.org/draft-07/schema#"\n',
                ':7: tools.t.input."$schema": expected "https://json-schema.org/draft/2020-12/schema", got "http://json-schema.org/draft-07/schema#"',
            ),
            (
                'properties.a = 3\nproperties.b = { minimum = "x" }\nrequired = "b"\n',
                ':7: tools.t.input.properties.a: not valid JSON Schema: 3 is not of types "boolean", "object"',
                ':8: tools.t.input.properties.b.minimum: not valid JSON Schema: "x" is not of type "number"',
                ':9: tools.t.input.required: not valid JSON Schema: "b" is not of type "array"',
            ),
            (
                'properties = { 0 = { type = "int" }, " " = "int" }\n',
                f':7: tools.t.input.properties." ": expected one of {TYPES}, got "int"; did you mean "integer"?',
                f':7: tools.t.input.properties.0.type: expected one of {TYPES}, got "int"; did you mean "integer"?',
            ),
            (
                # The validator does not say where, below an empty name.
                'properties."" = { type = "int" }\n',
                (
                    ":7: tools.t.input.properties: not valid JSON Schema: "
                    "\"int\" is not valid under any of the schemas listed in the 'anyOf' keyword"
                ),
            ),
            (
                'properties.a = [ { type = "int" } ]\n',
                ':7: tools.t.input.properties.a: not valid JSON Schema: [{"type":"int"}] is not of types "boolean", "object"',
            ),
            (
                'properties.a.pattern = "("\n',
                ':7: tools.t.input.properties.a.pattern: not valid JSON Schema: "(" is not a "regex"',
            ),
            *(
                (
                    f'properties.a = {{ "$ref" = "{target}" }}\n',
                    f':7: tools.t.input.properties.a."$ref": expected a reference within this schema such as "#/$defs/x", got "{target}"',
                )
                for target in (
                    "https://example.com/x",
                    "file:///etc/passwd",
                    "other.json",
                    "#anchor",
                )
            ),
            *(
                (
                    f'allOf = [\n  {{ "$ref" = "{target}" }} ]\n',
                    f':8: tools.t.input.allOf[0]."$ref": expected a reference to a part of this schema, got "{target}"',
                )
                for target in ("#/$defs/x", "#/allOf/1", "#/allOf/0/$ref/x")
            ),
            (
                "properties.a = { default = nan }\n",
                ":7: tools.t.input.properties.a.default: expected a value that JSON has, got nan",
            ),
            (
                "properties.a.enum = " + "[" + "1," * 20_000 + "1]\n",
                ":6: tools.t.input: more than 20000 values in one schema",
            ),
        ]
    ],
)
def test_mistakes(files: Any, text: str, lines: list[str]) -> None:
    assert files.lines(HEAD + text) == ["gateway.toml" + line for line in lines]


def test_input_that_is_no_table(files: Any) -> None:
    text = HEAD.replace("[tools.t.input]", '[tools.t]\ninput = "string"')
    assert files.lines(text) == [
        'gateway.toml:7: tools.t.input: expected a table: the JSON Schema of an object, got "string"'
    ]


def test_a_reference_to_elsewhere_is_never_fetched() -> None:
    with pytest.raises(ValueError, match="refers to nothing outside itself"):
        jsonschema_rs.Draft202012Validator(
            {"$ref": "https://example.com/x"}, retriever=refuse_to_fetch
        )
