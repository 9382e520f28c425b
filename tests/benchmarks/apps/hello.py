"""The least an ASGI application can do: any request is answered with a small constant.

`/wait/SECONDS` is answered after so long, by whatever loop it runs on.
"""

from __future__ import annotations

import json
from typing import Any

from tests.benchmarks.apps.constant import USER, wait

__all__ = ["app"]

_BODY = json.dumps(USER).encode()
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(_BODY)),
    ],
}
_REST = {"type": "http.response.body", "body": _BODY}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer one request."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"].startswith("/wait/"):
        await wait(float(scope["path"][6:]))
    await send(_START)
    await send(_REST)
