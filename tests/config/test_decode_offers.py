"""`[prompts.NAME]` and `[resources.NAME]`: their keys, and what they may not be."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import ConfigError, load_config

SERVICE = '[services.s]\nkind = "http"\nurl = "http://api.test"\n'
TOOL = (
    '[tools.customer]\ninput = { properties = { id = "integer" }, required = ["id"] }\n'
    'calls.a = { service = "s", get = "/{id}" }\n'
)


def lines(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "p.md").write_text("Summarise {text}")
    (tmp_path / "broken.md").write_text("Summarise {text")
    (tmp_path / "binary").write_bytes(b"\xff")
    path = tmp_path / "gateway.toml"
    path.write_text(SERVICE + TOOL + text)
    try:
        load_config(path)
    except ConfigError as error:
        return [line.partition("gateway.toml")[2] for line in str(error).splitlines()]
    return []


@pytest.mark.parametrize(
    "text",
    [
        '[prompts.p]\nfile = "p.md"\n',
        '[prompts.p]\nfile = "file:p.md"\ntitle = "P"\ndescription = "Does p."\n',
        '[prompts.p]\ntool = "customer"\ntitle = "P"\n',
        '[resources.r]\nuri = "docs://r"\nfile = "p.md"\nmime_type = "text/x"\ntitle = "R"\n',
        '[resources.r]\nuri_template = "crm://c/{id}"\ntool = "customer"\ndescription = "x"\n',
    ],
)
def test_what_is_right(tmp_path: Path, text: str) -> None:
    assert lines(tmp_path, text) == []


ONE = "expected uri, or uri_template for a tool's answers"
A_TEMPLATE = (
    'expected a URI with placeholders apart from each other, such as "crm://customers/{id}"'
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("prompts = 1\n", [":1: prompts: expected a table, got 1"]),
        ("[prompts.p]\n", [":7: prompts.p: expected file or tool"]),
        (
            '[prompts.p]\nfile = "p.md"\ntool = "customer"\n',
            [":7: prompts.p: expected file or tool, got both"],
        ),
        (
            '[prompts.p]\ntool = "custmer"\n',
            [
                (
                    ':8: prompts.p.tool: expected the name of a tool, got "custmer"; '
                    'did you mean "customer"?'
                )
            ],
        ),
        (
            '[prompts.p]\nfile = "nothing.md"\n',
            [
                (
                    ':8: prompts.p.file: expected a file such as "prompts/summarise.md", '
                    'got "nothing.md": no such file'
                )
            ],
        ),
        (
            '[prompts.p]\nfile = "broken.md"\n',
            [
                (
                    ':8: prompts.p.file: expected a text with placeholders: a "{" without "}": '
                    'write "{{" for a literal brace'
                )
            ],
        ),
        ('[prompts.p]\nfiel = "p.md"\n', [':8: prompts.p.fiel: unknown key; did you mean "file"?']),
        ('[prompts."p q"]\nfile = "p.md"\n', None),
        ("[resources.r]\n", [f":7: resources.r: {ONE}"]),
        ('[resources.r]\nuri = "docs://r"\n', [":7: resources.r: expected file or tool"]),
        (
            '[resources.r]\nuri = "docs://r"\nfile = "p.md"\ntool = "customer"\n',
            [":7: resources.r: expected file or tool, got both"],
        ),
        (
            '[resources.r]\nuri = "docs://r"\nuri_template = "docs://{r}"\nfile = "p.md"\n',
            [f":7: resources.r: {ONE}, got both"],
        ),
        (
            '[resources.r]\nuri_template = "docs://{r}"\nfile = "p.md"\n',
            [":9: resources.r.file: a file has one uri: only a tool answers a uri_template"],
        ),
        (
            '[resources.r]\nuri = "handbook"\nfile = "p.md"\n',
            [':8: resources.r.uri: expected a URI such as "docs://handbook", got "handbook"'],
        ),
        (
            '[resources.r]\nuri_template = "c://{id}{x}"\ntool = "customer"\n',
            [f':8: resources.r.uri_template: {A_TEMPLATE}, got "c://{{id}}{{x}}"'],
        ),
        (
            '[resources.r]\nuri_template = "c://{id}/{id}/{x}"\ntool = "customer"\n',
            [
                ":8: resources.r.uri_template: {id} stands in it twice",
                ":8: resources.r.uri_template: {x} is no input of tools.customer",
            ],
        ),
        (
            '[resources.r]\nuri = "c://x"\ntool = "customer"\n',
            [
                ":8: resources.r.uri: expected {id} in it: tools.customer requires that input",
            ],
        ),
        (
            '[resources.r]\nuri = "c://x"\ntool = "custmer"\n',
            [
                (
                    ':9: resources.r.tool: expected the name of a tool, got "custmer"; '
                    'did you mean "customer"?'
                )
            ],
        ),
        (
            '[resources.r]\nuri = "c://x"\nfile = "p.md"\n[resources.q]\nuri = "c://x"\nfile = "p.md"\n',
            [":11: resources.q.uri: expected one of its own, got c://x, taken by resources.r.uri"],
        ),
        ("[resources]\nr = 1\n", [":8: resources.r: expected a table with uri and file, got 1"]),
    ],
)
def test_what_is_wrong(tmp_path: Path, text: str, wanted: list[str] | None) -> None:
    if text.startswith("prompts = "):
        path = tmp_path / "gateway.toml"
        path.write_text(text + SERVICE + TOOL)
        with pytest.raises(ConfigError) as caught:
            load_config(path)
        found = [line.partition("gateway.toml")[2] for line in str(caught.value).splitlines()]
    else:
        found = lines(tmp_path, text)
    if wanted is None:
        assert found
    else:
        assert found == wanted


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (told,) = lines(tmp_path, '[prompts.p]\nfile = "binary"\n')
    assert told.startswith(":8: prompts.p.file: expected a text with placeholders: 'utf-8' codec")
