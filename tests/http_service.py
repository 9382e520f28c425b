"""An HTTP service that says byte for byte what it is told, over any stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import h11
import trio

__all__ = ["Received", "Scripted", "http", "raw"]

Answer = Callable[["Received", trio.abc.Stream], Awaitable[None]]


@attrs.frozen
class Received:
    """A request as it arrived."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Its only value; `None` without one; several fail the test."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) < 2, (name, values)
        return values[0] if values else None


def http(
    status: int = 200,
    body: bytes | str = b"",
    *,
    after_s: float = 0,
    length: int | None = None,
    **headers: str,
) -> bytes | Answer:
    """A whole reply; `content_type="text/plain"` is a header.

    Args:
        status: Its status.
        body: Its body.
        after_s: Seconds before it.
        length: What its content-length says; by default the truth, -1 for none.
    """
    raw_body = body.encode() if isinstance(body, str) else body
    size = len(raw_body) if length is None else length
    lines = [f"HTTP/1.1 {status} X"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if size >= 0:
        lines.append(f"content-length: {size}")
    return raw("\r\n".join(lines).encode() + b"\r\n\r\n" + raw_body, after_s=after_s)


def raw(data: bytes, *, after_s: float = 0, close: bool = False) -> Answer:
    """These very bytes, and then the connection's end if `close`."""

    async def answer(_request: Received, stream: trio.abc.Stream) -> None:
        await trio.sleep(after_s)
        await stream.send_all(data)
        if close:
            await stream.aclose()

    return answer


class Scripted:
    """Each request takes the next answer, the last one repeats; none at all hangs.

    Attributes:
        requests: Every request, in order.
        active: Requests it is in the middle of.
        connections: Connections open.
        accepted: Connections there ever were.
    """

    def __init__(self, *answers: Any) -> None:
        self._answers = answers
        self.requests: list[Received] = []
        self.active = 0
        self.connections = 0
        self.accepted = 0

    async def __call__(self, stream: trio.abc.Stream) -> None:
        """Serve one connection."""
        self.connections += 1
        self.accepted += 1
        try:
            async with trio.open_nursery() as nursery:
                await self._serve(stream, nursery)
                nursery.cancel_scope.cancel()
        finally:
            self.connections -= 1

    async def _serve(self, stream: trio.abc.Stream, nursery: trio.Nursery) -> None:
        """Requests one after the other; the client's leaving ends the answer under way."""
        send, receive = trio.open_memory_channel[bytes](100)

        async def read() -> None:
            try:
                while data := await stream.receive_some(65536):
                    await send.send(bytes(data))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(read)
        pending = b""
        while True:
            parser = h11.Connection(h11.SERVER)
            if pending:
                parser.receive_data(pending)
            try:
                request = await self._request(parser, receive)
            except h11.RemoteProtocolError:
                return
            pending = parser.trailing_data[0]
            answer = self._answers[min(len(self.requests), len(self._answers)) - 1]
            self.active += 1
            try:
                await answer(request, stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            finally:
                self.active -= 1

    async def _request(self, parser: h11.Connection, receive: Any) -> Received:
        head: h11.Request | None = None
        body = b""
        while True:
            event = parser.next_event()
            match event:
                case h11.NEED_DATA:
                    parser.receive_data(await receive.receive())
                case h11.Request():
                    head = event
                case h11.Data():
                    body += bytes(event.data)
                case h11.EndOfMessage():
                    assert head is not None
                    headers: Mapping[bytes, bytes] | Any = head.headers
                    received = Received(
                        head.method.decode(),
                        head.target.decode(),
                        [(name.decode(), value.decode("latin-1")) for name, value in headers],
                        body,
                    )
                    self.requests.append(received)
                    return received
