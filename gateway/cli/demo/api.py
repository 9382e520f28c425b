"""A sample HTTP API of users, posts and to-dos: a seeded data set, and as slow as it is told.

`GET /users`, `/users/{id}`, `/users/{id}/posts`, `/users/{id}/todos`, `/posts`, `/posts/{id}`,
`/todos`, `/todos/{id}`. `GET /latency` shows how slow each resource is in milliseconds,
`PUT /latency` with `{"posts": 900}` changes it, and `?latency_ms=900` does for one request.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec
import trio

from gateway.net.asgi import Receive, Scope, Send, headers_of, path_of, read_body, respond

__all__ = ["SampleApi", "data_set"]

_COLOURS = ("Amber", "Azure", "Coral", "Jade", "Ochre", "Slate", "Umber")
_BIRDS = ("Heron", "Kestrel", "Plover", "Siskin", "Tern", "Wren")
_CITIES = ("Bergen", "Gdansk", "Lyon", "Porto", "Turku", "Utrecht")
_SUBJECTS = ("the tide tables", "a broken cache", "slow queries", "the release", "old logs")
_TASKS = ("renew the certificate", "answer the review", "water the plants", "read the trace")
_MAX_BODY_BYTES = 10_000
_MAX_LATENCY_MS = 60_000

Data = Mapping[str, list[dict[str, Any]]]


def data_set(seed: int = 7, users: int = 20) -> Data:
    """The same users, posts (five each) and to-dos (eight each) for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - sample data
    people: list[dict[str, Any]] = []
    posts: list[dict[str, Any]] = []
    todos: list[dict[str, Any]] = []
    for number in range(1, users + 1):
        bird = chance.choice(_BIRDS)
        login = f"{bird.lower()}{number}"
        people.append(
            {
                "id": number,
                "name": f"{chance.choice(_COLOURS)} {bird}",
                "login": login,
                "email": f"{login}@example.com",
                "city": chance.choice(_CITIES),
            }
        )
        for _ in range(5):
            subject = chance.choice(_SUBJECTS)
            post = {"id": len(posts) + 1, "user_id": number, "title": f"On {subject}"}
            posts.append({**post, "text": f"What {login} found out about {subject}."})
        for _ in range(8):
            todo = {"id": len(todos) + 1, "user_id": number, "title": chance.choice(_TASKS)}
            todos.append({**todo, "done": chance.random() < 0.5})
    return {"users": people, "posts": posts, "todos": todos}


class SampleApi:
    """The sample API as an ASGI app.

    Args:
        latency_ms: How slow each resource is, in milliseconds.

    """

    def __init__(self, latency_ms: Mapping[str, float] | None = None) -> None:
        self._data = data_set()
        self._latency_ms = {"users": 60.0, "posts": 120.0, "todos": 180.0, **(latency_ms or {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path = path_of(scope).strip("/").split("/")
        if path == ["latency"]:
            status, value = await self._latency(scope, receive)
        else:
            await trio.sleep(self._delay_s(path, scope["query_string"]))
            status, value = self._find(path)
        body = msgspec.json.encode(value)
        await respond(send, status, [("content-type", "application/json")], body)

    def _delay_s(self, path: list[str], query: bytes) -> float:
        """The last resource that the path names decides; the query may say otherwise."""
        named = parse_qs(query.decode("latin-1")).get("latency_ms", [""])[0]
        if named.isdecimal():
            return min(int(named), _MAX_LATENCY_MS) / 1000
        return max((self._latency_ms.get(part, 0) for part in path[-2:]), default=0) / 1000

    def _find(self, path: list[str]) -> tuple[int, Any]:
        match path:
            case [("users" | "posts" | "todos") as kind]:
                return 200, self._data[kind]
            case [("users" | "posts" | "todos") as kind, number]:
                found = [row for row in self._data[kind] if str(row["id"]) == number]
                return (200, found[0]) if found else (404, {"error": f"no {kind[:-1]} {number}"})
            case ["users", number, ("posts" | "todos") as kind]:
                return 200, [row for row in self._data[kind] if str(row["user_id"]) == number]
            case _:
                return 404, {"error": "users, posts and todos are here"}

    async def _latency(self, scope: Scope, receive: Receive) -> tuple[int, Any]:
        if scope["method"] == "PUT" and "content-length" in headers_of(scope):
            body = await read_body(receive, max_bytes=_MAX_BODY_BYTES, timeout_s=5)
            try:
                wanted = msgspec.json.decode(body, type=dict[str, float])
            except msgspec.DecodeError as error:
                return 400, {"error": str(error)}
            if not all(0 <= value <= _MAX_LATENCY_MS for value in wanted.values()):
                return 400, {"error": f"expected milliseconds from 0 to {_MAX_LATENCY_MS}"}
            self._latency_ms.update(
                {kind: value for kind, value in wanted.items() if kind in self._latency_ms}
            )
        return 200, self._latency_ms
