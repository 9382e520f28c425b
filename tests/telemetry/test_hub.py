from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.telemetry.events import Event, RequestStarted
from gateway.telemetry.hub import Telemetry
from gateway.telemetry.logs import configure
from tests.telemetry.told import request

if TYPE_CHECKING:
    from tests.telemetry.told import Lines


def test_every_listener_hears_every_event_in_order() -> None:
    heard: list[tuple[str, Event]] = []
    telemetry = Telemetry([lambda e: heard.append(("a", e)), lambda e: heard.append(("b", e))])
    first, second = RequestStarted(request()), RequestStarted(request())
    telemetry.record(first)
    telemetry.record(second)
    assert heard == [("a", first), ("b", first), ("a", second), ("b", second)]


def test_a_failing_listener_is_logged_and_harms_nobody(lines: Lines) -> None:
    configure(stream=lines)
    heard: list[Event] = []

    def fails(event: Event) -> None:
        raise RuntimeError("no disk")

    Telemetry([fails, heard.append]).record(RequestStarted(request()))
    assert len(heard) == 1
    (line,) = lines.decoded
    assert (line["event"], line["event_type"]) == ("listener failed", "RequestStarted")
    assert line["exception"][0]["exc_value"] == "no disk"


def test_an_interrupt_passes() -> None:
    def interrupted(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Telemetry([interrupted]).record(RequestStarted(request()))


def test_without_listeners_nothing_happens() -> None:
    Telemetry().record(RequestStarted(request()))
