from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import structlog

from tests.telemetry.told import Lines

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def lines() -> Iterator[Lines]:
    """A stream for `configure`; logging is put back afterwards as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    wordy = {name: logging.getLogger(name).level for name in ("httpx", "httpcore", "hpack")}
    yield Lines()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in wordy.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
