"""What reaches the service: of each kind of parameter and body, in 3.0 and in 3.1."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from gateway.app import create_app
from gateway.core.errors import InvalidArguments
from gateway.core.messages import Context, Request
from tests.adapters.test_http_multipart import parts_of
from tests.config.test_decode_imports import IMPORT, SERVICE, asked

COLORS = ["blue", "black"]
RGB = {"R": 100, "G": 200}
ANY: dict[str, Any] = {}
FORM = "application/x-www-form-urlencoded"
CAT = {"type": "object", "required": ["kind"], "properties": {"kind": {"enum": ["cat"]}}}
DOG = {"type": "object", "required": ["kind"], "properties": {"kind": {"enum": ["dog"]}}}
COMPONENTS = {
    "schemas": {
        "Cat": CAT,
        "Dog": DOG,
        "Pet": {
            "oneOf": [{"$ref": "#/components/schemas/Cat"}, {"$ref": "#/components/schemas/Dog"}],
            "discriminator": {"propertyName": "kind"},
        },
        "Named": {
            "allOf": [
                {"$ref": "#/components/schemas/Pet"},
                {"type": "object", "required": ["name"]},
            ]
        },
        "Tree": {
            "type": "object",
            "properties": {"next": {"$ref": "#/components/schemas/Tree"}},
        },
    }
}


def write(operation: Any, path: str, version: str) -> None:
    operation = {"operationId": "op", **operation}
    content = {
        "openapi": version,
        "info": {"title": "A"},
        "paths": {path: {"post": operation}},
        "components": COMPONENTS,
    }
    Path("api.json").write_text(json.dumps(content))
    Path("gateway.toml").write_text(SERVICE + IMPORT)


def row(place: str, text: str, value: Any, style: str | None = None, **more: Any) -> Any:
    """A parameter `p` with a value, and its text on the wire."""
    parameter: dict[str, Any] = {"in": place, "name": "p", "schema": ANY}
    parameter |= {} if style is None else {"style": style}
    parameter |= {"required": True} if place == "path" else {}
    return pytest.param(parameter | more, value, text, id=text)


# OpenAPI 3.1.1, "Style Examples".
PARAMETERS = [
    row("path", "/blue", "blue"),
    row("path", "/blue,black", COLORS),
    row("path", "/R,100,G,200", RGB),
    row("path", "/R=100,G=200", RGB, explode=True),
    row("path", "/.blue", "blue", "label"),
    row("path", "/.blue,black", COLORS, "label"),
    row("path", "/.blue.black", COLORS, "label", explode=True),
    row("path", "/.R=100.G=200", RGB, "label", explode=True),
    row("path", "/;p=blue", "blue", "matrix"),
    row("path", "/;p=blue,black", COLORS, "matrix"),
    row("path", "/;p=blue;p=black", COLORS, "matrix", explode=True),
    row("path", "/;R=100;G=200", RGB, "matrix", explode=True),
    row("path", "/a%2Fb%3F", "a/b?"),
    row("query", "/x?p=blue", "blue"),
    row("query", "/x?p=blue&p=black", COLORS),
    row("query", "/x?p=blue,black", COLORS, explode=False),
    row("query", "/x?R=100&G=200", RGB),
    row("query", "/x?p=R,100,G,200", RGB, explode=False),
    row("query", "/x?p=blue%20black", COLORS, "spaceDelimited", explode=False),
    row("query", "/x?p=blue%7Cblack", COLORS, "pipeDelimited", explode=False),
    row("query", "/x?p%5BR%5D=100&p%5BG%5D=200", RGB, "deepObject", explode=True),
    row("query", "/x?p=a%2Fb%26c", "a/b&c"),
    row("query", "/x?p=a/b%26c", "a/b&c", allowReserved=True),
    row("header", "p: blue", "blue"),
    row("header", "p: blue,black", COLORS),
    row("header", "p: R,100,G,200", RGB),
    row("header", "p: R=100,G=200", RGB, explode=True),
    row("cookie", "cookie: p=blue", "blue"),
    row("cookie", "cookie: p=blue,black", COLORS, explode=False),
]


@pytest.mark.usefixtures("documents")
@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
@pytest.mark.parametrize(("parameter", "value", "text"), PARAMETERS)
async def test_parameters(
    autojump_clock: MockClock, parameter: dict[str, Any], value: Any, text: str, version: str
) -> None:
    path = "/{p}" if parameter["in"] == "path" else "/x"
    write({"parameters": [parameter]}, path, version)
    request = await asked("op", p=value)
    name, colon, written = text.partition(": ")
    if colon:
        assert (request.target, request.header(name)) == ("/v1/x", written)
    else:
        assert request.target == "/v1" + text


@pytest.mark.usefixtures("documents")
@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("query", "/x?p=%7B%22R%22%3A100%2C%22G%22%3A200%7D"),
        ("path", "/%7B%22R%22%3A100%2C%22G%22%3A200%7D"),
        ("header", '{"R":100,"G":200}'),
        ("cookie", "p=%7B%22R%22%3A100%2C%22G%22%3A200%7D"),
    ],
)
async def test_parameters_of_json(autojump_clock: MockClock, place: str, text: str) -> None:
    content = {"application/json": {"schema": {"type": "object"}}}
    parameter = {"in": place, "name": "p", "required": True, "content": content}
    path = "/{p}" if place == "path" else "/x"
    write({"parameters": [parameter]}, path, "3.1.0")
    request = await asked("op", p=RGB)
    header = {"header": "p", "cookie": "cookie"}.get(place)
    assert (request.header(header) if header else request.target.removeprefix("/v1")) == text


@pytest.mark.usefixtures("documents")
@pytest.mark.parametrize(
    ("media_type", "media", "value", "body"),
    [
        ("application/json", {}, {"a": [1, None]}, b'{"a":[1,null]}'),
        ("application/merge-patch+json", {}, {}, b"{}"),
        ("text/plain", {}, "é", "é".encode()),
        ("text/csv", {}, "a,b\n", b"a,b\n"),
        (FORM, {}, {"a": [1, 2], "b": "x y"}, b"a=1&a=2&b=x%20y"),
        (
            FORM,
            {
                "schema": {"properties": {"a": ANY, "b": ANY, "c": ANY}},
                "encoding": {
                    "a": {"style": "deepObject"},
                    "b": {"style": "form", "explode": False},
                    "c": {"allowReserved": True},
                },
            },
            {"a": RGB, "b": COLORS, "c": "/x?"},
            b"a%5BR%5D=100&a%5BG%5D=200&b=blue,black&c=/x?",
        ),
        (
            "application/json",
            {"schema": {"$ref": "#/components/schemas/Named"}},
            {"kind": "cat", "name": "Tom"},
            b'{"kind":"cat","name":"Tom"}',
        ),
        (
            "application/json",
            {"schema": {"$ref": "#/components/schemas/Tree"}},
            {"next": {"next": {}}},
            b'{"next":{"next":{}}}',
        ),
    ],
)
async def test_bodies(
    autojump_clock: MockClock, media_type: str, media: Any, value: Any, body: bytes
) -> None:
    operation = {"requestBody": {"required": True, "content": {media_type: media}}}
    write(operation, "/x", "3.0.3")
    request = await asked("op", body=value)
    assert (request.header("content-type") or "").partition(";")[0] == media_type
    assert request.body == body


FILES = {
    "3.0.3": {"type": "string", "format": "binary"},
    "3.1.0": {"type": "string", "contentMediaType": "image/png"},
}
PNG = b"\x89PNG\x00\xff"


@pytest.mark.parametrize("version", FILES)
async def test_files_go_out(documents: Any, autojump_clock: MockClock, version: str) -> None:
    file = FILES[version]
    schema = {
        "type": "object",
        "required": ["picture"],
        "properties": {
            "note": {"type": "string"},
            "picture": file,
            "more": {"type": "array", "items": file},
        },
    }
    media = {"schema": schema, "encoding": {"picture": {"contentType": "image/png"}}}
    content = {"requestBody": {"required": True, "content": {"multipart/form-data": media}}}
    write(content, "/x", version)
    given = {
        "note": "Grüße",
        "picture": {"filename": "a.png", "base64": base64.b64encode(PNG).decode()},
        "more": ["one", {"filename": "b.txt", "content_type": "text/x", "text": "two"}],
    }
    usual = "text/plain; charset=utf-8" if version < "3.1" else "image/png"
    assert parts_of(await asked("op", body=given)) == [
        ("note", None, None, "Grüße".encode()),
        ("picture", "a.png", "image/png", PNG),
        ("more", "more", usual, b"one"),
        ("more", "b.txt", "text/x", b"two"),
    ]
    assert parts_of(await asked("op", body={"picture": "<svg>"})) == [
        ("picture", "picture", "image/png", b"<svg>")
    ]


@pytest.mark.parametrize("version", FILES)
@pytest.mark.parametrize(
    "body", [{}, {"picture": None}, {"picture": 1}, {"picture": {}}, {"picture": {"json": 1}}]
)
async def test_what_is_no_file_is_refused(documents: Any, version: str, body: Any) -> None:
    schema = {"required": ["picture"], "properties": {"picture": FILES[version]}}
    content = {"multipart/form-data": {"schema": schema}}
    write({"requestBody": {"required": True, "content": content}}, "/x", version)
    app = create_app("gateway.toml")
    async with app.running():
        with pytest.raises(InvalidArguments):
            await app.call(Request("op", {"body": body}, Context(request_id="r")))


@pytest.mark.parametrize("version", FILES)
async def test_an_upload_may_be_left_out(
    documents: Any, autojump_clock: MockClock, version: str
) -> None:
    schema = {"properties": {"picture": FILES[version]}}
    write({"requestBody": {"content": {"multipart/form-data": {"schema": schema}}}}, "/x", version)
    request = await asked("op")
    assert (request.header("content-type"), request.body) == (None, b"")
