"""Raw frames to a server, and what it makes of them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import attrs
import hpack
import trio
import trio.testing
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame

from gateway.server.bounds import ConnectionConfig
from gateway.server.connection import Connection, Shared
from tests.server.serving import App

__all__ = ["Outcome", "told"]

CONFIG = ConnectionConfig(
    header_timeout=5,
    body_timeout=10,
    send_timeout=10,
    keep_alive=75,
    max_headers=32 << 10,
    max_message=1 << 20,
    http2_prior_knowledge=True,
)
HEAD_BYTES = 9
QUIET_S = 0.5


@attrs.define
class Outcome:
    """What a server answered.

    Attributes:
        goodbye: The code of its GOAWAY.
        resets: The codes of its RST_STREAM frames, by stream.
        statuses: The statuses of its answers, by stream.
        bodies: Their bodies.
        frames: Every frame, by its kind's name, in order.
        closed: Whether it has closed the connection.
    """

    goodbye: int | None = None
    resets: dict[int, int] = attrs.field(factory=dict)
    statuses: dict[int, int] = attrs.field(factory=dict)
    bodies: dict[int, bytes] = attrs.field(factory=dict)
    frames: list[Frame] = attrs.field(factory=list)
    closed: bool = False

    def take(self, data: bytes) -> None:
        """Read all that the server has sent."""
        decoder = hpack.Decoder()
        while len(data) >= HEAD_BYTES:
            frame, length = Frame.parse_frame_header(memoryview(data[:HEAD_BYTES]))
            frame.parse_body(memoryview(data[HEAD_BYTES : HEAD_BYTES + length]))
            data = data[HEAD_BYTES + length :]
            self.frames.append(frame)
            number = frame.stream_id
            match frame:
                case GoAwayFrame():
                    self.goodbye = frame.error_code
                case RstStreamFrame():
                    self.resets[number] = frame.error_code
                case HeadersFrame():
                    fields: dict[Any, Any] = dict(decoder.decode(frame.data))
                    self.statuses[number] = int(fields[":status"])
                case DataFrame():
                    self.bodies[number] = self.bodies.get(number, b"") + frame.data


async def told(sent: list[bytes]) -> Outcome:
    """What a server answers to `sent`, each piece once it is quiet. In virtual time."""
    ours, theirs = trio.testing.memory_stream_pair()
    connection = Connection(App(), Shared.of(CONFIG), ours)
    outcome = Outcome()
    heard = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        for piece in sent:
            with suppress(trio.BrokenResourceError):
                await theirs.send_all(piece)
            with trio.move_on_after(QUIET_S), suppress(trio.BrokenResourceError):
                while data := await theirs.receive_some():
                    heard += data
                outcome.closed = True
        await theirs.aclose()
        nursery.cancel_scope.cancel()
    outcome.take(heard)
    return outcome
