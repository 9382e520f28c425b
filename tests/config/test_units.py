from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2s", 2.0),
        ("250ms", 0.25),
        ("1m30s", 90.0),
        ("1h", 3600.0),
        ("1d2h3m4s5ms", 93784.005),
        ("1.5s", 1.5),
        ("0.5ms", 0.0005),
        ("1s100ms", 1.1),
        ("0s", 0.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2.0, "2s"),
        (90, "1m30s"),
        (0.25, "250ms"),
        (1.5, "1.5s"),
        (3600, "1h"),
        (86400, "1d"),
        (0, "0s"),
        (0.0005, "0.5ms"),
        (math.inf, "none"),
    ],
)
def test_durations_are_written_as_a_person_would(seconds: float, text: str) -> None:
    assert units.format_duration(seconds) == text


@given(st.integers(0, 10**15))
def test_durations_come_back(nanoseconds: int) -> None:
    seconds = nanoseconds / 10**9
    assert units.parse_duration(units.format_duration(seconds)) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("5B", 5),
        ("64KiB", 65536),
        ("1MiB", 1048576),
        ("1GiB", 2**30),
        ("1KB", 1000),
        ("2MB", 2_000_000),
        ("3GB", 3 * 10**9),
    ],
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert units.parse_size(text) == size_bytes
    assert units.format_size(size_bytes) == text


@given(st.integers(0, 10**12))
def test_sizes_come_back(size_bytes: int) -> None:
    assert units.parse_size(units.format_size(size_bytes)) == size_bytes


@pytest.mark.parametrize(
    ("text", "per_second"),
    [("100/s", 100.0), ("10/m", 1 / 6), ("5000/h", 5000 / 3600), ("1/d", 1 / 86400)],
)
def test_rates(text: str, per_second: float) -> None:
    assert units.parse_rate(text) == per_second
    assert units.format_rate(per_second) == text


@pytest.mark.parametrize(
    ("text", "share"), [("10%", 0.1), ("0%", 0.0), ("100%", 1.0), ("0.5%", 0.005), ("33.3%", 0.333)]
)
def test_shares(text: str, share: float) -> None:
    assert units.parse_share(text) == pytest.approx(share)
    assert units.format_share(share) == text


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        *(
            (units.parse_duration, text)
            for text in (
                "",
                "2",
                "s",
                "2 s",
                "2parsecs",
                "30s1m",
                "-1s",
                "1s1s",
                "1.5m",
                "٣s",
                "2s\n",
                "9" * 10 + "s",
            )
        ),
        *(
            (units.parse_size, text)
            for text in ("", "1", "1.5MiB", "1 MiB", "MiB", "1mib", "9" * 13 + "B", "1B\n")
        ),
        *((units.parse_rate, text) for text in ("", "100", "100/", "1.5/s", "1/y", "100/s\n")),
        *((units.parse_share, text) for text in ("", "10", "101%", "-1%", "1e1%", "10%\n")),
    ],
)
def test_what_is_none(parse: Callable[[str], float], text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse(text)


@pytest.mark.parametrize(
    ("write", "value"),
    [
        (units.format_duration, -1),
        (units.format_duration, math.nan),
        (units.format_size, -1),
        (units.format_size, 1.5),
        (units.format_rate, math.pi),
        (units.format_rate, -1),
        (units.format_share, 1.1),
    ],
)
def test_what_cannot_be_written(write: Callable[[float], str], value: float) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        write(value)


def test_none_is_written_for_no_limit() -> None:
    assert units.format_size(math.inf) == units.format_rate(math.inf) == "none"
