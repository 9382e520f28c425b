"""Parameters as inputs and as keys of a call."""

from __future__ import annotations

from typing import Any

import pytest

ARRAY = {"type": "array", "items": {"type": "string"}}
OBJECT = {"type": "object"}
TEXT = {"type": "string"}


def parameter(place: str, name: str = "p", schema: Any = TEXT, **rest: Any) -> dict[str, Any]:
    rest |= {"required": True} if place == "path" else {}
    return {"in": place, "name": name, "schema": schema, **rest}


def styled(to: str, name: str = "p", **rest: Any) -> dict[str, Any]:
    return {"get": "/x", "parameters": [{"to": to, "name": name, "value": "{p}", **rest}]}


@pytest.mark.parametrize(
    ("written", "call"),
    [
        (parameter("query"), {"get": "/x", "query": {"p": "{p}"}}),
        (parameter("query", schema=ARRAY), {"get": "/x", "query": {"p": "{p}"}}),
        (parameter("query", schema=ARRAY, explode=False), styled("query", explode=False)),
        (parameter("query", schema=OBJECT), styled("query")),
        (parameter("query", schema=OBJECT, explode=False), styled("query", explode=False)),
        (parameter("query", schema={}), styled("query")),
        (
            parameter("query", schema=OBJECT, style="deepObject", explode=True),
            styled("query", style="deepObject"),
        ),
        (
            parameter("query", schema=ARRAY, style="spaceDelimited"),
            styled("query", style="spaceDelimited"),
        ),
        (
            parameter("query", schema=ARRAY, style="pipeDelimited", explode=True),
            styled("query", style="pipeDelimited", explode=True),
        ),
        (parameter("header", "X-P"), {"get": "/x", "headers": {"X-P": '{"X-P"}'}}),
        (parameter("header", schema=ARRAY), styled("header")),
        (parameter("header", schema=OBJECT, explode=True), styled("header", explode=True)),
        (parameter("query", allowReserved=True), styled("query", allow_reserved=True)),
        (
            parameter("query", schema=ARRAY, explode=False, allowReserved=True),
            styled("query", explode=False, allow_reserved=True),
        ),
        (parameter("header", allowReserved=True), {"get": "/x", "headers": {"p": "{p}"}}),
        (parameter("cookie"), styled("cookie")),
        (parameter("cookie", schema=ARRAY, explode=False), styled("cookie", explode=False)),
    ],
)
def test_everywhere_but_in_the_path(documents: Any, written: Any, call: Any) -> None:
    assert documents.call({"parameters": [written]}) == call


@pytest.mark.parametrize(
    ("written", "path", "keys"),
    [
        (parameter("path"), "/a/{p}/b", {}),
        (parameter("path", schema=ARRAY), "/a/{{p}}/b", {}),
        (parameter("path", schema=OBJECT, explode=True), "/a/{{p}}/b", {"explode": True}),
        (parameter("path", style="label"), "/a/{{p}}/b", {"style": "label"}),
        (
            parameter("path", schema=ARRAY, style="matrix", explode=True),
            "/a/{{p}}/b",
            {"style": "matrix", "explode": True},
        ),
    ],
)
def test_in_the_path(documents: Any, written: Any, path: str, keys: Any) -> None:
    call = documents.call({"parameters": [written]}, "/a/{p}/b")
    assert call["get"] == path
    if "{{" in path:
        assert call["parameters"] == [{"to": "path", "name": "p", "value": "{p}", **keys}]


@pytest.mark.parametrize("place", ["query", "header", "cookie", "path"])
def test_json_in_a_parameter(documents: Any, place: str) -> None:
    content = {"application/json": {"schema": OBJECT}}
    written = {"in": place, "name": "p", "required": True, "content": content}
    table = documents.table({"parameters": [written]}, "/{p}" if place == "path" else "/x")
    (call,) = table["calls"].values()
    assert call["parameters"] == [{"to": place, "name": "p", "value": "{p}", "style": "json"}]
    assert table["input"]["properties"] == {"p": OBJECT}


def test_text_in_a_parameter(documents: Any) -> None:
    written = {"in": "query", "name": "p", "content": {"text/plain": {"schema": TEXT}}}
    assert documents.call({"parameters": [written]})["query"] == {"p": "{p}"}


def test_inputs(documents: Any) -> None:
    parameters = [
        parameter("path", "id", {"type": "integer"}, description="Which.\n"),
        parameter(
            "query", "page", {"type": "integer", "default": 1, "description": "Page<br/>.\n"}
        ),
        parameter("query", "long", {"default": "x" * 100}),
        parameter("query", "word", {"$ref": "#/components/schemas/Word"}, required=True),
    ]
    components = {"schemas": {"Word": {"type": "string", "minLength": 1}}}
    table = documents.table({"parameters": parameters}, "/x/{id}", components=components)
    assert table["input"] == {
        "type": "object",
        "required": ["id", "word"],
        "additionalProperties": False,
        "properties": {
            "id": {"type": "integer", "description": "Which."},
            "page": {"type": "integer", "description": "Page. Default: 1."},
            "long": {},
            "word": {"$ref": "#/$defs/Word"},
        },
        "$defs": {"Word": {"type": "string", "minLength": 1}},
    }


def test_an_operations_own_parameter_comes_before_its_paths(documents: Any) -> None:
    item = {
        "parameters": [parameter("query", "a"), {"$ref": "#/components/parameters/B"}],
        "get": {"parameters": [parameter("query", "a", {"type": "integer"})]},
    }
    from gateway.config.openapi.tables import table_of  # noqa: PLC0415

    components = {"parameters": {"B": parameter("query", "b")}}
    document = documents.read({"/x": item}, components=components)
    table = table_of(document.operations[0], document, "s")
    assert table["input"]["properties"] == {"a": {"type": "integer"}, "b": TEXT}


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("filter[name]", "filter_name"),
        ("$top", "top"),
        ("X-Request-Priority", "X-Request-Priority"),
        ("user.name", "user.name"),
        ("date<", "date_lt"),
        ("date>", "date_gt"),
        ("é", "value"),
        ("x" * 80, "x" * 64),
    ],
)
def test_names_are_fit_for_models(documents: Any, name: str, argument: str) -> None:
    table = documents.table({"parameters": [parameter("query", name)]})
    assert list(table["input"]["properties"]) == [argument]
    (call,) = table["calls"].values()
    assert list(call["query"]) == [name]


def test_the_same_name_in_two_places(documents: Any) -> None:
    parameters = [parameter("path", "id"), parameter("query", "id"), parameter("query", "body")]
    call = documents.call({"parameters": parameters}, "/{id}")
    assert call == {
        "get": "/{path_id}",
        "query": {"id": "{query_id}", "body": "{query_body}"},
    }


def test_a_call_has_a_name_of_its_own(documents: Any) -> None:
    table = documents.table({"parameters": [parameter("query", "reply")]})
    assert table["output"] == "reply_"
    assert list(table["calls"]) == ["reply_"]


def test_braces_in_a_name_are_no_placeholder(documents: Any) -> None:
    call = documents.call({"parameters": [parameter("cookie", "a{b}")]})
    assert call["parameters"] == [{"to": "cookie", "name": "a{{b}}", "value": "{a_b}"}]


@pytest.mark.parametrize("name", ["Accept", "Content-Type", "Authorization", "Host", "traceparent"])
def test_headers_that_others_write_are_no_inputs(documents: Any, name: str) -> None:
    assert documents.call({"parameters": [parameter("header", name)]}) == {"get": "/x"}


@pytest.mark.parametrize("place", ["header", "query", "cookie"])
def test_what_a_security_scheme_asks_for_is_no_input(documents: Any, place: str) -> None:
    schemes = {"key": {"type": "apiKey", "in": place, "name": "Api-Key"}}
    call = documents.call(
        {"parameters": [parameter(place, "Api-Key")]}, components={"securitySchemes": schemes}
    )
    assert call == {"get": "/x"}


def test_what_is_behind_a_hash_is_never_sent(documents: Any) -> None:
    assert documents.call({}, "/x#second") == {"get": "/x"}


@pytest.mark.parametrize(
    ("parameters", "path", "message"),
    [
        ([], "/{id}", "get: parameters: expected one in path for {id}"),
        ([parameter("path", "id")], "/{id}/{", "expected a path whose braces are closed"),
        (
            [{"in": "body", "name": "x"}],
            "/x",
            'in: expected one of "path", "query", "header", "cook',
        ),
        ([{"in": "query"}], "/x", "parameters/0: name: missing"),
        ([1], "/x", "parameters/0: expected a parameter, got 1"),
        ({}, "/x", "parameters: expected a list"),
        ([parameter("query", style="matrix")], "/x", 'style: expected one of "form"'),
        ([parameter("query", style="json")], "/x", 'style: expected one of "form"'),
        (
            [parameter("query", content={"a/b": {}, "c/d": {}})],
            "/x",
            "content: expected one media type, got 2",
        ),
        (
            [parameter("query", "a b"), parameter("query", "a_b")],
            "/x",
            "expected a name of its own",
        ),
        ([parameter("query", schema={"$ref": "#/x"})], "/x", "schema: expected a reference to"),
    ],
)
def test_mistakes(documents: Any, parameters: Any, path: str, message: str) -> None:
    assert message in documents.why({"parameters": parameters}, path)


def test_branches_that_multiply(documents: Any) -> None:
    schemas: dict[str, Any] = {"x0": TEXT}
    for number in range(1, 12):
        schemas[f"x{number}"] = {"anyOf": [{"$ref": f"#/components/schemas/x{number - 1}"}] * 2}
    operation = {"parameters": [parameter("query", schema={"$ref": "#/components/schemas/x11"})]}
    assert documents.why(operation, components={"schemas": schemas}) == (
        "api.json#/paths/~1x/get: its input schema: "
        "values would be held against more than 2000 schemas at one place"
    )


def test_the_input_is_bounded(documents: Any) -> None:
    schema = {"enum": [f"{'x' * 90}{number}" for number in range(1000)]}
    why = documents.why({"parameters": [parameter("query", schema=schema)]})
    assert why == "api.json#/paths/~1x/get: its input schema has 93KiB, of at most 64KiB"
