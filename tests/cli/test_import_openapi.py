"""`gateway import-openapi`: the TOML it prints is what `from_openapi` means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway import load_config
from gateway.cli import main
from tests.config.test_decode_imports import DOCUMENT, SKIPPED

SERVICE = '[services.users]\nkind = "http"\nurl = "https://api.test/v1"\n'
SHOWN = {"type": "object", "properties": {"next": {"type": "string", "nullable": True}}}
FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {"properties": {"a": {"type": "object"}, "b": {"enum": ['"\\', "\n"]}}},
                "encoding": {"a": {"style": "deepObject"}},
            }
        },
    },
    "responses": {"200": {"content": {"application/json": {"schema": SHOWN}}}},
}
PATHS = {
    **DOCUMENT["paths"],
    "/form": {"post": {"operationId": "form", "description": 'Says """ and \\.\n\nTwice.', **FORM}},
    "/files": {
        "post": {
            "operationId": "upload",
            "requestBody": {
                "content": {
                    "multipart/form-data": {
                        "schema": {
                            "properties": {
                                "note": {"type": "string"},
                                "picture": {"type": "string", "format": "binary"},
                                "more-pictures": {"items": {"contentMediaType": "image/png"}},
                            }
                        }
                    }
                }
            },
        }
    },
    "/{ids}": {
        "get": {
            "operationId": "styled",
            "parameters": [
                {"in": "path", "name": "ids", "schema": {"type": "array"}, "style": "matrix"},
                {"in": "cookie", "name": "c"},
            ],
        }
    },
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "api.json").write_text(json.dumps({**DOCUMENT, "paths": PATHS}))
    return tmp_path


@pytest.mark.parametrize("patterns", [[], ["getUser"], ["list*", "styled"]])
@pytest.mark.parametrize("prefix", ["", "u_"])
@pytest.mark.parametrize("checked", [False, True])
def test_what_is_printed_is_what_from_openapi_means(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    patterns: list[str],
    prefix: str,
    checked: bool,
) -> None:
    options = ["--operations", *patterns] if patterns else []
    options += ["--prefix", prefix] if prefix else []
    options += ["--check-replies"] if checked else []
    assert main(["import-openapi", "api.json", "--service", "users", *options]) == 0
    printed, said = capsys.readouterr()
    assert said == ("" if patterns else SKIPPED + "\n")
    (folder / "printed.toml").write_text(SERVICE + printed)
    imports = f'[tools.api]\nfrom_openapi = "api.json"\nservice = "users"\nprefix = "{prefix}"\n'
    imports += f"operations = {json.dumps(patterns)}\n" if patterns else ""
    imports += "check_replies = true\n" if checked else ""
    (folder / "meant.toml").write_text(SERVICE + imports)
    written, meant = load_config("printed.toml").tools, load_config("meant.toml").tools
    assert list(written) == list(meant)
    shown = {name for name, tool in meant.items() if tool.settings.output_schema is not None}
    assert shown == ({prefix + "form"} if checked and not patterns else set())
    for name, tool in meant.items():
        assert attrs.asdict(written[name]) == attrs.asdict(tool)


def test_without_a_service_it_prints_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import-openapi", "api.json"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# 7 tools, by gateway import-openapi\n\n[services.users]\n")
    (folder / "gateway.toml").write_text(printed)
    config = load_config("gateway.toml")
    assert config.services["users"].settings.url == "https://api.test/v1"


@pytest.mark.parametrize(
    ("changed", "service"),
    [
        (
            {"servers": [{"url": "/v1"}], "info": {"title": "1 & 2"}},
            [
                "[services.api]",
                'kind = "http"',
                "# The document does not say where the API is: write it here, or into the environment.",
                'url = "env:API_URL"',
            ],
        ),
        (
            {
                "components": {
                    **DOCUMENT["components"],
                    "securitySchemes": {
                        "a": {"type": "apiKey", "in": "header", "name": "X-Key\n[x]"},
                        "b": {"type": "http", "scheme": "bearer"},
                        "c": {"type": "apiKey", "in": "query", "name": "key"},
                        "d": {"type": "apiKey", "in": "cookie", "name": "sid"},
                    },
                }
            },
            [
                "[services.users]",
                'kind = "http"',
                'url = "https://api.test/v1"',
                "# It may want header X-Key\\u000a[x]",
                '# headers = { "x-key\\n[x]" = "env:USERS_TOKEN" }',
                "# It may want header authorization: Bearer …",
                '# headers = { authorization = "env:USERS_TOKEN" }',
                "# It may want query key, but services send headers alone.",
                "# It may want cookie sid",
                '# headers = { cookie = "env:USERS_TOKEN" }',
            ],
        ),
    ],
)
def test_the_service_as_far_as_the_document_says(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    changed: Any,
    service: list[str],
) -> None:
    (folder / "api.json").write_text(json.dumps({**DOCUMENT, **changed}))
    assert main(["import-openapi", "api.json"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[2 : 2 + len(service)] == service
    monkeypatch.setenv("API_URL", "https://api.test")
    (folder / "gateway.toml").write_text(printed)
    load_config("gateway.toml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.json"], "none.json: no such file"),
        (
            ["api.json", "--operations", "getUsr", "list*"],
            '--operations: expected the id of an operation, or a pattern of such, got "getUsr"; did you mean "getUser"?',
        ),
        (["api.json", "--operations", "putPicture"], SKIPPED.removeprefix("not imported: ")),
        (["api.json", "--service", "1x"], '--service: expected a letter, then letters, digits, _ or -, got "1x"'),
        (["api.json", "--prefix", "ä"], '--prefix: expected a letter, then letters, digits, _ or -, got "ä"'),
        (["api.json", "--operations", "putP*"], "api.json: expected operations that can be tools, got none"),
    ],
)  # fmt: skip
def test_mistakes(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["import-openapi", *arguments]) == 2
    printed, said = capsys.readouterr()
    assert printed == ""
    assert said.splitlines()[0] == message


def test_check_names_what_is_not_imported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = SERVICE + '[tools.api]\nfrom_openapi = "api.json"\nservice = "users"\n'
    (folder / "gateway.toml").write_text(text)
    assert main(["check"]) == 0
    assert capsys.readouterr().out == f"gateway.toml: fine: 1 service, 7 tools\n{SKIPPED}\n"
