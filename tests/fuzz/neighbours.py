"""Healthy clients beside the mutated ones: each asks without pause, and every answer is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
import wsproto.events
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded
from wsproto import ConnectionType, WSConnection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.fuzz.findings import Findings

__all__ = ["NEIGHBOURS"]

LATE_S = 5.0
PAUSE_S = 0.002


async def _asked(name: str, findings: Findings, ask: Callable[[bytes], Awaitable[bytes]]) -> None:
    """Ask again and again; each answer holds the number of its question."""
    number = 0
    while True:
        number += 1
        wanted = b"neighbour %d" % number
        with trio.move_on_after(LATE_S) as waiting:
            heard = await ask(wanted)
        if waiting.cancelled_caught:
            findings.add(f"{name}: no answer in {LATE_S:g} s")
            return
        if heard != wanted:
            findings.add(f"{name}: expected {wanted!r}, got {heard[:200]!r}")
            return
        findings.answers += 1
        await trio.sleep(PAUSE_S)


async def http1(stream: trio.SocketStream, findings: Findings) -> None:
    """One HTTP/1.1 connection, kept alive."""

    async def ask(question: bytes) -> bytes:
        head = b"POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n"
        await stream.send_all(head % len(question) + question)
        heard = b""
        while not heard.endswith(question):
            piece = await stream.receive_some()
            if not piece:
                return heard
            heard += piece
        return heard.partition(b"\r\n\r\n")[2]

    await _asked("HTTP/1.1", findings, ask)


async def http2(stream: trio.SocketStream, findings: Findings) -> None:
    """One HTTP/2 connection."""
    client = H2Connection()
    client.initiate_connection()
    fields = [(":method", "POST"), (":scheme", "http"), (":authority", "localhost")]

    async def ask(question: bytes) -> bytes:
        number = client.get_next_available_stream_id()
        client.send_headers(number, [*fields, (":path", "/echo")])
        client.send_data(number, question, end_stream=True)
        body = b""
        while True:
            await stream.send_all(client.data_to_send())
            data = await stream.receive_some()
            if not data:
                return body
            for event in client.receive_data(data):
                if isinstance(event, DataReceived):
                    body += event.data
                    client.acknowledge_received_data(event.flow_controlled_length, number)
                elif isinstance(event, StreamEnded):
                    return body

    await _asked("HTTP/2", findings, ask)


async def websocket(stream: trio.SocketStream, findings: Findings) -> None:
    """One WebSocket."""
    client = WSConnection(ConnectionType.CLIENT)
    opening = wsproto.events.Request(host="localhost", target="/socket")
    await stream.send_all(client.send(opening))

    async def hear() -> bytes:
        while True:
            for event in client.events():
                if isinstance(event, wsproto.events.AcceptConnection):
                    return b"accepted"
                if isinstance(event, wsproto.events.BytesMessage) and event.message_finished:
                    return bytes(event.data)
            data = await stream.receive_some()
            if not data:
                return b""
            client.receive_data(data)

    await hear()

    async def ask(question: bytes) -> bytes:
        await stream.send_all(client.send(wsproto.events.BytesMessage(question)))
        return await hear()

    await _asked("WebSocket", findings, ask)


NEIGHBOURS = (http1, http2, websocket)
