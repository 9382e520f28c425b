"""RFC 6455 and 7692, case by case, numbered as Autobahn's groups 1 to 7, 9 and 12.

They stand in for Autobahn's test suite where that is not to be had: it runs on Python 2 alone.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import attrs
import pytest

from tests.server.test_websocket import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Client,
    connected,
    deflated,
    frame,
)

if TYPE_CHECKING:
    import trio.testing

CONTINUED = 0x0
SIZES = (0, 1, 125, 126, 127, 128, 4096, 9999)
WORDS = "κόσμε, wörld, 𐀀".encode()


@attrs.frozen
class Case:
    """What is sent, and the frames that come back.

    Args:
        name: Begins with its group.
        sent: Bytes.
        heard: Kinds and data, in order; a close's data is its code, `None` for any, `b""` for none.
    """

    name: str
    sent: bytes
    heard: tuple[tuple[int, bytes | None], ...]


def close(code: int, reason: bytes = b"") -> bytes:
    return struct.pack("!H", code) + reason


def closing(code: int) -> tuple[int, bytes]:
    return CLOSE, struct.pack("!H", code)


def echoed(kind: int, data: bytes) -> tuple[tuple[int, bytes | None], ...]:
    return ((kind, data),)


HELLO = frame(TEXT, b"hello")
ECHO = (TEXT, b"hello")
PROTOCOL, UTF8 = closing(1002), closing(1007)

CASES = (
    *(Case(f"1.1 a text of {n}", frame(TEXT, b"*" * n), echoed(TEXT, b"*" * n)) for n in SIZES),
    *(Case(f"1.2 {n} bytes", frame(BINARY, b"\xfe" * n), echoed(BINARY, b"\xfe" * n)) for n in SIZES),
    Case("2.1 a ping without a payload", frame(PING), ((PONG, b""),)),
    Case("2.2 a ping with a payload", frame(PING, b"payload"), ((PONG, b"payload"),)),
    Case("2.3 a ping with a binary payload", frame(PING, b"\0\xff\xfe"), ((PONG, b"\0\xff\xfe"),)),
    Case("2.4 a ping of 125 bytes", frame(PING, b"\xfe" * 125), ((PONG, b"\xfe" * 125),)),
    Case("2.5 a ping of 126 bytes", frame(PING, b"\xfe" * 126), (PROTOCOL,)),
    Case("2.7 a pong nobody asked for", frame(PONG) + HELLO, (ECHO,)),
    Case("2.8 a pong with a payload", frame(PONG, b"payload") + HELLO, (ECHO,)),
    Case("2.9 a pong, then a ping", frame(PONG, b"x") + frame(PING, b"y"), ((PONG, b"y"),)),
    Case("2.10 ten pings", b"".join(frame(PING, b"%d" % n) for n in range(10)), tuple((PONG, b"%d" % n) for n in range(10))),
    *(Case(f"3 reserved bits {bits:#x}", HELLO + frame(TEXT, b"x", rsv=bits), (ECHO, PROTOCOL)) for bits in (0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70)),
    Case("3 a reserved bit of a ping", frame(PING, rsv=0x40), (PROTOCOL,)),
    Case("3 a reserved bit of a close", frame(CLOSE, rsv=0x40), (PROTOCOL,)),
    *(Case(f"4.1 the unknown kind {kind}", HELLO + frame(kind, b"x"), (ECHO, PROTOCOL)) for kind in (3, 4, 5, 6, 7)),
    *(Case(f"4.2 the unknown control frame {kind}", frame(kind), (PROTOCOL,)) for kind in (11, 12, 13, 14, 15)),
    Case("5.1 a ping in pieces", frame(PING, b"a", fin=0) + frame(CONTINUED, b"b"), (PROTOCOL,)),
    Case("5.2 a pong in pieces", frame(PONG, b"a", fin=0) + frame(CONTINUED, b"b"), (PROTOCOL,)),
    Case("5.3 a text in two pieces", frame(TEXT, b"hel", fin=0) + frame(CONTINUED, b"lo"), (ECHO,)),
    Case("5.6 a ping between them", frame(TEXT, b"hel", fin=0) + frame(PING, b"p") + frame(CONTINUED, b"lo"), ((PONG, b"p"), ECHO)),
    Case("5.9 a piece of nothing, whole", frame(CONTINUED, b"x"), (PROTOCOL,)),
    Case("5.12 a piece of nothing, more to come", frame(CONTINUED, b"x", fin=0), (PROTOCOL,)),
    Case("5.15 a piece behind a whole text", frame(TEXT, b"hel", fin=0) + frame(CONTINUED, b"lo") + frame(CONTINUED, b"x"), (ECHO, PROTOCOL)),
    Case("5.18 two beginnings", frame(TEXT, b"a", fin=0) + frame(TEXT, b"b"), (PROTOCOL,)),
    Case("5.19 pieces and pings", b"".join(frame(TEXT if not n else CONTINUED, b"x", fin=0) + frame(PING, b"%d" % n) for n in range(4)) + frame(CONTINUED), (*((PONG, b"%d" % n) for n in range(4)), (TEXT, b"xxxx"))),
    Case("6.1 three empty pieces", frame(TEXT, fin=0) + frame(CONTINUED, fin=0) + frame(CONTINUED), ((TEXT, b""),)),
    Case("6.1 empty, full, empty", frame(TEXT, fin=0) + frame(CONTINUED, b"x", fin=0) + frame(CONTINUED), ((TEXT, b"x"),)),
    Case("6.2 UTF-8", frame(TEXT, WORDS), echoed(TEXT, WORDS)),
    Case("6.2 UTF-8 cut within a character", frame(TEXT, WORDS[:1], fin=0) + frame(CONTINUED, WORDS[1:]), echoed(TEXT, WORDS)),
    Case("6.2 UTF-8 byte by byte", frame(TEXT, fin=0) + b"".join(frame(CONTINUED, WORDS[n : n + 1], fin=0) for n in range(len(WORDS))) + frame(CONTINUED), echoed(TEXT, WORDS)),
    Case("6.3 a surrogate", frame(TEXT, b"\xce\xba\xed\xa0\x80edited"), (UTF8,)),
    Case("6.4 not UTF-8 already in the first piece", frame(TEXT, b"\xf4\x90", fin=0), (UTF8,)),
    Case("6.6 a character that breaks off", frame(TEXT, b"\xce"), (UTF8,)),
    Case("6.11 the last code point", frame(TEXT, b"\xf4\x8f\xbf\xbf"), echoed(TEXT, b"\xf4\x8f\xbf\xbf")),
    Case("6.12 beyond the last", frame(TEXT, b"\xf4\x90\x80\x80"), (UTF8,)),
    Case("6.13 five bytes", frame(TEXT, b"\xf8\x88\x80\x80\x80"), (UTF8,)),
    Case("6.14 a lone continuation", frame(TEXT, b"\x80"), (UTF8,)),
    Case("6.17 impossible bytes", frame(TEXT, b"\xfe\xfe\xff\xff"), (UTF8,)),
    Case("6.18 an overlong slash", frame(TEXT, b"\xc0\xaf"), (UTF8,)),
    Case("6.19 an overlong NUL", frame(TEXT, b"\xe0\x80\x80"), (UTF8,)),
    Case("6.21 half a pair", frame(TEXT, b"\xed\xad\xbf"), (UTF8,)),
    Case("6.22 a noncharacter", frame(TEXT, b"\xef\xbf\xbe"), echoed(TEXT, b"\xef\xbf\xbe")),
    Case("7.1 a message, then the close", HELLO + frame(CLOSE, close(1000)), (ECHO, closing(1000))),
    Case("7.1 a message behind the close", frame(CLOSE, close(1000)) + HELLO, (closing(1000),)),
    Case("7.1 a ping behind the close", frame(CLOSE, close(1000)) + frame(PING), (closing(1000),)),
    Case("7.1 two closes", frame(CLOSE, close(1000)) * 2, (closing(1000),)),
    Case("7.1 a close within a message", frame(TEXT, b"a", fin=0) + frame(CLOSE, close(1000)), (closing(1000),)),
    Case("7.3 a close without a payload", frame(CLOSE), ((CLOSE, b""),)),
    Case("7.3 a close of one byte", frame(CLOSE, b"a"), (PROTOCOL,)),
    Case("7.3 a close with a reason", frame(CLOSE, close(1000, b"bye")), (closing(1000),)),
    Case("7.3 a close with the longest reason", frame(CLOSE, close(1000, b"*" * 123)), (closing(1000),)),
    Case("7.3 a close with a reason too long", frame(CLOSE, close(1000, b"*" * 124)), (PROTOCOL,)),
    Case("7.5 a reason that is not UTF-8", frame(CLOSE, close(1000, b"\xce\xba\xed\xa0")), ((CLOSE, None),)),
    *(Case(f"7.7 the code {code}", frame(CLOSE, close(code)), (closing(code),)) for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)),
    *(Case(f"7.9 the invalid code {code}", frame(CLOSE, close(code)), (PROTOCOL,)) for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999)),
    Case("9 a text of 9,999 in pieces of 64", b"".join(frame(CONTINUED if n else TEXT, b"*" * min(64, 9999 - n), fin=0x80 if n + 64 >= 9999 else 0) for n in range(0, 9999, 64)), echoed(TEXT, b"*" * 9999)),
    Case("10.1 a text of 9,000 in one frame, in several reads", frame(TEXT, b"*" * 9000), echoed(TEXT, b"*" * 9000)),
)  # fmt: skip


async def outcome(client: Client, count: int) -> list[tuple[int, bytes]]:
    return [await client.hear() for _ in range(count)]


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_case(case: Case, at_once: bool, autojump_clock: trio.testing.MockClock) -> None:
    async with connected() as client:
        await client.begin()
        sent = [case.sent] if at_once else [case.sent[n : n + 1] for n in range(len(case.sent))]
        if len(sent) > 500:
            sent = [case.sent[n : n + 97] for n in range(0, len(case.sent), 97)]
        for piece in sent:
            await client.stream.send_all(piece)
        for kind, data in case.heard:
            heard = await client.hear()
            assert heard[0] == kind
            if kind == CLOSE and data:
                assert heard[1][:2] == data
            elif data is not None:
                assert heard[1] == data
        if case.heard[-1][0] == CLOSE:
            assert await client.hear() == (0, b"")


@pytest.mark.parametrize("size", [0, 16, 1024, 9999])
@pytest.mark.parametrize("pieces", [1, 4])
async def test_12_compressed_messages(size: int, pieces: int) -> None:
    offer = "permessage-deflate; client_max_window_bits"
    async with connected(websocket_compression=True) as client:
        await client.begin(sec_websocket_extensions=offer)
        inflate = zlib.decompressobj(wbits=-15)
        for _ in range(3):
            data = deflated(b"*" * size)
            cuts = [len(data) * n // pieces for n in range(pieces + 1)]
            for n in range(pieces):
                fin = 0x80 if n == pieces - 1 else 0
                kind, rsv = (CONTINUED, 0) if n else (TEXT, 0x40)
                await client.say(kind, data[cuts[n] : cuts[n + 1]], fin=fin, rsv=rsv)
            kind, heard = await client.hear()
            assert kind == TEXT
            assert inflate.decompress(heard + b"\0\0\xff\xff") == b"*" * size


async def test_12_what_cannot_be_decompressed_closes() -> None:
    async with connected(websocket_compression=True) as client:
        await client.begin(sec_websocket_extensions="permessage-deflate")
        await client.say(TEXT, b"\xff" * 20, rsv=0x40)
        assert (await client.hear())[0] == CLOSE
