"""An ASGI client in memory: no sockets, and it can leave in the middle."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import attrs
import msgspec
import trio

from gateway.net.asgi import ASGIApp

if TYPE_CHECKING:
    from gateway.app import Gateway

__all__ = ["Answer", "InMemoryClient", "open_client"]


@attrs.frozen(slots=True)
class Answer:
    """One answer: status, headers (names in lower case), the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)


class InMemoryClient:
    """Sends requests straight into an ASGI app on Trio.

    Args:
        app: The app, its lifespan already entered where it needs one.
        root_path: The prefix it is mounted under.
    """

    def __init__(self, app: ASGIApp, *, root_path: str = "") -> None:
        self._app = app
        self._root_path = root_path

    async def request(
        self,
        method: str,
        target: str,
        *,
        json: Any = None,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and wait for the whole answer.

        Args:
            method: In capitals.
            target: The path, percent-encoded, with a query if any.
            json: A JSON body; its content type is added.
            content: A body as bytes, where `json` is absent.
            headers: The request's headers; `host: localhost` is added.
        """
        answer = await self._exchange(method, target, json, content, headers or {})
        if answer is None:
            raise AssertionError("the app returned without answering")
        return answer

    async def leave(
        self,
        method: str,
        target: str,
        *,
        after_s: float,
        json: Any = None,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer | None:
        """Send a request and leave after `after_s` seconds; return when the app is done with it.

        Returns:
            `None`, or the answer if it came before the leaving.
        """
        return await self._exchange(
            method, target, json, content, headers or {}, leave_after_s=after_s
        )

    async def _exchange(
        self,
        method: str,
        target: str,
        json: Any,
        content: bytes,
        headers: Mapping[str, str],
        *,
        leave_after_s: float = math.inf,
    ) -> Answer | None:
        path, _, query = target.partition("?")
        if json is not None:
            content = msgspec.json.encode(json)
            headers = {"content-type": "application/json", **headers}
        scope: MutableMapping[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": self._root_path + unquote(path),
            "raw_path": (self._root_path + path).encode(),
            "query_string": query.encode(),
            "root_path": self._root_path,
            "headers": [
                (name.encode(), value.encode("latin-1"))
                for name, value in {"host": "localhost", **_lower(headers)}.items()
            ],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        exchange = _Exchange(content, trio.current_time() + leave_after_s)
        await self._app(scope, exchange.receive, exchange.send)
        return exchange.answer()


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


class _Exchange:
    """The server's side of one request."""

    def __init__(self, content: bytes, leave_at: float) -> None:
        self._content: bytes | None = content
        self._leave_at = leave_at
        self._answered = trio.Event()
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    async def receive(self) -> MutableMapping[str, Any]:
        if self._content is not None:
            content, self._content = self._content, None
            return {"type": "http.request", "body": content, "more_body": False}
        with trio.CancelScope(deadline=self._leave_at):
            await self._answered.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            self._status = message["status"]
            for name, value in message["headers"]:
                self._headers[name.decode().lower()] = value.decode("latin-1")
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                self._answered.set()

    def answer(self) -> Answer | None:
        if not self._answered.is_set():
            return None
        return Answer(self._status, self._headers, bytes(self._body))


@contextlib.asynccontextmanager
async def open_client(app: Gateway) -> AsyncIterator[InMemoryClient]:
    """A client of `app`, which is open while the context lasts."""
    async with app.running():
        yield InMemoryClient(app)
