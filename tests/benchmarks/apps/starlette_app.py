"""Peer: Starlette on stock Hypercorn with its Trio worker, and httpx."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.benchmarks.apps import constant as here

__all__ = ["app"]

_DEADLINE_S = 2


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    async with httpx.AsyncClient(base_url=os.environ["UPSTREAM"], limits=limits) as client:
        app.state.client = client
        yield


async def _fetch(client: httpx.AsyncClient, path: str) -> Any:
    response = await client.get(path)
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


async def _constant(_request: Request) -> JSONResponse:
    return JSONResponse(await here.constant())


app = Starlette(
    routes=[
        Route("/users/{user_id:int}", _user),
        Route("/users/{user_id:int}/profile", _profile),
        Route("/constant", _constant),
    ],
    lifespan=_lifespan,
)
