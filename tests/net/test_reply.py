"""Bytes to replies, without a network: how each is framed, wherever it is cut."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest

from gateway.core.errors import BadReply, GatewayError, Unreachable
from gateway.net import reply
from gateway.net.reply import MAX_HEAD, ReplyReader


@attrs.frozen
class Read:
    """What a reader made of some bytes."""

    status: int
    body: bytes
    ended: bool
    keeps_alive: bool


def read(*pieces: bytes, head: bool = False, closed: bool = False) -> Read:
    """The reply in `pieces`, and then the connection's end if `closed`."""
    reader = ReplyReader(bodiless=head)
    body = b""
    at_head = True
    for piece in pieces:
        rest: bytes | None = piece
        if at_head:
            rest = reader.take_head(piece)
            at_head = rest is None
        if rest:
            body += reader.take_body(rest)
    if closed and not reader.ended:
        reader.take_end()
    return Read(reader.status, body, reader.ended, reader.keeps_alive)


def cuts(data: bytes) -> Iterator[tuple[bytes, ...]]:
    """`data` whole, in two at every place, and byte by byte."""
    yield (data,)
    for at in range(1, len(data)):
        yield data[:at], data[at:]
    yield tuple(data[at : at + 1] for at in range(len(data)))


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
DONE = Read(200, b"hello", ended=True, keeps_alive=True)
LAST = Read(200, b"hello", ended=True, keeps_alive=False)
EMPTY = Read(200, b"", ended=True, keeps_alive=True)

FRAMED = {
    "a length": (OK + b"content-length: 5\r\n\r\nhello", DONE),
    "no body": (OK + b"content-length: 0\r\n\r\n", EMPTY),
    "a length with zeros": (OK + b"content-length: 005\r\n\r\nhello", DONE),
    "a name in capitals": (OK + b"CONTENT-LENGTH: 5\r\n\r\nhello", DONE),
    "no reason": (b"HTTP/1.1 200\r\ncontent-length: 5\r\n\r\nhello", DONE),
    "chunks": (CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", DONE),
    "chunks in capitals": (
        OK + b"Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        DONE,
    ),
    "chunks with extensions": (CHUNKED + b'5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n', DONE),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nx-sum: 1\r\nset-cookie: a\r\n\r\n", DONE),
    "no chunk but the last": (CHUNKED + b"0\r\n\r\n", EMPTY),
    "close with a length": (OK + b"connection: close\r\ncontent-length: 5\r\n\r\nhello", LAST),
    "close among others": (OK + b"connection: x, Close\r\ncontent-length: 5\r\n\r\nhello", LAST),
    "close after chunks": (
        OK + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        LAST,
    ),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", LAST),
    "HTTP/1.0 that stays": (
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello",
        DONE,
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", Read(204, b"", ended=True, keeps_alive=True)),
    "304 with a length": (
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
        Read(304, b"", ended=True, keeps_alive=True),
    ),
    "interim replies": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
        + OK
        + b"content-length: 5\r\n\r\nhello",
        DONE,
    ),
    "an interim reply with a length": (
        b"HTTP/1.1 103 X\r\ncontent-length: 9\r\n\r\n" + OK + b"content-length: 5\r\n\r\nhello",
        DONE,
    ),
    "an offer to upgrade": (
        OK + b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 5\r\n\r\nhello",
        DONE,
    ),
    "something after a length": (OK + b"content-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n", LAST),
    "something after chunks": (CHUNKED + b"5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200", LAST),
    "anything after chunks": (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n!", LAST),
    "another reply after chunks": (
        CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + OK + b"content-length: 6\r\n\r\nPOISON",
        LAST,
    ),
    "something after no body": (
        OK + b"content-length: 0\r\n\r\nx",
        Read(200, b"", ended=True, keeps_alive=False),
    ),
    "a body of 204": (
        b"HTTP/1.1 204 X\r\ncontent-length: 1\r\n\r\nx",
        Read(204, b"", ended=True, keeps_alive=False),
    ),
}


@pytest.mark.parametrize(("data", "wanted"), FRAMED.values(), ids=FRAMED)
def test_a_reply_ends_where_its_framing_says(data: bytes, wanted: Read) -> None:
    for pieces in cuts(data):
        assert read(*pieces) == wanted, pieces


TO_HEAD = {
    "a length": (OK + b"content-length: 5\r\n\r\n", EMPTY),
    "chunks": (CHUNKED, EMPTY),
    "neither": (OK + b"\r\n", EMPTY),
    "close": (OK + b"connection: close\r\n\r\n", attrs.evolve(EMPTY, keeps_alive=False)),
    "a body nevertheless": (
        OK + b"content-length: 5\r\n\r\nhello",
        attrs.evolve(EMPTY, keeps_alive=False),
    ),
    "a chunk nevertheless": (CHUNKED + b"5", attrs.evolve(EMPTY, keeps_alive=False)),
    "not there": (b"HTTP/1.1 404 X\r\ncontent-length: 9\r\n\r\n", attrs.evolve(EMPTY, status=404)),
}


@pytest.mark.parametrize(("data", "wanted"), TO_HEAD.values(), ids=TO_HEAD)
def test_a_reply_to_head_has_no_body_whatever_it_says(data: bytes, wanted: Read) -> None:
    for pieces in cuts(data):
        assert read(*pieces, head=True) == wanted, pieces


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_without_a_length_the_body_lasts_until_the_connection_closes(version: bytes) -> None:
    data = b"HTTP/" + version + b" 200 OK\r\n\r\nhello"
    for pieces in cuts(data):
        assert read(*pieces) == attrs.evolve(LAST, ended=False)
        assert read(*pieces, closed=True) == LAST


MALFORMED = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 99 OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "empty lines": b"\r\n\r\n\r\n",
    "a bare line feed": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "a bare line feed in a header": OK + b"a: b\nc: d\r\n\r\n",
    "a bare carriage return": OK + b"a: b\rc: d\r\n\r\n",
    "a null byte": OK + b"a: b\0c\r\n\r\n",
    "a folded line": OK + b"a: b\r\n c\r\n\r\n",
    "a space before the colon": OK + b"content-length : 5\r\n\r\nhello",
    "a name that is no token": OK + b"a\xff: b\r\n\r\n",
    "no colon": OK + b"abc\r\n\r\n",
    "two lengths": OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\n",
    "a length twice": OK + b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello",
    "a list of lengths": OK + b"content-length: 5, 5\r\n\r\nhello",
    "a length with a sign": OK + b"content-length: +5\r\n\r\nhello",
    "a negative length": OK + b"content-length: -5\r\n\r\nhello",
    "a hexadecimal length": OK + b"content-length: 0x5\r\n\r\nhello",
    "an empty length": OK + b"content-length:\r\n\r\nhello",
    "a length beyond all bounds": OK + b"content-length: 99999999999999999999\r\n\r\n",
    "length and chunks": OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
    "chunks and length": OK + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n",
    "gzip as transfer coding": OK + b"transfer-encoding: gzip\r\n\r\n",
    "gzip before chunks": OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "gzip before chunks, twice": (
        OK + b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "chunks twice": OK + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "identity": OK + b"transfer-encoding: identity\r\n\r\nhello",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk's size that is none": CHUNKED + b"zz\r\n",
    "a chunk's size with a sign": CHUNKED + b"+5\r\nhello\r\n",
    "a chunk's size with 0x": CHUNKED + b"0x5\r\nhello\r\n",
    "no chunk's size": CHUNKED + b"\r\nhello\r\n",
    "a chunk's size beyond all bounds": CHUNKED + b"fffffffffffffffff\r\n",
    "a chunk longer than it says": CHUNKED + b"2\r\nhello\r\n0\r\n\r\n",
    "a bare line feed after a size": CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    "a bare line feed after a chunk": CHUNKED + b"5\r\nhello\n0\r\n\r\n",
    "a null byte in a trailer": CHUNKED + b"0\r\na: b\0\r\n\r\n",
    "a length as a trailer": CHUNKED + b"0\r\ncontent-length: 9\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    "another protocol, unnamed": b"HTTP/1.1 101 X\r\n\r\n",
    "too many interim replies": b"HTTP/1.1 100 X\r\n\r\n" * 17,
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_what_is_malformed_is_a_bad_reply(data: bytes) -> None:
    for pieces in cuts(data):
        with pytest.raises(BadReply, match="not HTTP"):
            read(*pieces)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nconte",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        OK + b"content-length: 5\r\n\r\nhell",
        CHUNKED,
        CHUNKED + b"5\r\nhell",
        CHUNKED + b"5\r\nhello\r\n0\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\nx: y\r\n",
    ],
)
def test_what_is_cut_short_is_unreachable(data: bytes) -> None:
    for pieces in cuts(data) if data else [()]:
        with pytest.raises(Unreachable, match="broke"):
            read(*pieces, closed=True)


def pieces_of(data: bytes, size: int = 4096) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


BOUNDS = {
    "a head": OK + b"x: y\r\n" * 20_000,
    "a header": OK + b"x: " + b"y" * MAX_HEAD,
    "a name": OK + b"x" * MAX_HEAD * 2,
    "a reason": b"HTTP/1.1 200 " + b"x" * MAX_HEAD,
    "interim replies": (b"HTTP/1.1 103 X\r\nlink: " + b"x" * 10_000 + b"\r\n\r\n") * 10,
    "an extension of a chunk": CHUNKED + b"5;" + b"x" * MAX_HEAD * 2,
    "a trailer": CHUNKED + b"0\r\nx: " + b"y" * MAX_HEAD * 2,
    "trailers": CHUNKED + b"0\r\n" + b"x: y\r\n" * 30_000,
}


@pytest.mark.parametrize("data", BOUNDS.values(), ids=BOUNDS)
def test_what_frames_a_body_is_bounded(data: bytes) -> None:
    with pytest.raises(BadReply, match="over"):
        read(*pieces_of(data))


def test_a_head_may_be_large() -> None:
    head = OK + b"x: " + b"y" * (MAX_HEAD - 60) + b"\r\ncontent-length: 5\r\n\r\n"
    assert read(*pieces_of(head + b"hello")) == DONE


def test_many_small_chunks_are_a_body() -> None:
    data = CHUNKED + b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n"
    assert read(*pieces_of(data)) == Read(200, b"x" * 50_000, ended=True, keeps_alive=True)


def test_headers_come_as_they_are() -> None:
    reader = ReplyReader()
    rest = reader.take_head(
        OK
        + b"Set-Cookie: a=1\r\nX-A:  b \t\r\nset-cookie: b=2\r\nx-e:\r\ncontent-length: 9\r\n\r\n1"
    )
    assert rest == b"1"
    assert list(reader.headers) == [
        (b"set-cookie", b"a=1"),
        (b"x-a", b"b"),
        (b"set-cookie", b"b=2"),
        (b"x-e", b""),
        (b"content-length", b"9"),
    ]
    joined = {b"set-cookie": b"a=1, b=2", b"x-a": b"b", b"x-e": b"", b"content-length": b"9"}
    assert reader.fields == joined
    assert reader.announced == 9


def test_a_head_that_came_before_frames_each_reply_by_itself() -> None:
    head = OK + b"x-a: 1\r\ncontent-length: 5\r\n\r\n"
    readers = [ReplyReader() for _ in range(3)]
    assert [reader.take_head(head + b"hello") for reader in readers] == [b"hello"] * 3
    assert {tuple(reader.headers) for reader in readers} == {
        ((b"x-a", b"1"), (b"content-length", b"5"))
    }
    assert {reader.fields[b"x-a"] for reader in readers} == {b"1"}
    assert {reader.announced for reader in readers} == {5}
    assert read(head + b"world") == Read(200, b"world", ended=True, keeps_alive=True)
    assert read(head, b"wor", b"ld") == Read(200, b"world", ended=True, keeps_alive=True)
    assert read(head + b"hello and more") == LAST
    assert read(head, head=True) == EMPTY
    assert read(head + b"hello", head=True) == Read(200, b"", ended=True, keeps_alive=False)
    with pytest.raises(Unreachable, match="half-way"):
        read(head + b"hell", closed=True)


@pytest.mark.parametrize("name", FRAMED)
def test_what_came_before_is_read_as_it_was(name: str) -> None:
    data, wanted = FRAMED[name]
    assert read(data, closed=True) == read(data, closed=True) == wanted


def test_heads_that_came_before_are_few_and_short() -> None:
    for number in range(3000):
        assert read(OK + b"x-id: %d\r\ncontent-length: 5\r\n\r\nhello" % number) == DONE
    long = OK + b"x: " + b"y" * 5000 + b"\r\ncontent-length: 5\r\n\r\n"
    assert read(long + b"hello") == read(long + b"hello") == DONE
    assert len(reply._known) <= 1000
    assert max(map(len, reply._known)) <= 2048


def test_a_message_never_quotes_the_service() -> None:
    for data in MALFORMED.values():
        with pytest.raises(GatewayError) as caught:
            read(data.replace(b"hello", b"t0ps3cret") + b"t0ps3cret")
        assert "t0ps3cret" not in caught.value.detail
