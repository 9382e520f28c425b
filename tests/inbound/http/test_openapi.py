"""`GET /openapi.json`: every tool, valid, its references leading somewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import pytest

from gateway.app import create_app
from gateway.core.errors import ERRORS, NotFound, Rejected, Skipped
from gateway.inbound.openapi import openapi_document

TREE = {
    "type": "object",
    "properties": {
        "id": {"type": "integer", "minimum": 1, "description": "A number"},
        "node": {"$ref": "#/$defs/node"},
        "again": {"$ref": "#/properties/id"},
        "default": {"$ref": "#/$defs/node"},
        "example": {"type": "object", "default": {"$ref": "#/no/reference"}},
        "any": True,
    },
    "required": ["id", "node"],
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
        }
    },
}
TOOLS: dict[str, Any] = {
    "plain": {},
    "described": {"description": "First line.\n\nMore of it."},
    "plain_get": {"http": "GET /plain"},
    "tree": {"input": TREE, "http": "PUT /trees/{id}"},
    "tree_get": {"input": TREE, "http": "GET /trees/{id}"},
    "tree-delete": {"input": TREE, "http": "DELETE /trees/{id}"},
    "Problem": {"input": {"properties": {"x": "string"}}},
}


def document(tools: Mapping[str, Any] = TOOLS) -> dict[str, Any]:
    call = {"service": "s", "get": "/"}
    config = {
        "services": {"s": {"kind": "http", "url": "http://api.test"}},
        "tools": {name: {"calls": {"a": call}, **keys} for name, keys in tools.items()},
    }
    return openapi_document(create_app(config).tools)


def operations(doc: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in doc["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def parts(value: Any) -> Iterator[Any]:
    yield value
    for part in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from parts(part)


def schemas(doc: dict[str, Any]) -> Iterator[Any]:
    yield from doc["components"]["schemas"].values()
    for part in parts(doc["paths"]):
        if isinstance(part, dict) and "schema" in part:
            yield part["schema"]


def resolved(doc: dict[str, Any], reference: str) -> Any:
    assert reference.startswith("#/")
    value = doc
    for token in reference[2:].split("/"):
        value = value[token.replace("~1", "/").replace("~0", "~")]
    return value


def test_every_tool_is_there_at_each_of_its_routes() -> None:
    found = {(path, method) for path, method, _ in operations(document())}
    expected = {(f"/tools/{name}", "post") for name in TOOLS}
    for keys in TOOLS.values():
        if "http" in keys:
            method, path = keys["http"].split()
            expected.add((path, method.lower()))
    assert found == expected


def test_operations_have_ids_of_their_own() -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document())]
    assert len(set(ids)) == len(ids)


def test_every_schema_is_json_schema() -> None:
    count = 0
    for schema in schemas(document()):
        jsonschema.Draft202012Validator.check_schema(schema)
        count += 1
    assert count > 20


def test_every_reference_leads_somewhere() -> None:
    doc = document()
    doc_without_data = [
        part["$ref"]
        for part in parts(doc)
        if isinstance(part, dict) and isinstance(part.get("$ref"), str)
    ]
    references = [one for one in doc_without_data if one != "#/no/reference"]
    assert len(references) > 10
    for reference in references:
        assert resolved(doc, reference) is not None
    # What is data stays as it was.
    assert doc["components"]["schemas"]["tree"]["properties"]["example"]["default"] == {
        "$ref": "#/no/reference"
    }


@pytest.mark.parametrize("where", ["/tools/tree", "/trees/{id}"])
def test_a_body_is_judged_as_the_gateway_judges_it(where: str) -> None:
    doc = document()
    operation = doc["paths"][where]["put" if where == "/trees/{id}" else "post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    validator = jsonschema.Draft202012Validator({**schema, "components": doc["components"]})
    good = {"node": {"children": [{"children": []}]}} | ({} if "{" in where else {"id": 3})
    assert validator.is_valid(good)
    assert not validator.is_valid({**good, "node": {"children": [{"children": 5}]}})
    assert not validator.is_valid({key: good[key] for key in good if key != "node"})
    assert operation["requestBody"]["required"]


def test_parameters_are_where_the_route_has_them() -> None:
    doc = document()
    placed = {
        (parameter["name"], parameter["in"], parameter["required"])
        for parameter in doc["paths"]["/trees/{id}"]["get"]["parameters"]
    }
    assert placed == {
        ("x-request-timeout-ms", "header", False),
        ("id", "path", True),
        ("node", "query", True),
        ("again", "query", False),
        ("default", "query", False),
        ("example", "query", False),
        ("any", "query", False),
    }
    for path, method, operation in operations(doc):
        names = [parameter["name"] for parameter in operation["parameters"]]
        assert len(set(names)) == len(names), (path, method)
        assert ("requestBody" in operation) == (method in {"post", "put"} or path == "/tools/x")
        in_path = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert in_path == ({"id"} if "{id}" in path else set())


def test_texts_come_from_the_file() -> None:
    operation = document()["paths"]["/tools/described"]["post"]
    assert operation["summary"] == "First line."
    assert operation["description"].endswith("More of it.")
    assert document()["paths"]["/tools/plain"]["post"]["summary"] == "plain"


def test_every_problem_fits_its_schema() -> None:
    schema = document()["components"]["schemas"]["problem.details"]
    validator = jsonschema.Draft202012Validator(schema)
    errors = [error("x", call="a", service="s") for error in ERRORS if error is not Skipped]
    errors += [NotFound("x", allow=("GET",)), Rejected("x", service_status=404, retry_after_s=1)]
    for error in errors:
        validator.validate(error.problem("r"))
    assert not validator.is_valid({"code": "no such code"})


def test_answers_may_be_event_streams() -> None:
    doc = document()
    for _, _, operation in operations(doc):
        assert set(operation["responses"]["200"]["content"]) == {
            "application/json",
            "text/event-stream",
        }
        schema = operation["responses"]["200"]["content"]["text/event-stream"]["schema"]
        assert resolved(doc, schema["$ref"])["type"] == "string"


def test_the_document_has_the_form_of_openapi_31() -> None:
    doc = document()
    assert doc["openapi"] == "3.1.0"
    assert set(doc) == {"openapi", "info", "servers", "paths", "components"}
    assert {"title", "version"} <= set(doc["info"])
    for path, _, operation in operations(doc):
        assert path.startswith("/")
        assert set(operation["responses"]) == {"200", "default"}
        for response in operation["responses"].values():
            assert "description" in (
                resolved(doc, response["$ref"]) if "$ref" in response else response
            )
    for name in doc["components"]["schemas"]:
        assert name.replace(".", "").replace("_", "").replace("-", "").isalnum()
