"""One worker in this process: its signals, its exit status. For the demo, for embedding, for tests.

`gateway serve` has its workers in processes of their own: `supervisor.py`.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import trio

from gateway.server.life import Life
from gateway.server.worker import Addresses, Served, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.admin.app import Status
    from gateway.config.settings import ServerSettings
    from gateway.net.asgi import ASGIApp

__all__ = ["run"]


def run(
    make_app: Callable[[], Served],
    settings: ServerSettings,
    *,
    admin: Callable[[Callable[[], Status]], ASGIApp] | None = None,
    on_started: Callable[[Addresses], None] = lambda _addresses: None,
) -> int:
    """Serve until a signal ends it; `settings.workers` is not looked at.

    The first SIGTERM or SIGINT drains, as `serve` says, or ends a start-up under way; the second
    cuts everything at once.

    Args:
        make_app: Makes what is served; called within the loop.
        settings: The bounds of `[server]`.
        admin: As for `serve`.
        on_started: Called with the real addresses once requests are served. It must not wait.

    Returns:
        The exit status: 0 after a drain, or a start-up that a signal ended; 1 if it could not
        start, or broke down: one line on standard error says why; 128 and the signal's number
        if a second signal cut it.
    """
    life = Life()

    async def serving(task_status: trio.TaskStatus[Addresses]) -> None:
        await serve(
            make_app(), settings, admin=admin, shutdown=life.shutdown, task_status=task_status
        )

    return life.run(_heed_signals, serving, on_started)


async def _heed_signals(life: Life, /, *, task_status: trio.TaskStatus[None]) -> None:
    """Drain at the first signal, cut at the second."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            if life.shutdown.is_set():
                life.cut(128 + number)
            else:
                life.drain()
