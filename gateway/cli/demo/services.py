"""The demo's services, one process: the sample API, and one that hangs.

It writes `ready` to standard output once both are served, and ends when its standard input does:
so it cannot outlive whoever started it, even if that is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from contextlib import AbstractAsyncContextManager

import trio

from gateway.cli.demo.api import SampleApi
from gateway.config.settings import ServerSettings
from gateway.net.asgi import Receive, Scope, Send
from gateway.server.containment import leaves
from gateway.server.listeners import ListenError
from gateway.server.worker import Addresses, serve

__all__ = ["SampleServices", "main"]


class SampleServices:
    """The sample API at one port, and at another one a service that never answers.

    Args:
        hanging_port: Where every request hangs until its client leaves.
    """

    ready = True

    def __init__(self, hanging_port: int) -> None:
        self._api = SampleApi()
        self._hanging_port = hanging_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hang."""
        if scope["server"][1] != self._hanging_port:
            await self._api(scope, receive, send)
        elif scope["type"] == "http":
            while (await receive())["type"] != "http.disconnect":
                pass

    def running(self) -> AbstractAsyncContextManager[object]:
        """There is nothing to open."""
        return contextlib.nullcontext()

    def begin_drain(self, seconds: float) -> None:
        """There is nothing to hurry."""


def main() -> int:
    """Serve until standard input ends: `python -m gateway.cli.demo.services API HANGING`.

    Both arguments are `host:port`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us: it ends our input
    try:
        trio.run(_serve, sys.argv[1], sys.argv[2])
    except ExceptionGroup as group:
        if group.subgroup(ListenError) is None:
            raise
        print(*leaves(group), flush=True)
        return 1
    return 0


async def _serve(api: str, hanging: str) -> None:
    settings = ServerSettings(bind=(api, hanging))
    samples = SampleServices(int(hanging.rpartition(":")[2]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_with_input, nursery.cancel_scope)
        addresses: Addresses = await nursery.start(_serving, samples, settings)
        print("ready", *addresses.public, flush=True)


async def _serving(
    samples: SampleServices,
    settings: ServerSettings,
    *,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    await serve(samples, settings, shutdown=trio.Event(), task_status=task_status)


async def _end_with_input(scope: trio.CancelScope) -> None:
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stream:
        while await stream.receive_some(1024):
            pass
    scope.cancel()


if __name__ == "__main__":
    sys.exit(main())
