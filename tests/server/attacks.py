"""What ends stock Hypercorn, or may: one connection each, over any stream."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import attrs
import hpack
import trio
from hyperframe.frame import (
    DataFrame,
    Frame,
    HeadersFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n"
)
MASKED_HELLO = b"\x81\x85\x00\x00\x00\x00hello"


@attrs.frozen
class Attack:
    """A connection that sends `pieces`, waiting for an answer after each, then leaves.

    Args:
        leaves_early: It leaves at once, with nothing read.
    """

    name: str
    pieces: Sequence[bytes]
    leaves_early: bool = False

    async def on(self, stream: Any) -> None:
        """Do it."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            for piece in self.pieces:
                await stream.send_all(piece)
                if not self.leaves_early:
                    await until_quiet(stream)
        await trio.aclose_forcefully(stream)


async def until_quiet(stream: Any) -> None:
    quiet = False
    while not quiet:
        with trio.move_on_after(0.05) as waiting:
            quiet = not await stream.receive_some(1 << 20)
        quiet = quiet or waiting.cancelled_caught


def headers(stream: int, *, end: bool = True, **pseudo: bytes) -> bytes:
    fields = {b"method": b"GET", b"scheme": b"http", b"authority": b"x", b"path": b"/"}
    fields |= {name.encode(): value for name, value in pseudo.items()}
    block = hpack.Encoder().encode(
        [(b":" + name, value) for name, value in fields.items() if value]
    )
    flags = ["END_HEADERS", "END_STREAM"] if end else ["END_HEADERS"]
    return HeadersFrame(stream, data=block, flags=flags).serialize()


def frames(made: Sequence[Frame]) -> bytes:
    return b"".join(frame.serialize() for frame in made)


def get(path: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nhost: x\r\n\r\n"


ODD = range(1, 200, 2)

ATTACKS = (
    Attack("h2 path that is not ASCII", [PREFACE, headers(1, path=b"/caf\xc3\xa9")]),
    Attack("h2 method that is not ASCII", [PREFACE, headers(1, method=b"G\xc3\x89T")]),
    Attack(
        "h2 CONNECT without a path",
        [PREFACE, headers(1, method=b"CONNECT", path=b"", scheme=b"")],
    ),
    Attack(
        "h2 DATA after the answer",
        [PREFACE, headers(1, end=False), DataFrame(1, data=b"late").serialize() * 3],
    ),
    Attack(
        "h2 more than 1,000 PRIORITY frames",
        [PREFACE, frames([PriorityFrame(n, stream_weight=9) for n in range(1, 2401, 2)])],
    ),
    Attack(
        "h2 window that overflows",
        [PREFACE, frames([WindowUpdateFrame(0, window_increment=2**31 - 1)] * 2)],
    ),
    Attack("h2 settings of a wrong length", [PREFACE, b"\x00\x00\x03\x04\x00\x00\x00\x00\x00abc"]),
    Attack("h2 noise after the preface", [PREFACE, bytes(range(256)) * 4]),
    Attack(
        "h2 leaving with streams open",
        [PREFACE + b"".join(headers(n, path=b"/hang") for n in ODD)],
    ),
    Attack(
        "h2 leaving with answers under way",
        [PREFACE, b"".join(headers(n, path=b"/big") for n in ODD)],
        leaves_early=True,
    ),
    Attack(
        "h2 streams opened and reset",
        [PREFACE + b"".join(headers(n) + RstStreamFrame(n).serialize() for n in ODD)],
        leaves_early=True,
    ),
    Attack("h2 handlers that exit", [PREFACE, headers(1, path=b"/exit") + headers(3)]),
    Attack(
        "h2c upgrade with malformed settings",
        [
            (
                b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\n"
                b"upgrade: h2c\r\nhttp2-settings: AAA\r\n\r\n"
            )
        ],
    ),
    Attack(
        "websocket window bits that are no number",
        [
            HANDSHAKE + b"sec-websocket-extensions: permessage-deflate; "
            b"client_max_window_bits=abc\r\n\r\n"
        ],
    ),
    Attack(
        "websocket header that is not ASCII",
        [HANDSHAKE + b"sec-websocket-protocol: caf\xe9\r\n\r\n"],
    ),
    Attack("websocket bytes before it is accepted", [HANDSHAKE + b"\r\n" + MASKED_HELLO]),
    Attack("websocket noise", [HANDSHAKE + b"\r\n", bytes(range(256)) * 4]),
    Attack("http noise", [bytes(range(256)) * 4]),
    Attack("http target that is not ASCII", [get(b"/caf\xe9")]),
    Attack("http head that is too large", [b"GET / HTTP/1.1\r\na: " + b"b" * 200_000]),
    Attack("http handler that exits", [get(b"/exit")]),
    Attack("http handler that fails", [get(b"/raise")]),
    Attack("http handler that fails in a group", [get(b"/group")]),
    Attack("http leaving in the middle", [get(b"/hang")]),
    Attack("http leaving with an answer under way", [get(b"/big")], leaves_early=True),
    Attack(
        "http body that breaks off",
        [b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nab"],
    ),
    Attack(
        "http chunks that are none",
        [b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"],
    ),
    Attack("nothing", []),
)
