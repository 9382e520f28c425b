"""One request: the answer that its client gets, and everything on its way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.simulation.once import Once, once
from gateway.simulation.timeline import as_json, as_text
from tests.simulation.scenes import TOOL, scene

RETRY = 'retry = { attempts = 3, backoff = "50ms" }'


def attempts(told: Once) -> list[tuple[str, str, float, float]]:
    return [(one.call, one.outcome, one.start_s, round(one.end_s, 6)) for one in told.attempts]


def test_a_service_that_hangs_leaves_a_partial_answer_at_the_deadline(tmp_path: Path) -> None:
    told = once(scene(tmp_path, billing="", hang=("billing",)))
    assert told.answer is not None
    assert told.answer.status == 200
    assert told.answer.headers["x-gateway-partial"] == "invoices=deadline_exceeded"
    body = told.answer.json()
    assert body["profile"] == {}
    assert body["_errors"][0]["detail"] == "no reply within the budget of 2s"
    assert told.ended.duration_s == 2
    assert attempts(told) == [
        ("profile", "ok", 0, 0.01),
        ("invoices", "cancelled", 0, 2),
    ]


def test_a_clients_own_budget_is_kept(tmp_path: Path) -> None:
    told = once(scene(tmp_path, hang=("crm",), timeout_s=0.3))
    assert told.answer is not None
    assert told.answer.status == 504
    assert told.ended.duration_s == pytest.approx(0.3)


def test_what_nothing_bounds_is_told_to_never_be_answered(tmp_path: Path) -> None:
    tool = '[server]\ndeadline = "none"\n' + TOOL.replace('deadline = "2s"', "")
    told = once(scene(tmp_path, hang=("crm",), tool=tool))
    assert told.answer is None
    assert as_text(told).startswith("no answer, ever")
    assert as_json(told)["answer"] is None


def test_a_retry_is_drawn_with_its_attempts_and_waits(tmp_path: Path) -> None:
    told = once(scene(tmp_path, RETRY, fail=("crm=503",)))
    assert told.answer is not None
    assert told.answer.status == 502
    assert [one.outcome for one in told.attempts] == ["503", "503", "503"]
    assert [note.text.partition(" in ")[0] for note in told.notes] == ["bad_reply: tried again"] * 2
    drawn = as_text(told)
    assert [line.split()[0] for line in drawn.splitlines() if "▒" in line] == ["attempt"] * 3
    assert drawn.count("tried again in") == 2
    assert "crm: 10ms (nothing else was said), fails 503" in drawn


def test_a_hedge_is_told_apart_from_a_retry(tmp_path: Path) -> None:
    hedge = 'hedge = { after = "100ms" }'
    told = once(scene(tmp_path, hedge, latency=("crm=500ms",)))
    assert [(one.hedges, one.start_s, one.outcome) for one in told.attempts] == [
        (False, 0, "ok"),
        (True, 0.1, "cancelled"),
    ]
    assert "the hedge lost" in as_text(told)
    assert "  hedge 2" in as_text(told)


def test_an_attempt_that_says_no_more_than_its_call_has_no_row(tmp_path: Path) -> None:
    assert "attempt" not in as_text(once(scene(tmp_path)))


def test_what_breaker_and_fault_do_is_told(tmp_path: Path) -> None:
    told = once(
        scene(
            tmp_path,
            'breaker = { of = 1 }\nfault = { delay = "30ms" }',
            fail=("crm=503",),
        )
    )
    texts = {note.text for note in told.notes}
    assert texts == {"a fault of the configuration: delay", "its breaker is open"}
    assert "its breaker is open" in as_text(told)


def test_wrong_arguments_are_answered_as_a_client_would_be(tmp_path: Path) -> None:
    scenario = scene(tmp_path)
    wrong: Any = {"id": "seven"}
    object.__setattr__(scenario, "arguments", wrong)
    told = once(scenario)
    assert told.answer is not None
    assert told.answer.status == 422
    assert told.attempts == ()


def test_a_reply_that_nobody_gave_has_what_the_plan_reads(tmp_path: Path) -> None:
    tool = TOOL + (
        'calls.manager = { service = "crm", get = "/staff/{profile.boss.id}", '
        'when = "profile.active" }\n'
        'output = { name = "profile.name", boss = "manager.name" }\n'
    )
    told = once(scene(tmp_path, tool=tool))
    assert told.answer is not None
    assert told.answer.json() == {"name": "sample", "boss": "sample"}
    assert [branch.outcome for branch in told.ended.branches] == ["ok", "ok"]


def test_a_reply_may_be_given(tmp_path: Path) -> None:
    (tmp_path / "reply.json").write_text('{"name": "Azure Siskin"}')
    told = once(scene(tmp_path, reply=("crm=reply.json",)))
    assert told.answer is not None
    assert told.answer.json() == {"profile": {"name": "Azure Siskin"}}


def test_the_same_seed_tells_the_same(tmp_path: Path) -> None:
    def told(seed: int) -> str:
        weather = ("crm=lognormal:80ms,p99=2s",)
        return as_text(
            once(scene(tmp_path, RETRY, seed=seed, latency=weather, fail=("crm=50%:503",)))
        )

    assert told(3) == told(3)
    assert len({told(seed) for seed in range(5)}) == 5
