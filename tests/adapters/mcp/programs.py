"""A program in memory, and the client before it."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
import trio.testing

from gateway.adapters.mcp.client import Client
from gateway.adapters.mcp.messages import Told
from gateway.adapters.mcp.program import ProgramLink
from gateway.adapters.mcp.results import Errors
from gateway.core.messages import Context
from gateway.core.service import discard

__all__ = ["Fake", "Program", "Started", "dies", "echoes", "hangs", "started"]

MODERN = "2026-07-28"


class Fake:
    """One life of a program.

    Args:
        program: What it does.
        obeys: The signals that end it; without any of them SIGKILL does.
        hears_end: Whether the end of its input ends it.
    """

    def __init__(self, program: Program, obeys: tuple[int, ...], hears_end: bool) -> None:
        self.program = program
        self.obeys = obeys
        self.hears_end = hears_end
        self.stdin, self.input = trio.testing.memory_stream_one_way_pair()
        self.output, self.stdout = trio.testing.memory_stream_one_way_pair()
        self.complaints, self.stderr = trio.testing.memory_stream_one_way_pair()
        self.signals: list[int] = []
        self.received: list[dict[str, Any]] = []
        self.ended = trio.Event()
        self.status = 0

    async def run(self) -> None:
        rest = b""
        while not self.ended.is_set():
            data = await self.input.receive_some()
            if not data:
                break
            *lines, rest = (rest + bytes(data)).split(b"\n")
            for line in lines:
                self.received.append(json.loads(line))
                await self.program.take(self, self.received[-1])
        if self.hears_end:
            self.end(0)

    def end(self, status: int) -> None:
        if not self.ended.is_set():
            self.status = status
            self.ended.set()
            self.output.close()
            self.complaints.close()

    async def say(self, message: Any) -> None:
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        await self.output.send_all(data + b"\n")

    async def answer(self, message: Any, result: Any) -> None:
        await self.say({"jsonrpc": "2.0", "id": message["id"], "result": result})

    async def wait(self) -> int:
        await self.ended.wait()
        return self.status

    def signal(self, number: int, /) -> None:
        self.signals.append(number)
        if number in self.obeys or number == signal.SIGKILL:
            self.end(-number)

    async def aclose(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            await stream.aclose()

    def asked(self, method: str) -> list[dict[str, Any]]:
        return [message for message in self.received if message.get("method") == method]


@attrs.define(eq=False)
class Program:
    """A program that may be started again.

    Args:
        on: By method, what it does with the request; what is not there it answers as it should.
    """

    nursery: trio.Nursery
    on: dict[str, Callable[[Fake, Any], Any]]
    legacy: str = ""
    obeys: tuple[int, ...] = (signal.SIGTERM,)
    hears_end: bool = True
    lives: list[Fake] = attrs.field(factory=list)
    attempts: list[float] = attrs.field(factory=list)
    said: list[str] = attrs.field(factory=list)
    heard: list[Told] = attrs.field(factory=list)
    refuses: OSError | None = None

    async def spawn(self) -> Fake:
        await trio.lowlevel.checkpoint()
        self.attempts.append(trio.current_time())
        if self.refuses is not None:
            raise self.refuses
        life = Fake(self, self.obeys, self.hears_end)
        self.lives.append(life)
        self.nursery.start_soon(life.run)
        return life

    @property
    def life(self) -> Fake:
        return self.lives[-1]

    async def take(self, life: Fake, message: Any) -> None:
        method = message.get("method", "answer")
        if method in self.on:
            await self.on[method](life, message)
        elif method == "server/discover" and not self.legacy:
            await life.answer(message, {"supportedVersions": [MODERN], "capabilities": {}})
        elif method == "initialize" and self.legacy:
            agreed = {"protocolVersion": self.legacy, "capabilities": {}}
            await life.answer(message, agreed)
        elif "id" in message and method != "answer":
            error = {"code": -32601, "message": "Method not found"}
            await life.say({"jsonrpc": "2.0", "id": message["id"], "error": error})


@attrs.frozen
class Started:
    program: Program
    link: ProgramLink
    client: Client

    async def call(self, name: str = "x", emit: Any = discard, peer: Any = None) -> Any:
        context = Context(request_id="r", peer=peer)
        return await self.client.ask("tools/call", {"name": name}, context=context, emit=emit)


@asynccontextmanager
async def started(
    on: dict[str, Any] | None = None, max_reply: int = 10_000, **how: Any
) -> AsyncGenerator[Started]:
    async with trio.open_nursery() as nursery:
        program = Program(nursery, on or {}, **how)
        link = ProgramLink("s", program.spawn, max_reply, program.said.append, lambda: None)
        client = Client("s", link, Errors("s", []), program.heard.append)
        async with client.open():
            yield Started(program, link, client)
        for life in program.lives:
            assert life.ended.is_set()
        nursery.cancel_scope.cancel()


async def echoes(life: Fake, message: Any) -> None:
    await life.answer(message, {"name": message["params"]["name"]})


async def hangs(_life: Fake, _message: Any) -> None: ...


async def dies(life: Fake, _message: Any) -> None:
    life.end(3)
