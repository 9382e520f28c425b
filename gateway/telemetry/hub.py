"""Where events are told, and who hears them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from gateway.telemetry.events import Event
from gateway.telemetry.logs import logger

__all__ = ["Listener", "Telemetry"]

Listener: TypeAlias = Callable[[Event], None]
"""Hears every event. It runs in the teller's task or thread, so it must neither block nor wait.

One that has a mapping `hears`, from types of events to what takes one, hears those alone, and
through that: most listeners care for few types, and events are told on every request's way.
"""


class Telemetry:
    """Passes each event to every listener, in order. One instance per gateway.

    Args:
        listeners: Who hears the events; none of them makes `record` free.
    """

    __slots__ = ("_by_type", "_listeners", "_log")

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self._listeners = tuple(listeners)
        self._by_type: dict[type[Event], tuple[Listener, ...]] = {}
        self._log = logger("gateway.telemetry")

    def record(self, event: Event) -> None:
        """Tell `event` to every listener; never fails, whatever a listener does.

        It does not wait and may be called from any thread.

        Args:
            event: What happened.
        """
        kind = type(event)
        listeners = self._by_type.get(kind)
        if listeners is None:
            ears = (_ear(one, kind) for one in self._listeners)
            listeners = self._by_type[kind] = tuple(ear for ear in ears if ear is not None)
        for listener in listeners:
            try:
                listener(event)
            except Exception:  # noqa: BLE001 - what watches a request must not be able to fail it
                self._log.exception("listener failed", event_type=type(event).__name__)


def _ear(listener: Listener, kind: type[Event]) -> Listener | None:
    """What of `listener` takes events of this type."""
    hears: Mapping[type[Event], Listener] | None = getattr(listener, "hears", None)
    return listener if hears is None else hears.get(kind)
