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


FILE = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {
                key: {"type": "string"} for key in ("filename", "content_type", "text", "base64")
            },
            "oneOf": [{"required": ["text"]}, {"required": ["base64"]}],
            "additionalProperties": False,
        },
    ]
}


def test_a_multipart_body(documents: Any) -> None:
    schema = {
        "required": ["note", "picture"],
        "properties": {
            "note": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "picture": {"type": "string", "format": "binary", "description": "Of what."},
            "more-pictures": {"type": "array", "items": {"$ref": "#/components/schemas/File"}},
            "id": {"readOnly": True},
        },
    }
    components = {"schemas": {"File": {"type": "string", "contentMediaType": "image/png"}}}
    operation = posted({MULTIPART: {"schema": schema}})
    table = documents.table(operation, method="post", components=components)
    assert table["calls"]["reply"]["multipart"] == {
        "note": "{body.note}",
        "tags": "{body.tags}",
        "picture": {"filename": "picture", "file": "{body.picture}"},
        "more-pictures": {
            "filename": "more-pictures",
            "content_type": "image/png",
            "file": '{body."more-pictures"}',
        },
    }
    assert table["input"]["properties"]["body"] == {
        "type": "object",
        "properties": {
            "note": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "picture": {**FILE, "description": "Of what."},
            "more-pictures": {"type": "array", "items": FILE},
        },
        "required": ["note", "picture"],
        "additionalProperties": False,
    }
    assert "$defs" not in table["input"]


@pytest.mark.parametrize(
    ("schema", "sent_as", "content_type"),
    [
        ({"type": "string", "format": "binary"}, None, None),
        ({"type": "string", "format": "binary"}, "image/png", "image/png"),
        ({"type": "string", "format": "binary"}, "image/png, image/jpeg", None),
        ({"type": "string", "format": "binary"}, "image/*", None),
        ({"contentMediaType": "image/png"}, None, "image/png"),
        ({"contentMediaType": "image/png"}, "image/gif", "image/gif"),
        ({"contentMediaType": "text/csv; header=present"}, None, "text/csv; header=present"),
        ({}, "application/octet-stream", "application/octet-stream"),
    ],
)
def test_what_is_a_file(documents: Any, schema: Any, sent_as: Any, content_type: Any) -> None:
    media = {"schema": {"properties": {"f": schema}}}
    media |= {} if sent_as is None else {"encoding": {"f": {"contentType": sent_as}}}
    call = documents.call(posted({MULTIPART: media}), method="post")
    said = {} if content_type is None else {"content_type": content_type}
    assert call["multipart"] == {"f": {"filename": "f", "file": "{body.f}", **said}}


@pytest.mark.parametrize(
    ("schema", "sent_as"),
    [
        ({}, None),
        ({}, "application/json"),
        ({}, "text/plain"),
        ({"type": "object"}, "application/xml"),
        ({"type": "string", "format": "byte"}, None),
        ({"contentMediaType": "image/png", "contentEncoding": "base64"}, None),
        ({"type": "array", "items": {"type": "array", "items": {"format": "binary"}}}, None),
    ],
)
def test_what_is_none(documents: Any, schema: Any, sent_as: Any) -> None:
    media = {"schema": {"properties": {"f": schema}}}
    media |= {} if sent_as is None else {"encoding": {"f": {"contentType": sent_as}}}
    assert documents.call(posted({MULTIPART: media}), method="post")["multipart"] == {
        "f": "{body.f}"
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"application/xml": {}},
            'expected a body of JSON, a form, text or multipart, got ["a',
        ),
        ({"application/octet-stream": {}}, "expected a body of JSON"),
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
