"""A document's operations: which there are, which are asked for, where they are served."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.config.openapi.operations import chosen, is_absolute, read_document

Why = Callable[[Callable[[], Any]], str]


def test_operations_in_the_documents_order(documents: Any) -> None:
    document = documents.read(
        {
            "/b": {"post": {"operationId": "makeB"}, "get": {}, "parameters": [], "summary": "x"},
            "/a": {"$ref": "#/components/pathItems/A"},
            "x-own": {"get": {}},
        },
        components={"pathItems": {"A": {"delete": {"$ref": "#/components/x"}}}, "x": {}},
    )
    found = [(each.name, each.method, each.path) for each in document.operations]
    assert found == [("get_b", "get", "/b"), ("makeB", "post", "/b"), ("delete_a", "delete", "/a")]
    assert document.unfit == []


def test_what_is_no_operation_costs_itself_alone(documents: Any) -> None:
    document = documents.read(
        {"/a": {"get": 1, "put": {}}, "b": {}, "/c": 1, "/d": {"options": {}, "trace": {}}}
    )
    assert [each.name for each in document.operations] == ["put_a"]
    assert [str(each) for each in document.unfit] == [
        "api.json#/paths/~1a/get: expected an operation, got 1",
        'api.json#/paths/b: expected a path that starts with /, got "b"',
        "api.json#/paths/~1c: expected a path item, got 1",
        "api.json#/paths/~1d/options: OPTIONS is not for calls",
        "api.json#/paths/~1d/trace: TRACE is not for calls",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"swagger": "2.0"}, 'expected an OpenAPI 3.0 or 3.1 document, got Swagger "2.0": convert'),
        ({"openapi": "3.2.0", "paths": {}}, 'got version "3.2.0"'),
        ({"openapi": "4"}, 'got version "4"'),
        ({"openapi": 3.1}, "got version 3.1"),
        ({"type": "object"}, "got no version"),
        ([], "expected an OpenAPI 3.0 or 3.1 document, got []"),
        ({"openapi": "3.1.0"}, "paths: missing; expected an object of paths"),
        ({"openapi": "3.1.0", "paths": []}, "api.json#/paths: expected an object"),
        (
            {"openapi": "3.1.0", "paths": {}, "jsonSchemaDialect": "http://x/draft-07"},
            "jsonSchemaDialect: expected one of",
        ),
        (
            {"openapi": "3.1.0", "paths": {}, "components": {"securitySchemes": {"a": 1}}},
            "api.json#/components/securitySchemes/a: expected a security scheme, got 1",
        ),
    ],
)
def test_what_is_no_document(documents: Any, unfit: Why, content: Any, message: str) -> None:
    path = documents.write("api.json", content)
    assert message in unfit(lambda: read_document(Path(path.name)))


def test_a_file_that_is_not_there(documents: Any, unfit: Why) -> None:
    assert unfit(lambda: read_document(Path("none.json"))) == "none.json: no such file"


@pytest.mark.parametrize("version", ["3.0.0", "3.0.4", "3.1.1", "3.1.0-rc1"])
def test_versions(documents: Any, version: str) -> None:
    assert documents.read(version=version).old == version.startswith("3.0")


PATHS = {
    "/users": {"get": {"operationId": "users/list"}, "post": {"operationId": "users/create"}},
    "/ping": {"get": {}, "put": {"operationId": "odd[id]"}},
}


@pytest.mark.parametrize(
    ("patterns", "names", "unmatched"),
    [
        (
            ["*"],
            {"users_list": False, "users_create": False, "get_ping": False, "odd_id": False},
            [],
        ),
        (["users/*"], {"users_list": False, "users_create": False}, []),
        (["users/list"], {"users_list": True}, []),
        (["users_list", "*list"], {"users_list": True}, []),
        (["odd[id]"], {"odd_id": True}, []),
        (["get_*", "none", "Users/*"], {"get_ping": False}, ["none", "Users/*"]),
        ([], {}, []),
    ],
)
def test_patterns(documents: Any, patterns: list[str], names: Any, unmatched: list[str]) -> None:
    document = documents.read(PATHS)
    assert chosen(document.operations, patterns) == (names, unmatched)


def test_servers(documents: Any) -> None:
    variables = {"region": {"default": "eu"}}
    servers = [{"url": "https://{region}.x.test/{v}", "variables": variables}, {"url": "/"}]
    assert documents.read(servers=servers).server == "https://eu.x.test/{v}"
    assert documents.read().server is None


@pytest.mark.parametrize(
    ("url", "absolute"),
    [
        ("https://a.test/v1", True),
        ("http://a.test", True),
        ("/v1", False),
        ("https://{host}/", False),
        ("http://a.test/{x}", False),
        ("http://a b", False),
        ("https://", False),
        ("ftp://a", False),
        (None, False),
    ],
)
def test_absolute_urls(url: str | None, absolute: bool) -> None:
    assert is_absolute(url) == absolute


def test_an_operation_at_another_server_is_no_tool(documents: Any) -> None:
    servers = [{"url": "https://a.test"}]
    other = {"servers": [{"url": "https://uploads.test"}]}
    assert documents.call({"servers": servers}, servers=servers) == {"get": "/x"}
    assert documents.why(other, servers=servers) == (
        'api.json#/paths/~1x/get: servers: it is at "https://uploads.test", '
        'the rest of the document at "https://a.test"'
    )
    assert documents.call(other) == {"get": "/x"}  # all of it is there


def test_security_schemes(documents: Any) -> None:
    schemes = {
        "a": {"type": "apiKey", "in": "header", "name": "X-Key"},
        "b": {"type": "http", "scheme": "bearer"},
        "c": {"type": "oauth2", "flows": {}},
        "d": {"type": "mutualTLS"},
        "e": {"type": "apiKey", "in": "query", "name": "Key"},
    }
    document = documents.read(components={"securitySchemes": schemes})
    assert [(each.said, each.place, each.key) for each in document.schemes] == [
        ("header X-Key", "header", "x-key"),
        ("header authorization: Bearer …", "", ""),
        ("header authorization: Bearer …", "", ""),
        ("query Key", "query", "Key"),
    ]
