"""Peer: Starlette on stock Hypercorn with its Trio worker, and httpx."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import trio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

__all__ = ["app"]

_DEADLINE_S = 2
_SERVICES = {"files": os.environ["UPSTREAM"], "events": os.environ["EVENTS"]}
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "host"}


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    async with httpx.AsyncClient(limits=limits) as client:
        app.state.client = client
        yield


async def _fetch(client: httpx.AsyncClient, path: str) -> Any:
    response = await client.get(_SERVICES["files"] + path)
    response.raise_for_status()
    return response.json()


async def _user(request: Request) -> JSONResponse:
    number = request.path_params["user_id"]
    try:
        with trio.fail_after(_DEADLINE_S):
            return JSONResponse(await _fetch(request.app.state.client, f"/users/{number}"))
    except trio.TooSlowError:
        raise HTTPException(504) from None
    except httpx.HTTPError:
        raise HTTPException(502) from None


async def _profile(request: Request) -> JSONResponse:
    number = request.path_params["user_id"]
    found: dict[str, Any] = {"user": None, "posts": [], "todos": []}

    async def fetch(name: str, path: str) -> None:
        with suppress(httpx.HTTPError):
            found[name] = await _fetch(request.app.state.client, path)

    try:
        with trio.fail_after(_DEADLINE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fetch, "user", f"/users/{number}")
                nursery.start_soon(fetch, "posts", f"/users/{number}/posts")
                nursery.start_soon(fetch, "todos", f"/users/{number}/todos")
    except trio.TooSlowError:
        raise HTTPException(504) from None
    if found["user"] is None:
        raise HTTPException(502)
    return JSONResponse(found)


async def _proxy(request: Request) -> Response:
    client: httpx.AsyncClient = request.app.state.client
    url = f"{_SERVICES[request.path_params['service']]}/{request.path_params['path']}"
    headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
    content = request.stream() if request.method == "PUT" else None
    sent = client.build_request(request.method, url, headers=headers, content=content)
    try:
        with trio.fail_after(_DEADLINE_S):
            response = await client.send(sent, stream=True)
    except trio.TooSlowError:
        raise HTTPException(504) from None
    except httpx.HTTPError:
        raise HTTPException(502) from None
    status = response.status_code
    headers = {k: v for k, v in response.headers.items() if k not in _HOP_BY_HOP}
    if not headers.get("content-type", "").startswith("text/event-stream"):
        body = await response.aread()
        await response.aclose()
        return Response(body, status, headers)
    close = BackgroundTask(response.aclose)
    return StreamingResponse(response.aiter_raw(), status, headers, background=close)


app = Starlette(
    routes=[
        Route("/users/{user_id:int}", _user),
        Route("/users/{user_id:int}/profile", _profile),
        Route("/{service}/{path:path}", _proxy, methods=["GET", "PUT"]),
    ],
    lifespan=_lifespan,
)
