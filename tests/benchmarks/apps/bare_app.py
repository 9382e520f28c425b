"""Peer: an ASGI application by hand, without a framework, under uvicorn with aiohttp."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import aiohttp

__all__ = ["app"]

_DEADLINE_S = 2
_HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te", b"host"}
_JSON = [(b"content-type", b"application/json")]
_SERVICES = {"files": os.environ["UPSTREAM"], "events": os.environ["EVENTS"]}


class _Bare:
    def __init__(self) -> None:
        self._session: aiohttp.ClientSession

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        kind, _, rest = scope["path"][1:].partition("/")
        try:
            async with asyncio.timeout(_DEADLINE_S):
                if kind in _SERVICES:
                    await self._proxy(f"{_SERVICES[kind]}/{rest}", scope, send)
                elif rest.endswith("/profile"):
                    await self._profile(int(rest.removesuffix("/profile")), send)
                else:
                    await _answer(send, 200, await self._fetch(f"/users/{int(rest)}"))
        except TimeoutError:
            await _answer(send, 504, b"{}")
        except aiohttp.ClientError:
            await _answer(send, 502, b"{}")

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        connector = aiohttp.TCPConnector(limit=200)
        async with aiohttp.ClientSession(connector=connector) as self._session:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _fetch(self, path: str) -> bytes:
        async with self._session.get(_SERVICES["files"] + path) as response:
            response.raise_for_status()
            return await response.read()

    async def _profile(self, number: int, send: Any) -> None:
        path = f"/users/{number}"
        user, *others = await asyncio.gather(
            self._fetch(path),
            self._fetch(f"{path}/posts"),
            self._fetch(f"{path}/todos"),
            return_exceptions=True,
        )
        if isinstance(user, BaseException):
            await _answer(send, 502, b"{}")
            return
        posts, todos = ([] if isinstance(o, BaseException) else json.loads(o) for o in others)
        merged = {"user": json.loads(user), "posts": posts, "todos": todos}
        await _answer(send, 200, json.dumps(merged).encode())

    async def _proxy(self, url: str, scope: Any, send: Any) -> None:
        headers = [
            (name.decode(), value.decode())
            for name, value in scope["headers"]
            if name not in _HOP_BY_HOP
        ]
        async with self._session.request(scope["method"], url, headers=headers) as response:
            kept = [pair for pair in response.raw_headers if pair[0].lower() not in _HOP_BY_HOP]
            await send({"type": "http.response.start", "status": response.status, "headers": kept})
            if response.content_type != "text/event-stream":
                await send({"type": "http.response.body", "body": await response.read()})
                return
            async for piece in response.content.iter_any():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


async def _answer(send: Any, status: int, body: bytes) -> None:
    headers = [*_JSON, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


app = _Bare()
