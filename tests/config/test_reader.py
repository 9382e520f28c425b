"""Files: what cannot be read, what is not TOML, and `include`."""

from __future__ import annotations

import os
from typing import Any

import pytest

USERS = '[services.users]\nkind = "http"\nurl = "http://users/"\n'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[server]\ndeadline =\n", "2: not valid TOML: Invalid value, column 11"),
        (
            "a = 2s\n",
            "1: not valid TOML: Expected newline or end of document after a statement, column 6",
        ),
        ('a = "\n\n', "1: not valid TOML: Illegal character '\\n', column 6"),
        ("\na = [1,\n\n", "2: not valid TOML: Invalid value, at the end"),
        (
            "[server]\r\na = 1\r\n[server]\r\n",
            "3: not valid TOML: server is already defined in line 1",
        ),
        (
            "[services.users]\nkind = 1\nurl = 2\nkind = 3\n",
            "4: not valid TOML: services.users.kind is already defined in line 2",
        ),
        ('a = 1\na = """\n\n"""\n', "2: not valid TOML: a is already defined in line 1"),
        ("a.b = 1\n[a]\n", "2: not valid TOML: Cannot declare ('a',) twice, column 3"),
        (b"a = 1\nb = '\xff'\n", "2: not UTF-8 text: byte 0xff"),
        ("\ufeffa = 1\n", "1: begins with a byte order mark: save it without"),
        ("\n\na = " + "[" * 70 + "]" * 70, "3: nested deeper than 64"),
    ],
)
def test_what_is_not_toml(files: Any, text: str | bytes, line: str) -> None:
    loaded = files.load(text)
    assert loaded.config is None
    assert [str(problem) for problem in loaded.problems] == [f"gateway.toml:{line}"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = " + "[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("#" * (4 * 1024 * 1024 + 1), "larger than 4MiB"),
    ],
)
def test_what_is_too_much(files: Any, text: str, line: str) -> None:
    assert files.lines(text) == [f"gateway.toml: {line}"]


def test_a_number_beyond_all_bounds(files: Any) -> None:
    (line,) = files.lines("a = " + "1" * 5000)
    assert line.startswith("gateway.toml: not valid TOML: Exceeds the limit")


def test_files_that_cannot_be_read(files: Any) -> None:
    assert files.lines() == ["gateway.toml: no such file"]
    (files.folder / "gateway.toml").mkdir()
    assert files.lines() == ["gateway.toml: is a directory"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lines_whatever_ends_them(files: Any, newline: str) -> None:
    text = '[server]\nallowed_hosts = [\n "a", """\n\n""",\n 3 ]\n[zzz]\n'.replace("\n", newline)
    assert files.lines(text) == [
        "gateway.toml:6: server.allowed_hosts[2]: expected a string, got 3",
        "gateway.toml:7: zzz: unknown section",
    ]


def test_includes_merge_in_order(files: Any) -> None:
    files.write("services/b.toml", '[services.b]\nkind = "http"\nurl = "http://b/"\n')
    files.write("services/a.toml", '[services.a]\nkind = "http"\nurl = "http://a/"\n')
    files.write("more/tools.toml", 'include = ["../last.toml"]\n[tools.t]\ndescription = "x"\n')
    files.write("last.toml", '[tools.t.calls]\nx = { service = "users", get = "/" }\n')
    loaded = files.load('include = ["services/*.toml", "more/tools.toml"]\n' + USERS)
    config = loaded.unwrap()
    assert list(config.services) == ["users", "a", "b"]
    assert config.tools["t"].settings.description == "x"
    assert list(config.tools["t"].calls) == ["x"]
    assert "include" not in config.explicit


def test_mistakes_stand_in_the_file_that_has_them(files: Any) -> None:
    files.write("services/b.toml", '\n[services.b]\nkind = "http"\nurl = 1\n')
    files.write("services/a.toml", '[services.a]\nkind = "http"\n')
    text = 'include = ["services/*.toml"]\n[server]\ndrain = 3\n[services.c]\n'
    assert files.lines(text) == [
        'gateway.toml:3: server.drain: expected a duration such as "2s", got 3; write the unit',
        'gateway.toml:4: services.c.kind: missing; expected one of "http", "python"',
        'services/a.toml:1: services.a.url: missing; expected a URL such as "https://users.internal/api"',
        'services/b.toml:4: services.b.url: expected a URL such as "https://users.internal/api", got 1',
    ]


def test_what_a_file_names_is_looked_up_beside_it(files: Any) -> None:
    files.write("services/a.toml", USERS + 'headers = { x-key = "file:key" }\n')
    files.write("services/key", "k\n")
    config = files.load('include = ["services/a.toml"]\n').unwrap()
    assert config.services["users"].settings.headers["x-key"].reveal() == "k"


@pytest.mark.parametrize(
    ("main", "other", "line"),
    [
        (USERS, "\n" + USERS, "2: services.users: already defined at gateway.toml:2"),
        ("[server]\n", "[server]\n", "1: server: already defined at gateway.toml:2"),
        (
            'server.drain = "1s"\n',
            '[server]\ndrain = "1s"\n',
            "2: server.drain: already defined at gateway.toml:2",
        ),
        ("server = {}\n", "[server.tls]\n", "1: server: already defined at gateway.toml:2"),
        ("[server.tls]\n", "server = {}\n", "1: server: already defined at gateway.toml:2"),
        ("[[a]]\n", "[[a]]\n", "1: a: already defined at gateway.toml:2"),
    ],
)
def test_the_same_twice_names_both_places(files: Any, main: str, other: str, line: str) -> None:
    files.write("other.toml", other)
    lines = files.lines('include = ["other.toml"]\n' + main)
    assert [found for found in lines if "already" in found] == [f"other.toml:{line}"]


def test_a_header_tells_a_tables_line_whichever_file_it_is_in(files: Any) -> None:
    files.write("other.toml", '\n\n[services.users]\nkind = "http"\n')
    text = 'include = ["other.toml"]\n[services.users.headers]\nx = "y"\n'
    assert files.lines(text) == [
        'other.toml:3: services.users.url: missing; expected a URL such as "https://users.internal/api"'
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            'include = "a.toml"\n',
            '1: include: expected a list of files such as ["services/*.toml"], got "a.toml"',
        ),
        ("include = [\n3]\n", '2: include[0]: expected files such as "services/*.toml", got 3'),
        ('include = ["a/*.toml"]\n', '1: include[0]: "a/*.toml" matches no file'),
        ('include = ["folder"]\n', '1: include[0]: "folder" matches no file'),
        ('include = ["*.toml"]\n', '1: includes "gateway.toml", which includes this file: a cycle'),
    ],
)
def test_what_cannot_be_included(files: Any, text: str, line: str) -> None:
    (files.folder / "folder").mkdir()
    call = '[tools.t.calls]\na = { service = "elsewhere", get = "/" }\n'
    loaded = files.load(text + call)
    assert loaded.config is None
    assert [str(problem) for problem in loaded.problems] == [f"gateway.toml:{line}"]


def test_a_cycle_through_another_file(files: Any) -> None:
    files.write("conf/a.toml", '\ninclude = ["../gateway.toml"]\n')
    assert files.lines('include = ["conf/a.toml"]\n') == [
        'conf/a.toml:2: includes "../gateway.toml", which includes this file: a cycle'
    ]


def test_a_file_included_twice_is_read_once(files: Any) -> None:
    files.write("a.toml", USERS)
    files.write("b.toml", 'include = ["a.toml"]\n')
    assert files.lines('include = ["a.toml", "*a.toml", "b.toml"]\n') == []


def test_includes_are_bounded(files: Any) -> None:
    for index in range(10):
        files.write(f"a{index}.toml", f'include = ["a{index + 1}.toml"]\n')
    files.write("a10.toml", "")
    assert files.lines('include = ["a0.toml"]\n') == [
        "a7.toml:1: include[0]: files include one another deeper than 8"
    ]


def test_an_included_file_that_is_not_toml(files: Any) -> None:
    files.write("a.toml", "\n=\n")
    files.write("b.toml", b"\xff")
    call = '[tools.t.calls]\na = { service = "elsewhere", get = "/" }\n'
    assert files.lines('include = ["a.toml", "b.toml"]\n' + call) == [
        "a.toml:2: not valid TOML: Invalid statement, column 1",
        "b.toml:1: not UTF-8 text: byte 0xff",
    ]


def test_absolute_patterns(files: Any) -> None:
    path = files.write("elsewhere/a.toml", USERS + "x = 1\n")
    assert files.lines(f'include = ["{path}"]\n') == [f"{path}:4: services.users.x: unknown key"]


def test_the_file_is_shown_as_it_was_named(files: Any) -> None:
    files.write("gateway.toml", "")
    files.write("conf/x.toml", "")
    assert os.fspath(files.load().config.path) == "gateway.toml"
