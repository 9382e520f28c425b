"""The benchmark's reading and writing, on recorded text: no load is run here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway import load_config
from tests.benchmarks.load import Load, parse
from tests.benchmarks.measure import Result, Round, Rounds, round_seconds
from tests.benchmarks.report import Run, page, ratio, spread
from tests.benchmarks.scenarios import SCENARIOS, Scenario
from tests.benchmarks.subjects import SUBJECTS, US, Place

RECORDED = """Running 10m test @ http://127.0.0.1:36485/users/7
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    73.51ms   22.15ms 222.70ms   71.68%
    Req/Sec     0.88k   240.70     1.49k    66.43%
  1741 requests in 2.00s, 487.31KB read
  Socket errors: connect 0, read 2, write 0, timeout 1
  Non-2xx or 3xx responses: 3
Requests/sec:    869.11
Transfer/sec:    243.26KB

{"requests": 1741, "duration_us": 2003205, "p50_us": 71250, "p99_us": 163140, "errors": \
{"connect": 0, "read": 2, "write": 0, "timeout": 1, "status": 3, "unlike": 0}}
"""

ONE_CALL = SCENARIOS[0]


def a_round(rate: int, *, failed: int = 0, cpu_s: float = 0.9) -> Round:
    load = Load(requests=rate, seconds=1.0, p50_ms=8.0, p99_ms=21.5, errors={"status": failed})
    return Round(load, cpu_s)


def a_run(connections: tuple[int, ...]) -> Run:
    return Run(
        cores=2,
        apart=True,
        python="CPython 3.11.7",
        versions=lambda name: f"<{name}>",
        rounds=Rounds(2, 1.2, connections),
        upstream_rate=90_000.0,
        others_share=0.28,
    )


def test_what_wrk_says_is_read() -> None:
    load = parse(RECORDED)
    assert load.requests == 1741
    assert load.rate == pytest.approx(869.1, abs=0.1)
    assert (load.p50_ms, load.p99_ms) == (71.25, 163.14)
    assert load.failed == 6


def test_a_subject_that_is_gone_is_an_error() -> None:
    load = parse("unable to connect to 127.0.0.1:36485 Connection refused\n")
    assert (load.requests, load.rate, load.failed) == (0, 0.0, 1)


def test_anything_else_that_wrk_says_is_refused() -> None:
    with pytest.raises(RuntimeError, match="cannot open"):
        parse("load.lua: cannot open load.lua\n")


def test_a_spread_is_median_least_and_most() -> None:
    assert spread([3.0, 1.0, 2.0], 1) == "2.0 (1.0 to 3.0)"
    assert spread([1234.5], 0) == "1,234 (1,234 to 1,234)"
    assert spread([]) == "—"


def test_ratios_compare_neighbours_in_a_round() -> None:
    ours, theirs = [a_round(100), a_round(300)], [a_round(200), a_round(400)]
    assert ratio(ours, theirs, Round.rate) == "0.62 (0.50 to 0.75)"


def test_there_is_no_ratio_where_there_were_errors() -> None:
    assert ratio([a_round(100)], [a_round(200, failed=1)], Round.rate) == "—"
    assert ratio([a_round(0)], [a_round(200)], Round.rate) == "—"


def test_the_page_says_what_was_measured_and_who_had_errors() -> None:
    rounds = {
        (key, connections): [a_round(rate), a_round(rate + 40, failed=failed)]
        for key, rate, failed in ((US, 500, 0), ("fastapi", 2000, 0), ("hypercorn", 400, 7))
        for connections in (1, 64)
    }
    checks = {key: parse(RECORDED) for key in ONE_CALL.subjects}
    text = page([Result(ONE_CALL, rounds, checks)], a_run((1, 64)))
    lines = text.splitlines()
    assert lines[0] == "# Benchmarks"
    fastapi = "FastAPI + uvicorn + aiohttp | 0.26 (0.25 to 0.26) | 0.26 (0.25 to 0.26)"
    assert f"| One call over HTTP | {fastapi} |" in lines
    assert "| One call over HTTP | Starlette + Hypercorn-Trio + httpx | — | — |" in lines
    assert (
        "| 64 | gateway | 520 (500 to 540) | 1 | 8.00 | 21.5 | 1,733 (1,667 to 1,800) | 0 |"
    ) in lines
    assert any(line.endswith("| **7** of 840 |") for line in lines)
    assert "other work took 28% of all its CPU time" in text
    assert "httptools <httptools>" in text
    assert "gateway 6 of 1741" in text


def test_rounds_are_shortened_to_the_time_there_is() -> None:
    wanted = Rounds(5, 2.0, (1, 8, 64))
    assert round_seconds(SCENARIOS[:1], wanted, 230).seconds == 2.0
    assert 0.5 < round_seconds(SCENARIOS, wanted, 230).seconds < 1.5
    assert round_seconds(SCENARIOS, wanted, 1).seconds == 0.2


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.key)
def test_every_scenario_begins_with_us_and_names_subjects_that_are_there(
    scenario: Scenario,
) -> None:
    assert scenario.subjects[0] == US
    assert set(scenario.subjects) <= set(SUBJECTS)


def test_a_wrong_answer_is_told_from_a_right_one() -> None:
    right = json.dumps(ONE_CALL.wanted).encode()
    assert ONE_CALL.answered_by(200, right)
    assert not ONE_CALL.answered_by(502, right)
    assert not ONE_CALL.answered_by(200, b"{}")
    assert not ONE_CALL.answered_by(200, b"not JSON")
    over_mcp = next(scenario for scenario in SCENARIOS if scenario.key == "mcp")
    assert not over_mcp.answered_by(200, b'{"result": {"isError": true}}')


def test_our_own_configuration_is_sound(tmp_path: Path) -> None:
    SUBJECTS[US].command(Place(8080, "http://127.0.0.1:9", tmp_path))
    config = load_config(tmp_path / "gateway.toml")
    assert set(config.tools) == {"user", "profile", "constant"}
