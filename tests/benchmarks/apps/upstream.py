"""The service behind every subject, as fast as Python can.

`python -m tests.benchmarks.apps.upstream PORT`. `/stream` is answered with server-sent events, each
a chunk and a write of its own, streams taking turns; any other GET with a small JSON object. A raw
protocol on uvloop that looks for the ends of request heads and for little else.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

import uvloop

from tests.benchmarks.apps.constant import EVENTS, USER

__all__ = ["main"]

_BODY = json.dumps(USER).encode()
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_ANSWER = _HEAD % len(_BODY) + _BODY
_END = b"\r\n\r\n"
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_PIECES = (
    _STREAM_HEAD,
    *(b"%x\r\n%b\r\n" % (len(event), event) for event in EVENTS),
    b"0\r\n\r\n",
)


class _Fixed(asyncio.Protocol):
    """Answers each request head; pipelined and split ones too."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is no subclass

    def data_received(self, data: bytes) -> None:
        heads = (self._rest + data).split(_END)
        self._rest = heads.pop()
        if heads and heads[0].startswith(b"GET /stream"):
            self._send_piece(0)
        elif heads:
            self._transport.write(_ANSWER * len(heads))

    def _send_piece(self, index: int) -> None:
        """Send one piece of the stream, and the next one in the loop's next turn."""
        if not self._transport.is_closing():
            self._transport.write(_PIECES[index])
            if index + 1 < len(_PIECES):
                asyncio.get_running_loop().call_soon(self._send_piece, index + 1)


async def main(port: int) -> None:
    """Serve on loopback until the process is ended."""
    server = await asyncio.get_running_loop().create_server(_Fixed, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
