"""RFC 9113 and 7541, case by case: what h2spec asks, and some more, where h2spec is not to be had.

Each case is named by its section. What is sent comes behind a preface and settings, unless the case
is about them.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import attrs
import hpack
import pytest
from h2.errors import ErrorCodes
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

from tests.conformance.frames import told

if TYPE_CHECKING:
    import trio.testing

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = SettingsFrame(0).serialize()
ACK = SettingsFrame(0, flags=["ACK"]).serialize()
END = ["END_STREAM"]
WHOLE = ["END_STREAM", "END_HEADERS"]
PROTOCOL, FLOW, CLOSED, SIZE, COMPRESSION = (
    ErrorCodes.PROTOCOL_ERROR,
    ErrorCodes.FLOW_CONTROL_ERROR,
    ErrorCodes.STREAM_CLOSED,
    ErrorCodes.FRAME_SIZE_ERROR,
    ErrorCodes.COMPRESSION_ERROR,
)
GET = (b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"x"), (b":path", b"/")
POST = (b":method", b"POST"), *GET[1:3], (b":path", b"/echo")


@attrs.frozen
class Case:
    """What is sent, and what comes of it: the connection's end, the stream's, or an answer.

    Args:
        name: Begins with its section, of RFC 9113 unless it says 7541.
        sent: Frames, or their bytes.
        goodbye: The connection ends with one of these codes.
        reset: Stream 1 is reset with one of these codes, and the connection goes on.
        status: Stream 1 is answered.
        bare: No preface and settings come before.
    """

    name: str
    sent: tuple[Frame | bytes, ...]
    goodbye: tuple[int, ...] = ()
    reset: tuple[int, ...] = ()
    status: int = 0
    bare: bool = False


def block(*fields: tuple[bytes, bytes]) -> bytes:
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*f) for f in fields])


def ask(*fields: tuple[bytes, bytes], stream: int = 1, end: bool = True) -> HeadersFrame:
    flags = WHOLE if end else ["END_HEADERS"]
    return HeadersFrame(stream, data=block(*(fields or GET)), flags=flags)


def raw(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    head = struct.pack("!I", len(payload))[1:] + bytes([kind, flags])
    return head + struct.pack("!I", stream) + payload


def setting(number: int, value: int) -> bytes:
    return raw(0x4, struct.pack("!HI", number, value))


CASES = (
    Case("3.4 a preface and settings", ()),
    Case("3.4 a preface that breaks off", (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",), (PROTOCOL,), bare=True),
    Case("3.4 no settings behind the preface", (PREFACE, ask()), status=200, bare=True),
    Case("4.1 an unknown kind of frame is ignored", (raw(0xBA, b"x"), ask()), status=200),
    Case("4.1 unknown flags are ignored", (raw(0x6, bytes(8), flags=0x16), ask()), status=200),
    Case("4.1 the reserved bit is ignored", (raw(0x6, bytes(8), stream=0x80000000), ask()), status=200),
    Case("4.2 DATA of the largest size", (ask(*POST, end=False), DataFrame(1, bytes(16384), flags=END)), status=200),
    Case("4.2 DATA over the largest size", (ask(*POST, end=False), raw(0, bytes(16385), stream=1)), (SIZE,)),
    Case("4.2 HEADERS over the largest size", (raw(1, bytes(16385), stream=1, flags=5),), (SIZE,)),
    Case("4.3 a block that cannot be decoded", (raw(1, b"\xff\xff\xff\xff\xff", stream=1, flags=5),), (COMPRESSION, PROTOCOL)),
    Case("4.3 a priority between a block's frames", (HeadersFrame(1, block(*GET), flags=END), PriorityFrame(1), ContinuationFrame(1, flags=["END_HEADERS"])), (PROTOCOL,)),
    Case("4.3 another stream between a block's frames", (HeadersFrame(1, block(*GET), flags=END), ask(stream=3)), (PROTOCOL,)),
    Case("5.1 idle: DATA", (DataFrame(1, b"x"),), (PROTOCOL,)),
    Case("5.1 idle: RST_STREAM", (RstStreamFrame(1),), (PROTOCOL,)),
    Case("5.1 idle: WINDOW_UPDATE", (WindowUpdateFrame(1, window_increment=1),), (PROTOCOL,)),
    Case("5.1 idle: CONTINUATION", (ContinuationFrame(1, flags=["END_HEADERS"]),), (PROTOCOL,)),
    Case("5.1 half-closed: DATA", (ask((b":method", b"GET"), *GET[1:3], (b":path", b"/pause")), DataFrame(1, b"x")), (CLOSED,), (CLOSED,)),
    Case("5.1 half-closed: HEADERS", (ask((b":method", b"GET"), *GET[1:3], (b":path", b"/pause")), ask()), (CLOSED, PROTOCOL), (CLOSED,)),
    Case("5.1 closed by a reset: DATA", (ask(*POST, end=False), RstStreamFrame(1), DataFrame(1, b"x")), (), (CLOSED,)),
    Case("5.1 closed by a reset: HEADERS", (ask(*POST, end=False), RstStreamFrame(1), ask()), (CLOSED,), (CLOSED,)),
    Case("5.1 closed by its end: DATA", (ask(), b"", DataFrame(1, b"x")), (CLOSED,), (CLOSED,)),
    Case("5.1 closed by its end: HEADERS", (ask(), b"", ask()), (CLOSED,)),
    Case("5.1 closed: PRIORITY is ignored", (ask(), b"", PriorityFrame(1, stream_weight=3)), status=200),
    Case("5.1 closed: WINDOW_UPDATE is ignored", (ask(), b"", WindowUpdateFrame(1, window_increment=1)), status=200),
    Case("5.1.1 an even stream", (ask(stream=2),), (PROTOCOL,)),
    Case("5.1.1 stream numbers that fall", (ask(stream=5), ask(stream=3)), (PROTOCOL, CLOSED)),
    Case("5.1.2 more streams than allowed", tuple(ask((b":method", b"GET"), *GET[1:3], (b":path", b"/hang"), stream=n) for n in range(1, 205, 2)), (PROTOCOL, ErrorCodes.REFUSED_STREAM)),
    Case("5.3 a priority is ignored", (PriorityFrame(1, depends_on=3, stream_weight=9), ask()), status=200),
    Case("5.4.1 an error ends the connection", (raw(0x6, bytes(8), stream=1),), (PROTOCOL,)),
    Case("5.5 an unknown frame within a block", (HeadersFrame(1, block(*GET), flags=END), raw(0xBA, b"x")), (PROTOCOL,)),
    Case("6.1 DATA on stream 0", (raw(0, b"x"),), (PROTOCOL,)),
    Case("6.1 DATA with too much padding", (ask(*POST, end=False), raw(0, b"\x06\x00\x00\x00", flags=0x8, stream=1)), (PROTOCOL,)),
    Case("6.1 padded DATA", (ask(*POST, end=False), DataFrame(1, b"x", pad_length=5, flags=["PADDED", "END_STREAM"])), status=200),
    Case("6.2 HEADERS on stream 0", (raw(1, block(*GET), flags=5),), (PROTOCOL,)),
    Case("6.2 HEADERS with too much padding", (raw(1, b"\xff" + block(*GET), flags=0xD, stream=1),), (PROTOCOL,)),
    Case("6.2 padded HEADERS", (raw(1, b"\x02" + block(*GET) + b"\0\0", flags=0xD, stream=1),), status=200),
    Case("6.2 HEADERS with a priority", (raw(1, bytes(4) + b"\x09" + block(*GET), flags=0x25, stream=1),), status=200),
    Case("6.3 PRIORITY on stream 0", (raw(2, bytes(5)),), (PROTOCOL,)),
    Case("6.3 PRIORITY of a wrong size", (raw(2, bytes(4), stream=1),), (SIZE,), (SIZE,)),
    Case("6.4 RST_STREAM on stream 0", (raw(3, bytes(4)),), (PROTOCOL,)),
    Case("6.4 RST_STREAM of a wrong size", (ask(*POST, end=False), raw(3, bytes(3), stream=1)), (SIZE,)),
    Case("6.5 an acknowledgement with a payload", (raw(4, bytes(6), flags=1),), (SIZE, PROTOCOL)),  # h2 says the latter
    Case("6.5 SETTINGS on a stream", (raw(4, stream=1),), (PROTOCOL,)),
    Case("6.5 SETTINGS of a wrong size", (raw(4, bytes(3)),), (SIZE,)),
    Case("6.5.2 ENABLE_PUSH of 2", (setting(2, 2),), (PROTOCOL,)),
    Case("6.5.2 INITIAL_WINDOW_SIZE over the largest", (setting(4, 1 << 31),), (FLOW,)),
    Case("6.5.2 MAX_FRAME_SIZE below the least", (setting(5, 16383),), (PROTOCOL,)),
    Case("6.5.2 MAX_FRAME_SIZE over the largest", (setting(5, 1 << 24),), (PROTOCOL,)),
    Case("6.5.2 an unknown setting is ignored", (setting(0xFF, 1), ask()), status=200),
    Case("6.6 PUSH_PROMISE from a client", (ask(*POST, end=False), raw(5, struct.pack("!I", 2) + block(*GET), flags=4, stream=1)), (PROTOCOL,)),
    Case("6.7 PING of a wrong size", (raw(6, bytes(6)),), (SIZE,)),
    Case("6.7 PING on a stream", (raw(6, bytes(8), stream=1),), (PROTOCOL,)),
    Case("6.7 an acknowledged PING is ignored", (raw(6, bytes(8), flags=1), ask()), status=200),
    Case("6.8 GOAWAY on a stream", (raw(7, bytes(8), stream=1),), (PROTOCOL,)),
    Case("6.9 WINDOW_UPDATE of 0 for the connection", (raw(8, bytes(4)),), (PROTOCOL,)),
    Case("6.9 WINDOW_UPDATE of 0 for a stream", (ask(*POST, end=False), raw(8, bytes(4), stream=1)), (PROTOCOL,), (PROTOCOL,)),
    Case("6.9 WINDOW_UPDATE of a wrong size", (raw(8, bytes(3)),), (SIZE,)),
    Case("6.9.1 the connection's window overflows", (WindowUpdateFrame(0, window_increment=2**31 - 1),), (FLOW,)),
    Case("6.9.1 a stream's window overflows", (ask(*POST, end=False), WindowUpdateFrame(1, window_increment=2**31 - 1)), (), (FLOW,)),
    Case("6.9.2 INITIAL_WINDOW_SIZE makes a window overflow", (ask(*POST, end=False), WindowUpdateFrame(1, window_increment=2**30), setting(4, 2**31 - 1)), (FLOW,), (FLOW,)),
    Case("6.10 CONTINUATION behind END_HEADERS", (ask(*POST, end=False), ContinuationFrame(1, flags=["END_HEADERS"])), (PROTOCOL,)),
    Case("6.10 CONTINUATION on stream 0", (HeadersFrame(1, block(*GET), flags=END), raw(9, flags=4)), (PROTOCOL,)),
    Case("6.10 CONTINUATION on another stream", (HeadersFrame(1, block(*GET), flags=END), ContinuationFrame(3, flags=["END_HEADERS"])), (PROTOCOL,)),
    Case("6.10 several CONTINUATION", (HeadersFrame(1, block(*GET)[:3], flags=END), ContinuationFrame(1, block(*GET)[3:9]), ContinuationFrame(1, block(*GET)[9:], flags=["END_HEADERS"])), status=200),
    Case("6.10 DATA within a block", (HeadersFrame(1, block(*GET)), DataFrame(1, b"x")), (PROTOCOL,)),
    Case("7 an unknown error code", (ask(*POST, end=False), RstStreamFrame(1, error_code=0xFF), ask(stream=3))),
    Case("7 GOAWAY with an unknown code", (GoAwayFrame(0, error_code=0xFF),), (ErrorCodes.NO_ERROR,)),
    Case("8.1 a second HEADERS without END_STREAM", (ask(*POST, end=False), ask((b"a", b"b"), end=False)), (PROTOCOL,), (PROTOCOL,)),
    Case("8.1 trailers", (ask(*POST, end=False), DataFrame(1, b"x"), ask((b"a", b"b"))), status=200),
    Case("8.1 trailers with a pseudo-header field", (ask(*POST, end=False), ask((b":path", b"/"))), (), (PROTOCOL,)),
    Case("8.1.1 a content-length that is too small", (ask(*POST, (b"content-length", b"1"), end=False), DataFrame(1, b"xy", flags=END)), (PROTOCOL,), (PROTOCOL,)),
    Case("8.1.1 a content-length that is too large", (ask(*POST, (b"content-length", b"3"), end=False), DataFrame(1, b"xy", flags=END)), (PROTOCOL,), (PROTOCOL,)),
    Case("8.2 a name in upper case", (ask(*GET, (b"A", b"b")),), (), (PROTOCOL,)),
    Case("8.2.1 a value with a line break", (ask(*GET, (b"a", b"b\nc")),), (), (PROTOCOL,)),
    Case("8.2.1 a value with a NUL", (ask(*GET, (b"a", b"\0")),), (), (PROTOCOL,)),
    Case("8.2.2 connection", (ask(*GET, (b"connection", b"keep-alive")),), (), (PROTOCOL,)),
    Case("8.2.2 te", (ask(*GET, (b"te", b"trailers, deflate")),), (), (PROTOCOL,)),
    Case("8.2.3 cookies in pieces", (ask(*GET, (b"cookie", b"a=b"), (b"cookie", b"c=d")),), status=200),
    Case("8.3 an unknown pseudo-header field", (ask(*GET, (b":test", b"x")),), (), (PROTOCOL,)),
    Case("8.3 an answer's pseudo-header field", (ask(*GET, (b":status", b"200")),), (), (PROTOCOL,)),
    Case("8.3 a pseudo-header field behind others", (ask(*GET[:3], (b"a", b"b"), GET[3]),), (), (PROTOCOL,)),
    Case("8.3.1 an empty path", (ask(*GET[:3], (b":path", b"")),), (), (PROTOCOL,)),
    Case("8.3.1 no method", (ask(*GET[1:]),), (), (PROTOCOL,)),
    Case("8.3.1 no scheme", (ask(GET[0], *GET[2:]),), (), (PROTOCOL,)),
    Case("8.3.1 no path", (ask(*GET[:3]),), (), (PROTOCOL,)),
    Case("8.3.1 two methods", (ask(GET[0], *GET),), (), (PROTOCOL,)),
    Case("8.3.1 two schemes", (ask(GET[1], *GET),), (), (PROTOCOL,)),
    Case("8.3.1 two paths", (ask(GET[3], *GET),), (), (PROTOCOL,)),
    Case("8.5 CONNECT", (ask((b":method", b"CONNECT"), (b":authority", b"x:443")),), status=501),
    Case("7541 2.3.3 an index that is not there", (raw(1, b"\xff\x21", flags=5, stream=1),), (COMPRESSION, PROTOCOL)),
    Case("7541 4.2 a table's size at the end of a block", (raw(1, block(*GET) + b"\x20", flags=5, stream=1),), (COMPRESSION, PROTOCOL)),
    Case("7541 5.2 a Huffman code of EOS", (raw(1, block(*GET) + b"\x00\x85\xf2\xb2\x4a\x87\xff\xff\xff\xff\x01a", flags=5, stream=1),), (COMPRESSION, PROTOCOL)),
    Case("7541 6.1 index 0", (raw(1, b"\x80", flags=5, stream=1),), (COMPRESSION, PROTOCOL)),
    Case("7541 6.3 a table larger than allowed", (raw(1, b"\x3f\xe2\x1f" + block(*GET), flags=5, stream=1),), (COMPRESSION, PROTOCOL)),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_section(case: Case, autojump_clock: trio.testing.MockClock) -> None:
    pieces = [f if isinstance(f, bytes) else f.serialize() for f in case.sent]
    opening = [] if case.bare else [PREFACE + SETTINGS + ACK]
    # At an empty piece the client waits for the answer to what came before; the rest comes at once.
    at = pieces.index(b"") if b"" in pieces else len(pieces)
    outcome = await told([*opening, b"".join(pieces[:at]), b"".join(pieces[at:])])
    if case.goodbye and outcome.closed:
        assert outcome.goodbye in {None, *case.goodbye}
    elif case.reset:
        assert (outcome.goodbye, outcome.closed) == (None, False)
        assert outcome.resets.get(1) in case.reset
    else:
        assert not case.goodbye, "the connection goes on"
        assert (outcome.goodbye, outcome.closed) == (None, False)
        assert outcome.statuses.get(1, 0) == case.status


async def test_3_4_settings_come_first_and_are_acknowledged(
    autojump_clock: trio.testing.MockClock,
) -> None:
    outcome = await told([PREFACE + SETTINGS])
    assert isinstance(outcome.frames[0], SettingsFrame)
    assert any(isinstance(f, SettingsFrame) and "ACK" in f.flags for f in outcome.frames)


async def test_6_7_a_ping_is_told_back(autojump_clock: trio.testing.MockClock) -> None:
    outcome = await told([PREFACE + SETTINGS + PingFrame(0, b"12345678").serialize()])
    pongs = [frame for frame in outcome.frames if isinstance(frame, PingFrame)]
    assert [(frame.opaque_data, set(frame.flags)) for frame in pongs] == [(b"12345678", {"ACK"})]


async def test_6_9_2_a_window_may_be_opened_later(autojump_clock: trio.testing.MockClock) -> None:
    shut = PREFACE + SettingsFrame(0, settings={4: 1}).serialize() + ask().serialize()
    more = SettingsFrame(0, settings={4: 2}).serialize()
    assert (await told([shut])).bodies == {1: b"o"}
    assert (await told([shut, more])).bodies == {1: b"ok"}
    below = SettingsFrame(0, settings={4: 0}).serialize()
    opened = WindowUpdateFrame(1, window_increment=1).serialize()
    assert (await told([shut, below, opened])).bodies == {1: b"o"}
    assert (await told([shut, below, opened, opened])).bodies == {1: b"ok"}


async def test_6_9_data_waits_for_the_connections_window(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wide = PREFACE + SettingsFrame(0, settings={4: 1 << 20}).serialize()
    big = ask(GET[0], *GET[1:3], (b":path", b"/big")).serialize()
    outcome = await told([wide + big])
    assert sum(len(body) for body in outcome.bodies.values()) == 65_535
