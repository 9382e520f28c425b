"""A Redis that says byte for byte what it is told, over any stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

__all__ = ["HELLO", "RedisServer"]

HELLO = b"%3\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:7\r\n"

Answer = Callable[[list[bytes]], Awaitable[bytes | None]]


class RedisServer:
    """Answers commands.

    Args:
        answer: From a command's words to the reply's bytes; `None` is the connection's end.
        hello: What logging in is answered with.

    Attributes:
        commands: Every command, those of logging in included.
        connections: Connections there are.
    """

    def __init__(self, answer: Answer, hello: bytes = HELLO) -> None:
        self._answer = answer
        self._hello = hello
        self.commands: list[list[bytes]] = []
        self.connections = 0

    async def __call__(self, stream: trio.abc.Stream) -> None:
        """Serve one connection."""
        self.connections += 1
        try:
            await self._serve(stream)
        finally:
            self.connections -= 1

    async def _serve(self, stream: trio.abc.Stream) -> None:
        data = bytearray()
        while True:
            words, used = _command(data)
            if words is None:
                piece = await stream.receive_some()
                if not piece:
                    return
                data += piece
                continue
            del data[:used]
            self.commands.append(words)
            if words[0] == b"HELLO":
                reply: bytes | None = self._hello
            elif words[0] == b"SELECT":
                reply = b"+OK\r\n"
            else:
                reply = await self._answer(words)
            if reply is None:
                return
            await stream.send_all(reply)


def _command(data: bytearray) -> tuple[list[bytes] | None, int]:
    """The command that `data` begins with, and its length; `None` if it is not whole."""
    lines = bytes(data).split(b"\r\n", 1)
    if len(lines) < 2:
        return None, 0
    at = len(lines[0]) + 2
    words = []
    for _ in range(int(lines[0][1:])):
        end = data.find(b"\r\n", at)
        if end < 0:
            return None, 0
        size = int(data[at + 1 : end])
        at = end + 2
        if len(data) < at + size + 2:
            return None, 0
        words.append(bytes(data[at : at + size]))
        at += size + 2
    return words, at
