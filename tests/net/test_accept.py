"""What a client would rather have."""

from __future__ import annotations

import pytest

from gateway.net.accept import weight

EVENTS, JSON = "text/event-stream", "application/json"


@pytest.mark.parametrize(
    ("accept", "events", "json"),
    [
        (None, 1, 1),
        ("", 0, 0),
        ("*/*", 1, 1),
        ("text/event-stream", 1, 0),
        ("Text/Event-Stream", 1, 0),
        ("text/event-stream;charset=utf-8", 1, 0),
        ("application/json", 0, 1),
        ("text/*", 1, 0),
        ("text/html, application/*;q=0.9", 0, 0.9),
        ("text/event-stream, application/json", 1, 1),
        ("application/json;q=0.2, text/event-stream;q=0.7", 0.7, 0.2),
        ("application/json; q=0.9 , text/event-stream ; Q=0.125", 0.125, 0.9),
        ("*/*;q=0.1, text/event-stream", 1, 0.1),
        ("*/*, text/event-stream;q=0", 0, 1),
        ("text/*;q=0.3, */*;q=0.8", 0.3, 0.8),
        ("text/event-stream;q=0.3, text/event-stream;level=1;q=0.6", 0.6, 0),
        ("text/event-stream;q=1.000, application/json;q=0.", 1, 0),
        ("text/event-stream;q=2, application/json;q=x", 0, 0),
        ("text/event-stream;q=1.5, text/*;q=0.4", 0.4, 0),
        ("text/event-stream;q=-1", 0, 0),
        (",;=,, text/event-stream,", 1, 0),
        ("text", 0, 0),
    ],
)
def test_the_nearest_range_decides(accept: str | None, events: float, json: float) -> None:
    assert (weight(accept, EVENTS), weight(accept, JSON)) == (events, json)
