"""The benchmark's reading and writing, on recorded text; and its smallest real load."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from gateway import load_config
from tests.benchmarks.breakdown import breakdown, replaced
from tests.benchmarks.connections import Held, hold
from tests.benchmarks.crowd import Outcome, crowd
from tests.benchmarks.load import Load, parse
from tests.benchmarks.measure import Bench, Result, Round, Rounds, round_seconds
from tests.benchmarks.processes import Cores
from tests.benchmarks.profile import Profile, layer_of, read_samples
from tests.benchmarks.report import Run, page, ratio, spread
from tests.benchmarks.scenarios import SCENARIOS, Ask, Scenario
from tests.benchmarks.subjects import (
    FEDERATION,
    POLICIES,
    PROXY,
    SERVER,
    SUBJECTS,
    US,
    Place,
    Upstreams,
)
from tests.benchmarks.targets import targets_of
from tests.end_to_end.processes import free_port

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

BY_KEY = {scenario.key: scenario for scenario in SCENARIOS}
ONE_CALL = BY_KEY["one-call"]
NOWHERE = Upstreams("127.0.0.1:9", "127.0.0.1:9", "127.0.0.1:9")


def a_round(rate: int, *, failed: int = 0, cpu_s: float = 0.9) -> Round:
    load = Load(requests=rate, seconds=1.0, p50_ms=8.0, p99_ms=21.5, errors={"status": failed})
    return Round(load, cpu_s)


def a_run(connections: tuple[int, ...]) -> Run:
    return Run(
        date="2026-01-02 03:04 UTC",
        commit="abc1234",
        cores=2,
        processor="a processor",
        system="Linux 6",
        apart=True,
        python="CPython 3.11.7",
        versions=lambda name: f"<{name}>",
        rounds=Rounds(2, 1.2, connections),
        upstream_rate=90_000.0,
        others_share=0.28,
        load_before=0.5,
        left_out=["haproxy"],
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


def a_result(scenario: Scenario, rates: dict[str, tuple[int, int]]) -> Result:
    """Two rounds of each subject, at 1 and at 64 connections, by its rate and its errors."""
    rounds = {
        (key, connections): [a_round(rate), a_round(rate + 40, failed=failed)]
        for key, (rate, failed) in rates.items()
        for connections in (1, 64)
    }
    return Result(
        scenario=scenario,
        subjects=tuple(rates),
        rounds=rounds,
        checks={key: parse(RECORDED) for key in rates},
        fixed_rate=1000.0,
        fixed={
            scenario.subjects[0]: [Outcome(2000, 0, 1.0, 4.0, 9.0)],
            "fastapi": [Outcome(2000, 0, 2.0, 8.0, 9.0)],
        },
    )


def a_crowd(failed: int) -> Held:
    burst = Outcome(1000, failed, 12.0, 30.0, 31.0)
    steady = Outcome(500, 0, 1.0, 5.0, 6.0)
    return Held(
        key=SERVER,
        count=1000,
        idle_bytes=8 * 1024,
        busy_bytes=21 * 1024,
        burst=burst,
        steady=steady,
        failed=failed,
        asked=2500,
    )


def test_the_page_says_what_was_measured_and_who_had_errors() -> None:
    rates = {US: (500, 0), "fastapi": (2000, 0), "hypercorn": (400, 7)}
    text = page([a_result(ONE_CALL, rates)], [a_crowd(0)], a_run((1, 64)), ["Proxy"])
    lines = text.splitlines()
    assert lines[0] == "# Benchmarks"
    fastapi = "FastAPI + uvicorn + aiohttp | 0.26 (0.25 to 0.26) | 0.26 (0.25 to 0.26)"
    assert f"| One call over HTTP | {fastapi} |" in lines
    assert "| One call over HTTP | Starlette + Hypercorn-Trio + httpx | — | — |" in lines
    assert (
        "| 64 | gateway | 520 (500 to 540) | 1 | 8.00 | 21.5 | 1,733 (1,667 to 1,800) | 0 |"
    ) in lines
    assert any(line.endswith("| **7** of 840 |") for line in lines)
    assert "Other work took 28% of all the machine's CPU time" in text
    assert "commit abc1234" in text
    assert "Could not be measured: Proxy." in text
    assert "Left out, because it could not be had: haproxy." in text
    assert "fastapi <fastapi>" in text
    assert "gateway 6 of 1741" in text
    assert "| gateway | 1.00 (1.00 to 1.00) | 4.00 (4.00 to 4.00) | 0 |" in lines
    assert "| our server | 8.00 | 21.0 | 12.0, 30.0 | 1.00, 5.00, 6.00 | 0 of 2,500 |" in lines


def test_targets_are_met_or_not_by_what_was_found() -> None:
    fast = a_result(BY_KEY["proxy"], {PROXY: (4000, 0), "fastapi": (1000, 0)})
    slow = a_result(BY_KEY["three-way"], {US: (1000, 0), "fastapi": (1000, 0)})
    broken = a_result(BY_KEY["hello"], {SERVER: (9000, 0), "hypercorn-hello": (1000, 3)})
    targets = targets_of([fast, slow, broken], [a_crowd(1)])
    told = {target.about: (target.found, target.met) for target in targets}
    fastapi = "requests/s at 64 connections, FastAPI + uvicorn + aiohttp = 1"
    assert told[f"Proxy: {fastapi}"] == ("3.94", True)
    assert told[f"Three calls at once, merged: {fastapi}"] == ("1.00", False)
    assert told["Hello: requests/s at 64 connections, Hypercorn-Trio = 1"] == ("—", False)
    assert told["1,000 connections, our server: failed requests"] == ("1.00", False)
    assert told["1,000 connections, our server: KiB each idle"] == ("8.00", True)
    assert told["1,000 connections, our server: KiB each with a request"] == ("21.00", False)


def test_a_mark_says_who_was_held_up_by_something_else() -> None:
    busy, held_up = a_round(100), a_round(100, cpu_s=0.5)
    rounds = {(US, 64): [busy], ("fastapi", 64): [held_up]}
    result = Result(
        scenario=ONE_CALL,
        subjects=(US, "fastapi"),
        rounds=rounds,
        checks={},
        fixed_rate=0.0,
        fixed={},
    )
    marked = [line for line in page([result], [], a_run((64,))).splitlines() if "†" in line]
    assert len(marked) == 2  # the row, and what the mark means
    assert "FastAPI" in marked[-1]


SAMPLES = """\
run (gateway/server/life.py:9);SocketWire.send (gateway/server/wire.py:120) 3
run (gateway/server/life.py:9);read (gateway/inbound/http.py:5);loads (json/__init__.py:7) 5
run (trio/_core/_run.py:9);checkpoint (trio/_core/_run.py:70) 2
_bootstrap (threading.py:1002);_work (trio/_core/_thread_cache.py:211) 9
"""


def test_samples_belong_to_the_innermost_layer() -> None:
    samples = read_samples(SAMPLES)
    assert [sample.count for sample in samples] == [3, 5, 2]
    assert [layer_of(sample)[0] for sample in samples] == [
        "server: socket write",
        "inbound: decode and encode",
        "Trio",
    ]
    assert str(layer_of(samples[1])[1]) == "gateway/inbound/http.py:5 read"


def test_the_breakdown_takes_the_place_of_the_last_one() -> None:
    taken_apart = Profile(
        scenario=ONE_CALL, cpu_us=100.0, layers=(("Trio", 60.0),), lines=(), samples=10
    )
    text = breakdown([taken_apart])
    assert "| Trio | 60.0 |" in text
    page_before = "a\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nz\n"
    page_after = replaced(page_before, text)
    assert "old" not in page_after
    assert replaced(page_after, text) == page_after
    assert page_after.startswith("a\n")
    assert page_after.endswith("\nz\n")
    with pytest.raises(ValueError, match="measured: begin"):
        replaced("no place", text)


def test_rounds_are_shortened_to_the_time_there_is() -> None:
    wanted = Rounds(5, 2.0, (1, 8, 64, 512))
    assert wanted.seconds_at(64, ONE_CALL) == 2.0
    assert wanted.seconds_at(512, ONE_CALL) == pytest.approx(4.0)
    slow = attrs.evolve(ONE_CALL, least_s=3.0)
    assert [wanted.seconds_at(count, slow) for count in (8, 512)] == [3.0, pytest.approx(4.0)]
    assert attrs.evolve(wanted, hasty=True).seconds_at(64, slow) == 2.0
    assert round_seconds((ONE_CALL,), wanted, 900).seconds == 2.0
    assert 0.3 < round_seconds(SCENARIOS, wanted, 900).seconds < 1.2
    assert round_seconds(SCENARIOS, wanted, 1).seconds == 0.2


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.key)
def test_every_scenario_begins_with_us_and_names_subjects_that_are_there(
    scenario: Scenario,
) -> None:
    assert scenario.ours in {US, POLICIES, PROXY, SERVER, FEDERATION}
    assert set(scenario.subjects) <= set(SUBJECTS)


def test_a_wrong_answer_is_told_from_a_right_one() -> None:
    right = json.dumps(ONE_CALL.wanted).encode()
    assert ONE_CALL.answered_by(200, right)
    assert not ONE_CALL.answered_by(502, right)
    assert not ONE_CALL.answered_by(200, b"{}")
    assert not ONE_CALL.answered_by(200, b"not JSON")
    assert not BY_KEY["mcp"].answered_by(200, b'{"result": {"isError": true}}')


def test_our_own_configuration_is_sound(tmp_path: Path) -> None:
    SUBJECTS[US].command(Place(8080, NOWHERE, tmp_path))
    config = load_config(tmp_path / "8080-gateway.toml")
    assert set(config.tools) == {"user", "profile", "constant", "wait"}
    SUBJECTS[FEDERATION].command(Place(8080, NOWHERE, tmp_path))
    assert set(load_config(tmp_path / "8080-federation.toml").services) == {"behind"}


@pytest.mark.end_to_end
def test_connections_that_cannot_be_made_are_failures() -> None:
    with crowd(free_port(), Cores.of_this_machine().load) as people:
        assert people.open(3, Ask("/")) == Outcome(3, 3, 0.0, 0.0, 0.0)


@pytest.mark.end_to_end
@pytest.mark.parametrize("key", [SERVER, US])
def test_two_hundred_connections_are_held_and_answered(key: str, tmp_path: Path) -> None:
    at = Bench(Cores.of_this_machine(), tmp_path, NOWHERE, 0.0, frozenset())
    held = hold(key, at, 200, 2.0)
    assert held.failed == 0
    assert held.asked == 200 + 200 + 200 + 40
    assert held.idle_bytes < 64 * 1024
    assert 0 < held.steady.p50_ms <= held.steady.p99_ms
