"""Us, the server alone: `hello.py` under `gateway.server`, without a gateway.

`python -m tests.benchmarks.apps.server PORT`
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.config.settings import ServerSettings
from gateway.config.units import parse_duration
from gateway.server.run import run
from tests.benchmarks.apps.hello import app

__all__ = ["main"]


class _Hello:
    """The application as a worker serves it."""

    ready = True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        yield

    def begin_drain(self, seconds: float) -> None:
        """Nothing here takes time that could be cut."""


def main(port: int) -> int:
    """Serve on loopback until the process is ended; the exit status."""
    settings = ServerSettings(bind=(f"127.0.0.1:{port}",), keep_alive=parse_duration("5m"))
    return run(_Hello, settings)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
