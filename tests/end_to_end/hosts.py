"""A gateway over real sockets, in every kind of host: our own server, and FastAPI under uvicorn."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import uvicorn
import uvloop
from fastapi import FastAPI

from gateway import Gateway, create_app
from tests.end_to_end.support import serving, until

__all__ = ["HOSTS", "Hosted", "Uvicorn", "hosted", "under_uvicorn"]

HOSTS = pytest.mark.parametrize("host", ["ours", "asyncio", "uvloop", "uvloop without lifespan"])
"""Runs a test in every host that `hosted` knows."""


@attrs.frozen
class Hosted:
    """A gateway that is served.

    Attributes:
        app: The gateway.
        port: Its server's, on loopback.
        prefix: The path it is mounted at.
    """

    app: Gateway
    port: int
    prefix: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.prefix}"


@asynccontextmanager
async def hosted(host: str, config: Mapping[str, Any], **options: Any) -> AsyncGenerator[Hosted]:
    """The gateway of `config` in one of the `HOSTS`."""
    if host == "ours":
        async with serving(config, **options) as (app, port):
            yield Hosted(app, port, "")
        return
    app = create_app(config, **options)
    loop, _, without = host.partition(" ")
    parent = FastAPI(lifespan=None if without else app.lifespan)
    parent.mount("/gw", app)
    async with under_uvicorn(parent, loop) as server:
        yield Hosted(app, server.port, "/gw")


class Uvicorn:
    """uvicorn in a thread and an event loop of its own.

    Attributes:
        port: Where it listens.
        left: The asyncio tasks that were left as it had stopped serving.
    """

    def __init__(self, app: Any, loop: str) -> None:
        config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=5)
        self._server = uvicorn.Server(config)
        self._loop: Callable[[], asyncio.AbstractEventLoop] = (
            uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
        )
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.left: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._run, name="uvicorn")
        self._thread.start()

    @property
    def started(self) -> bool:
        return self._server.started

    def stop(self) -> None:
        """Stop serving; the thread ends soon after."""
        self._server.should_exit = True

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        with self._socket, asyncio.Runner(debug=True, loop_factory=self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        await self._server.serve(sockets=[self._socket])
        self.left = asyncio.all_tasks() - {asyncio.current_task()}


@asynccontextmanager
async def under_uvicorn(app: Any, loop: str) -> AsyncGenerator[Uvicorn]:
    """An ASGI app under uvicorn, on `asyncio`'s own loop or on `uvloop`."""
    server = Uvicorn(app, loop)
    try:
        await until(lambda: server.started or not server.alive)
        yield server
    finally:
        server.stop()
        with trio.CancelScope(shield=True):
            await until(lambda: not server.alive, within_s=15)
    assert not server.left
