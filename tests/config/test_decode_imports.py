"""`from_openapi`: tools by their operations' names, and every mistake with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway import ConfigError, create_app
from gateway.build import Built, build
from gateway.config.decode_imports import MAX_TOOLS
from gateway.core.messages import Context, Request
from gateway.testing import ScriptedService, open_client
from tests.http_service import Scripted, http
from tests.network import network

SERVICE = '[services.users]\nkind = "http"\nurl = "http://api.test/v1"\nallow_private = true\n'
IMPORT = '[tools.api]\nfrom_openapi = "api.json"\nservice = "users"\n'
USER = {"in": "path", "name": "id", "required": True, "schema": {"type": "integer"}}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Users", "version": "1"},
    "servers": [{"url": "https://api.test/v1"}],
    "paths": {
        "/users": {
            "get": {
                "operationId": "listUsers",
                "summary": "List users",
                "parameters": [
                    {"in": "query", "name": "city", "schema": {"type": "string"}},
                    {
                        "in": "query",
                        "name": "ids",
                        "explode": False,
                        "schema": {"type": "array", "items": {"type": "integer"}},
                    },
                ],
            },
            "post": {
                "operationId": "createUser",
                "requestBody": {
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/User"}}
                    }
                },
            },
        },
        "/users/{id}": {
            "parameters": [USER],
            "get": {"operationId": "getUser"},
            "put": {"operationId": "putPicture", "requestBody": {"content": {"image/png": {}}}},
            "delete": {"operationId": "deleteUser"},
        },
    },
    "components": {
        "schemas": {
            "User": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string", "nullable": True}},
            }
        }
    },
}
SKIPPED = (
    "not imported: api.json#/paths/~1users~1{id}/put/requestBody: putPicture: "
    'expected a body of JSON, a form, text or multipart, got ["image/png"]'
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "api.json").write_text(json.dumps(DOCUMENT))
    return tmp_path


def built(text: str) -> Built:
    Path("gateway.toml").write_text(text)
    return build("gateway.toml", record=lambda _event: None)


def lines(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        built(text)
    return str(caught.value).splitlines()


def test_each_operation_is_a_tool(folder: Path) -> None:
    made = built(SERVICE + IMPORT)
    hints = {
        name: (tool.read_only, tool.idempotent, tool.description)
        for name, tool in made.tools.items()
    }
    assert hints == {
        "listUsers": (True, True, "List users"),
        "createUser": (False, False, "POST /users"),
        "getUser": (True, True, "GET /users/{id}"),
        "deleteUser": (False, True, "DELETE /users/{id}"),
    }
    assert made.config.notes == (SKIPPED,)


def test_a_key_that_is_not_sent_is_noted(folder: Path) -> None:
    schemes = {"k": {"type": "apiKey", "in": "query", "name": "key"}}
    content = {**DOCUMENT, "components": {**DOCUMENT["components"], "securitySchemes": schemes}}
    (folder / "api.json").write_text(json.dumps(content))
    assert built(SERVICE + IMPORT).config.notes[0] == (
        'not sent: api.json#/components/securitySchemes/k: the key "key": services send headers alone'
    )


def test_some_of_them_with_a_prefix_and_a_deadline(folder: Path) -> None:
    keys = 'operations = ["getUser", "list*"]\nprefix = "u_"\ndeadline = "2s"\n'
    made = built(SERVICE + IMPORT + keys)
    assert list(made.tools) == ["u_listUsers", "u_getUser"]
    assert {tool.deadline_s for tool in made.tools.values()} == {2.0}
    assert made.config.notes == ()


async def asked(tool: str, **arguments: Any) -> Any:
    """The request that a call of a tool makes."""
    service = Scripted(http(200, '{"n": 1}', content_type="application/json"))
    async with network() as net:
        net.name("api.test", "10.0.0.1")
        net.serve("10.0.0.1", 80, service)
        app = create_app("gateway.toml")
        async with app.running():
            reply = await app.call(Request(tool, arguments, Context(request_id="r")), timeout_s=9)
        await wait_all_tasks_blocked()
    assert reply.value == {"n": 1}
    (request,) = service.requests
    return request


@pytest.mark.parametrize(
    ("tool", "arguments", "sent"),
    [
        (
            "listUsers",
            {"city": "Lyon", "ids": [1, 2]},
            ("GET", "/v1/users?ids=1,2&city=Lyon", b""),
        ),
        ("listUsers", {}, ("GET", "/v1/users", b"")),
        ("getUser", {"id": 7}, ("GET", "/v1/users/7", b"")),
        ("createUser", {"body": {"name": None}}, ("POST", "/v1/users", b'{"name":null}')),
        ("createUser", {}, ("POST", "/v1/users", b"")),
    ],
)
async def test_what_is_asked(
    folder: Path, autojump_clock: MockClock, tool: str, arguments: dict[str, Any], sent: Any
) -> None:
    built(SERVICE + IMPORT)
    request = await asked(tool, **arguments)
    assert (request.method, request.target, request.body) == sent


def with_replies(folder: Path, **schemas: Any) -> None:
    """A document of whose operations some answer by schemas."""
    content = json.loads(json.dumps(DOCUMENT))
    for item in content["paths"].values():
        for operation in item.values():
            schema = isinstance(operation, dict) and schemas.get(operation.get("operationId"))
            if schema:
                content_of = {"application/json": {"schema": schema}}
                operation["responses"] = {"200": {"content": content_of}}
    (folder / "api.json").write_text(json.dumps(content))


async def test_answers_are_held_against_the_documents_schemas_where_that_is_asked_for(
    folder: Path,
) -> None:
    with_replies(folder, getUser={"$ref": "#/components/schemas/User"}, listUsers={"type": "array"})
    assert {tool.answers for tool in built(SERVICE + IMPORT).tools.values()} == {None}
    made = built(SERVICE + IMPORT + "check_replies = true\n")
    shown = {name for name, tool in made.tools.items() if tool.answers is not None}
    assert shown == {"getUser"}
    users = ScriptedService()
    for value in ({"name": "Ada", "new": 1}, {"name": None}, {"id": 7}):
        users.reply(value)
    app = create_app("gateway.toml", services={"users": users})
    async with open_client(app) as client:
        answers = [await client.request("POST", "/tools/getUser", json={"id": 7}) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 502]
    assert answers[2].json()["code"] == "bad_reply"
    assert answers[2].json()["errors"] == [{"pointer": "/name", "detail": "required, but missing"}]


def test_so_many_tools_come_of_one_document(folder: Path) -> None:
    paths = {f"/{number}": {"get": {}} for number in range(MAX_TOOLS + 1)}
    (folder / "api.json").write_text(json.dumps({**DOCUMENT, "paths": paths}))
    assert lines(SERVICE + IMPORT) == [
        f"api.json: expected at most {MAX_TOOLS} operations, got {MAX_TOOLS + 1}: ask for fewer of them"
    ]


def test_an_answers_schema_that_cannot_be_used_costs_no_tool(folder: Path) -> None:
    broken = {"type": "object", "minProperties": "many"}
    with_replies(folder, getUser=broken, deleteUser={"$ref": "#/nowhere"})
    keys = 'operations = ["getUser", "deleteUser"]\ncheck_replies = true\n'
    made = built(SERVICE + IMPORT + keys)
    assert {name: tool.answers for name, tool in made.tools.items()} == {
        "getUser": None,
        "deleteUser": None,
    }
    first, second = made.config.notes
    assert first.startswith("answers not checked: api.json#/paths/~1users~1{id}/get: getUser: ")
    assert "output_schema.minProperties: not valid JSON Schema" in first
    assert second.endswith('expected a reference to a part, got "#/nowhere"')


@pytest.mark.parametrize(
    ("arguments", "pointer"),
    [({"id": "x"}, "/id"), ({}, "/id"), ({"id": 1, "city": "Lyon"}, "/city")],
)
async def test_arguments_are_checked(
    folder: Path, autojump_clock: MockClock, arguments: Any, pointer: str
) -> None:
    built(SERVICE + IMPORT)
    users = ScriptedService()
    app = create_app("gateway.toml", services={"users": users})
    async with open_client(app) as client:
        answer = await client.request("POST", "/tools/getUser", json=arguments)
    assert answer.status == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert users.requests == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            IMPORT.replace("users", "usres"),
            'gateway.toml:7: tools.api.service: expected the name of a service of kind http, got "usres"; did you mean "users"?',
        ),
        (
            IMPORT.replace('"users"', '"py"') + '[services.py]\nkind = "python"\nmodule = "m"\n',
            'gateway.toml:7: tools.api.service: expected the name of a service of kind http, got "py", of kind python',
        ),
        (
            IMPORT.replace("api.json", "none.json"),
            'gateway.toml:6: tools.api.from_openapi: expected a file such as "openapi/users.json", got "none.json": no such file',
        ),
        (
            IMPORT + 'operations = ["getUsr", "list*", "drop*"]\n',
            'gateway.toml:8: tools.api.operations[0]: expected the id of an operation of api.json, or a pattern of such, got "getUsr"; did you mean "getUser"?',
        ),
        (
            IMPORT + 'operations = ["putPicture"]\n',
            SKIPPED.removeprefix("not imported: "),
        ),
        (
            IMPORT + 'operations = ["putP*"]\n',
            "gateway.toml:8: tools.api.operations: expected operations that can be tools, got none",
        ),
        (IMPORT + "output = 'x'\n", "gateway.toml:8: tools.api.output: unknown key"),
        (
            IMPORT + "scopes = ['x']\n",
            "gateway.toml:8: tools.api.scopes: not available in this version",
        ),
        (
            IMPORT + "prefix = '1'\n",
            'gateway.toml:8: tools.api.prefix: expected the beginning of a name such as "users_", at most 32 characters, got "1"',
        ),
        (
            IMPORT.replace("from_openapi", "from_openap"),
            'gateway.toml:6: tools.api.from_openap: unknown key; did you mean "from_openapi"?',
        ),
        (
            IMPORT + '[tools.getUser.calls]\na = { service = "users", get = "/" }\n',
            'gateway.toml:5: tools.api: expected names of their own, got getUser, of api.json#/paths/~1users~1{id}/get, which is the name of tools.getUser at gateway.toml:8: write another prefix = "…", or leave it out',
        ),
    ],
)
def test_mistakes(folder: Path, text: str, message: str) -> None:
    assert message in lines(SERVICE + text)


def test_several_mistakes_at_once(folder: Path) -> None:
    keys = 'operations = ["getUsr", "putPicture"]\nprefix = 1\n'
    assert len(lines(SERVICE + IMPORT.replace('"users"', '"x"') + keys)) == 4


@pytest.mark.parametrize(
    ("right", "wrong", "line"),
    [
        ("http://", "htp://", "gateway.toml:3: services.users.url: "),
        ('"http"', '"htp"', "gateway.toml:2: services.users.kind: "),
    ],
)
def test_a_service_that_is_wrong_is_told_once(
    folder: Path, right: str, wrong: str, line: str
) -> None:
    (told,) = lines(SERVICE.replace(right, wrong) + IMPORT)
    assert told.startswith(line)


def test_two_documents_whose_operations_have_one_name(folder: Path) -> None:
    other = IMPORT.replace("tools.api", "tools.other").replace("api.json", "v2/api.json")
    (folder / "v2").mkdir()
    paths = {"/u/{id}": {"parameters": [USER], "get": {"operationId": "getUser"}}}
    (folder / "v2" / "api.json").write_text(json.dumps({**DOCUMENT, "paths": paths}))
    (told,) = lines(SERVICE + IMPORT + other)
    assert told.startswith("gateway.toml:8: tools.other: expected names of their own, got getUser")
    assert "v2/api.json#/paths/~1u~1{id}/get" in told
    assert "the name of api.json#/paths/~1users~1{id}/get" in told
    assert set(built(SERVICE + IMPORT + other + 'prefix = "v2_"\n').tools) >= {
        "getUser",
        "v2_getUser",
    }


def test_the_same_operation_twice(folder: Path) -> None:
    again = IMPORT.replace("tools.api", "tools.again") + 'operations = ["getUser"]\n'
    (told,) = lines(SERVICE + IMPORT + again)
    where = "api.json#/paths/~1users~1{id}/get"
    assert f"got getUser, of {where}, which is the name of {where} by tools.api: " in told


def test_a_tool_may_be_written_in_the_place_of_one_that_is_not_imported(folder: Path) -> None:
    own = '[tools.putPicture.calls]\nreply = { service = "users", put = "/x" }\n'
    assert "putPicture" in built(SERVICE + IMPORT + own).tools


def test_a_document_is_wrong_as_a_file_is(folder: Path) -> None:
    (folder / "api.json").write_text(json.dumps({"swagger": "2.0"}))
    (told,) = lines(SERVICE + IMPORT)
    assert told.startswith('api.json: expected an OpenAPI 3.0 or 3.1 document, got Swagger "2.0"')


def test_what_the_service_refuses_is_told_at_the_operation(folder: Path) -> None:
    header = {"in": "header", "name": "X-Request-Timeout-Ms", "schema": {"type": "string"}}
    paths = {"/a": {"get": {"operationId": "a", "parameters": [header]}}}
    (folder / "api.json").write_text(json.dumps({**DOCUMENT, "paths": paths}))
    (told,) = lines(SERVICE + IMPORT)
    assert told.startswith("api.json#/paths/~1a/get: tools.a.calls.reply.headers: ")


def test_a_document_stands_beside_the_file_that_names_it(folder: Path) -> None:
    (folder / "parts").mkdir()
    (folder / "api.json").rename(folder / "parts" / "api.json")
    (folder / "parts" / "tools.toml").write_text(IMPORT)
    assert "getUser" in built('include = ["parts/*.toml"]\n' + SERVICE).tools
