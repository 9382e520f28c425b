"""Tokens, pages and uploads over real sockets, to an API on Starlette that others might have written."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import httpx
import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request as Asked
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.app import Gateway, create_app
from gateway.core.messages import Context, Reply, Request
from tests.end_to_end.support import open_sockets, serving, until

pytestmark = pytest.mark.end_to_end

SECRET = "s3cret & more"
PEOPLE = [{"id": n, "name": f"person {n}"} for n in range(95)]


@attrs.define
class Api:
    """People in pages, and a place for uploads, for who has a token of its own."""

    issued: list[str] = attrs.field(factory=list)
    revoked: set[str] = attrs.field(factory=set)
    pages: int = 0

    async def token(self, asked: Asked) -> Response:
        pair = base64.b64decode(asked.headers["authorization"].removeprefix("Basic ")).decode()
        form = await asked.form()
        if pair != "gateway:s3cret+%26+more" or form["grant_type"] != "client_credentials":
            return JSONResponse({"error": "invalid_client"}, 401)
        self.issued.append(secrets.token_urlsafe(30))
        return JSONResponse(
            {"access_token": self.issued[-1], "token_type": "Bearer", "expires_in": 600}
        )

    def _refusal(self, asked: Asked) -> Response | None:
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if token in self.revoked or token not in self.issued:
            return JSONResponse({"error": f"invalid token {token}"}, 401)
        return None

    async def people(self, asked: Asked) -> Response:
        if refusal := self._refusal(asked):
            return refusal
        self.pages += 1
        start, size = int(asked.query_params.get("start", 0)), int(asked.query_params["size"])
        headers = {"cache-control": "max-age=60"}
        if start + size < len(PEOPLE):
            following = asked.url.include_query_params(start=start + size)
            headers["link"] = f'<{asked.url}>; rel="self", <{following}>; rel="next"; title="a, b"'
        return JSONResponse({"people": PEOPLE[start : start + size]}, headers=headers)

    async def upload(self, asked: Asked) -> Response:
        if refusal := self._refusal(asked):
            return refusal
        read: dict[str, Any] = {}
        async with asked.form() as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    content = await value.read()
                    digest = hashlib.sha256(content).hexdigest()
                    read[name] = [value.filename, value.content_type, len(content), digest]
                else:
                    read.setdefault(name, []).append(value)
        return JSONResponse(read)


@asynccontextmanager
async def served(api: Api) -> AsyncGenerator[str]:
    routes = [
        Route("/token", api.token, methods=["POST"]),
        Route("/v1/people", api.people),
        Route("/v1/upload", api.upload, methods=["POST"]),
    ]
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.accesslog = config.errorlog = None
    app: Any = Starlette(routes=routes)
    shutdown = trio.Event()
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(partial(serve, app, config, shutdown_trigger=shutdown.wait))
        yield url
        shutdown.set()


def service_of(url: str) -> dict[str, Any]:
    oauth2 = {"token_url": f"{url}/token", "client_id": "gateway", "client_secret": SECRET}
    return {"kind": "http", "url": f"{url}/v1", "oauth2": oauth2}


def age_token(app: Gateway, api: Api) -> None:
    """Revoke the token at hand.

    Had it been fetched just now, no new one would be: age is given to it instead of waited.
    """
    tokens: Any = app._built.adapters["s"].tokens  # type: ignore[attr-defined]
    tokens._token = type(tokens._token)(api.issued[-1], -60.0, 1e12, 1e12)
    api.revoked.add(api.issued[-1])


@asynccontextmanager
async def before(url: str, **settings: Any) -> AsyncGenerator[Gateway]:
    service = {**service_of(url), **settings}
    people: dict[str, Any] = {
        "get": "/people",
        "query": {"size": 20},
        "pages": {"next": "link", "items": "people[].name"},
    }
    upload = {
        "post": "/upload",
        "multipart": {
            "note": "{note}",
            "tags": "{tags}",
            "file": {"filename": "{name}", "content_type": "image/png", "base64": "{data}"},
            "about": {"filename": "about.json", "json": {"tags": "{tags}"}},
        },
    }
    tools = {}
    for name, most in (("people", 10), ("some", 2)):
        call = {**people, "service": "s", "pages": {**people["pages"], "most": most}}
        tools[name] = {"output": "a", "calls": {"a": call}}
    tools["upload"] = {
        "input": {"properties": {"note": {}, "tags": {}, "name": {}, "data": {}}},
        "output": "a",
        "calls": {"a": {**upload, "service": "s"}},
    }
    app = create_app({"server": {"deadline": "30s"}, "services": {"s": service}, "tools": tools})
    async with app.running():
        yield app


async def ask(app: Gateway, tool: str, **values: Any) -> Reply:
    return await app.call(Request(tool, values, Context(request_id="r")))


async def test_a_list_in_pages_with_a_token() -> None:
    api = Api()
    sockets = open_sockets()
    async with served(api) as url, before(url) as app:
        whole = await ask(app, "people")
        assert whole.value == [person["name"] for person in PEOPLE]
        assert not whole.missing
        some = await ask(app, "some")
        assert len(some.value) == 40
        assert [error.label for error in some.missing] == ["a=too_large"]
    assert len(api.issued) == 1
    await until(lambda: open_sockets() <= sockets)


async def test_many_at_once_and_a_token_that_was_revoked() -> None:
    api = Api()
    async with served(api) as url, before(url) as app:
        got: list[int] = []

        async def one() -> None:
            got.append(len((await ask(app, "people")).value))

        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(one)
        assert got == [len(PEOPLE)] * 30
        assert len(api.issued) == 1
        age_token(app, api)
        await one()
        assert len(api.issued) == 2


async def test_what_a_proxy_passes_on_carries_the_token() -> None:
    api = Api()
    sockets = open_sockets()
    async with served(api) as url:
        config = {
            "server": {"max_body": "10MiB"},
            "access": {"anonymous": True},
            "services": {"s": service_of(url)},
            "proxies": {"p": {"path": "/p/", "service": "s", "strip_path": True}},
        }
        async with serving(config) as (app, port):
            base = f"http://127.0.0.1:{port}/p"
            async with httpx.AsyncClient(base_url=base) as client:
                people = await client.get("/people?size=100", headers={"authorization": "mine"})
                assert people.json() == {"people": PEOPLE}
                age_token(app, api)
                again = await client.get("/people?size=100")
                assert (again.status_code, len(api.issued)) == (200, 2)

                data = secrets.token_bytes(1 << 20)

                async def upload() -> httpx.Response:
                    files = {"file": ("a.bin", data, "application/octet-stream")}
                    return await client.post("/upload", files=files)

                age_token(app, api)
                assert (await upload()).status_code == 401
                digest = hashlib.sha256(data).hexdigest()
                sent = {"file": ["a.bin", "application/octet-stream", len(data), digest]}
                assert (await upload()).json() == sent
                assert len(api.issued) == 3
    await until(lambda: open_sockets() <= sockets)


async def test_a_list_is_cached_while_its_pages_are_good() -> None:
    api = Api()
    async with served(api) as url, before(url, cache={"ttl": "1h"}) as app:
        for _ in range(3):
            assert len((await ask(app, "people")).value) == len(PEOPLE)
    assert api.pages == 5


async def test_an_upload_arrives_as_it_was_sent() -> None:
    data = secrets.token_bytes(700_000)
    name = 'Überblick "1".png'
    async with served(Api()) as url, before(url) as app:
        reply = await ask(
            app,
            "upload",
            note="Grüße\r\n--x",
            tags=["a", 2],
            name=name,
            data=base64.b64encode(data).decode(),
        )
    about = b'{"tags":["a",2]}'
    assert reply.value == {
        "note": ["Grüße\r\n--x"],
        "tags": ["a", "2"],
        "file": [
            name.replace('"', "%22"),
            "image/png",
            len(data),
            hashlib.sha256(data).hexdigest(),
        ],
        "about": ["about.json", "application/json", len(about), hashlib.sha256(about).hexdigest()],
    }
