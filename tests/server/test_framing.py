"""Requests that may be read in two ways, and their statuses: before an application sees them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from gateway.server import heads
from gateway.server.bodies import Chunked, Sized
from gateway.server.bounds import ConnectionConfig
from gateway.server.connection import Connection, Shared
from gateway.server.heads import Refused, parse_head

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_HEADERS = 8 << 10
CONFIG = ConnectionConfig(
    header_timeout=5,
    body_timeout=10,
    send_timeout=10,
    keep_alive=75,
    max_headers=MAX_HEADERS,
    max_message=1 << 20,
)
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"


def get(line: bytes = b"GET / HTTP/1.1", *fields: bytes, host: bytes | None = b"x") -> bytes:
    lines = [line, *([] if host is None else [b"host: " + host]), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def post(*fields: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    return get(b"POST / HTTP/" + version, *fields) + body


def chunked(body: bytes) -> bytes:
    return post(b"transfer-encoding: chunked", body=body)


REFUSED: dict[str, tuple[int, bytes]] = {
    # where a body ends
    "length and chunks": (400, post(b"content-length: 3", b"transfer-encoding: chunked")),
    "chunks and length": (400, post(b"Transfer-Encoding: chunked", b"Content-Length: 3")),
    "two lengths that differ": (400, post(b"content-length: 5", b"content-length: 6")),
    "two lengths that agree": (400, post(b"content-length: 5", b"content-length: 5")),
    "lengths in a list": (400, post(b"content-length: 5, 6")),
    "equal lengths in a list": (400, post(b"content-length: 5, 5")),
    "length with a plus": (400, post(b"content-length: +5")),
    "length with a minus": (400, post(b"content-length: -5")),
    "length in hex": (400, post(b"content-length: 0x5")),
    "length with an underscore": (400, post(b"content-length: 1_0")),
    "length with a space": (400, post(b"content-length: 1 0")),
    "length that is empty": (400, post(b"content-length:")),
    "length of too many digits": (400, post(b"content-length: " + b"9" * 40)),
    "length on HTTP/1.0 twice": (
        400,
        post(b"content-length: 1", b"content-length: 2", version=b"1.0"),
    ),
    "coding unknown": (400, post(b"transfer-encoding: gzip")),
    "coding identity": (400, post(b"transfer-encoding: identity")),
    "coding not last": (400, post(b"transfer-encoding: chunked, gzip")),
    "coding twice": (400, post(b"transfer-encoding: chunked, chunked")),
    "coding in two headers": (
        400,
        post(b"transfer-encoding: chunked", b"transfer-encoding: chunked"),
    ),
    "coding with a prefix": (400, post(b"transfer-encoding: xchunked")),
    "coding with a suffix": (400, post(b"transfer-encoding: chunkedx")),
    "coding with a tab": (400, post(b"transfer-encoding:\x0bchunked")),
    "coding quoted": (400, post(b'transfer-encoding: "chunked"')),
    "coding with parameters": (400, post(b"transfer-encoding: chunked; q=1")),
    "coding empty": (400, post(b"transfer-encoding:")),
    "coding that is not understood before chunked": (
        501,
        post(b"transfer-encoding: gzip, chunked"),
    ),
    "coding on HTTP/1.0": (400, post(b"transfer-encoding: chunked", version=b"1.0")),
    # lines
    "header folded with a space": (400, get(b"GET / HTTP/1.1", b"a: b\r\n c")),
    "header folded with a tab": (400, get(b"GET / HTTP/1.1", b"a: b\r\n\tc")),
    "first header folded": (400, get(b"GET / HTTP/1.1\r\n a: b")),
    "lines that end in LF": (400, b"GET / HTTP/1.1\nhost: x\n\n"),
    "one line that ends in LF": (400, b"GET / HTTP/1.1\r\nhost: x\na: b\r\n\r\n"),
    "head that ends in LF": (400, b"GET / HTTP/1.1\r\nhost: x\r\n\n"),
    "CR alone in a value": (400, get(b"GET / HTTP/1.1", b"a: b\rc: d")),
    "CR before CRLF": (400, get(b"GET / HTTP/1.1", b"a: b\r")),
    "NUL in a value": (400, get(b"GET / HTTP/1.1", b"a: b\0c")),
    "control character in a value": (400, get(b"GET / HTTP/1.1", b"a: b\x01c")),
    "DEL in a value": (400, get(b"GET / HTTP/1.1", b"a: b\x7fc")),
    "space before the colon": (400, get(b"GET / HTTP/1.1", b"a : b")),
    "tab before the colon": (400, get(b"GET / HTTP/1.1", b"a\t: b")),
    "space before length's colon": (400, post(b"content-length : 5")),
    "header without a colon": (400, get(b"GET / HTTP/1.1", b"abc")),
    "header without a name": (400, get(b"GET / HTTP/1.1", b": b")),
    "header name that is no token": (400, get(b"GET / HTTP/1.1", b"a(b): c")),
    "header name that is not ASCII": (400, get(b"GET / HTTP/1.1", b"caf\xe9: c")),
    "header name with NUL": (400, get(b"GET / HTTP/1.1", b"a\0: c")),
    # host
    "no host": (400, get(host=None)),
    "two hosts": (400, get(b"GET / HTTP/1.1", b"host: y")),
    "two hosts that agree": (400, get(b"GET / HTTP/1.1", b"host: x")),
    "host with a path": (400, get(host=b"a/../b@c")),
    "host with a user": (400, get(host=b"user@x")),
    "host with a space": (400, get(host=b"a b")),
    "host in a list": (400, get(host=b"a, b")),
    "host with a port that is none": (400, get(host=b"x:80a")),
    "host with a port over 65535": (400, get(host=b"x:65536")),
    "host with a port of five nines": (400, get(host=b"x:99999")),
    "host with a port of six digits": (400, get(host=b"x:000080")),
    "host that is an address with a port over 65535": (400, get(host=b"[::1]:70000")),
    "host with two ports": (400, get(host=b"x:1:2")),
    "host that is not ASCII": (400, get(host=b"caf\xe9")),
    "host unlike the target's": (400, get(b"GET http://y/ HTTP/1.1")),
    "host whose port is unlike the target's": (400, get(b"GET http://x:81/ HTTP/1.1")),
    # the request line
    "version 2.0": (400, get(b"GET / HTTP/2.0")),
    "version 1.2": (400, get(b"GET / HTTP/1.2")),
    "version 0.9": (400, get(b"GET / HTTP/0.9")),
    "version 1.10": (400, get(b"GET / HTTP/1.10")),
    "version in lower case": (400, get(b"GET / http/1.1")),
    "no version": (400, get(b"GET /")),
    "another protocol": (400, get(b"GET / ICE/1.1")),
    "two spaces after the method": (400, get(b"GET  / HTTP/1.1")),
    "two spaces after the target": (400, get(b"GET /  HTTP/1.1")),
    "tab after the method": (400, get(b"GET\t/ HTTP/1.1")),
    "space at the end": (400, get(b"GET / HTTP/1.1 ")),
    "space in the target": (400, get(b"GET /a b HTTP/1.1")),
    "space before the method": (400, get(b" GET / HTTP/1.1")),
    "target that is not ASCII": (400, get(b"GET /caf\xe9 HTTP/1.1")),
    "target with a control character": (400, get(b"GET /\x01 HTTP/1.1")),
    "target with a fragment": (400, get(b"GET /#a HTTP/1.1")),
    "target that is neither path nor URL": (400, get(b"GET a HTTP/1.1")),
    "target of another scheme": (400, get(b"GET ftp://x/ HTTP/1.1")),
    "target of a user": (400, get(b"GET http://user@x/ HTTP/1.1")),
    "target of https on a plain connection": (421, get(b"GET https://x/ HTTP/1.1")),
    "target of https, its port there": (421, get(b"GET HTTPS://x:443/ HTTP/1.1")),
    "asterisk for GET": (400, get(b"GET * HTTP/1.1")),
    "method that nobody knows": (501, get(b"FOO / HTTP/1.1")),
    "method of another protocol": (501, get(b"PLAY / HTTP/1.1")),
    "method of HTTP/2's preface": (501, get(b"PRI / HTTP/1.1")),
    "method in lower case": (501, get(b"get / HTTP/1.1")),
    "method that is no token": (400, get(b"G@T / HTTP/1.1")),
    "CONNECT": (501, get(b"CONNECT x:443 HTTP/1.1")),
    "TRACE": (501, get(b"TRACE / HTTP/1.1")),
    "HTTP/2 preface": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    # what is too much
    "target that is too long": (431, get(b"GET /" + b"a" * MAX_HEADERS + b" HTTP/1.1")),
    "header that is too long": (431, get(b"GET / HTTP/1.1", b"a: " + b"b" * MAX_HEADERS)),
    "headers that are too many": (431, get(b"GET / HTTP/1.1", *[b"a: b"] * 2000)),
    "head that never ends": (431, b"GET / HTTP/1.1\r\na: " + b"b" * 3 * MAX_HEADERS),
    # chunks
    "chunk size that is none": (400, chunked(b"zz\r\n")),
    "chunk size that is empty": (400, chunked(b"\r\nabc\r\n0\r\n\r\n")),
    "chunk size with a prefix": (400, chunked(b"0x3\r\nabc\r\n0\r\n\r\n")),
    "chunk size with a plus": (400, chunked(b"+3\r\nabc\r\n0\r\n\r\n")),
    "chunk size with a minus": (400, chunked(b"-3\r\nabc\r\n0\r\n\r\n")),
    "chunk size with a space": (400, chunked(b"3 \r\nabc\r\n0\r\n\r\n")),
    "chunk size with a space before": (400, chunked(b" 3\r\nabc\r\n0\r\n\r\n")),
    "chunk size with an underscore": (400, chunked(b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n")),
    "chunk size of too many digits": (400, chunked(b"0" * 16 + b"3\r\nabc\r\n0\r\n\r\n")),
    "chunk size that ends in LF": (400, chunked(b"3\nabc\r\n0\r\n\r\n")),
    "chunk size that ends in CR": (400, chunked(b"3\rabc\r\n0\r\n\r\n")),
    "chunk longer than its size": (400, chunked(b"3\r\nabcd\r\n0\r\n\r\n")),
    "chunk that ends in LF": (400, chunked(b"3\r\nabc\n0\r\n\r\n")),
    "chunk extension with CR": (400, chunked(b"3;a=\rb\r\nabc\r\n0\r\n\r\n")),
    "chunk extension with LF": (400, chunked(b"3;a\nb\r\nabc\r\n0\r\n\r\n")),
    "chunk extension with NUL": (400, chunked(b"3;a=\0\r\nabc\r\n0\r\n\r\n")),
    "chunk extension that is too long": (
        400,
        chunked(b"3;" + b"a" * 300 + b"\r\nabc\r\n0\r\n\r\n"),
    ),
    "trailer without a colon": (400, chunked(b"0\r\nabc\r\n\r\n")),
    "trailer that is folded": (400, chunked(b"0\r\na: b\r\n c\r\n\r\n")),
    "trailers that are too large": (431, chunked(b"0\r\n" + b"a: b\r\n" * 4000 + b"\r\n")),
    "chunks of a byte": (400, chunked(b"1\r\na\r\n" * 5000)),
    # WebSocket
    "WebSocket handshake with a body": (
        400,
        get(b"GET / HTTP/1.1", b"upgrade: websocket", b"connection: upgrade", b"content-length: 1")
        + b"a",
    ),
}

TAKEN: dict[str, bytes] = {
    "nothing special": get(),
    "HTTP/1.0": get(b"GET / HTTP/1.0"),
    "HTTP/1.0 without a host": get(b"GET / HTTP/1.0", host=None),
    "a query": get(b"GET /?a=b&c=%20 HTTP/1.1"),
    "URL as target": get(b"GET http://x/ HTTP/1.1"),
    "URL as target with the default port": get(b"GET http://X:80/ HTTP/1.1"),
    "URL as target without a path": get(b"GET http://x HTTP/1.1"),
    "OPTIONS *": get(b"OPTIONS * HTTP/1.1"),
    "empty line before": b"\r\n" + get(),
    "host with a port": get(host=b"x:8080"),
    "host with the last port": get(host=b"x:65535"),
    "host with a port that begins with a zero": get(host=b"x:00080"),
    "host with an empty port": get(host=b"x:"),
    "URL as target, its port empty": get(b"GET http://x:/ HTTP/1.1"),
    "host that is an address": get(host=b"[::1]:8080"),
    "white space around a value": get(b"GET / HTTP/1.1", b"a: \t b \t "),
    "value that is empty": get(b"GET / HTTP/1.1", b"a:"),
    "value that is not ASCII": get(b"GET / HTTP/1.1", b"a: caf\xe9"),
    "length of nothing": post(b"content-length: 0"),
    "a body": post(b"content-length: 3", body=b"abc"),
    "length with zeros": post(b"content-length: 003", body=b"abc"),
    "chunks": chunked(b'3\r\nabc\r\n2;a=b;c="d e"\r\nde\r\n0\r\n\r\n'),
    "chunks of hex": chunked(b"A\r\n" + b"a" * 10 + b"\r\n00\r\n\r\n"),
    "coding in upper case": post(b"transfer-encoding: Chunked", body=b"0\r\n\r\n"),
    "trailers": chunked(b"0\r\na: b\r\nc: d\r\n\r\n"),
    "upgrade to something else": get(b"GET / HTTP/1.1", b"upgrade: h2c", b"connection: upgrade"),
    "expectation of something else": post(b"expect: magic", b"content-length: 3", body=b"abc"),
    "PROPFIND": get(b"PROPFIND / HTTP/1.1"),
    "PURGE": get(b"PURGE / HTTP/1.1"),
    "M-SEARCH": get(b"M-SEARCH / HTTP/1.1"),
}


class App:
    """Reads the body, and says which paths it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


async def answer_to(pieces: Iterable[bytes], app: App) -> bytes:
    """What a connection answers until it ends."""
    ours, theirs = trio.testing.memory_stream_pair()
    heard = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Connection(app, Shared.of(CONFIG), ours).run)
        with contextlib.suppress(trio.BrokenResourceError):
            for piece in pieces:
                await theirs.send_all(piece)
                await trio.testing.wait_all_tasks_blocked()
            await theirs.send_eof()
        with contextlib.suppress(trio.BrokenResourceError):
            while piece := await theirs.receive_some():
                heard += piece
    return heard


@pytest.mark.parametrize("name", REFUSED)
async def test_what_may_be_read_in_two_ways_is_refused(
    name: str, autojump_clock: trio.testing.MockClock
) -> None:
    status, message = REFUSED[name]
    app = App()
    heard = await answer_to([message + SMUGGLED], app)
    assert heard.startswith(b"HTTP/1.1 %d " % status), heard
    assert b"connection: close" in heard
    assert b"application/problem+json" in heard
    assert heard.count(b"HTTP/1.1 %d " % status) == 1
    assert "/smuggled" not in app.asked
    if "transfer-encoding: chunked\r\n\r\n" not in message.decode("latin-1"):
        assert app.asked == []  # nothing but a body is read after the application began


@pytest.mark.parametrize("name", [name for name, (_, sent) in REFUSED.items() if len(sent) < 1000])
async def test_it_is_refused_byte_by_byte_too(
    name: str, autojump_clock: trio.testing.MockClock
) -> None:
    status, message = REFUSED[name]
    heard = await answer_to([bytes([byte]) for byte in message], App())
    assert heard.startswith(b"HTTP/1.1 %d " % status), heard


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
async def test_what_is_sound_is_answered_and_the_next_request_too(
    name: str, *, whole: bool, autojump_clock: trio.testing.MockClock
) -> None:
    message, app = TAKEN[name] + get(b"GET /next HTTP/1.1", b"connection: close"), App()
    heard = await answer_to([message] if whole else [bytes([byte]) for byte in message], app)
    kept = 1 if name.startswith("HTTP/1.0") else 2
    assert heard.count(b"HTTP/1.1 200 OK\r\n") == kept, heard
    assert app.asked[1:] == ["/next"][: kept - 1]


def test_a_head_says_what_it_says() -> None:
    head = parse_head(
        b"PUT http://X/a%20b?c=d HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\nExpect: 100-Continue\r\n"
        b"A: \t b \r\n\r\n",
        "http",
    )
    assert (head.method, head.target, head.length) == ("PUT", b"/a%20b?c=d", 7)
    assert head.is_1_1
    assert head.keep_alive
    assert head.expects_continue
    assert head.headers[-1] == (b"a", b"b")


def test_a_url_as_target_is_of_the_connection_s_scheme() -> None:
    def asked(target: bytes, scheme: str) -> bytes:
        return parse_head(get(b"GET " + target + b" HTTP/1.1"), scheme).target

    assert asked(b"https://x/a?b", "https") == b"/a?b"
    assert asked(b"HTTPS://X:443/a", "https") == b"/a"
    assert asked(b"http://x:80/a", "http") == b"/a"
    for target, scheme in ((b"http://x/a", "https"), (b"https://x/a", "http")):
        with pytest.raises(Refused, match=f"this connection is of {scheme}, not of") as caught:
            asked(target, scheme)
        assert caught.value.status == 421


async def test_requests_that_begin_the_same_share_nothing_that_an_application_may_change() -> None:
    seen: list[Any] = []

    class Changing(App):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            seen.append({**scope, "headers": list(scope["headers"])})
            scope["headers"].append((b"x-added", b"1"))
            scope["path"] = "/elsewhere"
            await super().__call__(scope, receive, send)

    one = post(b"content-length: 2", b"expect: 100-continue")
    heard = await answer_to([one, b"ab", one, b"ab", get(b"GET / HTTP/1.1")], Changing())
    assert heard.count(b"HTTP/1.1 100 Continue\r\n") == 2
    assert heard.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert seen[0]["headers"] == seen[1]["headers"] != seen[2]["headers"]
    assert {scope["path"] for scope in seen} == {"/"}


def test_heads_that_were_taken_before_are_few_and_short() -> None:
    for number in range(3000):
        assert parse_head(get(b"GET /%d HTTP/1.1" % number), "http").target == b"/%d" % number
    long = get(b"GET / HTTP/1.1", b"x: " + b"y" * 5000)
    assert parse_head(long, "http").headers == parse_head(long, "http").headers
    assert len(heads._known) <= 1000
    assert max(len(raw) for _, raw in heads._known) <= 2048


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_a_body_in_chunks_is_the_same_however_it_is_cut(size: int) -> None:
    sent = b"3\r\nabc\r\n10;a=b\r\n0123456789abcdef\r\n0\r\na: b\r\n\r\n" + SMUGGLED
    body, read = Chunked(MAX_HEADERS), b""
    for start in range(0, len(sent), size):
        if body.done:
            rest = body.rest + sent[start:]
            break
        read += body.feed(sent[start : start + size])
    else:
        rest = body.rest
    assert (body.done, read, rest) == (True, b"abc0123456789abcdef", SMUGGLED)


def test_a_sized_body_gives_back_what_is_not_its_own() -> None:
    body = Sized(3)
    assert (body.feed(b"ab"), body.done) == (b"ab", False)
    assert (body.feed(b"cd"), body.done, body.rest) == (b"c", True, b"d")


async def test_small_chunks_are_fine_at_a_human_pace(
    autojump_clock: trio.testing.MockClock,
) -> None:
    body = Chunked(MAX_HEADERS)
    for _ in range(50):
        for _ in range(100):
            body.feed(b"1\r\na\r\n")
        await trio.sleep(0.2)
    with pytest.raises(Refused, match="chunks of a few bytes"):
        body.feed(b"1\r\na\r\n" * 2000)
