"""`gateway explain`: its forms, its exit statuses, and what `gateway check` says of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import main

FILE = """\
[services.a]
kind = "http"
url = "http://127.0.0.1:9"
retry = { attempts = 2 }
timeout = "300ms"

[tools.fine]
deadline = "1s"
calls.x = { service = "a", get = "/" }

[tools.doubtful]
calls.x = { service = "a", post = "/" }
"""


@pytest.fixture
def _file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gateway.toml").write_text(FILE)


pytestmark = pytest.mark.usefixtures("_file")

WARNING = (
    "gateway.toml:4: x: retry does not apply: making the call twice may do harm; "
    "if not, say idempotent = true"
)


def test_all_tools_are_a_line_each_with_their_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "gateway.toml"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "fine: 1 call, no warnings",
        "doubtful: 1 call, 1 warning",
        f"  {WARNING}",
    ]


def test_a_tool_is_explained_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "gateway.toml", "fine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "fine  (gateway.toml:7)"
    assert "  └─ x → a: get /  [required; at once]" in lines
    assert "    1. retry  (gateway.toml:4)" in lines
    assert '    2. timeout = "300ms"  (gateway.toml:5)' in lines
    assert "    2 attempts: 2 times 300ms + back-offs 50ms = 650ms" in lines
    fits = "    all 2 fit into the deadline of 1s, even if each takes as long as can be"
    assert fits in lines
    assert lines[-1] == "no warnings"


def test_json_is_one_object_or_a_list_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "gateway.toml", "fine", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["calls"][0]["worst"] == {
        "attempts": 2,
        "attempt_s": 0.3,
        "backoffs_s": [0.05],
        "all_attempts_s": 0.65,
        "call_s": 0.65,
        "budget_s": 1.0,
        "attempts_that_fit": 2,
        "attempts_that_fit_after_others": 2,
        "start_s": 0.0,
        "end_s": 0.65,
    }
    assert main(["explain", "gateway.toml", "--json"]) == 0
    documents = json.loads(capsys.readouterr().out)
    assert documents[0] == document
    assert [warned["code"] for warned in documents[1]["warnings"]] == ["does_not_apply"]


def test_mermaid_is_a_graph(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "gateway.toml", "fine", "--mermaid"]) == 0
    assert capsys.readouterr().out == (
        "flowchart LR\n"
        "    request([fine])\n"
        '    c0["x → a"]\n'
        "    answer([answer])\n"
        "    request --> c0\n"
        "    c0 --> answer\n"
    )


def test_an_unknown_tool_is_not_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "gateway.toml", "fin"]) == 2
    printed, said = capsys.readouterr()
    assert printed == ""
    assert said == (
        'gateway explain: expected a tool (fine, doubtful), got "fin"; did you mean "fine"?\n'
    )


def test_a_wrong_file_is_not_explained(capsys: pytest.CaptureFixture[str]) -> None:
    Path("gateway.toml").write_text(FILE.replace("300ms", "300"))
    assert main(["explain", "gateway.toml"]) == 2
    assert capsys.readouterr().err.startswith("gateway.toml:5: services.a.timeout: expected")


def test_check_counts_the_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "gateway.toml"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "gateway.toml: fine: 1 service, 2 tools",
        "gateway.toml: 1 warning: gateway explain gateway.toml",
    ]


@pytest.mark.parametrize("command", ["check", "explain"])
def test_what_is_a_warning_of_its_own_is_no_log_line_too(command: str) -> None:
    file = Path("gateway.toml")
    file.write_text(FILE.replace("[tools.fine]", 'fault = { delay = "1ms" }\n\n[tools.fine]'))
    run = [sys.executable, "-m", "gateway", command, str(file)]
    ended = subprocess.run(run, capture_output=True, text=True, check=True, timeout=60)
    assert "warnings" in ended.stdout
    assert not ended.stderr
