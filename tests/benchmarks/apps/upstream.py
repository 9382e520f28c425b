"""The service behind every subject: one small JSON answer to any GET, as fast as Python can.

`python -m tests.benchmarks.apps.upstream PORT`. A raw protocol on uvloop that looks for the
ends of request heads and for nothing else, so that it is never what a scenario waits for.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

import uvloop

from tests.benchmarks.apps.constant import USER

__all__ = ["main"]

_BODY = json.dumps(USER).encode()
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_ANSWER = _HEAD % len(_BODY) + _BODY
_END = b"\r\n\r\n"


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
        if heads:
            self._transport.write(_ANSWER * len(heads))


async def main(port: int) -> None:
    """Serve on loopback until the process is ended."""
    server = await asyncio.get_running_loop().create_server(_Fixed, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
