"""Mistakes of a plan's graph: one line each, at the line they stand in."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.build import load_config
from gateway.config.problems import ConfigError
from gateway.plan.graph import find_cycles

SERVICES = """\
[services.users]
kind = "http"
url = "http://users.test"
allow_private = true
[services.functions]
kind = "python"
module = "string"
"""
BELOW = SERVICES.count("\n")


def mistakes(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each mistake in `text`, put below the services; its lines count from 1."""
    monkeypatch.chdir(folder)
    Path("gateway.toml").write_text(SERVICES + text)
    with pytest.raises(ConfigError) as caught:
        load_config("gateway.toml")
    return [_counted_anew(line) for line in str(caught.value).split("\n")]


def _counted_anew(line: str) -> str:
    file, number, rest = line.split(":", 2)
    assert file == "gateway.toml"
    return f"{int(number) - BELOW}:{rest}"


# text below the services → its mistakes
ONE = {
    "a cycle of two": (
        """\
        [tools.t.calls]
        a = { service = "users", get = "/{b.id}" }
        b = { service = "users", get = "/{a.id}" }
        """,
        (
            "2: tools.t.calls.a: expected calls that can start, got a cycle in which each waits: "
            "a → b → a"
        ),
    ),
    "a cycle through a condition": (
        """\
        [tools.t.calls]
        x = { service = "users", get = "/" }
        a = { service = "users", get = "/", when = "c.ok" }
        b = { service = "users", get = "/{a}/{x}" }
        c = { service = "functions", function = "capwords", arguments = { s = ["{b}"] } }
        """,
        (
            "3: tools.t.calls.a: expected calls that can start, got a cycle in which each waits: "
            "a → c → b → a"
        ),
    ),
    "a call that reads itself": (
        """\
        [tools.t.calls.a]
        service = "users"
        post = "/"
        json = { x = "{a.id}" }
        """,
        "1: tools.t.calls.a: expected calls that can start, got a cycle in which each waits: a → a",
    ),
    "an unknown name in a path": (
        """\
        [tools.t]
        input.properties.customer = "integer"
        [tools.t.calls.a]
        service = "users"
        get = "/{custmer}"
        """,
        (
            "5: tools.t.calls.a.get: expected an input or a call (a, customer), got 'custmer'; "
            'did you mean "customer"?'
        ),
    ),
    "an unknown name with nothing near it": (
        """\
        [tools.t.calls.a]
        service = "users"
        get = "/{zzz}"
        """,
        "3: tools.t.calls.a.get: expected an input or a call (a), got 'zzz'",
    ),
    "an unknown name deep in a body": (
        """\
        [tools.t.calls.a]
        service = "users"
        post = "/"
        [tools.t.calls.a.json]
        list = [
          "fine",
          { deep = "{nam}" },
        ]
        [tools.t.input]
        properties.name = "string"
        """,
        (
            "7: tools.t.calls.a.json.list[1].deep: expected an input or a call (a, name), "
            "got 'nam'; did you mean \"name\"?"
        ),
    ),
    "an unknown name in a condition": (
        """\
        [tools.t.calls]
        user = { service = "users", get = "/" }
        a = { service = "users", get = "/", when = "usr.active" }
        """,
        (
            "3: tools.t.calls.a.when: expected an input or a call (a, user), got 'usr'; "
            'did you mean "user"?'
        ),
    ),
    "an unknown name in the output": (
        """\
        [tools.t.calls]
        user = { service = "users", get = "/" }
        [tools.t.output]
        fine = "user.name"
        wrong = "usr.name"
        """,
        (
            "5: tools.t.output.wrong: expected an input or a call (user), got 'usr'; "
            'did you mean "user"?'
        ),
    ),
    "an unknown name in an output that is one expression": (
        """\
        [tools.t]
        output = "usr.name"
        calls.user = { service = "users", get = "/" }
        """,
        "2: tools.t.output: expected an input or a call (user), got 'usr'; did you mean \"user\"?",
    ),
    "a name that is an input and a call": (
        """\
        [tools.t]
        input.properties.user = "string"
        calls.user = { service = "users", get = "/" }
        """,
        "3: tools.t.calls.user: expected a name of its own, got 'user', an input's name",
    ),
    "a placeholder of the route that is no input": (
        """\
        [tools.t]
        http = "GET /users/{user_id}"
        input.properties.userid = "string"
        calls.a = { service = "users", get = "/" }
        """,
        (
            "2: tools.t.http: expected an input or a call (userid), got 'user_id'; "
            'did you mean "userid"?'
        ),
    ),
    "a placeholder of the route that is a call": (
        """\
        [tools.t]
        http = "GET /users/{a}"
        calls.a = { service = "users", get = "/" }
        """,
        "2: tools.t.http: expected an input or a call (none), got 'a'",
    ),
    "two tools at one route": (
        """\
        [tools.t]
        http = "GET /users/{id}"
        input.properties.id = "string"
        calls.a = { service = "users", get = "/" }
        [tools.u]
        http = "GET /users/{name}"
        input.properties.name = "string"
        calls.a = { service = "users", get = "/" }
        """,
        (
            "6: tools.u.http: expected a route of its own, got GET /users/{name}, "
            "taken by tools.t.http"
        ),
    ),
    "a route that every tool has": (
        """\
        [tools.t]
        http = "POST /tools/u"
        calls.a = { service = "users", get = "/" }
        [tools.u]
        calls.a = { service = "users", get = "/" }
        """,
        (
            "2: tools.t.http: expected a route of its own, got POST /tools/u, "
            "taken by tools.u (POST /tools/u)"
        ),
    ),
    "the route of MCP": (
        """\
        [tools.t]
        http = "POST /mcp"
        calls.a = { service = "users", get = "/" }
        """,
        "2: tools.t.http: expected a route of its own, got POST /mcp, taken by mcp.path",
    ),
    "the route of MCP by another method": (
        """\
        [mcp]
        path = "/agents"
        [tools.t]
        http = "GET /agents"
        calls.a = { service = "users", get = "/" }
        """,
        "4: tools.t.http: expected a route of its own, got GET /agents, taken by mcp.path",
    ),
    "MCP at a tool's route": (
        """\
        [mcp]
        path = "/tools/t"
        [tools.t]
        calls.a = { service = "users", get = "/" }
        """,
        "2: mcp.path: expected a path of its own, got /tools/t, taken by tools.t (POST /tools/t)",
    ),
    "the route of the document": (
        """\
        [tools.t]
        http = "GET /openapi.json"
        calls.a = { service = "users", get = "/" }
        """,
        (
            "2: tools.t.http: expected a route of its own, got GET /openapi.json, "
            "taken by the gateway's own /openapi.json"
        ),
    ),
    "more waited for than there are calls": (
        """\
        [tools.t]
        wait = 3
        [tools.t.calls]
        a = { service = "users", get = "/" }
        b = { service = "users", get = "/" }
        """,
        "2: tools.t.wait: expected at most 2, the number of calls, got 3",
    ),
    "everything read in a placeholder": (
        """\
        [tools.t.calls.a]
        service = "users"
        get = "/{@}"
        """,
        "3: tools.t.calls.a.get: {@} reads everything: name the inputs or calls it needs",
    ),
    "everything read in a condition": (
        """\
        [tools.t.calls.a]
        service = "users"
        get = "/"
        when = "keys(@)"
        """,
        "4: tools.t.calls.a.when: expected the inputs or calls it reads by name, got 'keys(@)'",
    ),
    "a brace that is not closed": (
        """\
        [tools.t.calls.a]
        service = "users"
        get = "/{id"
        """,
        '3: tools.t.calls.a.get: a "{" without "}": write "{{" for a literal brace',
    ),
    "a brace that was not opened": (
        """\
        [tools.t.calls.a]
        service = "users"
        post = "/"
        body = '''
        {{"fine": 1}}
        }'''
        """,
        '4: tools.t.calls.a.body: a "}" without "{": write "}}" for a literal brace',
    ),
}


@pytest.mark.parametrize(("text", "line"), ONE.values(), ids=ONE)
def test_a_mistake_is_one_line(
    text: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mistakes(tmp_path, text, monkeypatch) == [line]


STARTS = {
    "JMESPath that is none, in a placeholder": (
        """\
        [tools.t.calls.a]
        service = "users"
        get = "/{id..name}"
        """,
        "3: tools.t.calls.a.get: expected JMESPath, got 'id..name'",
    ),
    "JMESPath that is none, in a header": (
        """\
        [tools.t.calls.a]
        service = "users"
        get = "/"
        headers.x-y = "{length(}"
        """,
        "4: tools.t.calls.a.headers.x-y: expected JMESPath, got 'length('",
    ),
    "JMESPath that is none, in a condition": (
        """\
        [tools.t.calls.a]
        service = "users"
        get = "/"
        when = "a ==="
        """,
        "4: tools.t.calls.a.when: expected",
    ),
    "JMESPath that is none, in the output": (
        """\
        [tools.t]
        calls.a = { service = "users", get = "/" }
        [tools.t.output]
        x = "a[?"
        """,
        "4: tools.t.output.x: expected",
    ),
    "a header whose name is none": (
        """\
        [tools.t.calls.a]
        service = "users"
        get = "/"
        headers."bad name" = "x"
        """,
        '4: tools.t.calls.a.headers."bad name": expected the name of a header',
    ),
}


@pytest.mark.parametrize(("text", "start"), STARTS.values(), ids=STARTS)
def test_a_mistake_that_a_library_words_is_one_line_too(
    text: str, start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (line,) = mistakes(tmp_path, text, monkeypatch)
    assert line.startswith(start)


def test_all_mistakes_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """\
    [tools.one]
    http = "GET /x/{id}"
    wait = 9
    [tools.one.calls]
    a = { service = "users", get = "/{b}" }
    b = { service = "users", get = "/{a}" }
    c = { service = "users", get = "/{@}", when = "nope" }
    d = { service = "users", post = "/{" , json = { x = "{zzzz}", y = "{yyyy}" } }
    [tools.two]
    http = "GET /x/{id}"
    output = "nobody"
    input.properties.id = "string"
    [tools.two.calls]
    id = { service = "users", get = "/" }
    """
    lines = mistakes(tmp_path, text, monkeypatch)
    places = [line.split(": ")[:2] for line in lines]
    assert places == [
        ["2", "tools.one.http"],
        ["3", "tools.one.wait"],
        ["5", "tools.one.calls.a"],
        ["7", "tools.one.calls.c.get"],
        ["7", "tools.one.calls.c.when"],
        ["8", "tools.one.calls.d.post"],
        ["8", "tools.one.calls.d.json.x"],
        ["8", "tools.one.calls.d.json.y"],
        ["10", "tools.two.http"],
        ["11", "tools.two.output"],
        ["14", "tools.two.calls.id"],
    ]


def test_a_call_that_is_wrong_in_itself_does_not_make_others_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """\
    [tools.t.calls]
    a = { service = "nobody", get = "/" }
    b = { service = "users", get = "/{a.id}" }
    """
    (line,) = mistakes(tmp_path, text, monkeypatch)
    assert line.startswith("2: tools.t.calls.a.service:")


def test_a_plan_without_mistakes_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gateway.toml").write_text(
        SERVICES
        + """
        [tools.t]
        http = "GET /x/{id}"
        wait = 2
        output = "@"
        input.properties.id = "integer"
        [tools.t.calls]
        a = { service = "users", get = "/{id}" }
        b = { service = "users", get = "/{a.x}", when = "a.y && id > `3`" }
        """
    )
    assert list(load_config("gateway.toml").tools) == ["t"]


# ------------------------------------------------------------------ cycles


@pytest.mark.parametrize(
    ("graph", "cycles"),
    [
        ({}, []),
        ({"a": []}, []),
        ({"a": ["a"]}, [{"a"}]),
        ({"a": ["b"], "b": ["c"], "c": []}, []),
        ({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}, []),
        ({"a": ["b"], "b": ["a"]}, [{"a", "b"}]),
        ({"a": ["b"], "b": ["a"], "c": ["d"], "d": ["c"]}, [{"a", "b"}, {"c", "d"}]),
        ({"x": ["a"], "a": ["b"], "b": ["c"], "c": ["a"]}, [{"a", "b", "c"}]),
        ({"a": ["nobody"]}, []),
    ],
)
def test_cycles_are_found(graph: dict[str, list[str]], cycles: list[set[str]]) -> None:
    assert [set(cycle) for cycle in find_cycles(graph)] == cycles


def test_a_chain_of_10000_calls_is_no_cycle() -> None:
    graph: dict[str, list[str]] = {str(n): [str(n + 1)] for n in range(10_000)}
    assert not list(find_cycles(graph))
    graph["10000"] = ["0"]
    assert len(list(find_cycles(graph))) == 1
