"""What a server says to people: into the log, bounded, without secrets."""

from __future__ import annotations

import logging
import re

import trio

from gateway.adapters.mcp.results import Errors

__all__ = ["Said"]

logger = logging.getLogger(__name__)

_LINES_PER_S = 100
_MAX_LINE = 2_000
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


class Said:
    """Writes lines to the log, so many a second, and says how many it left out.

    Args:
        name: The service's.
        errors: Knows its secrets.
    """

    def __init__(self, name: str, errors: Errors) -> None:
        self._name = name
        self._errors = errors
        self._second = -1
        self._lines = 0

    def __call__(self, line: str) -> None:
        """Write a line, perhaps; never waits."""
        second = int(trio.current_time())
        if second != self._second:
            left_out = self._lines - _LINES_PER_S
            self._second, self._lines = second, 0
            if left_out > 0:
                logger.info("%s: %d lines left out", self._name, left_out)
        self._lines += 1
        if self._lines <= _LINES_PER_S and logger.isEnabledFor(logging.INFO):
            shown = self._errors.shown(_CONTROL.sub(" ", line), _MAX_LINE)
            logger.info("%s: %s", self._name, shown)
