"""Peer: FastAPI under uvicorn (uvloop, httptools) with aiohttp, as its users write it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import aiohttp
from fastapi import FastAPI, HTTPException, Path, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel
from starlette.background import BackgroundTask

from tests.benchmarks.apps import constant as here

__all__ = ["app"]

_DEADLINE_S = 2
_SERVICES = {"files": os.environ["UPSTREAM"], "events": os.environ["EVENTS"]}
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "host"}


class User(BaseModel):
    id: int
    name: str
    login: str
    email: str
    city: str
    tags: list[str]
    active: bool


class Profile(BaseModel):
    user: User
    posts: Any
    todos: Any


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    connector = aiohttp.TCPConnector(limit=200)
    async with aiohttp.ClientSession(connector=connector) as session:
        app.state.session = session
        yield


app = FastAPI(lifespan=_lifespan)
UserId = Annotated[int, Path(ge=1)]


async def _fetch(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(_SERVICES["files"] + path) as response:
        response.raise_for_status()
        return await response.json()


@app.get("/users/{user_id}")
async def user(user_id: UserId, request: Request) -> User:
    session = request.app.state.session
    try:
        async with asyncio.timeout(_DEADLINE_S):
            return User.model_validate(await _fetch(session, f"/users/{user_id}"))
    except TimeoutError:
        raise HTTPException(504) from None
    except aiohttp.ClientError:
        raise HTTPException(502) from None


@app.get("/users/{user_id}/profile")
async def profile(user_id: UserId, request: Request) -> Profile:
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
    return Profile(
        user=User.model_validate(found),
        posts=[] if isinstance(posts, BaseException) else posts,
        todos=[] if isinstance(todos, BaseException) else todos,
    )


@app.api_route("/{service}/{path:path}", methods=["GET", "PUT"])
async def proxy(service: str, path: str, request: Request) -> Response:
    if service not in _SERVICES:
        raise HTTPException(404)
    headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
    body = request.stream() if request.method == "PUT" else None
    try:
        async with asyncio.timeout(_DEADLINE_S):
            response = await request.app.state.session.request(
                request.method, f"{_SERVICES[service]}/{path}", headers=headers, data=body
            )
    except TimeoutError:
        raise HTTPException(504) from None
    except aiohttp.ClientError:
        raise HTTPException(502) from None
    status = response.status
    headers = {k: v for k, v in response.headers.items() if k.lower() not in _HOP_BY_HOP}
    if response.content_type != "text/event-stream":
        return Response(await response.read(), status, headers)
    release = BackgroundTask(response.release)
    return StreamingResponse(response.content.iter_any(), status, headers, background=release)


@app.get("/constant")
async def constant() -> User:
    return User.model_validate(await here.constant())
