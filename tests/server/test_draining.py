from __future__ import annotations

from typing import Any

import pytest

from gateway.server.draining import told_to_go


@pytest.mark.parametrize(
    ("draining", "version", "told"),
    [(False, "1.1", False), (True, "1.1", True), (True, "1.0", True), (True, "2", False)],
)
async def test_while_draining_http1_clients_are_told_to_go(
    draining: bool, version: str, told: bool
) -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def receive() -> Any: ...

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "http_version": version}
    await told_to_go(app, draining=lambda: draining)(scope, receive, send)
    assert sent[0]["headers"] == [(b"a", b"b"), *([(b"connection", b"close")] * told)]
    assert sent[1]["body"] == b"ok"
