"""What the server is tested with: an application, settings, and a process that serves them."""

from __future__ import annotations

import json
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import trio

from gateway.admin.app import Admin
from gateway.net.asgi import ClientLeft, ends_with_client, read_body, respond, while_connected
from gateway.server.run import run
from gateway.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@attrs.frozen
class Tls:
    certificate: Path
    key: Path


@attrs.frozen
class AdminBind:
    bind: str = "127.0.0.1:0"


@attrs.frozen(kw_only=True)
class Settings:
    """The fields of `ServerSettings` that the server reads, with the same defaults."""

    bind: tuple[str, ...] = ("127.0.0.1:0",)
    drain: float = 10
    max_body: int = 1 << 20
    max_headers: int = 32 << 10
    max_connections: int = 20_000
    header_timeout: float = 5
    body_timeout: float = 10
    allow_half_close: bool = False
    http2_prior_knowledge: bool = True
    websocket_compression: bool = False
    send_timeout: float = 10
    keep_alive: float = 75
    tls: Tls | None = None
    admin: AdminBind = AdminBind()


async def hang() -> None:
    """Work that ends with its client alone."""
    with trio.CancelScope() as leaving:
        ends_with_client(leaving)
        await trio.sleep_forever()
    raise ClientLeft


async def say_begun(send: Any) -> None:
    """Tell the client that its request is under way, whose answer never ends."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})


class App:
    """Answers by path; says what happens to it in `story`."""

    def __init__(self, start: str = "ok") -> None:
        self.start = start
        self.story: list[str] = []
        self.asked: list[str] = []
        self.under_way = 0
        self.ready = False
        self.drained = trio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        if self.start == "fail":
            raise RuntimeError("no such database")
        if self.start == "hang":
            sys.stdout.write("starting\n")
            sys.stdout.flush()
            await trio.sleep_forever()
        self.story.append("start")
        self.ready = True
        try:
            async with trio.open_nursery() as nursery:
                if self.start == "break":
                    nursery.start_soon(self.break_down)
                yield
                nursery.cancel_scope.cancel()
        finally:
            self.ready = False
            self.story.append("stop")

    async def break_down(self) -> None:
        await trio.sleep(0.1)
        raise RuntimeError("lost the database")

    def begin_drain(self, seconds: float) -> None:
        self.story.append(f"drain {seconds:g}")
        self.drained.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        self.under_way += 1
        try:
            if scope["type"] == "websocket":
                await self.websocket(receive, send)
            else:
                await self.http(scope, receive, send)
        finally:
            self.under_way -= 1

    async def websocket(self, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})

    async def hang(self, scope: Any, receive: Any) -> None:
        try:
            await while_connected(scope, receive, hang)
        except ClientLeft:
            self.story.append("left")
        finally:
            self.story.append("hang over")

    async def http(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: C901 - a table
        match scope["path"]:
            case "/hang":
                await self.hang(scope, receive)
            case "/begun":
                await say_begun(send)
                await self.hang(scope, receive)
            case "/drained":  # what a gateway does: its deadline comes early, it answers
                await self.drained.wait()
                await respond(send, 200, [], b"cut short")
            case "/pause":
                await trio.sleep(0.3)
                await respond(send, 200, [], b"paused")
            case "/exit":
                sys.exit(3)
            case "/raise":
                raise RuntimeError("a bug")
            case "/group":
                raise BaseExceptionGroup("both", [RuntimeError("a bug"), SystemExit(3)])
            case "/big":
                await respond(send, 200, [], bytes(64 << 20))
            case "/half":
                headers = [(b"content-length", b"100")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": b"half", "more_body": True})
            case "/echo":
                body = await read_body(receive, max_bytes=1 << 20, timeout_s=5)
                await respond(send, 200, [], body)
            case _:  # the body, if any, is not read
                await respond(send, 200, [("content-type", "text/plain")], b"ok")


def main() -> int:
    """Serve in this process: the first argument is JSON of settings, the second how to start."""
    keys = json.loads(sys.argv[1])
    keys["bind"] = tuple(keys.get("bind", ("127.0.0.1:0",)))
    if "admin" in keys:
        keys["admin"] = AdminBind(keys["admin"])
    app = App(sys.argv[2])

    def on_started(addresses: Any) -> None:
        sys.stdout.write(json.dumps([*addresses.public, addresses.admin]) + "\n")
        sys.stdout.flush()

    status = run(
        lambda: app,
        Settings(**keys),  # type: ignore[arg-type]
        admin=lambda status: Admin(status, Metrics().render),
        on_started=on_started,
    )
    sys.stdout.write(json.dumps(app.story) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
