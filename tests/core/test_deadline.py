"""Budgets in and out."""

import math

import pytest
import trio

from gateway.core.deadline import budget_of, milliseconds, remaining_ms, remaining_s
from gateway.core.errors import InvalidRequest


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, math.inf),
        ({"x-request-timeout-ms": "1500"}, 1.5),
        ({"x-request-timeout-ms": "0"}, 0),
        ({"x-request-timeout-ms": " 20 "}, 0.02),
        ({"x-envoy-expected-rq-timeout-ms": "250"}, 0.25),
        ({"grpc-timeout": "100m"}, 0.1),
        ({"grpc-timeout": "2S"}, 2),
        ({"grpc-timeout": "3M"}, 180),
        ({"grpc-timeout": "1H"}, 3600),
        ({"grpc-timeout": "5000u"}, 0.005),
        ({"grpc-timeout": "99999999n"}, 0.099999999),
        ({"x-request-timeout-ms": "900", "grpc-timeout": "1S"}, 0.9),
        ({"x-request-timeout-ms": "2000", "grpc-timeout": "1S"}, 1),
        (
            {
                "x-request-timeout-ms": "5",
                "grpc-timeout": "1S",
                "x-envoy-expected-rq-timeout-ms": "4",
            },
            0.004,
        ),
    ],
)
def test_the_smallest_budget_wins(headers: dict[str, str], seconds: float) -> None:
    assert budget_of(headers) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-request-timeout-ms": text}
        for text in ("", "-1", "1.5", "1e3", "ten", "0x10", "1" * 16, "1, 2", "\u0661")
    ]
    + [{"grpc-timeout": text} for text in ("", "100", "m", "1s", "123456789m", "-1S", "1.5S")]
    + [{"x-envoy-expected-rq-timeout-ms": "soon"}],
)
def test_a_malformed_budget_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        budget_of(headers)
    assert next(iter(headers)) in caught.value.detail


def test_a_malformed_budget_is_quoted_within_bounds() -> None:
    with pytest.raises(InvalidRequest) as caught:
        budget_of({"grpc-timeout": "x" * 10_000})
    assert len(caught.value.detail) < 200


@pytest.mark.parametrize("value", [True, 1.5, None, -3, [], "x"])
def test_milliseconds_are_whole(value: object) -> None:
    with pytest.raises(InvalidRequest):
        milliseconds(value, "gateway/timeoutMs")


def test_milliseconds_may_be_a_number() -> None:
    assert milliseconds(250, "gateway/timeoutMs") == 0.25


async def test_what_remains_is_read_from_the_scopes(autojump_clock: trio.testing.MockClock) -> None:
    assert (remaining_s(), remaining_ms()) == (math.inf, None)
    with trio.move_on_after(2), trio.move_on_after(0.25):
        assert remaining_ms() == 250
        await trio.sleep(0.1)
        assert remaining_ms() == 150
        assert remaining_s() == pytest.approx(0.15)
    with trio.CancelScope(deadline=trio.current_time() - 1, shield=True):  # noqa: ASYNC100
        assert (remaining_s(), remaining_ms()) == (0, 0)
