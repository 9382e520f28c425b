"""The `gateway` command: what each subcommand prints, where, and its exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.cli import main
from gateway.cli.call import timeline
from gateway.cli.serving import can_serve
from gateway.core.errors import DeadlineExceeded, Skipped
from gateway.core.messages import Branch, Context, Request
from gateway.telemetry.events import RequestEnded

FINE = """\
[services.clock]
kind = "python"
module = "sample_clock"

[tools.add]
input.properties = { a = "integer", b = { type = "integer", default = 10 }, words = { type = "array", items = { type = "string" } } }
input.required = ["a"]
calls.sum = { service = "clock", function = "add" }
calls.late = { service = "clock", function = "hang", optional = true, timeout = "50ms" }

[tools.broken]
calls.fails = { service = "clock", function = "fail" }

[tools.ticks]
calls.ticks = { service = "clock", function = "tick" }

[tools.two]
calls.ticks = { service = "clock", function = "tick" }
calls.hidden = { service = "clock", function = "tick" }
output = "ticks"
"""

MODULE = """\
import trio
def add(a, b, words=()):
    return {"sum": a + b, "words": list(words)}
async def hang():
    await trio.sleep_forever()
def tick():
    yield "two\\nlines"
    yield {"n": 2}
async def fail():
    raise RuntimeError("the password is hunter2")
"""

EIGHT_MISTAKES = """\
[server]
deadline = "2 parsecs"
max_bodi = "1MiB"

[services.users]
kind = "http"
url = "ftp://users.internal"

[services.orders]
kind = "htp"

[services.crm]
kind = "http"
url = "http://127.0.0.1:1"
retry = { attempts = 0 }

[tools.customer]
http = "GET /customers/{number}"
input.properties.id = "integer"

[tools.customer.calls]
profile = { service = "crm", get = "/customers/{idd}" }
a = { service = "crm", get = "/a/{b.x}" }
b = { service = "crm", get = "/b/{a.x}" }
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample_clock.py").write_text(MODULE)
    path = tmp_path / "gateway.toml"
    path.write_text(FINE)
    return path


def test_where_nothing_can_be_served_a_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert can_serve()
    assert capsys.readouterr().err == ""
    assert not can_serve(SimpleNamespace(name="nt"))
    assert capsys.readouterr().err == (
        "gateway: serving needs a system that can fork, such as Linux or macOS; "
        "on Windows use its Subsystem for Linux\n"
    )


def test_check_says_that_a_file_is_fine(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    assert capsys.readouterr() == ("gateway.toml: fine: 1 service, 4 tools\n", "")


def test_check_counts_what_is_there(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    service = '[services.s]\nkind = "http"\nurl = "http://api.test"\n'
    proxy = '[proxies.{0}]\npath = "/{0}/"\nservice = "s"\n'
    file.write_text(service + proxy.format("a"))
    assert main(["check"]) == 0
    assert capsys.readouterr().out == "gateway.toml: fine: 1 service, 0 tools, 1 proxy\n"
    file.write_text(service + proxy.format("a") + proxy.format("b"))
    assert main(["check"]) == 0
    assert capsys.readouterr().out == "gateway.toml: fine: 1 service, 0 tools, 2 proxies\n"


def test_eight_mistakes_are_eight_lines(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(EIGHT_MISTAKES)
    assert main(["check", "gateway.toml"]) == 2
    printed, said = capsys.readouterr()
    assert printed == ""
    lines = said.splitlines()
    expected = {
        2: 'server.deadline: expected a duration such as "2s", got "2 parsecs"',
        3: 'server.max_bodi: unknown key; did you mean "max_body"?',
        7: "services.users.url: ",
        10: 'services.orders.kind: expected one of "bedrock_kb", "command", "files", "graphql", '
        '"http", "mcp", "python", "redis", "sql", "tcp", "websocket", got "htp"; did you mean "http"?',
        15: "services.crm.retry.attempts: expected a whole number from 2 to 20, got 0",
        18: "tools.customer.http: expected an input",
        22: "tools.customer.calls.profile.get: ",
        23: "tools.customer.calls.a: expected calls that can start, got a cycle",
    }
    assert len(lines) == len(expected) == 8
    for line, (number, text) in zip(lines, expected.items(), strict=True):
        assert line.startswith(f"gateway.toml:{number}: {text}"), line


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            '[server]\nbind = ["127.0.0.1:1", "127.0.0.1:1"]\n',
            'gateway.toml:2: server.bind[1]: expected another address, got "127.0.0.1:1" twice',
        ),
        (
            '[server]\nbind = ["127.0.0.1:1"]\nadmin = { bind = "127.0.0.1:1" }\n',
            (
                "gateway.toml:3: server.admin.bind: expected an address of its own, "
                'got "127.0.0.1:1", which is public'
            ),
        ),
        (
            (
                '[tools.t]\ninput.properties.n = { type = "integer", default = "x" }\n'
                'calls.a = { service = "s", get = "/" }\n'
                '[services.s]\nkind = "http"\nurl = "http://127.0.0.1:1"\n'
            ),
            (
                "gateway.toml:2: tools.t.input.properties.n.default: "
                'breaks the property\'s own schema: "x" is not of type "integer"'
            ),
        ),
    ],
)
def test_what_can_never_work_is_a_mistake(
    file: Path, capsys: pytest.CaptureFixture[str], lines: str, said: str
) -> None:
    file.write_text(lines)
    assert main(["check", "gateway.toml"]) == 2
    assert capsys.readouterr().err == said + "\n"


def test_nothing_starts_on_a_bad_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(EIGHT_MISTAKES)
    for arguments in (["serve"], ["call", "gateway.toml", "customer"]):
        assert main(arguments) == 2
        assert capsys.readouterr().err.startswith("gateway.toml:2: ")


def test_a_file_that_is_not_there(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "other.toml"]) == 2
    assert capsys.readouterr().err.startswith("other.toml: ")


def test_strict_refuses_secrets_that_are_written_out(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(
        '[services.a]\nkind = "http"\nurl = "http://127.0.0.1:1"\n'
        'headers = { authorization = "hunter2" }\n'
    )
    assert main(["check"]) == 0
    assert main(["check", "--strict"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("gateway.toml:4: services.a.headers.authorization: ")
    assert "hunter2" not in said


def test_schema_is_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert "tools" in schema["properties"]


def test_call_prints_the_reply_and_a_timeline(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--arg", "a=1", "--arg", "words=x", "--arg", "words=y"]
    assert main(["call", "gateway.toml", "add", *arguments]) == 0
    printed, said = capsys.readouterr()
    reply = json.loads(printed)
    assert reply["sum"] == {"sum": 11, "words": ["x", "y"]}
    assert reply["_errors"][0]["code"] == "deadline_exceeded"
    lines = said.splitlines()
    assert lines[0].startswith("add: partial in ")
    assert lines[1].split() == ["call", "service", "start", "end", "outcome", "budget", "left"]
    assert lines[2].split()[:2] == ["sum", "clock"]
    assert "ok" in lines[2]
    assert "timeout: deadline_exceeded" in lines[3]


def test_call_streams_pieces_beside_the_reply(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pieces = ['"two\\nlines"', '{"n":2}']
    assert main(["call", "gateway.toml", "ticks", "--stream"]) == 0
    printed, said = capsys.readouterr()
    assert json.loads(printed) == {"ticks": ["two\nlines", {"n": 2}]}
    *lines, head, _columns, _row = said.splitlines()
    assert lines == pieces
    assert head.startswith("ticks: ok in ")
    assert main(["call", "gateway.toml", "two", "--stream"]) == 0
    said = capsys.readouterr().err
    assert said.splitlines()[:2] == [f"ticks: {piece}" for piece in pieces]
    assert "hidden: " not in said
    assert main(["call", "gateway.toml", "ticks"]) == 0
    assert pieces[1] not in capsys.readouterr().err


def test_call_answers_though_nobody_reads_the_pieces(file: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "gateway", "call", "gateway.toml", "ticks", "--stream"]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=writing, cwd=file.parent, check=False
    )
    os.close(writing)
    assert json.loads(done.stdout) == {"ticks": ["two\nlines", {"n": 2}]}


def test_call_prints_the_problem_of_a_failure(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["call", "gateway.toml", "broken"]) == 1
    printed, said = capsys.readouterr()
    assert json.loads(printed)["code"] == "bad_reply"
    assert "hunter2" not in printed
    assert said.splitlines()[-1].split()[:2] == ["fails", "clock"]


def test_call_lists_every_breach(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["call", "gateway.toml", "add", "--json", '{"b": "x"}']) == 1
    problem = json.loads(capsys.readouterr().out)
    assert [one["pointer"] for one in problem["errors"]] == ["/a", "/b"]


def test_call_keeps_to_a_timeout(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(FINE.replace('"50ms"', '"9s"'))
    assert main(["call", "gateway.toml", "add", "--arg", "a=1", "--timeout", "300ms"]) == 0
    printed, _ = capsys.readouterr()
    assert "within the budget of 300ms" in json.loads(printed)["_errors"][0]["detail"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ad"], "expected a tool (add, broken, ticks, two), got 'ad'; did you mean 'add'?"),
        (["add", "--arg", "a"], "--arg: expected NAME=VALUE, got 'a'"),
        (["add", "--arg", "a=\udcff"], "--arg: expected UTF-8, got 'a=\\udcff'"),
        (["add", "--arg", "aa=1"], "got 'aa'; did you mean 'a'?"),
        (["add", "--json", "[1]"], "--json: expected a JSON object"),
        (["add", "--json", "{"], "--json: expected a JSON object"),
        (["add", "--arg", "a=1", "--timeout", "soon"], "soon"),
    ],
)
def test_call_says_what_is_wrong_with_the_command(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["call", "gateway.toml", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_call_says_which_module_is_missing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(FINE.replace("sample_clock", "sample_clokc"))
    assert main(["call", "gateway.toml", "add", "--arg", "a=1"]) == 2
    assert capsys.readouterr().err.startswith("gateway.toml:3: services.clock.module: ")


@pytest.mark.parametrize("name", ["serve", "demo", "check", "explain", "schema", "call"])
def test_the_command_line_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], [name, "--help"]):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 0
        assert name in capsys.readouterr().out


def test_a_timeline_draws_when_each_call_ran() -> None:
    def branch(call: str, start: float | None, end: float, error: object = None) -> Branch:
        outcomes = {type(None): "ok", Skipped: "skipped", DeadlineExceeded: "timeout"}
        return Branch(
            call=call,
            service="s",
            outcome=outcomes[type(error)],  # type: ignore[arg-type]
            error=error,  # type: ignore[arg-type]
            started_s=start,
            ended_s=end,
            budget_left_s=2 - end,
        )

    ended = RequestEnded(
        request=Request("t", {}, Context(request_id="r")),
        tool="t",
        outcome="partial",
        duration_s=1.0,
        budget_s=2.0,
        branches=(
            branch("a", 0.0, 0.5),
            branch("bb", 0.5, 1.0, DeadlineExceeded("late")),
            branch("c", None, 0.5, Skipped("not needed")),
        ),
    )
    assert list(timeline(ended)) == [
        "t: partial in 1.000 s, of a budget of 2.000 s",
        "  call  service     start       end  outcome                     budget left",
        (
            "  a     s          0.0 ms  500.0 ms  ok                              1.500 s"
            "  ███████████████"
        ),
        (
            "  bb    s        500.0 ms   1.000 s  timeout: deadline_exceeded      1.000 s"
            "                 ███████████████"
        ),
        "  c     s               -  500.0 ms  skipped                         1.500 s",
    ]


def test_a_mistake_hides_no_other(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(
        """\
[services.a]
kind = "http"
url = "http://127.0.0.1:9"
headers = { authorization = "hunter2" }
[tools.t]
input.properties.id = { type = "intger" }
[tools.t.calls.x]
service = "a"
get = "/x/{nope}"
query = { a = "{nope2} {id}", b = ["{nope3}"] }
when = "nope4"
timeout = "x"
[tools.t.output]
a = "nope5.x"
b = 3
[tools.u.calls.y]
service = "a"
get = "x/{nope6}"
"""
    )
    assert main(["check", "--strict", "gateway.toml"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in said] == [
        f"gateway.toml:{number}" for number in (4, 6, 9, 10, 10, 11, 12, 14, 15, 18, 18)
    ]
    for number, name in enumerate(("nope", "nope2", "nope3", "nope4", "nope5", "nope6")):
        assert sum(f"'{name}'" in line for line in said) == 1, number


def test_a_module_stands_beside_the_file_that_names_it(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = file.parent / "parts"
    folder.mkdir()
    (folder / "beside_the_part.py").write_text("def f():\n    return 7\n")
    (folder / "service.toml").write_text(
        '[services.s]\nkind = "python"\nmodule = "beside_the_part"\n'
    )
    file.write_text(
        'include = ["parts/*.toml"]\n[tools.t]\ncalls.a = { service = "s", function = "f" }\n'
    )
    assert main(["call", "gateway.toml", "t"]) == 0
    assert json.loads(capsys.readouterr().out) == {"a": 7}
