from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.server.bounds import bounded


async def asked(
    *, draining: bool = False, max_headers: int = 1000, **changes: Any
) -> tuple[list[Any], list[Any]]:
    """What the application saw, and what was sent."""
    seen: list[Any] = []
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(b"host", b"x")],
    }
    front = bounded(app, max_headers=max_headers, draining=lambda: draining)
    await front({**scope, **changes}, receive, send)
    return seen, sent


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": [(b"a", b"b" * 1000)]},
        {"headers": [(b"a", b"b")] * 300},
        {"raw_path": b"/" * 1001},
        {"query_string": b"a" * 1001},
    ],
)
@pytest.mark.parametrize("version", ["1.1", "2"])
async def test_a_large_head_is_refused(changes: dict[str, Any], version: str) -> None:
    seen, sent = await asked(http_version=version, **changes)
    assert seen == []
    assert sent[0]["status"] == 431
    names = [name for name, _ in sent[0]["headers"]]
    assert (b"connection" in names) == (version == "1.1")
    problem = json.loads(sent[1]["body"])
    assert (problem["code"], problem["status"]) == ("too_large", 431)


async def test_a_large_websocket_handshake_is_refused() -> None:
    seen, sent = await asked(type="websocket", raw_path=b"/" * 1001)
    assert seen == []
    assert sent == [{"type": "websocket.close", "code": 1009}]


async def test_any_other_head_passes() -> None:
    seen, sent = await asked()
    assert len(seen) == 1
    assert sent[0]["headers"] == [(b"a", b"b")]


async def test_while_draining_http1_clients_are_told_to_go() -> None:
    _, sent = await asked(draining=True)
    assert sent[0]["headers"] == [(b"a", b"b"), (b"connection", b"close")]


async def test_http2_knows_no_such_header() -> None:
    _, sent = await asked(draining=True, http_version="2")
    assert sent[0]["headers"] == [(b"a", b"b")]
