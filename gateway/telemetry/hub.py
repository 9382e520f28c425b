"""Where events are told, and who hears them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from gateway.telemetry.events import Event
from gateway.telemetry.logs import logger

__all__ = ["Listener", "Telemetry"]

Listener: TypeAlias = Callable[[Event], None]
"""Hears every event. It runs in the teller's task or thread, so it must neither block nor wait."""


class Telemetry:
    """Passes each event to every listener, in order. One instance per gateway.

    Args:
        listeners: Who hears the events; none of them makes `record` free.
    """

    __slots__ = ("_listeners", "_log")

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self._listeners = tuple(listeners)
        self._log = logger("gateway.telemetry")

    def record(self, event: Event) -> None:
        """Tell `event` to every listener; never fails, whatever a listener does.

        It does not wait and may be called from any thread.

        Args:
            event: What happened.
        """
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:  # noqa: BLE001 - what watches a request must not be able to fail it
                self._log.exception("listener failed", event_type=type(event).__name__)
