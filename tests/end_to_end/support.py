"""A gateway over real sockets, in the test's own loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from gateway import Gateway, create_app
from gateway.server.worker import Addresses, serve

__all__ = ["leaving", "open_sockets", "send_get", "serving", "until"]


@asynccontextmanager
async def serving(config: Mapping[str, Any], **options: Any) -> AsyncGenerator[tuple[Gateway, int]]:
    """The gateway of `config` on a free loopback port, through our own server."""
    server = {"drain": "1s", **config.get("server", {}), "bind": ["127.0.0.1:0"]}
    app = create_app({**config, "server": server}, **options)
    shutdown = trio.Event()
    async with trio.open_nursery() as nursery:
        addresses: Addresses = await nursery.start(_serve, app, shutdown)
        yield app, int(addresses.public[0].rpartition(":")[2])
        shutdown.set()


async def _serve(
    app: Gateway, shutdown: trio.Event, task_status: trio.TaskStatus[Addresses]
) -> None:
    await serve(app, app.server, shutdown=shutdown, task_status=task_status)


async def leaving(call: Callable[[], Awaitable[object]], after_s: float) -> bool:
    """Whether `call` was done before its client left, which no deadline had announced.

    Args:
        call: What the client waits for.
        after_s: Seconds after which it leaves; inf if it stays.
    """
    done = False

    async def leave(scope: trio.CancelScope) -> None:
        await trio.sleep(after_s)
        scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave, nursery.cancel_scope)
        await call()
        done = True
        nursery.cancel_scope.cancel()
    return done


def open_sockets() -> int:
    """Sockets this process has open."""
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            count += str(link.readlink()).startswith("socket:")
        except FileNotFoundError:  # the directory's own
            continue
    return count


async def send_get(port: int, path: str, **headers: str) -> trio.SocketStream:
    """A connection on which a GET was sent; its answer is not read."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    lines = [f"GET {path} HTTP/1.1", "host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    await stream.send_all("\r\n".join([*lines, "", ""]).encode())
    return stream


async def until(condition: Callable[[], object], *, within_s: float = 30) -> None:
    """Wait in real time for what no event tells: other threads, the system's sockets.

    Args:
        condition: What is waited for.
        within_s: Seconds after which the test fails.
    """
    with trio.fail_after(within_s):
        while not condition():
            await trio.sleep(0.001)
