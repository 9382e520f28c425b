"""Mappings instead of files, and secrets that stand in the file itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.config.loader import load_mapping

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def lines(kinds: Any, policies: Any) -> Any:
    def lines(mapping: Any, **where: Any) -> list[str]:
        loaded = load_mapping(mapping, kinds=kinds, policies=policies, environ={}, **where)
        return [str(problem) for problem in loaded.problems]

    return lines


def test_a_mapping_is_like_a_file(kinds: Any, policies: Any, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k")
    mapping = {
        "server": {"bind": ("127.0.0.1:1",), "deadline": "2s"},
        "services": {"users": {"kind": "http", "url": "http://a/", "headers": {"key": "file:key"}}},
        "tools": {"t": {"calls": {"a": {"service": "users", "get": "/a", "query": {"x": (1, 2)}}}}},
    }
    loaded = load_mapping(mapping, kinds=kinds, policies=policies, base=tmp_path)
    config = loaded.unwrap()
    assert config.server.bind == ("127.0.0.1:1",)
    assert config.services["users"].settings.headers["key"].reveal() == "k"
    assert config.tools["t"].calls["a"].keys.query == {"x": [1, 2]}
    assert config.path == tmp_path / "<mapping>"


def test_mistakes_name_their_key_alone(lines: Any) -> None:
    assert lines({"services": {"users": {"kind": "http"}}, "server": {"bind": ["x"]}}) == [
        '<mapping>: server.bind[0]: expected an address such as "127.0.0.1:8080", "[::1]:8080" or "unix:/run/gateway.sock", got "x": a port is missing',
        '<mapping>: services.users.url: missing; expected a URL such as "https://users.internal/api"',
    ]


@pytest.mark.parametrize(
    ("mapping", "line"),
    [
        ({"include": ["a.toml"]}, "include: only a file includes others"),
        ({"server": {1: 2}}, "expected keys that are strings, got 1"),
        (
            {"server": {"deadline": object()}},
            'server.deadline: expected a duration such as "2s", got a value of type object',
        ),
        (
            {"server": {"deadline": None}},
            'server.deadline: expected a duration such as "2s", got a value of type NoneType',
        ),
    ],
)
def test_what_no_file_could_say(lines: Any, mapping: Any, line: str) -> None:
    assert lines(mapping) == [f"<mapping>: {line}"]


def test_a_mapping_within_itself(lines: Any) -> None:
    mapping: dict[str, Any] = {}
    mapping["server"] = mapping
    assert lines(mapping) == ["<mapping>: nested deeper than 64"]


def test_secrets_in_the_file_are_told_to_whoever_asks(files: Any) -> None:
    files.environ["T"] = "t"
    loaded = files.load("""\
[services.a]
kind = "http"
url = "https://me:hunter2@a/"
[services.b]
kind = "http"
url = "https://b/"
[services.b.headers]
authorization = "Bearer hunter2"
x-api-key = "env:T"
X-Session-Token = "hunter2"
accept = "text/plain"
""")
    assert len(loaded.problems) == 0
    assert [str(problem) for problem in loaded.problems.literals()] == [
        f'gateway.toml:{line}: services.{key}: a secret in the file: write "env:NAME" or "file:PATH"'
        for line, key in (
            (3, "a.url"),
            (8, "b.headers.authorization"),
            (10, "b.headers.X-Session-Token"),
        )
    ]
    assert "hunter2" not in repr(loaded.config)
