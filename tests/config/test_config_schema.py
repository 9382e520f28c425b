"""The JSON Schema allows what decoding allows, as far as a schema can tell."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gateway.adapters import ADAPTERS
from gateway.config.schema import json_schema
from gateway.policies import POLICIES
from tests.third_party import memcached_kind

ROOT = Path(__file__).parents[2]
SERVICE = '[services.users]\nkind = "http"\nurl = "https://users.internal/api"\n'
TOOL = '[tools.t.calls.a]\nservice = "users"\nget = "/a"\n'


@pytest.fixture(scope="module")
def schema(kinds: Any, policies: Any) -> dict[str, Any]:
    return json_schema(kinds, policies)


@pytest.fixture(scope="module")
def validator(schema: Any) -> jsonschema.Draft7Validator:
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def test_is_json(schema: Any) -> None:
    assert json.loads(json.dumps(schema)) == schema


def test_says_what_every_key_is_for(schema: Any) -> None:
    deadline = schema["properties"]["server"]["properties"]["deadline"]
    assert deadline["default"] == "10s"
    assert deadline["description"] == "Ceiling and default of every request's budget."
    assert deadline["pattern"].startswith("^")
    for section in ("services", "profiles", "tools", "server", "include"):
        assert schema["properties"][section]["description"]
    for definition in ("service.http", "call.http", "tool", "profile"):
        for name, key in schema["definitions"][definition]["properties"].items():
            assert key["description"], name


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=str(path.relative_to(ROOT)))
        for path in sorted((ROOT / "config").glob("**/*.toml"))
    ],
)
def test_takes_the_files_people_start_from(path: Path) -> None:
    policies = {key: policy.codec for key, policy in POLICIES.items()}
    kinds = {**ADAPTERS, "memcached": memcached_kind().KIND}
    jsonschema.Draft7Validator(json_schema(kinds, policies)).validate(
        tomllib.loads(path.read_text())
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        'include = ["services/*.toml"]\n',
        (
            '[server]\nbind = ["[::1]:80", "unix:/run/g.sock", "localhost:8080"]\nworkers = "auto"\n'
            'deadline = "1m30s"\nmax_body = "64KiB"\ntls = { certificate = "file:a", key = "b" }\n'
        ),
        SERVICE + 'use = "flaky"\ntimeout = "2s"\nmax_reply = "none"\n'
        'headers = { authorization = "env:T" }\n[profiles.flaky]\ntimeout = "250ms"\n',
        '[services.users]\nkind = "http"\nurl = "env:URL"\n',
        (
            '[services.ldap]\nkind = "python"\nmodule = "a.b"\n[tools.t]\n'
            'calls = { a = { service = "ldap", function = "f", arguments = { x = "{x}" } } }\n'
        ),
        SERVICE + TOOL + 'optional = true\ndefault = []\ntimeout = "0.5s"\nwhen = "x"\n'
        '[tools.t]\nhttp = "GET /customers/{id}"\nwait = 1\noutput = "a"\ninput.properties.id = "integer"\n',
        SERVICE + TOOL + '[tools.t]\nwait = "first"\n[tools.t.output]\na = "b"\n',
        SERVICE + '[tools.api]\nfrom_openapi = "api.json"\nservice = "users"\n'
        'operations = ["*"]\nprefix = "u_"\ndeadline = "2s"\n',
        '[access]\nanonymous = true\n[mcp]\npath = "/mcp"\n[telemetry]\nlog = "console"\n',
    ],
)
def test_takes_what_decodes(text: str, validator: Any, files: Any) -> None:
    files.environ |= {"T": "t", "URL": "http://users/"}
    for name in ("a", "b"):
        files.write(name, "x")
    files.write("services/none.toml", "")
    files.write("api.json", '{"openapi": "3.1.0", "paths": {"/a": {"get": {}}}}')
    assert files.lines(text) == []
    validator.validate(tomllib.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        "zzz = 1\n",
        "[server]\ntimeot = 1\n",
        "[server]\ndeadline = 2\n",
        '[server]\ndeadline = ""\n',
        '[server]\ndeadline = "2 parsecs"\n',
        "[server]\nworkers = 0\n",
        "[server]\nworkers = 257\n",
        '[server]\nworkers = "aut"\n',
        '[server]\nmax_body = "none"\n',
        '[server]\nbind = ["8080"]\n',
        "[server]\nbind = []\n",
        '[server]\ntls = { certificate = "a" }\n',
        '[services.users]\nurl = "http://a/"\n',
        '[services.users]\nkind = "htp"\nurl = "http://a/"\n',
        '[services.users]\nkind = "http"\nurl = "ftp://a/"\n',
        '[services."a b"]\nkind = "http"\nurl = "http://a/"\n',
        SERVICE + "retry = {}\n",
        SERVICE + 'module = "a"\n',
        SERVICE + 'headers = { "a b" = "x" }\n',
        SERVICE + TOOL + "gte = 1\n",
        SERVICE + TOOL + 'function = "f"\n',
        SERVICE + "[tools.t]\ncalls = {}\n",
        SERVICE + '[tools.t]\nfrom_openapi = "a"\nservice = "users"\nwait = "all"\n',
        SERVICE + '[tools.t]\nfrom_openapi = "a"\n',
        SERVICE + '[tools.t]\ndescription = "x"\n',
        SERVICE + TOOL + '[tools.t]\nhttp = "FETCH /"\n',
        SERVICE + TOOL + '[tools.t]\ninput.properties.id = "int"\n',
        SERVICE + TOOL + "[tools.t]\nwait = 0\n",
        SERVICE + TOOL + '[tools.t.output]\n_errors = "b"\n',
        "[profiles.flaky]\nmax_reply = 1\n",
    ],
)
def test_refuses_what_does_not_decode(text: str, validator: Any, files: Any) -> None:
    assert files.lines(text) != []
    assert not validator.is_valid(tomllib.loads(text))
