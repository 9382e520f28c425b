"""What the fuzz has found: errors that the server logs, and answers that are not right."""

from __future__ import annotations

import logging
import re
from collections import Counter
from typing import Any

__all__ = ["Findings"]

SHOWN = 20


class Findings(logging.Handler):
    """Collects what is wrong; as a log handler, what the server warns of.

    Attributes:
        texts: What was found, the same thing counted once.
        answers: How many right answers the neighbours got.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: Counter[str] = Counter()
        self.answers = 0
        self._connections: dict[str, int] = {}

    def began(self, client: str, number: int) -> None:
        """Take note that connection `number` comes from the address `client`."""
        self._connections[client] = number

    def add(self, text: str) -> None:
        """Add a finding."""
        self.texts[text] += 1

    def emit(self, record: logging.LogRecord) -> None:
        """Take a warning of the server's."""
        told: Any = record.msg
        about = told if isinstance(told, dict) else {"event": record.getMessage()}
        number = self._connections.get(about.get("peer", ""), "?")
        error = about.get("errors") or repr(about.get("exc_info"))
        kind = re.sub(r"\d+", "N", f"{about.get('event')}: {error}")
        if not any(text.startswith(kind) for text in self.texts):
            self.add(f"{kind} (connection {number})")

    def __str__(self) -> str:
        return "\n".join(f"{count} x {text}" for text, count in self.texts.most_common(SHOWN))
