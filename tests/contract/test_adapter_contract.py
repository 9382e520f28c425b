"""What every adapter promises, whatever its kind.

A new kind needs an entry in `SCENES`: how its service is made to reply, to hang, to fail.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import sqlite3
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs
import pytest
import trio
from trio.testing import MockClock
from wsproto.events import CloseConnection

from gateway.adapters import ADAPTERS
from gateway.app import Gateway, create_app
from gateway.core.adapter import Kind as AdapterKind
from gateway.core.errors import BadReply, GatewayError
from gateway.testing import Cancellable, cancel_at_every_checkpoint
from tests.adapters import functions
from tests.adapters.test_websocket_kind import Server
from tests.apps import request
from tests.bedrock_server import bedrock
from tests.http_service import Received, Scripted, http, raw
from tests.mcp_server import McpServer, error, events, json_reply, unanswered
from tests.network import network
from tests.redis_server import RedisServer
from tests.third_party import memcached_kind

SECRET = "t0ps3cret"
Does: TypeAlias = Literal["reply", "hang", "too much"] | int
"""What the service does; a number is one of the kind's failures."""


@attrs.frozen
class Scene:
    """A gateway before one service, whose tool `t` calls it once.

    Args:
        app: Open.
        left: What is left of calls: connections under way, tokens taken.
        budget_s: The seconds the service was told are left, per call.
        written: What the app was made of.
        adapters: Kinds it was given.
    """

    app: Gateway
    left: Callable[[], int]
    budget_s: Callable[[], list[float]]
    written: dict[str, Any]
    adapters: Mapping[str, AdapterKind] = attrs.field(factory=dict)


@attrs.frozen
class Kind:
    """How a scene of one kind is set.

    Args:
        kind: The key in `ADAPTERS`.
        open: From what the service is to do to the scene.
        value: What it replies.
        failures: How many ways of failing it has.
        bounded: Whether what it replies comes from outside and has a bound.
        virtual: Whether it hangs in virtual time; threads and programs do not.
        told: Whether it is told what is left of the budget.
    """

    kind: str
    open: Callable[[Does], Any]
    value: Any
    failures: int
    bounded: bool
    virtual: bool = True
    told: bool = True


def tool(service: Mapping[str, Any], call: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "server": {"deadline": "60s"},
        "services": {"s": service},
        "tools": {"t": {"output": "a", "calls": {"a": {"service": "s", **call}}}},
    }


# ------------------------------------------------------------------ http

HTTP_FAILURES = (
    OSError(errno.ECONNREFUSED, "Connection refused"),
    raw(b"", close=True),
    raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n" + SECRET.encode(), close=True),
    raw(b"no HTTP at all " + SECRET.encode() + b"\r\n\r\n"),
    http(200, "{" + SECRET, content_type="application/json"),
    http(200, b"\xff" + SECRET.encode()),
    http(400, SECRET),
    http(404, SECRET),
    http(429, SECRET, retry_after="1"),
    http(500, SECRET),
    http(302, SECRET, location=f"/{SECRET}"),
)


HTTP = {
    "kind": "http",
    "url": "http://api.test",
    "allow_private": True,
    "max_reply": "1KiB",
    "max_connections": 2,
}


@asynccontextmanager
async def behind_http(
    service: Any, call: Mapping[str, Any], settings: Mapping[str, Any], issuer: Any = None
) -> AsyncGenerator[Scene]:
    """A scene before `service` and, where tokens are needed, who grants them."""
    async with network() as net:
        net.name("api.test", "10.0.0.1")
        net.name("id.test", "10.0.0.2")
        net.serve("10.0.0.1", 80, service)
        net.serve("10.0.0.2", 80, issuer)
        written = tool({**HTTP, **settings}, call)
        app = create_app(written)

        def left() -> int:
            adapter: Any = app._built.adapters["s"]
            client = getattr(adapter._client, "client", adapter._client)
            granting = adapter.tokens and adapter.tokens._client
            return int(client.pool.taken) + (int(granting.pool.taken) if granting else 0)

        def budget_s() -> list[float]:
            return [int(one.header("x-request-timeout-ms")) / 1000 for one in service.requests]

        async with app.running():
            yield Scene(app, left, budget_s, written)
        assert not net.open


WITH_SECRET = {"headers": {"authorization": f"Bearer {SECRET}"}}


def replying(does: Does) -> Scripted | OSError:
    """A service that does this."""
    media_type = "application/json"
    answer: Any = {
        "reply": http(200, '{"n": 1}', after_s=0.1, content_type=media_type),
        "hang": http(after_s=math.inf),
        "too much": http(200, '"' + "x" * 2000 + '"', content_type=media_type),
    }.get(does) or HTTP_FAILURES[int(does)]  # type: ignore[arg-type]
    return answer if isinstance(answer, OSError) else Scripted(answer)


@asynccontextmanager
async def over_http(does: Does) -> AsyncGenerator[Scene]:
    async with behind_http(replying(does), {"get": "/x"}, WITH_SECRET) as scene:
        yield scene


PAGES_FAILURES = (
    *HTTP_FAILURES,
    http(200, "[]", content_type="application/json"),
    http(200, json.dumps({"items": SECRET}), content_type="application/json"),
)


@asynccontextmanager
async def in_pages(does: Does) -> AsyncGenerator[Scene]:
    media_type = "application/json"
    answers: Any = {
        "reply": (
            http(200, '{"items": [1]}', after_s=0.1, content_type=media_type, link="</y>;rel=next"),
            http(200, '{"items": [2]}', after_s=0.1, content_type=media_type),
        ),
        "hang": (http(after_s=math.inf),),
        "too much": (http(200, json.dumps({"items": ["x" * 2000]}), content_type=media_type),),
    }.get(does) or (PAGES_FAILURES[int(does)],)  # type: ignore[arg-type]
    if does == "reply":
        answers *= 20  # it is asked several times
    service = answers[0] if isinstance(answers[0], OSError) else Scripted(*answers)
    call = {"get": "/x", "pages": {"next": "link", "items": "items"}}
    async with behind_http(service, call, WITH_SECRET) as scene:
        yield scene


@asynccontextmanager
async def with_parts(does: Does) -> AsyncGenerator[Scene]:
    part = {"filename": "a.bin", "base64": "eHh4" * 50_000}
    call = {"post": "/x", "multipart": {"file": part, "note": "n"}}
    async with behind_http(replying(does), call, WITH_SECRET) as scene:
        yield scene


GRANT = json.dumps({"access_token": SECRET, "token_type": "Bearer", "expires_in": 3600})
OAUTH2_FAILURES = (
    OSError(errno.ECONNREFUSED, "Connection refused"),
    raw(b"", close=True),
    raw(b"no HTTP at all " + SECRET.encode() + b"\r\n\r\n"),
    http(200, "{" + SECRET),
    http(200, json.dumps({"access_token": [SECRET]})),
    http(200, json.dumps({"access_token": f"{SECRET}\r\n"})),
    http(401, json.dumps({"error": "invalid_client", "error_description": f"not {SECRET}"})),
    http(404, SECRET),
    http(429, SECRET, retry_after="1"),
    http(500, SECRET),
    http(302, SECRET, location=f"/{SECRET}"),
)


@asynccontextmanager
async def with_a_token(does: Does) -> AsyncGenerator[Scene]:
    media_type = "application/json"
    reply = http(200, '{"n": 1}', after_s=0.1, content_type=media_type)
    answer: Any = {
        "hang": http(after_s=math.inf),
        "too much": http(200, '"' + "x" * 2000 + '"', content_type=media_type),
    }.get(does, reply)  # type: ignore[arg-type]
    grants: Any = http(200, GRANT)
    if isinstance(does, int):
        grants = OAUTH2_FAILURES[does]
    issuer = grants if isinstance(grants, OSError) else Scripted(grants)
    oauth2 = {
        "token_url": "http://id.test/token",
        "client_id": "gateway",
        "client_secret": SECRET,
    }
    async with behind_http(Scripted(answer), {"get": "/x"}, {"oauth2": oauth2}, issuer) as scene:
        yield scene


# ------------------------------------------------------------------ mcp

MCP_FAILURES = (
    OSError(errno.ECONNREFUSED, "Connection refused"),
    lambda _: raw(b"", close=True),
    lambda _: raw(b"no HTTP at all " + SECRET.encode() + b"\r\n\r\n"),
    lambda _: http(200, "{" + SECRET, content_type="application/json"),
    lambda _: http(200, SECRET, content_type="text/html"),
    lambda _: json_reply({"jsonrpc": "2.0", "id": 0, "result": {}}),
    lambda r: json_reply({"jsonrpc": "2.0", "id": json.loads(r.body)["id"], "result": SECRET}),
    lambda r: error(r, -32602, SECRET),
    lambda r: error(r, -32601, SECRET, 404),
    lambda r: error(r, -32603, SECRET),
    lambda r: error(r, -32022, SECRET, 400),
    lambda _: http(401, SECRET),
    lambda _: http(404, SECRET),
    lambda _: http(429, SECRET, retry_after="1"),
    lambda _: http(500, SECRET),
    lambda _: {"content": [{"type": "text", "text": SECRET}], "isError": True},
    lambda _: {"content": SECRET},
    lambda _: {"resultType": "input_required", "inputRequests": {}},
    lambda _: {"resultType": "input_required", "requestState": SECRET},
    lambda _: events({"jsonrpc": "2.0", "method": "notifications/message", "params": {}}),
    lambda _: events(SECRET.encode()),
)


def n_after_a_while(request: Received) -> Any:
    reply = {"content": [], "structuredContent": {"n": 1}, "resultType": "complete"}
    return events(0.1, {"jsonrpc": "2.0", "id": json.loads(request.body)["id"], "result": reply})


@asynccontextmanager
async def over_mcp(does: Does) -> AsyncGenerator[Scene]:
    answer: Any = {
        "reply": n_after_a_while,
        "hang": lambda _: unanswered,
        "too much": lambda _: {"content": [{"type": "text", "text": "x" * 2000}]},
    }.get(does) or MCP_FAILURES[int(does)]  # type: ignore[arg-type]
    service = answer if isinstance(answer, OSError) else McpServer({"tools/call": answer})
    settings = {
        "kind": "mcp",
        "url": "http://api.test/mcp",
        "allow_private": True,
        "max_reply": "1KiB",
        "max_connections": 2,
        "headers": {"authorization": f"Bearer {SECRET}"},
    }
    async with network() as net:
        net.name("api.test", "10.0.0.1")
        net.serve("10.0.0.1", 80, service)
        written = tool(settings, {"tool": "x"})
        app = create_app(written)

        def left() -> int:
            link = app._built.adapters["s"]._link  # type: ignore[attr-defined]
            return int(link._calls.pool.taken)

        def budget_s() -> list[float]:
            header = "x-request-timeout-ms"
            return [int(one.header(header)) / 1000 for one in service.asked("tools/call")]

        async with app.running():
            yield Scene(app, left, budget_s, written)
        assert not net.open


# ------------------------------------------------------------------ python

PYTHON_FAILURES = ("value", "key", "group", "exit", "not_found", "overloaded", "timeout")


def python(does: Does, names: Mapping[str, str], **keys: Any) -> dict[str, Any]:
    function, arguments = names.get(str(does), names["fail"]), {}
    if isinstance(does, int):
        arguments = {"name": PYTHON_FAILURES[does]}
    elif does == "hang" and function.startswith("held"):
        arguments = {"gate": "contract"}
    settings = {"kind": "python", "module": functions.__name__, "max_reply": "1KiB", **keys}
    return tool(settings, {"function": function, "arguments": arguments})


@asynccontextmanager
async def on_the_loop(does: Does, names: Mapping[str, str]) -> AsyncGenerator[Scene]:
    written = python(does, names)
    app = create_app(written)
    budgets: list[float] = []
    async with app.running():
        yield Scene(app, lambda: 0, lambda: budgets, written)


@asynccontextmanager
async def in_threads(does: Does, names: Mapping[str, str]) -> AsyncGenerator[Scene]:
    written = python(does, names, threads=2)
    app = create_app(written)
    async with app.running():
        limiter = app._built.adapters["s"]._limiter  # type: ignore[attr-defined]
        yield Scene(app, lambda: int(limiter.borrowed_tokens), list, written)


def async_functions(does: Does) -> Any:
    names = {"reply": "left_async", "hang": "forever", "fail": "fail_async"}
    return on_the_loop(does, {**names, "too much": "a_lot_async"})


def async_generators(does: Does) -> Any:
    names = {"reply": "count_up_async", "hang": "forever_items", "fail": "fail_later_async"}
    return on_the_loop(does, {**names, "too much": "without_end_async"})


def blocking_functions(does: Does) -> Any:
    names = {"reply": "left", "hang": "held", "fail": "fail"}
    return in_threads(does, {**names, "too much": "a_lot"})


def generators(does: Does) -> Any:
    names = {"reply": "count_up", "hang": "held_items", "fail": "fail_later"}
    return in_threads(does, {**names, "too much": "without_end"})


@asynccontextmanager
async def processes(does: Does) -> AsyncGenerator[Scene]:
    pytest.importorskip("trio_parallel")
    names = {"reply": "left", "hang": "without_end", "fail": "fail", "too much": "a_lot"}
    written = python(does, names, processes=1)
    app = create_app(written)
    async with app.running():
        adapter: Any = app._built.adapters["s"]
        yield Scene(app, lambda: int(adapter._processes.limiter.borrowed_tokens), list, written)
    assert adapter._processes.limiter.borrowed_tokens == 0


# ------------------------------------------------------------------ command

COMMAND_FAILURES = (
    ["no-such-program-anywhere"],
    ["sh", "-c", "echo $TOKEN >&2; exit 3"],
    ["sh", "-c", "echo $TOKEN; kill -9 $$"],
    ["sh", "-c", "echo $TOKEN {"],
    ["printf", r"\377"],
)


@asynccontextmanager
async def programs(does: Does) -> AsyncGenerator[Scene]:
    program: Any = {
        "reply": ["echo", '{"n": 1}'],
        "hang": ["sleep", "60"],
        "too much": ["printf", "%2000s"],
    }.get(does) or COMMAND_FAILURES[int(does)]  # type: ignore[arg-type]
    settings = {
        "kind": "command",
        "program": program,
        "environment": {"TOKEN": SECRET},
        "max_output": "1KiB",
        "max_processes": 2,
    }
    written = tool(settings, {"output": "json"})
    app = create_app(written)
    async with app.running():
        adapter: Any = app._built.adapters["s"]
        yield Scene(app, lambda: int(adapter._programs.running), list, written)
    assert adapter._programs.running == 0


# ------------------------------------------------------------------ files

FILES_FAILURES = ("none", "../up", "/etc/passwd", "secret", "raw", "link", ".hidden")


@asynccontextmanager
async def files(does: Does) -> AsyncGenerator[Scene]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "reply").write_text('{"n": 1}')
        (folder / "too much").write_text("x" * 2000)
        (folder / "secret").write_text("{" + SECRET)
        (folder / "raw").write_bytes(b"\xff")
        (folder / "link").symlink_to(folder / "reply")
        (folder / ".hidden").write_text("1")
        settings = {"kind": "files", "root": name, "max_size": "1KiB", "threads": 2}
        path = FILES_FAILURES[does] if isinstance(does, int) else does
        written = tool(settings, {"path": path, "output": "json"})
        app = create_app(written)
        async with app.running():
            limiter = app._built.adapters["s"]._threads.limiter  # type: ignore[attr-defined]
            yield Scene(app, lambda: int(limiter.borrowed_tokens), list, written)


# ------------------------------------------------------------------ sql

SQL_FAILURES = (
    f"select {SECRET} from nowhere",
    "insert into t values (1)",
    "select 1 as a, 2 as a",
    "select n from t union all select 2",
)


@asynccontextmanager
async def sqlite(does: Does) -> AsyncGenerator[Scene]:
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / f"{SECRET}.db"
        with contextlib.closing(sqlite3.connect(file)) as made:
            made.execute("create table t(n integer primary key)")
            made.execute("insert into t values (1)")
            made.commit()
        statement = {
            "reply": "select n from t",
            "hang": "with recursive c(x) as (select 1 union all select x + 1 from c) select max(x) from c",
            "too much": "select printf('%2000s', n) as n from t",
        }.get(str(does)) or SQL_FAILURES[int(does)]
        settings = {"kind": "sql", "url": f"sqlite:///{file}", "threads": 2, "max_reply": "1KiB"}
        written = tool(settings, {"sql": statement, "one": True})
        app = create_app(written)
        async with app.running():
            limiter = app._built.adapters["s"]._limiter
            yield Scene(app, lambda: int(limiter.borrowed_tokens), list, written)


# ------------------------------------------------------------------ tcp

TCP_FAILURES = (
    OSError(errno.ECONNREFUSED, "Connection refused"),
    b"",
    SECRET.encode(),
    SECRET.encode() + b"\n",
    b"\xff\n",
)


@asynccontextmanager
async def over_tcp(does: Does) -> AsyncGenerator[Scene]:
    answer: Any = {"reply": b'{"n": 1}\r\n', "hang": None, "too much": b"x" * 2000 + b"\n"}
    says = TCP_FAILURES[does] if isinstance(does, int) else answer[does]

    async def peer(stream: trio.abc.Stream) -> None:
        assert await stream.receive_some() in (b"hello\n", b"")  # nothing, if it was cancelled
        if says is None:
            await trio.sleep_forever()
        await trio.sleep(0.1)
        await stream.send_all(says)

    settings = {
        "kind": "tcp",
        "address": "plc.test:7000",
        "allow_private": True,
        "max_reply": "1KiB",
        "max_connections": 2,
    }
    async with network() as net:
        net.name("plc.test", "10.0.0.1")
        net.serve("10.0.0.1", 7000, says if isinstance(says, OSError) else peer)
        written = tool(settings, {"send": "hello", "output": "json"})
        app = create_app(written)
        async with app.running():
            adapter: Any = app._built.adapters["s"]
            yield Scene(app, lambda: int(adapter.taken), list, written)
        assert not net.open


# ------------------------------------------------------------------ graphql

GRAPHQL_FAILURES = (
    OSError(errno.ECONNREFUSED, "Connection refused"),
    raw(b"", close=True),
    http(200, "{" + SECRET, content_type="application/json"),
    http(200, json.dumps({"errors": [{"message": SECRET}]})),
    http(200, json.dumps({"data": None, "errors": [{"message": SECRET}]})),
    http(200, json.dumps({SECRET: 1})),
    http(401, SECRET),
    http(500, SECRET),
)


@asynccontextmanager
async def over_graphql(does: Does) -> AsyncGenerator[Scene]:
    answer: Any = {
        "reply": http(200, '{"data": {"n": 1}}', after_s=0.1),
        "hang": http(after_s=math.inf),
        "too much": http(200, '{"data": "' + "x" * 2000 + '"}'),
    }.get(does) or GRAPHQL_FAILURES[int(does)]  # type: ignore[arg-type]
    service = answer if isinstance(answer, OSError) else Scripted(answer)
    settings = {
        "kind": "graphql",
        "url": "http://api.test/graphql",
        "allow_private": True,
        "max_reply": "1KiB",
        "max_connections": 2,
        "headers": {"authorization": f"Bearer {SECRET}"},
    }
    async with network() as net:
        net.name("api.test", "10.0.0.1")
        net.serve("10.0.0.1", 80, service)
        written = tool(settings, {"query": "{ n }"})
        app = create_app(written)

        def left() -> int:
            return int(app._built.adapters["s"]._client.pool.taken)  # type: ignore[attr-defined]

        def budget_s() -> list[float]:
            return [int(one.header("x-request-timeout-ms")) / 1000 for one in service.requests]

        async with app.running():
            yield Scene(app, left, budget_s, written)
        assert not net.open


# ------------------------------------------------------------------ websocket

WEBSOCKET_FAILURES = ("refuse", "end", b"\xff" * 2000)


@asynccontextmanager
async def over_websocket(does: Does) -> AsyncGenerator[Scene]:
    says = WEBSOCKET_FAILURES[does] if isinstance(does, int) else does

    async def hear(say: Any, _text: str) -> None:
        if says == "hang":
            return
        await trio.sleep(0.1)
        replies = {"reply": '{"n": 1}', "too much": "x" * 2000, "end": CloseConnection(1001)}
        await say(says if isinstance(says, bytes) else replies[says])

    server = Server(hear)
    server.refuses = says == "refuse"
    settings = {
        "kind": "websocket",
        "url": "ws://api.test/feed",
        "allow_private": True,
        "max_message": "1KiB",
        "max_connections": 2,
        "headers": {"authorization": f"Bearer {SECRET}"},
    }
    async with network() as net:
        net.name("api.test", "10.0.0.1")
        net.serve("10.0.0.1", 80, server)
        written = tool(settings, {"send": "hello"})
        app = create_app(written)

        def left() -> int:
            return int(app._built.adapters["s"]._client.pool.taken)  # type: ignore[attr-defined]

        async with app.running():
            yield Scene(app, left, list, written)
        assert not net.open


# ------------------------------------------------------------------ redis

REDIS_FAILURES = (
    OSError(errno.ECONNREFUSED, "Connection refused"),
    None,
    f"-ERR unknown command '{SECRET}'\r\n".encode(),
    f"-WRONGTYPE {SECRET}\r\n".encode(),
    f"-NOAUTH {SECRET}\r\n".encode(),
    f"-MOVED 1 {SECRET}:1\r\n".encode(),
    f"-LOADING {SECRET}\r\n".encode(),
    f"-OOM {SECRET}\r\n".encode(),
    f"-{SECRET}\r\n".encode(),
    f"no Redis at all {SECRET}\r\n".encode(),
    f":{SECRET}\r\n".encode(),
    b"#\r\n",
    b"*1\r\n" * 300 + b":1\r\n",
)


@asynccontextmanager
async def over_redis(does: Does) -> AsyncGenerator[Scene]:
    says = REDIS_FAILURES[does] if isinstance(does, int) else does

    async def answer(_command: list[bytes]) -> bytes | None:
        if says == "hang":
            await trio.sleep_forever()
        await trio.sleep(0.1)
        told = {"reply": b"%1\r\n$1\r\nn\r\n:1\r\n", "too much": b"$2000\r\n" + b"x" * 2000}
        return told[says] if isinstance(says, str) else says  # type: ignore[return-value]

    settings = {
        "kind": "redis",
        "url": f"redis://:{SECRET}@cache.test/2",
        "allow_private": True,
        "max_reply": "1KiB",
        "max_connections": 2,
    }
    async with network() as net:
        net.name("cache.test", "10.0.0.1")
        net.serve("10.0.0.1", 6379, says if isinstance(says, OSError) else RedisServer(answer))
        written = tool(settings, {"command": ["HGETALL", "user"]})
        app = create_app(written)
        async with app.running():
            adapter: Any = app._built.adapters["s"]
            yield Scene(app, lambda: int(adapter.taken), list, written)
        assert not net.open


# ------------------------------------------------------------------ bedrock_kb


def refused(status: int, code: str) -> Any:
    said = json.dumps({"message": SECRET, "__type": code})
    return http(status, said, **{"x-amzn-errortype": code})


KNOWLEDGE_BASE_FAILURES = (
    raw(b"", close=True),
    raw(b"no HTTP at all " + SECRET.encode() + b"\r\n\r\n", close=True),
    http(200, "{" + SECRET, content_type="application/json"),
    {SECRET: 1},
    {"retrievalResults": SECRET},
    {"retrievalResults": [{"content": SECRET}]},
    {"retrievalResults": [{"content": {}, "score": SECRET}]},
    refused(400, "ValidationException"),
    refused(403, "AccessDeniedException"),
    refused(404, "ResourceNotFoundException"),
    refused(429, "ThrottlingException"),
    refused(500, "InternalServerException"),
    http(503, SECRET),
    http(302, SECRET, location=f"/{SECRET}"),
)


@asynccontextmanager
async def bedrock_kb(does: Does) -> AsyncGenerator[Scene]:
    answer: Any = {
        "reply": {"retrievalResults": [{"content": {"text": "n"}, "score": 1.0}]},
        "hang": http(after_s=math.inf),
        "too much": {"retrievalResults": [{"content": {"text": "x" * 2000}}]},
    }.get(does) or KNOWLEDGE_BASE_FAILURES[int(does)]  # type: ignore[arg-type]
    async with bedrock(lambda _request: answer) as server:
        settings = {
            "kind": "bedrock_kb",
            "region": "eu-west-1",
            "endpoint_url": server.url,
            "max_reply": "1KiB",
            "threads": 2,
        }
        call = {"query": "x", "knowledge_base": "KB12345678"}
        written = tool(settings, call)
        app = create_app(written)
        async with app.running():
            limiter = app._built.adapters["s"]._limiter
            yield Scene(app, lambda: int(limiter.borrowed_tokens), list, written)


# ------------------------------------------------------------------ a third party's

MEMCACHED_FAILURES = (
    OSError(errno.ECONNREFUSED, "Connection refused"),
    b"",
    f"VALUE k 0 20\r\n{SECRET}".encode(),
    f"VALUE k 0 2\r\n{SECRET}\r\nEND\r\n".encode(),
    b"VALUE k 0 %d\r\n{%s\r\nEND\r\n" % (len(SECRET) + 1, SECRET.encode()),
    b"VALUE k 0 1\r\n\xff\r\nEND\r\n",
    f"VALUE k 0 {SECRET}\r\n".encode(),
    f"ERROR {SECRET}\r\n".encode(),
    f"SERVER_ERROR {SECRET}\r\n".encode(),
    SECRET.encode() * 100,
)


@asynccontextmanager
async def memcached(does: Does) -> AsyncGenerator[Scene]:
    answer = {
        "reply": b'VALUE user 0 8\r\n{"n": 1}\r\nEND\r\n',
        "too much": b"VALUE user 0 2000\r\n" + b"x" * 2000 + b"\r\nEND\r\n",
        "hang": None,
    }
    says = MEMCACHED_FAILURES[does] if isinstance(does, int) else answer[does]

    async def peer(stream: trio.abc.Stream) -> None:
        # Nothing, if it was cancelled.
        assert await stream.receive_some() in (b"get user\r\n", b"")
        if says is None:
            await trio.sleep_forever()
        await trio.sleep(0.1)
        await stream.send_all(says)

    settings = {
        "kind": "memcached",
        "address": "cache.test:11211",
        "max_value": "1KiB",
        "max_connections": 2,
    }
    adapters = {"memcached": memcached_kind().KIND}
    async with network() as net:
        net.name("cache.test", "10.0.0.1")
        net.serve("10.0.0.1", 11211, says if isinstance(says, OSError) else peer)
        written = tool(settings, {"get": "user", "output": "json"})
        app = create_app(written, adapters=adapters)
        async with app.running():
            places: Any = app._built.adapters["s"]._places  # type: ignore[attr-defined]
            yield Scene(app, lambda: 2 - places.value, list, written, adapters)
        assert not net.open


# ------------------------------------------------------------------ the table

SCENES = {
    "bedrock_kb": Kind(
        "bedrock_kb",
        bedrock_kb,
        [{"content": {"text": "n"}, "score": 1.0, "knowledge_base": "KB12345678"}],
        len(KNOWLEDGE_BASE_FAILURES),
        bounded=True,
        virtual=False,
        told=False,
    ),
    "http": Kind("http", over_http, {"n": 1}, len(HTTP_FAILURES), bounded=True),
    "http, in pages": Kind("http", in_pages, [1, 2], len(PAGES_FAILURES), bounded=True),
    "http, with parts": Kind("http", with_parts, {"n": 1}, len(HTTP_FAILURES), bounded=True),
    "http, with a token": Kind("http", with_a_token, {"n": 1}, len(OAUTH2_FAILURES), bounded=True),
    "command": Kind(
        "command",
        programs,
        {"n": 1},
        len(COMMAND_FAILURES),
        bounded=True,
        virtual=False,
        told=False,
    ),
    "files": Kind(
        "files", files, {"n": 1}, len(FILES_FAILURES), bounded=True, virtual=False, told=False
    ),
    "graphql": Kind("graphql", over_graphql, {"n": 1}, len(GRAPHQL_FAILURES), bounded=True),
    "websocket": Kind(
        "websocket", over_websocket, {"n": 1}, len(WEBSOCKET_FAILURES), bounded=True, told=False
    ),
    "sql, SQLite": Kind(
        "sql", sqlite, {"n": 1}, len(SQL_FAILURES), bounded=True, virtual=False, told=False
    ),
    "redis": Kind("redis", over_redis, {"n": 1}, len(REDIS_FAILURES), bounded=True, told=False),
    "memcached, a third party's": Kind(
        "memcached", memcached, {"n": 1}, len(MEMCACHED_FAILURES), bounded=True, told=False
    ),
    "tcp": Kind("tcp", over_tcp, {"n": 1}, len(TCP_FAILURES), bounded=True, told=False),
    "mcp": Kind("mcp", over_mcp, {"n": 1}, len(MCP_FAILURES), bounded=True),
    "python, async": Kind(
        "python", async_functions, pytest.approx(60), len(PYTHON_FAILURES), bounded=True
    ),
    "python, async generators": Kind(
        "python", async_generators, [1, 2], len(PYTHON_FAILURES), bounded=True, told=False
    ),
    "python, blocking": Kind(
        "python",
        blocking_functions,
        pytest.approx(60),
        len(PYTHON_FAILURES),
        bounded=True,
        virtual=False,
    ),
    "python, generators": Kind(
        "python",
        generators,
        [1, 2],
        len(PYTHON_FAILURES),
        bounded=True,
        virtual=False,
        told=False,
    ),
    "python, processes": Kind(
        "python",
        processes,
        pytest.approx(60, abs=5),  # of real time, in another process
        len(PYTHON_FAILURES),
        bounded=True,
        virtual=False,
        told=False,
    ),
}
EVERY = pytest.mark.parametrize("kind", SCENES.values(), ids=SCENES)
EVERY_FAILURE = pytest.mark.parametrize(
    ("kind", "number"),
    [
        pytest.param(kind, number, id=f"{name}-{number}")
        for name, kind in SCENES.items()
        for number in range(kind.failures)
    ],
)


@pytest.fixture(autouse=True)
def gate() -> Iterator[functions.Gate]:
    made = functions.GATES["contract"] = functions.Gate()
    yield made
    made.opened.set()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, SECRET)


def still(clock: MockClock, kind: Kind) -> None:
    """Let time stand still where threads take part: they end in real time."""
    if not kind.virtual:
        clock.autojump_threshold = math.inf


def test_every_kind_keeps_the_contract() -> None:
    assert {kind.kind for kind in SCENES.values()} == {*ADAPTERS, "memcached"}


@EVERY
async def test_a_reply_is_json(autojump_clock: MockClock, kind: Kind) -> None:
    still(autojump_clock, kind)
    async with kind.open("reply") as scene:
        reply = await scene.app.call(request())
        assert reply.value == kind.value
        assert not reply.missing
        assert scene.left() == 0


@EVERY_FAILURE
async def test_a_failure_is_one_bare_error_without_secrets(
    autojump_clock: MockClock, kind: Kind, number: int
) -> None:
    still(autojump_clock, kind)
    async with kind.open(number) as scene:
        with pytest.raises(GatewayError) as caught:
            await scene.app.call(request())
        assert scene.left() == 0
    error = caught.value
    assert error.code != "internal"
    assert (error.call, error.service) == ("a", "s")
    assert error.detail
    assert SECRET not in f"{error.detail} {error.problem()}"
    assert "s3cret" not in error.detail


@EVERY_FAILURE
async def test_after_a_failure_the_service_still_serves(
    autojump_clock: MockClock, kind: Kind, number: int
) -> None:
    """More often than it has turns: a failure gives its own back."""
    still(autojump_clock, kind)
    async with kind.open(number) as scene:
        codes = set()
        for _ in range(5):
            with pytest.raises(GatewayError) as caught:
                await scene.app.call(request(), timeout_s=30)
            codes.add(caught.value.code)
        assert len(codes) == 1
        assert scene.left() == 0


@pytest.mark.parametrize(
    "kind", [kind for kind in SCENES.values() if kind.virtual], ids=lambda kind: kind.kind
)
async def test_the_deadline_is_kept(autojump_clock: MockClock, kind: Kind) -> None:
    async with kind.open("hang") as scene:
        with trio.move_on_after(1.5) as scope:
            await scene.app.call(request())
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(1.5, abs=1e-6)
        assert scene.left() == 0


async def test_a_thread_is_left_behind_in_time_and_counted(gate: functions.Gate) -> None:
    async with blocking_functions("hang") as scene:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(scene.app.call, request())
                while not gate.inside:
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        assert scene.left() == 1
        gate.opened.set()
        while scene.left():
            await trio.lowlevel.checkpoint()


@EVERY
@pytest.mark.parametrize("does", ["reply", 0])
def test_cancelled_anywhere_it_leaves_nothing(kind: Kind, does: Does) -> None:
    async def scenario(cancellable: Cancellable) -> None:
        async with kind.open(does) as scene:

            async def call() -> None:
                try:
                    await scene.app.call(request())
                except GatewayError as error:
                    assert does != "reply" or error.code == "deadline_exceeded"  # noqa: PT017

            try:
                await cancellable(call)
            except AssertionError:
                # The one thing beside calls: a process that was killed is replaced.
                assert kind.kind not in {"files", "python", "sql"} or kind.open is processes
            while scene.left() and not kind.virtual:  # threads end in real time
                await trio.lowlevel.checkpoint()
            assert scene.left() == 0
            assert scene.app.in_flight == 0

    assert cancel_at_every_checkpoint(scenario) > 1


@pytest.mark.parametrize(
    "kind", [kind for kind in SCENES.values() if kind.bounded], ids=lambda kind: kind.kind
)
async def test_a_reply_has_a_bound(autojump_clock: MockClock, kind: Kind) -> None:
    still(autojump_clock, kind)
    async with kind.open("too much") as scene:
        with pytest.raises(BadReply, match="over"):
            await scene.app.call(request())


@pytest.mark.parametrize(
    "kind", [kind for kind in SCENES.values() if kind.told], ids=lambda kind: kind.kind
)
async def test_what_is_left_of_the_budget_goes_along(autojump_clock: MockClock, kind: Kind) -> None:
    still(autojump_clock, kind)
    async with kind.open("reply") as scene:
        value = (await scene.app.call(request(), timeout_s=7)).value
        # A function's own way to show it is its reply.
        assert pytest.approx(7) in (scene.budget_s() or [value])


@EVERY
async def test_it_opens_again_after_it_closed(autojump_clock: MockClock, kind: Kind) -> None:
    still(autojump_clock, kind)
    async with kind.open("reply") as scene:
        assert (await scene.app.call(request())).value == kind.value
        again = create_app(scene.written, adapters=scene.adapters)
        for _ in range(2):
            async with again.running():
                assert (await again.call(request())).value == kind.value
