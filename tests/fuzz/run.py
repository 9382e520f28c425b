"""Mutated connections against a server in this process, beside healthy ones."""

from __future__ import annotations

import logging
import socket
import struct
import time
from random import Random
from typing import TYPE_CHECKING, Any

import trio

from gateway.core.errors import GatewayError
from gateway.net.asgi import ClientLeft, read_body, respond
from gateway.server.bounds import ConnectionConfig
from gateway.server.door import Door
from gateway.server.reception import Reception
from tests.fuzz.conversations import conversation
from tests.fuzz.findings import Findings
from tests.fuzz.mutations import mutated
from tests.fuzz.neighbours import NEIGHBOURS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.net.asgi import ASGIApp

__all__ = ["fuzz"]

AGAIN_S = 6.0
"""Everything in the server times out sooner: what is open after that is stuck."""
CONFIG = ConnectionConfig(
    header_timeout=3,
    body_timeout=3,
    send_timeout=3,
    keep_alive=3,
    max_headers=16 << 10,
    max_message=64 << 10,
    http2_prior_knowledge=True,
    websocket_compression=True,
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Tells what it is told, in several ways."""
    if scope["type"] == "websocket":
        await _socket(receive, send)
        return
    try:
        body = await read_body(receive, max_bytes=64 << 10, timeout_s=3)
    except ClientLeft:
        return
    except GatewayError as error:
        await respond(send, error.status, ())
        return
    if scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    else:
        await respond(send, 200, (), body)


async def _socket(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        try:
            await send({**message, "type": "websocket.send"})
        except OSError:
            return


async def fuzz(
    numbers: Iterable[int],
    *,
    seed: int,
    workers: int,
    served: ASGIApp = app,
    progress: Callable[[int], None] = lambda done: None,
) -> Findings:
    """Open one connection for each of `numbers`; what was found.

    Args:
        numbers: With `seed`, each says all that its connection does.
        seed: The run's.
        workers: How many connections are open at once.
        served: What answers them.
        progress: Told how many are over, now and then.
    """
    findings = Findings()
    logging.getLogger("gateway").addHandler(findings)
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    sock.setblocking(False)
    reception = Reception(served, CONFIG, max_connections=10_000)
    address = sock.getsockname()
    try:
        async with trio.open_nursery() as server, reception.attended():
            server.start_soon(reception.accept, Door(sock), server)
            async with trio.open_nursery() as healthy:
                for neighbour in NEIGHBOURS:
                    healthy.start_soon(_beside, neighbour, address, findings)
                await _all(iter(numbers), seed, workers, address, findings, progress)
                healthy.cancel_scope.cancel()
            await _until_closed(reception, findings)
            server.cancel_scope.cancel()
    finally:
        sock.close()
        logging.getLogger("gateway").removeHandler(findings)
    return findings


async def _beside(neighbour: Any, address: Any, findings: Findings) -> None:
    async with await trio.open_tcp_stream(*address) as stream:
        await neighbour(stream, findings)


async def _all(  # noqa: PLR0917 - handed on
    numbers: Any, seed: int, workers: int, address: Any, findings: Findings, progress: Any
) -> None:
    done = 0

    async def work() -> None:
        nonlocal done
        for number in numbers:
            await _one(Random(f"{seed}/{number}"), number, address, findings)
            done += 1
            if done % 1000 == 0:
                progress(done)

    async with trio.open_nursery() as nursery:
        for _ in range(workers):
            nursery.start_soon(work)


async def _one(random: Random, number: int, address: Any, findings: Findings) -> None:
    made = conversation(random)
    pieces = mutated(made.pieces, random)
    ending = random.choice(("leave", "reset", "end", "wait", "wait"))
    with trio.socket.socket() as sock:
        await sock.connect(address)
        findings.began("{}:{}".format(*sock.getsockname()), number)
        stream = trio.SocketStream(sock)
        try:
            with trio.move_on_after(0.5):
                await _talk(stream, pieces, random, ending)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        if ending == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _talk(stream: Any, pieces: list[bytes], random: Random, ending: str) -> None:
    at_once = random.random() < 0.7
    for data in [b"".join(pieces)] if at_once else pieces:
        if data:
            await stream.send_all(data)
    if ending == "end":
        await stream.send_eof()
    if ending in {"wait", "end"}:
        with trio.move_on_after(0.02):
            while await stream.receive_some():
                pass


async def _until_closed(reception: Reception, findings: Findings) -> None:
    """All clients are gone: so is everything that was done for them, soon."""
    until = time.monotonic() + AGAIN_S
    while reception.open and time.monotonic() < until:
        await trio.sleep(0.05)
    if reception.open:
        findings.add(f"{reception.open} connections are still open after {AGAIN_S:g} s")
