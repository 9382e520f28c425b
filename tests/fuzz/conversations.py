"""What healthy clients send, in the pieces that mutations work on: lines, frames, messages."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import attrs
import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

if TYPE_CHECKING:
    from random import Random

__all__ = ["Conversation", "conversation"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATHS = (b"/", b"/echo", b"/stream", b"/a/b?c=d&e=%20", b"/%C3%A9", b"/" + b"x" * 200)
FIELDS = (
    (b"accept", b"*/*"),
    (b"user-agent", b"fuzz/1.0"),
    (b"x-empty", b""),
    (b"cookie", b"a=b; c=d"),
    (b"x-long", b"v" * 300),
    (b"te", b"trailers"),
    (b"x-request-timeout-ms", b"1000"),
)


@attrs.frozen
class Conversation:
    """What one client sends.

    Args:
        protocol: `http1`, `http2` or `websocket`.
        pieces: In their order; joined, they are valid.
    """

    protocol: str
    pieces: list[bytes]


def conversation(random: Random) -> Conversation:
    """A valid conversation, of any protocol."""
    protocol = random.choice(("http1", "http2", "websocket"))
    make = {"http1": _http1, "http2": _http2, "websocket": _websocket}[protocol]
    return Conversation(protocol, make(random))


def _some(random: Random) -> list[tuple[bytes, bytes]]:
    return random.sample(FIELDS, random.randrange(len(FIELDS)))


def _body(random: Random) -> bytes:
    return random.randbytes(random.choice((0, 1, 5, 100, 3000)))


# ---------------------------------------------------------------------- HTTP/1.1


def _http1(random: Random) -> list[bytes]:
    pieces: list[bytes] = []
    for _ in range(random.choice((1, 1, 2, 3))):
        method = random.choice((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS"))
        version = random.choice((b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"))
        pieces += [method + b" " + random.choice(PATHS) + b" " + version + b"\r\n"]
        pieces += [b"host: localhost\r\n"]
        pieces += [name + b": " + value + b"\r\n" for name, value in _some(random)]
        if method in {b"POST", b"PUT"}:
            pieces += _http1_body(random, chunked=version == b"HTTP/1.1" and random.random() < 0.5)
        else:
            pieces.append(b"\r\n")
    return pieces


def _http1_body(random: Random, *, chunked: bool) -> list[bytes]:
    body = _body(random)
    expect = [b"expect: 100-continue\r\n"] if random.random() < 0.1 else []
    if not chunked:
        return [*expect, b"content-length: %d\r\n" % len(body), b"\r\n", body]
    pieces = [*expect, b"transfer-encoding: chunked\r\n", b"\r\n"]
    while body:
        size = random.randint(1, len(body))
        extension = random.choice((b"", b"", b";a=b"))
        pieces += [b"%x" % size + extension + b"\r\n", body[:size], b"\r\n"]
        body = body[size:]
    return [*pieces, b"0\r\n", random.choice((b"", b"x-trailer: y\r\n")), b"\r\n"]


# ---------------------------------------------------------------------- HTTP/2


def _http2(random: Random) -> list[bytes]:
    encoder = hpack.Encoder()
    made: list[Frame] = [SettingsFrame(0, settings=_settings(random))]
    for stream in range(1, 2 * random.randint(1, 5), 2):
        made += _http2_request(random, encoder, stream)
        if random.random() < 0.4:
            made.append(_extra(random, stream))
    made.insert(random.randint(1, len(made)), SettingsFrame(0, flags=["ACK"]))
    return [PREFACE, *(frame.serialize() for frame in made)]


def _settings(random: Random) -> dict[int, int]:
    known = {1: 4096, 2: 0, 3: 100, 4: random.choice((0, 1, 65535, 1 << 20)), 5: 16384, 6: 1 << 16}
    return dict(random.sample(sorted(known.items()), random.randrange(len(known))))


def _http2_request(random: Random, encoder: hpack.Encoder, stream: int) -> list[Frame]:
    method = random.choice((b"GET", b"HEAD", b"POST"))
    fields = [
        (b":method", method),
        (b":scheme", b"http"),
        (b":authority", b"localhost"),
        (b":path", random.choice(PATHS)),
        *_some(random),
    ]
    if random.random() < 0.2:  # a field where it should not be, or changed
        at = random.randrange(len(fields))
        name, value = random.choice(fields)
        fields[at] = random.choice(
            (
                (name, value),
                (name.upper(), value),
                (name, value + random.choice((b"\r\nx: y", b"\0", b"\xff", b" ", b"\x7f"))),
                (b"connection", b"close"),
                (b"transfer-encoding", b"chunked"),
                (b":protocol", b"websocket"),
                (b"content-length", random.choice((b"1", b"-1", b"9" * 30, b"x"))),
                (b"host", b"elsewhere"),
            )
        )
    block = encoder.encode(fields, huffman=random.random() < 0.5)
    has_body = method == b"POST"
    flags = [] if has_body else ["END_STREAM"]
    made: list[Frame] = []
    if random.random() < 0.2:
        cut = random.randint(0, len(block))
        made.append(HeadersFrame(stream, data=block[:cut], flags=flags))
        made.append(ContinuationFrame(stream, data=block[cut:], flags=["END_HEADERS"]))
    else:
        made.append(HeadersFrame(stream, data=block, flags=[*flags, "END_HEADERS"]))
    if has_body:
        body = _body(random)
        cut = random.randint(0, len(body))
        padded = {"flags": ["PADDED"], "pad_length": 9} if random.random() < 0.3 else {}
        made.append(DataFrame(stream, data=body[:cut], **padded))  # type: ignore[arg-type]
        if random.random() < 0.2:
            trailers = encoder.encode([(b"x-trailer", b"y")])
            made.append(DataFrame(stream, data=body[cut:]))
            flags = ["END_STREAM", "END_HEADERS"]
            made.append(HeadersFrame(stream, data=trailers, flags=flags))
        else:
            made.append(DataFrame(stream, data=body[cut:], flags=["END_STREAM"]))
    return made


def _extra(random: Random, stream: int) -> Frame:
    return random.choice(
        (
            PingFrame(0, opaque_data=b"12345678"),
            PriorityFrame(stream, depends_on=0, stream_weight=9),
            WindowUpdateFrame(
                random.choice((0, stream)), window_increment=random.choice((1, 1000))
            ),
            RstStreamFrame(stream, error_code=8),
            SettingsFrame(0, settings={4: random.choice((0, 10, 65535))}),
            GoAwayFrame(0, last_stream_id=0),
        )
    )


# ---------------------------------------------------------------------- WebSocket


def _websocket(random: Random) -> list[bytes]:
    deflate = random.random() < 0.4
    pieces = [
        b"GET /socket HTTP/1.1\r\n",
        b"host: localhost\r\n",
        b"upgrade: websocket\r\n",
        b"connection: upgrade\r\n",
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        b"sec-websocket-version: 13\r\n",
    ]
    if deflate:
        pieces.append(b"sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n")
    pieces.append(b"\r\n")
    for _ in range(random.randint(1, 6)):
        pieces += _message(random, deflate=deflate)
    if random.random() < 0.7:
        pieces.append(_ws_frame(random, 0x8, random.choice((b"", b"\x03\xe8bye"))))
    return pieces


def _message(random: Random, *, deflate: bool) -> list[bytes]:
    kind = random.choice((0x1, 0x1, 0x2, 0x9, 0xA))
    if kind in {0x9, 0xA}:
        return [_ws_frame(random, kind, random.randbytes(random.randrange(126)))]
    data = "wörld ".encode() * random.randrange(40) if kind == 0x1 else _body(random)
    if deflate and random.random() < 0.5:
        compressor = zlib.compressobj(wbits=-15)
        data = (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
        return [_ws_frame(random, kind, data, rsv=0x40)]
    if random.random() < 0.3:
        cut = random.randint(0, len(data))
        first = _ws_frame(random, kind, data[:cut], fin=0)
        return [first, _ws_frame(random, 0x0, data[cut:])]
    return [_ws_frame(random, kind, data)]


def _ws_frame(random: Random, kind: int, data: bytes, *, fin: int = 0x80, rsv: int = 0) -> bytes:
    mask = random.randbytes(4)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
    if len(data) < 126:
        size = bytes([0x80 | len(data)])
    else:
        size = bytes([0xFE]) + struct.pack("!H", len(data))
    return bytes([fin | rsv | kind]) + size + mask + masked
