"""One call, one request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import trio

from gateway.adapters.http.parts import parts_of
from gateway.adapters.http.settings import BODIES, HttpCall, verb_of
from gateway.core.begun import Begun, finished
from gateway.core.messages import Reply, Request
from gateway.core.service import Emit
from gateway.net.client import HttpReply, HttpRequest, Origin
from gateway.net.decoded import decoded, is_json, no_json, nothing
from gateway.net.freshness import freshness_of
from gateway.net.http1 import Http1Client
from gateway.net.json_text import checked_json
from gateway.net.multipart import multipart
from gateway.net.replicas import Replicas
from gateway.net.styles import Spelling
from gateway.net.texts import encoded_target, form, with_query

if TYPE_CHECKING:
    from gateway.adapters.http.adapter import HttpAdapter

__all__ = ["Call"]

_Encode: TypeAlias = Callable[[Any], tuple[str | None, bytes | None]]
"""From the value of the key that is the body to what it is, and its bytes; `None` for no body."""


class Call:
    """The `Service` of one call: renders nothing, sends one request.

    Args:
        adapter: The service.
        call: Its keys.
    """

    __slots__ = (
        *("_adapter", "_body", "_convert", "_convert_opaque", "_encode", "_encoders", "_method"),
        *("_read", "_replicas", "_spelling", "_verb"),
    )

    def __init__(self, adapter: HttpAdapter, call: HttpCall) -> None:
        self._adapter = adapter
        self._replicas = adapter.replicas if len(adapter.origins) > 1 else None
        self._verb = verb_of(call)
        self._method = self._verb.upper()
        self._body = next((body for body in BODIES if getattr(call, body) is not None), "")
        self._encoders = _encoders(call, adapter.max_upload)
        self._encode = self._encoders.get(self._body, _no_body)
        self._read = nothing if self._verb == "head" else decoded
        self._convert, self._convert_opaque = self._reply, self._opaque
        kept = adapter.kept
        if kept is not None:

            def with_freshness(convert: Callable[[HttpReply], Reply], reply: HttpReply) -> Reply:
                found, said = convert(reply), freshness_of(reply.fields, kept)
                return found if said is None else msgspec.structs.replace(found, freshness=said)

            self._convert = partial(with_freshness, self._reply)
            self._convert_opaque = partial(with_freshness, self._opaque)
        self._spelling: Spelling | None = None
        if call.parameters is not None or call.optional_body:
            self._spelling = Spelling(
                self._verb,
                adapter.headers.get("cookie", ""),
                optional_body=call.optional_body,
                max_upload=adapter.max_upload,
            )

    async def __call__(self, request: Request, _emit: Emit, /) -> Reply:
        """As `Service`."""
        if self._replicas is not None:
            return await self._ask_one(self._replicas, request)
        origin = self._adapter.origin
        until = trio.current_effective_deadline()
        begun = self._begin(request, until, trio.current_time(), origin)
        if begun is not None:  # over a warm connection: the shorter way
            return await finished(begun)
        reply = await self._adapter.client.send(self.http(request, origin))
        return self._convert_opaque(reply) if request.opaque else self._convert(reply)

    async def _ask_one(self, replicas: Replicas, request: Request) -> Reply:
        await self._adapter.authorized()
        with replicas.attempt(request, trio.current_effective_deadline()) as attempt:
            reply = await self._adapter.client.send(self.http(request, attempt.origin))
            return self._convert_opaque(reply) if request.opaque else self._convert(reply)

    def begin(self, request: Request, until: float, now: float, /) -> Begun | None:
        """As `Begin`."""
        if self._replicas is not None:
            attempt = self._replicas.attempt(request, until)
            return attempt.begun(partial(self._begin, request, until, now, attempt.origin))
        return self._begin(request, until, now, self._adapter.origin)

    def _begin(self, request: Request, until: float, now: float, origin: Origin) -> Begun | None:
        client = self._adapter.client
        # TLS cannot send without waiting.
        if isinstance(client, Http1Client) and origin.scheme == "http":
            convert = self._convert_opaque if request.opaque else self._convert
            return client.start(self.http(request, origin), until, now, convert)
        return None

    def http(self, request: Request, origin: Origin) -> HttpRequest:
        """What is asked of the service.

        Args:
            request: Its arguments are the call's keys, filled in.
            origin: Who is asked.

        Raises:
            GatewayError: Its values do not fit.
        """
        adapter, arguments = self._adapter, request.arguments
        body, encode = self._body, self._encode
        if self._spelling is not None:
            arguments = self._spelling(arguments)
            body = next((body for body in BODIES if body in arguments), "")
            encode = self._encoders.get(body, _no_body)
        content_type, content = encode(arguments[body]) if body else (None, None)
        target = adapter.prefix + with_query(arguments[self._verb], arguments.get("query"))
        headers = adapter.headers_for(request.context, content_type, arguments.get("headers"))
        return HttpRequest(self._method, origin, encoded_target(target), headers, content)

    def _reply(self, reply: HttpReply) -> Reply:
        if not 200 <= reply.status < 300:
            raise self._adapter.refusal(reply)
        return Reply(self._read(reply))

    def _opaque(self, reply: HttpReply) -> Reply:
        """As `_reply`; JSON stays as it came if it can."""
        if 200 <= reply.status < 300 and self._read is decoded and is_json(reply):
            try:
                raw = checked_json(reply.body)
            except ValueError as error:
                raise no_json(error) from error
            if raw is not None:
                return Reply(raw)
        return self._reply(reply)


def _encoders(call: HttpCall, max_upload: int) -> Mapping[str, _Encode]:
    """By the key of a call's body."""

    def parts(values: Mapping[str, Any]) -> tuple[str | None, bytes | None]:
        found = parts_of(call.multipart or {}, values)
        if not call.optional_body:
            return multipart(found, max_upload)
        first = next(found, None)
        return (None, None) if first is None else multipart(chain([first], found), max_upload)

    return {
        "json": lambda value: ("application/json", msgspec.json.encode(value)),
        "form": lambda values: ("application/x-www-form-urlencoded", form(values)),
        "multipart": parts,
        "body": lambda text: ("text/plain; charset=utf-8", _bytes(text)),
    }


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _no_body(_value: Any) -> tuple[None, bytes]:
    raise AssertionError("a call without a body encodes none")
