"""Request bodies as an input and as keys of a call."""

from __future__ import annotations

from typing import Any

import pytest

OBJECT = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "array"}}}
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"


def posted(content: Any, **rest: Any) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content, **rest}}


@pytest.mark.parametrize(
    ("media_type", "keys"),
    [
        ("application/json", {"json": "{body}"}),
        ("application/json; charset=utf-8", {"json": "{body}"}),
        ("*/*", {"json": "{body}"}),
        (
            "application/merge-patch+json",
            {"headers": {"content-type": "application/merge-patch+json"}, "json": "{body}"},
        ),
        ("text/plain", {"body": "{body}"}),
        ("text/csv", {"headers": {"content-type": "text/csv"}, "body": "{body}"}),
    ],
)
def test_json_and_text(documents: Any, media_type: str, keys: Any) -> None:
    call = documents.call(posted({media_type: {"schema": {"type": "string"}}}), method="post")
    assert call == {"post": "/x", **keys}


def test_the_input(documents: Any) -> None:
    operation = posted({"application/json": {"schema": OBJECT}}, description="What.")
    schema = documents.table(operation, method="put")["input"]
    assert schema["required"] == ["body"]
    assert schema["properties"] == {"body": {**OBJECT, "description": "What."}}


def test_text_without_a_schema_is_text(documents: Any) -> None:
    table = documents.table(posted({"text/plain": {}}), method="post")
    assert table["input"]["properties"] == {"body": {"type": "string"}}


@pytest.mark.parametrize("required", [{}, {"required": False}])
def test_a_body_that_may_be_left_out(documents: Any, required: Any) -> None:
    operation = {"requestBody": {"content": {"application/json": {"schema": OBJECT}}, **required}}
    table = documents.table(operation, method="post")
    assert "required" not in table["input"]
    assert table["calls"]["reply"]["optional_body"] is True


def test_json_comes_first(documents: Any) -> None:
    content = {
        "application/xml": {},
        MULTIPART: {},
        FORM: {"schema": OBJECT},
        "application/json": {"schema": OBJECT},
    }
    assert documents.call(posted(content), method="post") == {"post": "/x", "json": "{body}"}


def test_a_form_whose_fields_are_named(documents: Any) -> None:
    table = documents.table(posted({FORM: {"schema": OBJECT}}), method="post")
    assert table["calls"]["reply"]["form"] == {"a": "{body.a}", "b": "{body.b}"}
    assert table["input"]["properties"]["body"] == {**OBJECT, "unevaluatedProperties": False}


@pytest.mark.parametrize(
    "schema", [{**OBJECT, "additionalProperties": True}, {"anyOf": [OBJECT]}, {"type": "object"}]
)
def test_a_form_that_may_have_more_fields(documents: Any, schema: Any) -> None:
    call = documents.call(posted({FORM: {"schema": schema}}), method="post")
    assert call == {
        "post": "/x",
        "parameters": [{"to": "form", "name": "body", "value": "{body}"}],
    }


def test_the_styles_of_a_form(documents: Any) -> None:
    encoding = {
        "a": {"style": "deepObject", "explode": True},
        "b": {"style": "form", "explode": False},
        "d": {"contentType": "application/json"},
        "e": {"allowReserved": True},
    }
    schema = {"properties": {"a": {"type": "object"}, "b": {}, "c-d": {}, "d": {}, "e": {}}}
    media = {"schema": schema, "encoding": encoding}
    assert documents.call(posted({FORM: media}), method="post") == {
        "post": "/x",
        "form": {"c-d": '{body."c-d"}', "d": "{body.d}"},
        "parameters": [
            {"to": "form", "name": "a", "value": "{body.a}", "style": "deepObject"},
            {"to": "form", "name": "b", "value": "{body.b}", "explode": False},
            {"to": "form", "name": "e", "value": "{body.e}", "allow_reserved": True},
        ],
    }


def test_a_multipart_body_of_texts(documents: Any) -> None:
    schema = {
        "required": ["note"],
        "properties": {
            "note": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "picture": {"type": "string", "format": "binary"},
            "pictures": {"type": "array", "items": {"$ref": "#/components/schemas/File"}},
            "id": {"readOnly": True},
        },
    }
    components = {"schemas": {"File": {"type": "string", "contentMediaType": "image/png"}}}
    operation = posted({MULTIPART: {"schema": schema}})
    table = documents.table(operation, method="post", components=components)
    assert table["calls"]["reply"]["parameters"] == [
        {"to": "part", "name": "note", "value": "{body.note}"},
        {"to": "part", "name": "tags", "value": "{body.tags}"},
    ]
    assert table["input"]["properties"]["body"] == {
        "type": "object",
        "properties": {key: schema["properties"][key] for key in ("note", "tags")},
        "required": ["note"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"application/xml": {}},
            'expected a body of JSON, a form, text or multipart texts, got ["a',
        ),
        ({"application/octet-stream": {}}, "expected a body of JSON"),
        (
            {MULTIPART: {"schema": {"required": ["f"], "properties": {"f": {"format": "binary"}}}}},
            "properties/f: expected parts of text, got a file that must be there",
        ),
        (
            {MULTIPART: {"schema": {"properties": {"f": {"format": "binary"}}}}},
            "expected parts of text, got files alone",
        ),
        ({MULTIPART: {}}, "a multipart body whose schema names all of its parts"),
        (
            {FORM: {"schema": {"type": "object"}, "encoding": {"a": {}}}},
            "expected a form whose schema names all of its fields",
        ),
        (
            {FORM: {"schema": OBJECT, "encoding": {"a": {"style": "x"}}}},
            'encoding/a: style: expected one of "form"',
        ),
        ({"application/json": {"schema": {"$ref": "x.json"}}}, "no such file"),
        (1, "content: expected an object"),
    ],
)
def test_mistakes(documents: Any, content: Any, message: str) -> None:
    assert message in documents.why(posted(content), method="post")


def test_no_content_is_no_body(documents: Any) -> None:
    assert documents.call(posted({}), method="post") == {"post": "/x"}
