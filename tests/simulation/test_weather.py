"""Wishes for the weather: whom they mean, when, which counts, and what a mistake is told."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from gateway.simulation.weather import Conditions, Weather, Window, Wishes, forecast

CALLS = {"profile": "crm", "invoices": "billing"}


def weather(folder: Path = Path(), **wishes: Any) -> Weather:
    asked = Wishes(directory=folder, **wishes)
    return forecast(asked, "customer", CALLS, ("crm", "billing", "ldap"), {"profile": {"a": "b"}})


def latency(conditions: Conditions, now: float = 0) -> float:
    draw = next(draw for window, draw in conditions.latencies if now in window)
    return draw(random.Random(1))


def test_without_wishes_services_take_ten_milliseconds_and_all_is_well() -> None:
    calm = weather()
    for conditions in calm.calls.values():
        assert latency(conditions) == 0.01
        assert conditions.failures == conditions.hangs == ()
    assert calm.calls["profile"].reply == {"a": "b"}
    assert calm.lines[0] == "crm: 10ms (nothing else was said)"


def test_the_later_wish_counts_and_a_calls_before_its_services() -> None:
    found = weather(latency=("customer.profile=3s", "crm=1s", "crm=2s", "billing=4s", "billing=5s"))
    assert latency(found.calls["profile"]) == 3
    assert latency(found.calls["invoices"]) == 5


def test_a_wish_may_be_for_a_time() -> None:
    found = weather(latency=("crm=1s", "crm=2s@10s..20s"), hang=("crm=50%@1m..",))
    profile = found.calls["profile"]
    assert [latency(profile, now) for now in (0, 9.9, 10, 19.9, 20)] == [1, 1, 2, 2, 1]
    ((window, share),) = profile.hangs
    assert share == 0.5
    assert (59 in window, 60 in window, 1e9 in window) == (False, True, True)


def test_an_outage_shows_at_once_and_goes_before_failures() -> None:
    found = weather(fail=("billing=30%:503", "billing=unreachable"), down=("billing@10s..20s",))
    values = [value for _, value in found.calls["invoices"].failures]
    expected = [(1.0, "unreachable", True), (1.0, "unreachable", False), (0.3, 503, False)]
    assert values == expected
    assert found.calls["profile"].failures == ()


def test_a_reply_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "p@1..2.json").write_text('{"number": 7}')
    found = weather(tmp_path, reply=("customer.profile=p@1..2.json",))
    assert found.calls["profile"].reply == {"number": 7}
    assert found.calls["invoices"].reply is None


def test_lines_say_all_that_was_asked_for() -> None:
    found = weather(
        latency=("crm=80ms",),
        fail=("customer.invoices=30%:503@..5s",),
        hang=("crm",),
        down=("billing@10s..20s",),
    )
    assert found.lines == (
        "crm: 80ms, hangs",
        "billing: 10ms (nothing else was said), down from 10s to 20s",
        "customer.invoices: fails 30%:503 until 5s",
    )


def test_a_window_knows_its_words() -> None:
    assert Window().text == ""
    assert Window(10).text == " from 10s"


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"latency": ("crn=80ms",)}, """--latency crn=80ms: expected a service or a call"""),
        ({"latency": ("crn=80ms",)}, "got 'crn'; did you mean \"crm\"?"),
        ({"hang": ("customer.profil",)}, 'did you mean "customer.profile"?'),
        ({"latency": ("crm",)}, "--latency crm: expected NAME=…, got 'crm'"),
        ({"latency": ("crm=soon",)}, "--latency crm=soon: expected a duration"),
        ({"fail": ("crm=30%:200",)}, "expected a status from 400 to 599 or one of unreachable"),
        ({"fail": ("crm=unreachble",)}, 'did you mean "unreachable"?'),
        ({"fail": ("crm=half:503",)}, "expected a share such as \"30%\", got 'half'"),
        ({"hang": ("crm=0.5",)}, "expected a share"),
        ({"down": ("crm=503",)}, "expected NAME or NAME@10s..20s, got a value"),
        ({"down": ("crm@20s..10s",)}, "expected the earlier time first"),
        ({"down": ("crm@10..20s",)}, "expected a time such as @10s..20s"),
        ({"down": ("crm@10s-20s",)}, "expected a service or a call"),
        ({"reply": ("crm=none.json",)}, "none.json: expected a file of JSON: No such file"),
    ],
)
def test_mistakes_say_what_would_be_right(
    wishes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"^--") as caught:
        weather(tmp_path, **wishes)
    assert message in str(caught.value)


def test_a_reply_must_be_json(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("{")
    with pytest.raises(ValueError, match=r"r\.json: expected JSON"):
        weather(tmp_path, reply=("crm=r.json",))
