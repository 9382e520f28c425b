"""What headers say of how long a reply is good: RFC 9111's table, as far as it concerns us."""

from __future__ import annotations

import math
import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.freshness import ALONE, NEVER, Freshness, Kept
from gateway.net.freshness import freshness_of

INF = math.inf
ALL: Kept = "for all"
ONE: Kept = "for one"


def said(kept: Kept = ALL, **headers: str) -> Freshness | None:
    fields = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return freshness_of(fields, kept)


@pytest.mark.parametrize(
    ("control", "shared", "private"),
    [
        ("max-age=60", Freshness(60), Freshness(60)),
        ("MAX-AGE = 60", Freshness(60), Freshness(60)),
        ('max-age="60"', Freshness(60), Freshness(60)),
        ("max-age=0", Freshness(0), Freshness(0)),
        ("max-age=-1", Freshness(0), Freshness(0)),
        ("max-age", Freshness(0), Freshness(0)),
        ("max-age=1e3", Freshness(0), Freshness(0)),
        ("max-age=60, max-age=30", Freshness(30), Freshness(30)),
        ("max-age=" + "9" * 5000, Freshness(2**31), Freshness(2**31)),
        ("max-age=" + "0" * 5000 + "7", Freshness(7), Freshness(7)),
        ("max-age=" + "9" * 15, Freshness(2**31), Freshness(2**31)),
        ("public", Freshness(), Freshness()),
        ("no-store", ALONE, ALONE),
        ("no-store, no-cache, private", ALONE, ALONE),
        ("no-cache, max-age=60", NEVER, NEVER),
        ('no-cache="set-cookie"', NEVER, NEVER),
        ("No-Store", ALONE, ALONE),
        ("private, max-age=60", NEVER, Freshness(60)),
        ('private="x-user", max-age=60', NEVER, Freshness(60)),
        ("max-age=60, s-maxage=10", Freshness(10, 0), Freshness(60)),
        ("s-maxage=10", Freshness(10, 0), Freshness()),
        ("max-age=60, must-revalidate", Freshness(60, 0), Freshness(60, 0)),
        ("max-age=60, proxy-revalidate", Freshness(60, 0), Freshness(60)),
        ("max-age=60, stale-while-revalidate=5", Freshness(60, 5), Freshness(60, 5)),
        ("max-age=60, stale-if-error=7", Freshness(60, 7), Freshness(60, 7)),
        (
            "max-age=60, stale-while-revalidate=5, stale-if-error=7",
            Freshness(60, 7),
            Freshness(60, 7),
        ),
        ("s-maxage=10, stale-while-revalidate=5", Freshness(10, 5), Freshness(INF, 5)),
        ("must-revalidate, stale-if-error=7", Freshness(INF, 0), Freshness(INF, 0)),
        ('x="no-store, max-age=1", max-age=60', Freshness(60), Freshness(60)),
        ("", Freshness(), Freshness()),
        (',;="', Freshness(), Freshness()),
    ],
)
def test_cache_control(control: str, shared: Freshness, private: Freshness) -> None:
    assert said(ALL, cache_control=control) == shared
    assert said(ONE, cache_control=control) == private


def test_what_says_nothing() -> None:
    assert said() is None
    assert said(content_type="text/plain", age="7", vary="accept-language") is None


@pytest.mark.parametrize("vary", ["*", "accept, *", "*, accept"])
def test_what_varies_by_anything_is_never_the_same(vary: str) -> None:
    assert said(vary=vary, cache_control="max-age=60") == NEVER


def test_the_time_it_spent_with_others_counts() -> None:
    assert said(cache_control="max-age=60", age="20") == Freshness(40)
    assert said(cache_control="max-age=60", age="90") == Freshness(0)
    assert said(cache_control="max-age=60", age="x") == Freshness(60)
    assert said(cache_control="public", age="90") == Freshness()


def test_expires() -> None:
    now = 1_700_000_000
    date = formatdate(now, usegmt=True)
    later = formatdate(now + 60, usegmt=True)
    assert said(expires=later, date=date) == Freshness(60)
    assert said(expires=later, date=date, age="20") == Freshness(40)
    assert said(expires=date, date=later) == Freshness(0)
    assert said(expires="0", date=date) == Freshness(0)
    assert said(expires=later, date=date, cache_control="max-age=5") == Freshness(5)
    coming = said(expires=formatdate(time.time() + 100, usegmt=True))
    assert coming is not None
    assert coming.good_s == pytest.approx(100, abs=10)


@given(
    st.binary(max_size=200), st.binary(max_size=50), st.binary(max_size=50), st.binary(max_size=20)
)
def test_any_bytes_mean_something(control: bytes, expires: bytes, age: bytes, vary: bytes) -> None:
    fields = {b"cache-control": control, b"expires": expires, b"age": age, b"vary": vary}
    for kept in (ALL, ONE):
        found = freshness_of(fields, kept)
        assert found is not None
        assert found.good_s >= 0
        assert found.stale_s >= 0
