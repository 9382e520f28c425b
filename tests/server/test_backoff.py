from __future__ import annotations

from gateway.server.backoff import Backoff


def test_the_first_is_replaced_at_once_and_the_next_ones_later_and_later() -> None:
    backoff = Backoff()
    assert [backoff.pause_s(1) for _ in range(6)] == [0, 0.05, 0.1, 0.2, 0.4, 0.4]


def test_one_that_cannot_start_is_tried_less_and_less_often_and_never_given_up() -> None:
    backoff = Backoff()
    pauses = [backoff.pause_s(None) for _ in range(5000)]
    assert pauses[:6] == [0, 0.05, 0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == 15


def test_one_that_served_for_long_starts_anew() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.pause_s(None)
    assert backoff.pause_s(10) == 0
    assert backoff.pause_s(9) == 0.05
