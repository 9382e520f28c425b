"""Peer: FastAPI under uvicorn (uvloop, httptools) with aiohttp, as its users write it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import aiohttp
from fastapi import FastAPI, HTTPException, Path, Request

from tests.benchmarks.apps import constant as here

__all__ = ["app"]

_DEADLINE_S = 2
UserId = Annotated[int, Path(ge=1)]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    connector = aiohttp.TCPConnector(limit=200)
    async with aiohttp.ClientSession(os.environ["UPSTREAM"], connector=connector) as session:
        app.state.session = session
        yield


app = FastAPI(lifespan=_lifespan)


async def _fetch(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(path) as response:
        response.raise_for_status()
        return await response.json()


@app.get("/users/{user_id}")
async def user(user_id: UserId, request: Request) -> Any:
    try:
        async with asyncio.timeout(_DEADLINE_S):
            return await _fetch(request.app.state.session, f"/users/{user_id}")
    except TimeoutError:
        raise HTTPException(504) from None
    except aiohttp.ClientError:
        raise HTTPException(502) from None


@app.get("/users/{user_id}/profile")
async def profile(user_id: UserId, request: Request) -> Any:
    session = request.app.state.session
    try:
        async with asyncio.timeout(_DEADLINE_S):
            found, posts, todos = await asyncio.gather(
                _fetch(session, f"/users/{user_id}"),
                _fetch(session, f"/users/{user_id}/posts"),
                _fetch(session, f"/users/{user_id}/todos"),
                return_exceptions=True,
            )
    except TimeoutError:
        raise HTTPException(504) from None
    if isinstance(found, BaseException):
        raise HTTPException(502)
    return {
        "user": found,
        "posts": [] if isinstance(posts, BaseException) else posts,
        "todos": [] if isinstance(todos, BaseException) else todos,
    }


@app.get("/constant")
async def constant() -> Any:
    return await here.constant()
