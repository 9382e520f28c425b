"""A local endpoint that speaks as AWS' two APIs of knowledge bases do: REST with JSON, signed."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import trio

from tests.http_service import Received, Scripted, http

__all__ = ["Bedrock", "bedrock"]

_SIGNED = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"


@attrs.frozen
class Bedrock:
    """The endpoint.

    Attributes:
        url: Where it is.
        service: Who answers there.
    """

    url: str
    service: Scripted

    @property
    def asked(self) -> list[tuple[str, str, Any]]:
        """Method, path and body of every request."""
        return [
            (one.method, one.target, json.loads(one.body) if one.body else None)
            for one in self.service.requests
        ]


@asynccontextmanager
async def bedrock(answer: Callable[[Received], Any]) -> AsyncGenerator[Bedrock]:
    """An endpoint on loopback.

    Args:
        answer: From a request to its answer: an object that is sent as JSON, or one of
            `tests.http_service`. What is not signed is refused before.
    """

    async def say(request: Received, stream: trio.abc.Stream) -> None:
        signature = request.header("authorization") or ""
        if not signature.startswith(_SIGNED) or "/bedrock/aws4_request" not in signature:
            said: Any = http(403, json.dumps({"message": "not signed"}))
        else:
            said = answer(request)
        if not callable(said):
            said = http(200, json.dumps(said), content_type="application/json")
        await said(request, stream)

    service = Scripted(say)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, service, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        port = listeners[0].socket.getsockname()[1]
        yield Bedrock(f"http://127.0.0.1:{port}", service)
        nursery.cancel_scope.cancel()
