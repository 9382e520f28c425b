"""Three echo servers in one nursery, for echo.toml: TCP, HTTP and WebSocket.

`python echo.py [TCP HTTP WEBSOCKET]`, each HOST:PORT; Ctrl-C ends all three.
"""

import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import h11
import trio
import wsproto
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

ADDRESSES = ("127.0.0.1:9931", "127.0.0.1:9932", "127.0.0.1:9933")


async def echo_tcp(stream: trio.SocketStream) -> None:
    """Bytes come back as they came."""
    async for data in stream:
        await stream.send_all(data)


async def echo_http(stream: trio.SocketStream) -> None:
    """A request's body comes back, with its type; one request after the other."""
    connection = h11.Connection(h11.SERVER)
    content_type, body = b"", b""
    while True:
        event = connection.next_event()
        match event:
            case h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            case h11.Request():
                content_type, body = dict(event.headers).get(b"content-type", b"text/plain"), b""
            case h11.Data():
                body += event.data
            case h11.EndOfMessage():
                headers = [("content-type", content_type), ("content-length", str(len(body)))]
                head = connection.send(h11.Response(status_code=200, headers=headers))
                data = connection.send(h11.Data(data=body))
                end = connection.send(h11.EndOfMessage())
                await stream.send_all((head or b"") + (data or b"") + (end or b""))
                if connection.our_state is h11.MUST_CLOSE:
                    return
                connection.start_next_cycle()
            case _:  # it has closed, or switches to another protocol
                return


async def echo_websocket(stream: trio.SocketStream) -> None:
    """Each message comes back."""
    connection = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    async for data in stream:
        connection.receive_data(data)
        for event in connection.events():
            match event:
                case Request():
                    reply = AcceptConnection()
                case TextMessage() | BytesMessage():
                    reply = type(event)(data=event.data, message_finished=event.message_finished)
                case Ping() | CloseConnection():
                    reply = event.response()
                case _:
                    continue
            await stream.send_all(connection.send(reply))
            if isinstance(event, CloseConnection):
                return


Echo = Callable[[trio.SocketStream], Awaitable[None]]


def forgiving(echo: Echo) -> Echo:
    """`echo`, for which a connection that breaks or talks nonsense ends, and nothing else does."""

    async def converse(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, h11.RemoteProtocolError, ProtocolError):
            await echo(stream)

    return converse


async def main(tcp: str, http: str, websocket: str) -> None:
    """Serve all three until they are cancelled; say so once all listen."""
    async with trio.open_nursery() as nursery:
        for address, echo in (
            (tcp, echo_tcp),
            (http, echo_http),
            (websocket, echo_websocket),
        ):
            host, _, port = address.rpartition(":")
            await nursery.start(partial(trio.serve_tcp, forgiving(echo), int(port), host=host))
        print(f"echoes at {tcp}, http://{http}, ws://{websocket}", flush=True)


with suppress(KeyboardInterrupt):
    trio.run(main, *(sys.argv[1:] or ADDRESSES))
