"""Events for tests, with everything left out that a test does not care about, and log lines."""

from __future__ import annotations

import io
import json
from typing import Any

from gateway.core.messages import Branch, Context, Request
from gateway.telemetry.events import CallEnded, CallStarted, RequestEnded


class Lines(io.StringIO):
    """A stream for `configure`: what was logged, decoded."""

    @property
    def decoded(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


def request(name: str = "weather", **context: Any) -> Request:
    context.setdefault("request_id", "r-1")
    return Request(name, {"city": "hush-hush"}, Context(**context))


def request_ended(**changes: Any) -> RequestEnded:
    fields: dict[str, Any] = {
        "request": request(),
        "tool": "weather",
        "outcome": "ok",
        "duration_s": 0.02,
        "budget_s": 2.0,
    }
    return RequestEnded(**{**fields, **changes})


def call_started() -> CallStarted:
    return CallStarted(request=request(), tool="weather", call="now", service="meteo")


def call_ended(**changes: Any) -> CallEnded:
    fields: dict[str, Any] = {
        "call": "now",
        "service": "meteo",
        "outcome": "ok",
        "value": "hush-hush",
        "started_s": 0.001,
        "ended_s": 0.011,
        "budget_left_s": 1.9,
    }
    return CallEnded(request=request(), tool="weather", branch=Branch(**{**fields, **changes}))
