from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from prometheus_client.parser import text_string_to_metric_families

from gateway.core.errors import DeadlineExceeded, NotFound, Skipped, Unreachable
from gateway.telemetry.events import (
    AbandonedThreadEnded,
    BreakerChanged,
    CacheAsked,
    Coalesced,
    FaultInjected,
    Hedged,
    LimitChanged,
    LineChanged,
    LoopBlocked,
    PlacesMade,
    Refused,
    ReplicaChanged,
    RequestStarted,
    Retried,
    RetryWithheld,
    ThreadAbandoned,
)
from gateway.telemetry.metrics import Metrics
from tests.telemetry.told import call_ended, call_started, request, request_ended

if TYPE_CHECKING:
    from gateway.telemetry.events import Event

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "telemetry.md"


def samples(metrics: Metrics) -> dict[str, float]:
    """Every sample as `name{label=value,…}`."""
    text = metrics.render()[0].decode()
    return {
        f"{s.name}{{{','.join(f'{k}={v}' for k, v in sorted(s.labels.items()))}}}": s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def counted(*events: Event) -> dict[str, float]:
    metrics = Metrics()
    for event in events:
        metrics(event)
    return samples(metrics)


def test_a_request_is_counted_by_tool_protocol_outcome_and_code() -> None:
    found = counted(
        RequestStarted(request()),
        request_ended(),
        request_ended(outcome="error", error=Unreachable()),
    )
    prefix = "gateway_requests_total{"
    assert {k: v for k, v in found.items() if k.startswith(prefix)} == {
        prefix + "code=,outcome=ok,protocol=http,tool=weather}": 1,
        prefix + "code=unreachable,outcome=error,protocol=http,tool=weather}": 1,
    }
    assert found["gateway_request_duration_seconds_count{tool=weather}"] == 2
    assert found["gateway_request_duration_seconds_bucket{le=0.01,tool=weather}"] == 0
    assert found["gateway_request_duration_seconds_bucket{le=0.025,tool=weather}"] == 2


def test_requests_in_flight_rise_and_fall() -> None:
    metrics = Metrics()
    metrics(RequestStarted(request()))
    metrics(RequestStarted(request()))
    assert samples(metrics)["gateway_requests_in_flight{}"] == 2
    metrics(request_ended())
    metrics(request_ended(outcome="client_left"))
    assert samples(metrics)["gateway_requests_in_flight{}"] == 0


def test_an_unknown_tool_makes_no_label() -> None:
    found = counted(
        *(
            request_ended(request=request(f"guess-{i}"), tool="", outcome="error", error=NotFound())
            for i in range(50)
        )
    )
    tools = [key for key in found if key.startswith("gateway_requests_total{")]
    assert tools == ["gateway_requests_total{code=not_found,outcome=error,protocol=http,tool=}"]


def test_a_partial_answer_is_counted() -> None:
    found = counted(request_ended(outcome="partial", missing=(Unreachable(call="now"),)))
    assert found["gateway_partial_answers_total{tool=weather}"] == 1
    assert "gateway_cancels_total{reason=deadline}" not in found


def test_cancels_are_counted_by_their_reason() -> None:
    found = counted(
        request_ended(outcome="client_left"),
        request_ended(outcome="cancelled"),
        request_ended(outcome="error", error=DeadlineExceeded()),
        request_ended(outcome="partial", missing=(DeadlineExceeded(call="now"),)),
    )
    assert found["gateway_cancels_total{reason=client_left}"] == 1
    assert found["gateway_cancels_total{reason=cancelled}"] == 1
    assert found["gateway_cancels_total{reason=deadline}"] == 2


def test_a_call_is_counted_timed_and_in_flight() -> None:
    metrics = Metrics()
    metrics(call_started())
    assert samples(metrics)["gateway_calls_in_flight{service=meteo}"] == 1
    metrics(call_ended())
    found = samples(metrics)
    assert found["gateway_calls_in_flight{service=meteo}"] == 0
    assert found["gateway_calls_total{code=,outcome=ok,service=meteo,tool=weather}"] == 1
    assert found["gateway_call_duration_seconds_count{service=meteo}"] == 1


def test_a_call_that_never_began_is_counted_and_not_timed() -> None:
    found = counted(call_ended(outcome="skipped", started_s=None, error=Skipped()))
    assert (
        found["gateway_calls_total{code=skipped,outcome=skipped,service=meteo,tool=weather}"] == 1
    )
    assert "gateway_calls_in_flight{service=meteo}" not in found
    assert "gateway_call_duration_seconds_count{service=meteo}" not in found


def test_abandoned_threads_are_accounted_for_from_any_thread() -> None:
    metrics = Metrics()
    metrics(ThreadAbandoned("ldap"))
    metrics(ThreadAbandoned("ldap"))
    thread = threading.Thread(target=metrics, args=(AbandonedThreadEnded("ldap"),))
    thread.start()
    thread.join()
    found = samples(metrics)
    assert found["gateway_abandoned_threads{service=ldap}"] == 1
    assert found["gateway_threads_abandoned_total{service=ldap}"] == 2


POLICIES: tuple[tuple[Event, str, float], ...] = (
    (
        Retried(service="s", call="c", attempt=2, wait_s=1, error=Unreachable()),
        "gateway_retries_total{service=s}",
        2,
    ),
    (
        RetryWithheld(service="s", call="c", why="budget"),
        "gateway_retries_withheld_total{service=s,why=budget}",
        2,
    ),
    (Refused(service="s", by="limit"), "gateway_refused_total{policy=limit,service=s}", 2),
    (Hedged(service="s", call="c", won=True), "gateway_hedges_total{service=s,won=yes}", 2),
    (Hedged(service="s", call="c", won=False), "gateway_hedges_total{service=s,won=no}", 2),
    (BreakerChanged(service="s", state="open"), "gateway_breaker_state{service=s}", 2),
    (BreakerChanged(service="s", state="half_open"), "gateway_breaker_state{service=s}", 1),
    (BreakerChanged(service="s", state="closed"), "gateway_breaker_state{service=s}", 0),
    (LimitChanged(service="s", concurrency=17), "gateway_limit_concurrency{service=s}", 17),
    (LineChanged(service="s", waiting=3), "gateway_limit_waiting{service=s}", 3),
    (
        CacheAsked(service="s", call="c", found="stale"),
        "gateway_cache_total{found=stale,service=s}",
        2,
    ),
    (LoopBlocked("s"), "gateway_loop_blocked_total{service=s}", 2),
    (
        PlacesMade("s", "threads", trio.CapacityLimiter(4)),
        "gateway_places{of=threads,service=s}",
        4,
    ),
    (Coalesced(service="s", call="c"), "gateway_coalesced_total{service=s}", 2),
    (
        FaultInjected(service="s", call="c", fault="hang"),
        "gateway_faults_total{fault=hang,service=s}",
        2,
    ),
)


@pytest.mark.parametrize(("event", "sample", "wanted"), POLICIES)
def test_what_policies_do_is_counted(event: Event, sample: str, wanted: float) -> None:
    assert counted(event, event)[sample] == wanted


async def test_places_are_asked_when_they_are_shown() -> None:
    metrics = Metrics()
    places = trio.CapacityLimiter(1)
    metrics(PlacesMade("s", "processes", places))
    async with places, trio.open_nursery() as nursery:
        nursery.start_soon(places.acquire)
        await trio.testing.wait_all_tasks_blocked()
        found = samples(metrics)
        nursery.cancel_scope.cancel()
    assert found["gateway_places_busy{of=processes,service=s}"] == 1
    assert found["gateway_places_waiting{of=processes,service=s}"] == 1
    assert samples(metrics)["gateway_places_busy{of=processes,service=s}"] == 0


def test_two_gateways_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one(RequestStarted(request()))
    assert samples(one)["gateway_requests_in_flight{}"] == 1
    assert samples(other)["gateway_requests_in_flight{}"] == 0


def test_it_says_what_runs_and_how_the_process_is() -> None:
    found = counted()
    assert any(key.startswith("gateway_info{version=") for key in found)
    assert any(key.startswith("python_info{") for key in found)
    assert not any("_created" in key for key in found)


def test_a_scraper_may_ask_for_openmetrics() -> None:
    metrics = Metrics()
    metrics(request_ended())
    text, content_type = metrics.render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")
    assert metrics.render("text/html")[1].startswith("text/plain; version=0.0.4")


def test_who_is_in_and_out_is_told() -> None:
    metrics = Metrics()
    for is_in, why in ((True, "start"), (False, "health"), (True, "health"), (False, "share")):
        metrics(ReplicaChanged(service="users", replica="a.test", is_in=is_in, why=why))  # type: ignore[arg-type]
    found = samples(metrics)
    assert found["gateway_replica_in{replica=a.test,service=users}"] == 0
    changes = {key: value for key, value in found.items() if "replica_changes" in key}
    assert changes == {
        "gateway_replica_changes_total{replica=a.test,service=users,to=out,why=health}": 1,
        "gateway_replica_changes_total{replica=a.test,service=users,to=in,why=health}": 1,
        "gateway_replica_changes_total{replica=a.test,service=users,to=out,why=share}": 1,
    }


def test_the_reference_names_every_metric_and_its_labels() -> None:
    metrics = Metrics()
    for event in (
        RequestStarted(request()),
        request_ended(outcome="partial"),
        request_ended(outcome="client_left"),
        call_started(),
        call_ended(),
        ThreadAbandoned("ldap"),
        ReplicaChanged(service="users", replica="a.test", is_in=True, why="trial"),
        *(event for event, _, _ in POLICIES),
    ):
        metrics(event)
    page = PAGE.read_text()
    for family in text_string_to_metric_families(metrics.render()[0].decode()):
        if not family.name.startswith("gateway_"):
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        row = next((r for r in page.splitlines() if r.startswith(f"| `{name}` ")), None)
        assert row is not None, f"{name} is not in {PAGE.name}"
        for label in {label for s in family.samples for label in s.labels} - {"le"}:
            assert f"`{label}`" in row, f"{name}: label {label} is not in {PAGE.name}"
