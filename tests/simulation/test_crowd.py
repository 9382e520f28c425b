"""Many requests: what policies do to them, in numbers, and that a seed decides all of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway.simulation.crowd import crowd
from gateway.simulation.figures import Figures, ServiceCounts
from gateway.simulation.scenario import Load
from tests.simulation.scenes import TOOL, counted, scene


def of(figures: Figures, service: str = "crm") -> ServiceCounts:
    return figures.whole.services[service]


def test_on_a_good_day_every_request_is_answered_in_the_time_it_takes(tmp_path: Path) -> None:
    figures = counted(scene(tmp_path, billing="", latency=("crm=80ms", "billing=20ms")))
    whole = figures.whole
    assert set(whole.outcomes) == {"ok"}
    assert whole.outcomes["ok"] == pytest.approx(4000, rel=0.06)
    assert whole.latency.counts == {0.08: whole.outcomes["ok"]}
    assert of(figures).calls == of(figures).sent == whole.outcomes["ok"]
    assert of(figures).extra_load == 0


def test_outcomes_and_calls_are_told_by_their_codes(tmp_path: Path) -> None:
    figures = counted(scene(tmp_path, billing="", fail=("billing=30%:503",), hang=("crm=10%",)))
    requests = sum(figures.whole.outcomes.values())
    shares = {name: number / requests for name, number in figures.whole.outcomes.items()}
    assert shares["deadline_exceeded"] == pytest.approx(0.1, abs=0.02)
    assert shares["partial"] == pytest.approx(0.27, abs=0.03)
    assert figures.calls["invoices"]["bad_reply"] / requests == pytest.approx(0.3, abs=0.03)
    assert figures.calls["profile"]["deadline_exceeded"] / requests == pytest.approx(0.1, abs=0.02)


def extra_after_the_first_second(budget: str, folder: Path) -> tuple[float, float]:
    """Under an outage: by what share the load grows after a second, and calls a second."""
    crm = f'retry = {{ attempts = 4, budget = "{budget}" }}'
    figures = counted(scene(folder, crm, down=("crm",)), length_s=30)
    later = [slot.services["crm"] for slot in figures.slots if slot is not figures.slots[0]]
    assert figures.slot_s == 0.5
    later = later[1:]
    calls, sent = sum(one.calls for one in later), sum(one.sent for one in later)
    return (sent - calls) / calls, calls / (figures.length_s - 1)


def test_an_outage_adds_what_the_budget_says_and_the_floor(tmp_path: Path) -> None:
    extra, calls_per_s = extra_after_the_first_second("20%", tmp_path)
    floor = 1 / calls_per_s
    assert 0.15 < extra <= 0.2 + floor + 0.001


def test_without_a_budget_there_is_a_storm(tmp_path: Path) -> None:
    extra, _ = extra_after_the_first_second("none", tmp_path)
    assert 2.9 < extra < 3.1


def test_hedging_cuts_the_tail_for_little_load(tmp_path: Path) -> None:
    weather = ("crm=exponential:20ms,1%=2s",)
    tool = TOOL.replace("2s", "10s")
    hedge = 'retry = {}\nhedge = { after = "p98" }'
    plain = counted(scene(tmp_path, latency=weather, tool=tool), length_s=60)
    hedged = counted(scene(tmp_path, hedge, latency=weather, tool=tool), length_s=60)
    before, after = plain.whole.latency.percentile(0.99), hedged.whole.latency.percentile(0.99)
    print(before, after, of(hedged))
    assert before is not None
    assert after is not None
    assert before / after >= 5
    extra = of(hedged).extra_load
    assert extra is not None
    assert 0 < extra <= 0.03
    assert of(hedged).hedges_won > 0


def test_a_breaker_that_is_open_is_seen_over_time(tmp_path: Path) -> None:
    crm = 'breaker = { open = "2s", window = "2s" }'
    figures = counted(scene(tmp_path, crm, down=("crm@5s..10s",)))
    assert figures.slot_s == 0.5
    shares = [slot.services["crm"].open_s / 0.5 for slot in figures.slots]
    assert shares[:10] == [0] * 10
    assert min(shares[13:20]) > 0.9
    assert shares[-10:] == [0] * 10
    assert of(figures).refused_by_breaker > 700
    assert sum(shares) * 0.5 == pytest.approx(of(figures).open_s)


def test_a_limit_that_is_found_out_is_seen_over_time(tmp_path: Path) -> None:
    crm = 'limit = { concurrency = "adaptive" }'
    figures = counted(scene(tmp_path, crm, latency=("crm=100ms",)))
    limit = of(figures).limit
    assert limit is not None
    assert limit > 10


def test_a_cache_is_worth_what_its_keys_allow(tmp_path: Path) -> None:
    crm = 'cache = { ttl = "1m" }'
    same = of(counted(scene(tmp_path, crm)))
    varied = of(counted(scene(tmp_path, crm, vary={"id": (1, 1000)})))
    assert same.sent == 1
    assert same.cache_hits + same.coalesced + 1 == same.calls
    assert 900 < varied.sent <= 1000


def test_clients_who_wait_ask_for_nothing(tmp_path: Path) -> None:
    figures = counted(scene(tmp_path, latency=("crm=1s",)), clients=50)
    answered = sum(figures.whole.outcomes.values())
    assert answered == pytest.approx(50 * 20, rel=0.05)
    assert figures.not_sent + answered == pytest.approx(4000, rel=0.06)


def test_what_nothing_bounds_is_counted_as_never_answered(tmp_path: Path) -> None:
    tool = '[server]\ndeadline = "none"\n' + TOOL.replace('deadline = "2s"', "")
    figures = counted(scene(tmp_path, hang=("crm=10%",), tool=tool), length_s=5)
    assert set(figures.whole.outcomes) == {"ok", "never answered"}


def test_the_same_seed_is_the_same_to_the_byte(tmp_path: Path) -> None:
    every = (
        'retry = { attempts = 3 }\nhedge = { after = "p90" }\nbreaker = {}\ntimeout = "500ms"\n'
        'limit = { concurrency = "adaptive" }\ncache = { ttl = "1s", stale = "5s" }'
    )

    def figures(seed: int) -> bytes:
        scenario = scene(
            tmp_path,
            every,
            'coalesce = true\nrate = "150/s"\nfault = { delay = "100ms", delay_share = "5%" }',
            seed=seed,
            vary={"id": (1, 300)},
            latency=("crm=lognormal:80ms,p99=2s", "billing=exponential:50ms"),
            fail=("crm=10%:503",),
        )
        return msgspec.json.encode(counted(scenario, length_s=10).json())

    assert figures(1) == figures(1)
    assert figures(1) != figures(2)


def test_it_says_how_far_it_is(tmp_path: Path) -> None:
    told: list[float] = []
    crowd(scene(tmp_path), Load(rate_per_s=1000, length_s=5), told.append)
    assert len(told) == pytest.approx(10, abs=1)
    assert told == sorted(told)
    assert 0 < told[0] <= told[-1] <= 1
