"""Latencies as they are written: what is drawn, and what a mistake is told."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gateway.simulation.distributions import parse_latency


def drawn(text: str, number: int = 20_000, folder: Path = Path()) -> list[float]:
    draw, chance = parse_latency(text, folder), random.Random(1)
    return sorted(draw(chance) for _ in range(number))


@pytest.mark.parametrize("text", ["80ms", "constant:80ms"])
def test_a_duration_is_always_the_same(text: str) -> None:
    assert set(drawn(text, 10)) == {0.08}


def test_uniform_is_between_its_ends() -> None:
    found = drawn("uniform:50ms..150ms")
    assert 0.05 <= found[0] < 0.051
    assert 0.149 < found[-1] <= 0.15
    assert sum(found) / len(found) == pytest.approx(0.1, rel=0.02)


def test_exponential_has_its_mean() -> None:
    found = drawn("exponential:80ms")
    assert sum(found) / len(found) == pytest.approx(0.08, rel=0.03)
    assert found[len(found) // 2] == pytest.approx(0.08 * 0.6931, rel=0.05)


@pytest.mark.parametrize(("text", "share"), [("p99=2s", 0.99), ("p90=2s", 0.9)])
def test_lognormal_has_its_median_and_its_percentile(text: str, share: float) -> None:
    found = drawn(f"lognormal:80ms,{text}")
    assert found[len(found) // 2] == pytest.approx(0.08, rel=0.06)
    assert found[int(len(found) * share)] == pytest.approx(2, rel=0.15)


def test_a_tail_is_a_share_of_its_own() -> None:
    found = drawn("20ms,1%=2s")
    assert set(found) == {0.02, 2.0}
    assert found.count(2.0) == pytest.approx(200, rel=0.3)
    assert drawn("lognormal:80ms,p99=2s,0%=9s") == drawn("lognormal:80ms,p99=2s")


@pytest.mark.parametrize(
    "content",
    [
        "80ms\n\n1.5s\n",
        "80\n1500.0\n",
        '[80, "1.5s"]',
        '{"event": "call", "service": "crm", "duration_ms": 80}\n{"duration_ms": 1500.0}\n',
    ],
)
def test_recorded_ones_are_drawn_from_a_file(content: str, tmp_path: Path) -> None:
    (tmp_path / "latencies.txt").write_text(content)
    found = drawn("file:latencies.txt", 1000, tmp_path)
    assert set(found) == {0.08, 1.5}
    assert 400 < found.count(0.08) < 600


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("80", 'expected a duration such as "80ms"'),
        ("lognormol:80ms,p99=2s", 'did you mean "lognormal"?'),
        ("lognormal:80ms", "expected a median and a percentile"),
        ("lognormal:2s,p99=80ms", "a longer percentile"),
        ("lognormal:80ms,p20=2s", "above p50"),
        ("lognormal:0s,p99=2s", "above 0s"),
        ("uniform:150ms..50ms", "the shorter one first"),
        ("uniform:150ms", "expected uniform:50ms..150ms"),
        ("20ms,1%=2", "expected a tail such as 1%=2s, got '1%=2'"),
        ("20ms,101%=2s", "expected a tail"),
        ("file:none.txt", "none.txt: expected a file of latencies: No such file"),
    ],
)
def test_mistakes_say_what_would_be_right(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^expected|none\.txt") as caught:
        parse_latency(text, tmp_path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected at least one latency, got none"),
        ("[]", "expected at least one latency, got none"),
        ("80ms\nslow\n", ":2: expected a duration"),
        ("80ms\n-1\n", ":2: expected a duration"),
        ("[80, true]", ": item 1: expected a duration"),
        ("[80", "expected a JSON array"),
        ('{"service": "crm"}', ":1: expected a duration"),
    ],
)
def test_mistakes_of_a_file_name_the_line(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "recorded").write_text(content)
    with pytest.raises(ValueError, match="recorded") as caught:
        parse_latency("file:recorded", tmp_path)
    assert message in str(caught.value)
