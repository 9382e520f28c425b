"""`gateway simulate`: what it prints, what it refuses, and that a seed decides every byte."""

from __future__ import annotations

import html.parser
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import main

FILE = """\
[services.crm]
kind = "http"
url = "http://crm.test"

[services.billing]
kind = "http"
url = "http://billing.test"
retry = { attempts = 4 }

[tools.customer]
deadline = "2s"
input.properties.id = "integer"
input.required = ["id"]

[tools.customer.calls]
profile = { service = "crm", get = "/customers/{id}" }
invoices = { service = "billing", get = "/invoices/{id}", optional = true }
"""
WEATHER = ["--latency", "crm=lognormal:80ms,p99=1s", "--fail", "billing=30%:503"]
MANY = ["--arg", "id=7", *WEATHER, "--rate", "100/s", "--for", "5s"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gateway.toml").write_text(FILE)
    other = FILE.replace("{ attempts = 4 }", '{ attempts = 4, budget = "100%" }')
    (tmp_path / "other.toml").write_text(other.replace("crm.test", "user:hunter2@crm.test"))
    return tmp_path


def simulated(*options: str) -> int:
    return main(["simulate", "gateway.toml", "customer", *options])


def printed(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert simulated(*options) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_one_request_prints_its_answer_and_its_timeline(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "--arg", "id=7", "--hang", "billing")
    assert out.startswith(
        "HTTP 200\ncontent-type: application/json\n"
        "x-gateway-partial: invoices=deadline_exceeded\n\n{\n"
    )
    assert "customer: partial in 2.000 s, of a budget of 2.000 s\n" in out
    assert out.endswith(
        "weather\n  crm: 10ms (nothing else was said)\n"
        "  billing: 10ms (nothing else was said), hangs\n"
    )


def test_one_request_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(printed(capsys, "--arg", "id=7", "--format", "json", "--fail", "billing=503"))
    assert told["answer"]["status"] == 200
    assert told["answer"]["body"]["profile"] == {}
    assert told["file"] == "gateway.toml"
    assert [one["outcome"] for one in told["attempts"]].count("503") == 4


def test_many_requests_print_their_figures(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, *MANY, "--seed", "7", "--clients", "500")
    lines = out.splitlines()
    assert lines[0] == "customer of gateway.toml: 100/s of 500 clients for 5s, seed 7"
    for title in ("outcomes", "latency", "call invoices", "service crm", "service billing"):
        assert title in lines
    assert re.search(r"^  p99\.9 +[0-9.]+m?s$", out, re.MULTILINE)
    assert re.search(r"^  extra load +\+[0-9.]+ %$", out, re.MULTILINE)
    assert "over time: 50 parts of 100ms" in lines


def test_many_requests_as_json_are_the_same_figures(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(printed(capsys, *MANY, "--format", "json"))
    assert told["requests"] == sum(told["outcomes"].values())
    assert told["requests"] == sum(slot["requests"] for slot in told["slots"])
    assert told["services"]["crm"]["calls"] == told["requests"]
    assert told["weather"][0] == "crm: lognormal:80ms,p99=1s"


def test_two_files_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, *MANY, "--compare", "other.toml", "--down", "billing")
    assert "what other.toml changes" in out
    assert '  services.billing.retry.budget: absent → "100%"\n' in out
    assert "  services.crm.url: differs\n" in out
    assert "hunter2" not in out
    assert re.search(r"^ +gateway\.toml +other\.toml +change$", out, re.MULTILINE)
    assert re.search(r"^  extra load +\+\S+ % +\+\S+ % +\+\S+ points$", out, re.MULTILINE)
    assert "gateway.toml over time" in out
    assert "other.toml over time" in out


def test_two_files_may_be_compared_by_one_request(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "--arg", "id=7", "--compare", "other.toml")
    assert out.count("HTTP 200") == 2
    told = json.loads(
        printed(capsys, "--arg", "id=7", "--compare", "other.toml", "--format", "json")
    )
    assert [one["file"] for one in told["of"]] == ["gateway.toml", "other.toml"]
    assert len(told["differences"]) == 2


def test_the_same_file_differs_in_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, *MANY, "--compare", "gateway.toml")
    assert "what gateway.toml changes\n  nothing\n" in out
    assert "points" not in out


def test_several_seeds_show_between_which_figures_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = printed(capsys, *MANY, "--seeds", "3", "--seed", "5")
    assert out.startswith("customer of gateway.toml: 100/s for 5s, seeds 5 to 7\n")
    assert re.search(r"^ +3 seeds +least … greatest$", out, re.MULTILINE)
    assert re.search(r"^  p99 +\S+ +\S+ … \S+$", out, re.MULTILINE)


def test_processes_make_no_difference(capsys: pytest.CaptureFixture[str]) -> None:
    options = [*MANY, "--seeds", "2"]
    assert printed(capsys, *options, "--jobs", "2") == printed(capsys, *options)


@pytest.mark.end_to_end
def test_every_byte_is_the_same_in_every_process() -> None:
    command = [sys.executable, "-m", "gateway", "simulate", "gateway.toml", "customer", *MANY]
    root = str(Path(__file__).parents[2])
    outputs = {
        subprocess.run(
            [*command, "--seed", "7", "--html", "report.html"],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root},
            check=True,
            capture_output=True,
        ).stdout
        + Path("report.html").read_bytes()
        for seed in ("0", "1", "42")
    }
    assert len(outputs) == 1


class Page(html.parser.HTMLParser):
    """What a page is made of; ends that match no start fail."""

    VOID = frozenset({"meta", "link", "br", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_stands_on_its_own_and_is_there_for_everyone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = [*MANY, "--hang", "customer.profile=1%", "--down", "billing@1s..2s"]
    printed(capsys, *options, "--html", "report.html", "--compare", "other.toml")
    text = Path("report.html").read_text()
    page = Page(text)
    kinds = [tag for tag, _ in page.tags]
    assert not {"script", "img", "link", "iframe"} & set(kinds)
    assert "http:" not in text
    assert "url(" not in text
    assert "prefers-color-scheme:dark" in text
    plots = [attributes for tag, attributes in page.tags if attributes.get("role") == "img"]
    assert len(plots) >= 5
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    for plot in plots:
        assert set((plot["aria-labelledby"] or "").split()) <= ids
    assert kinds.count("desc") == len(plots)
    assert "nan" not in text
    assert kinds.count("table") >= 4
    assert ("html", {"lang": "en"}) in page.tags


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--arg", "ids=7"], "expected an input of customer (id), got 'ids'; did you mean 'id'?"),
        (["--latency", "crn=80ms"], "got 'crn'; did you mean \"crm\"?"),
        (["--for", "5m"], "--for: expected --rate with it, such as --rate 200/s"),
        (["--html", "r.html"], "--html: expected --rate with it"),
        (["--rate", "200"], "--rate: expected a rate such as \"200/s\", got '200'"),
        (["--rate", "0/s"], "--rate: expected a rate"),
        (["--rate", "9/s", "--for", "soon"], "--for: expected a duration such as"),
        (["--rate", "9/s", "--for", "0s"], "--for: expected a duration such as"),
        (["--rate", "9/s", "--clients", "0"], "--clients: expected a whole number from 1 on"),
        (["--rate", "9/s", "--seeds", "x"], "--seeds: expected a whole number from 1 on, got 'x'"),
        (["--seed", "-1"], "--seed: expected a whole number from 0 on, got '-1'"),
        (["--vary", "ids=1..9"], "got 'ids'; did you mean \"id\"?"),
        (["--vary", "id=9..1"], "--vary: expected whole numbers such as id=1..1000"),
        (["--timeout", "2"], "--timeout: expected a duration"),
        (["--rate", "9/s"], "the arguments break the tool's input schema"),
        (["--arg", "id=7", "--compare", "none.toml"], "none.toml"),
    ],
)
def test_mistakes_say_what_would_be_right(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulated(*options) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_report_that_cannot_be_written_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulated(*MANY, "--html", "no/such/folder.html") == 2
    assert "--html no/such/folder.html: No such file" in capsys.readouterr().err


def test_a_tool_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "gateway.toml", "custmer"]) == 2
    assert "did you mean 'customer'?" in capsys.readouterr().err


def test_the_other_file_must_have_what_the_weather_names(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "small.toml").write_text(FILE.replace("billing", "bills"))
    options = ["--arg", "id=7", "--hang", "billing", "--compare", "small.toml"]
    assert simulated(*options) == 2
    assert "--hang billing: expected a service" in capsys.readouterr().err


def test_made_up_replies_that_may_be_why_there_is_no_answer_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    summed = '\noutput.total = "sum(profile.orders)"\n\n[tools.customer.calls]'
    (tmp_path / "gateway.toml").write_text(FILE.replace("\n[tools.customer.calls]", summed))
    assert simulated("--arg", "id=7") == 0
    assert capsys.readouterr().err == (
        "gateway simulate: the answer is bad_reply, and what profile, invoices replied was made up: "
        "--reply customer.profile=FILE gives a reply as it would be\n"
    )
    (tmp_path / "orders.json").write_text('{"orders": [1, 2]}')
    out = printed(capsys, "--arg", "id=7", "--reply", "crm=orders.json")
    assert '"total": 3' in out
