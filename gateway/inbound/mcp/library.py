"""Prompts, resources and completions: our own, and those of the servers behind us.

Source: MCP 2025-11-25 and 2026-07-28, Prompts; Resources; Completion.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from gateway.config.units import format_duration
from gateway.core.errors import (
    CannotAsk,
    DeadlineExceeded,
    GatewayError,
    InvalidArguments,
    NotFound,
    Unreachable,
)
from gateway.core.mcp import INTERNAL_ERROR, INVALID_PARAMS, RESOURCE_NOT_FOUND, VERSION_KEY
from gateway.core.messages import Request
from gateway.inbound.mcp.call import budget_of_call
from gateway.inbound.mcp.files import Files
from gateway.inbound.mcp.jsonrpc import ProtocolError, object_in
from gateway.inbound.mcp.passed import pass_on
from gateway.inbound.mcp.prompts import filled_in, messages_of, texts_in
from gateway.inbound.mcp.resources import Resource, content_item
from gateway.inbound.mcp.rounds import unable
from gateway.inbound.mcp.uris import MAX_URI, UriTemplate
from gateway.inbound.mcp.watched import Told, WatchedFile
from gateway.net.asgi import ClientLeft, client_has_left

if TYPE_CHECKING:
    from gateway.core.federation import ListName
    from gateway.core.messages import Context, Reply
    from gateway.inbound.front import Front
    from gateway.inbound.mcp.catalog import Catalog
    from gateway.inbound.mcp.listing import Entry
    from gateway.inbound.mcp.prompts import Prompt
    from gateway.inbound.mcp.watched import Watch

T = TypeVar("T")

__all__ = ["LISTED_BY", "METHODS", "Library", "own_lists"]

LISTED_BY: Final[Mapping[str, ListName]] = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
"""Which list a method gives a page of."""

_MOST_COMPLETED: Final = 100
"""Values of a completion; the protocol's bound."""

METHODS: Final = frozenset({"prompts/get", "resources/read", "completion/complete"})
"""What `Library.answer` answers."""


def own_lists(
    prompts: Mapping[str, Prompt], resources: Iterable[Resource]
) -> dict[ListName, tuple[Entry, ...]]:
    """What we have ourselves beside tools, by list."""
    templates = [one.entry for one in resources if one.settings.uri_template is not None]
    fixed = [one.entry for one in resources if one.settings.uri_template is None]
    return {
        "prompts": tuple(prompt.entry for prompt in prompts.values()),
        "resources": tuple(fixed),
        "resourceTemplates": tuple(templates),
    }


class Library:
    """Prompts, resources and completions.

    Args:
        front: The tools, and the servers behind us.
        catalog: Who offers what.
        prompts: Our own prompts, by name.
        resources: Our own resources.
    """

    def __init__(
        self,
        front: Front,
        catalog: Catalog,
        prompts: Mapping[str, Prompt],
        resources: Sequence[Resource],
    ) -> None:
        self._front = front
        self._catalog = catalog
        self._prompts = prompts
        self._resources = tuple(resources)
        self._files = Files(front.record)

    async def answer(
        self, method: str, params: dict[str, Any], context: Context, *, spent_s: float = 0
    ) -> dict[str, Any]:
        """Answer one of `METHODS`.

        Args:
            method: Which.
            params: Its parameters.
            context: Who asks.
            spent_s: Seconds since its arrival, which the budget has less.

        Raises:
            ProtocolError: Whatever there is instead of a result: these methods have no other form
                for a failure.

        Cancellation: ends what is under way.
        """
        timeout_s = budget_of_call(self._front, params, context) - spent_s
        try:
            match method:
                case "prompts/get":
                    return await self._prompt(params, context, timeout_s)
                case "resources/read":
                    return await self._read(params, context, timeout_s)
                case _:
                    return await self._complete(params, context, timeout_s)
        except GatewayError as error:
            raise _told(error, params, context) from error

    async def _prompt(
        self, params: dict[str, Any], context: Context, timeout_s: float
    ) -> dict[str, Any]:
        name = _text_in(params, "name")
        entry = self._catalog.find("prompts", name, context)
        if entry is None:
            raise self._unknown("prompts", f"Unknown prompt: {name[:128]}")
        if entry.server:
            return await self._ask(entry.server, "prompts/get", params, context, timeout_s)
        arguments = object_in(params, "arguments")
        prompt = self._prompts[name]
        path, tool = prompt.settings.file, prompt.settings.tool
        if path is not None:
            message = await self._within(timeout_s, lambda: filled_in(path, arguments, self._files))
            return prompt.got([message])
        reply = await self._called(str(tool), texts_in(arguments), params, context, timeout_s)
        return prompt.got(messages_of(reply))

    async def _read(
        self, params: dict[str, Any], context: Context, timeout_s: float
    ) -> dict[str, Any]:
        uri = _text_in(params, "uri")
        if len(uri) > MAX_URI:
            raise ProtocolError(INVALID_PARAMS, f"Invalid params: uri: over {MAX_URI} characters")
        entry = self._catalog.listing("resources").get(uri)
        if entry is not None and not self._catalog.visible("resources", context)(entry):
            raise self._not_found(uri, params)
        if entry is None or not entry.server:
            for resource in self._resources:
                values = resource.template.match(uri)
                if values is not None and self._sees(resource, context):
                    return await self._own(resource, values, params, context, timeout_s)
        server = entry.server if entry is not None else self._server_of(uri, context)
        if not server:
            raise self._not_found(uri, params)
        return await self._ask(server, "resources/read", params, context, timeout_s)

    def watch(self, uri: str, hear: Callable[[], None], context: Context) -> Watch | None:
        """Begin to watch a resource for a client.

        Args:
            uri: The resource's.
            hear: Is told of each change.
            context: Who asks.

        Returns:
            `None` if there is no such resource, or nobody tells of its changes.
        """
        if len(uri) > MAX_URI:
            return None
        entry = self._catalog.find("resources", uri, context)
        if entry is not None and not entry.server:
            own = (each.settings for each in self._resources if each.settings.uri == uri)
            path = next(own).file
            return None if path is None else WatchedFile(path, self._files, hear)
        name = entry.server if entry is not None else self._server_of(uri, context)
        watching = self._front.federated[name].watching(uri, hear) if name else None
        return None if watching is None else Told(watching)

    def _sees(self, resource: Resource, context: Context) -> bool:
        name: ListName = (
            "resources" if resource.settings.uri_template is None else "resourceTemplates"
        )
        return self._catalog.find(name, resource.settings.key, context) is not None

    async def _own(
        self,
        resource: Resource,
        values: Mapping[str, str],
        params: dict[str, Any],
        context: Context,
        timeout_s: float,
    ) -> dict[str, Any]:
        path = resource.settings.file
        if path is not None:
            content = await self._within(timeout_s, lambda: self._files.read(path))
        else:
            tool = str(resource.settings.tool)
            content = (await self._called(tool, values, params, context, timeout_s)).encoded
        return {"contents": [content_item(params["uri"], content, resource.mime_type)]}

    async def _called(
        self,
        name: str,
        texts: Mapping[str, str],
        params: dict[str, Any],
        context: Context,
        timeout_s: float,
    ) -> Reply:
        """What a tool answers that a prompt or a resource is made of."""
        tool = self._front.tools[name]
        arguments = tool.arguments.coerce({key: [text] for key, text in texts.items()})
        try:
            return await self._front.answer(Request(name, arguments, context), timeout_s=timeout_s)
        except GatewayError as error:
            raise _told(error, params, context, booked=True) from error

    def _server_of(self, uri: str, context: Context) -> str:
        """Who is asked for a URI that no list has: whose template it fits, else whose scheme it is."""
        visible = self._catalog.visible("resourceTemplates", context)
        for entry in self._catalog.listing("resourceTemplates").entries:
            if entry.server and UriTemplate.of(entry.key).fits(uri) and visible(entry):
                return entry.server
        scheme = _scheme_of(uri)
        lists: tuple[ListName, ...] = ("resources", "resourceTemplates")
        for name in lists:
            visible = self._catalog.visible(name, context)
            for entry in self._catalog.listing(name).entries:
                if entry.server and _scheme_of(entry.key) == scheme and visible(entry):
                    return entry.server
        return ""

    async def _complete(
        self, params: dict[str, Any], context: Context, timeout_s: float
    ) -> dict[str, Any]:
        reference = object_in(params, "ref")
        name: ListName
        match reference.get("type"):
            case "ref/prompt":
                name, key = "prompts", _text_in(reference, "name")
            case "ref/resource":
                name, key = "resourceTemplates", _text_in(reference, "uri")
            case _:
                message = "Invalid params: ref: expected one of a prompt or a resource"
                raise ProtocolError(INVALID_PARAMS, message)
        entry = self._catalog.find(name, key, context)
        if entry is None:
            raise self._unknown(name, f"Invalid params: ref: there is no {key[:128]}")
        if entry.server:
            return await self._ask(entry.server, "completion/complete", params, context, timeout_s)
        return {"completion": self._completed(name, key, object_in(params, "argument"))}

    def _completed(self, name: ListName, key: str, argument: Mapping[str, Any]) -> dict[str, Any]:
        """What an argument of our own may be: what the schema of a tool's input names."""
        wanted, begun = _text_in(argument, "name"), _text_in(argument, "value")
        if name == "prompts":
            called = self._prompts[key].settings.tool
        else:
            own = (each.settings for each in self._resources if each.settings.key == key)
            called = next(own).tool
        schema = self._front.tools[called].input_schema if called is not None else {}
        input_ = schema.get("properties", {}).get(wanted)
        named = input_.get("enum", ()) if isinstance(input_, Mapping) else ()
        values = [one for one in named if isinstance(one, str) and one.startswith(begun)]
        few = values[:_MOST_COMPLETED]
        return {"values": few, "total": len(values), "hasMore": len(few) < len(values)}

    async def _ask(
        self,
        server: str,
        method: str,
        params: dict[str, Any],
        context: Context,
        timeout_s: float,
    ) -> dict[str, Any]:
        try:
            return await pass_on(self._front, server, method, params, context, timeout_s=timeout_s)
        except GatewayError as error:
            raise _told(error, params, context, booked=True) from error

    async def _within(self, timeout_s: float, work: Callable[[], Awaitable[T]]) -> T:
        """Do what calls no tool within the request's budget and its client's presence."""
        with self._front.within(timeout_s) as scope:
            done = await work()
        if not scope.cancelled_caught:
            return done
        if client_has_left():
            raise ClientLeft
        raise DeadlineExceeded(f"it took longer than {format_duration(round(timeout_s, 3))}")

    def _unknown(self, name: ListName, message: str) -> ProtocolError | Unreachable:
        unlisted = self._catalog.unlisted(name)
        if unlisted:
            return Unreachable(f"{message}; but {'; '.join(unlisted)}")
        return ProtocolError(INVALID_PARAMS, message)

    def _not_found(self, uri: str, params: dict[str, Any]) -> ProtocolError | Unreachable:
        unlisted = self._catalog.unlisted("resources")
        if unlisted:
            return Unreachable(f"no resource {uri[:128]!r} is known; but {'; '.join(unlisted)}")
        return _absent(uri, params)


def _absent(uri: str, params: Mapping[str, Any], *, booked: bool = False) -> ProtocolError:
    """There is no such resource, in the code that the client's era has for it."""
    code = INVALID_PARAMS if _is_modern(params) else RESOURCE_NOT_FOUND
    return ProtocolError(
        code, "Resource not found", data={"uri": uri}, error=NotFound(uri[:128]), booked=booked
    )


def _is_modern(params: Mapping[str, Any]) -> bool:
    meta = params.get("_meta")
    return isinstance(meta, dict) and VERSION_KEY in meta


def _told(
    error: GatewayError, params: Mapping[str, Any], context: Context, *, booked: bool = False
) -> ProtocolError:
    """A failure as a JSON-RPC error, the problem object with it."""
    uri = params.get("uri")
    if error.status == 404 and isinstance(uri, str):
        return _absent(uri, params, booked=booked)
    if isinstance(error, CannotAsk) and _is_modern(params):
        return unable(error)
    code = INVALID_PARAMS if isinstance(error, InvalidArguments | NotFound) else INTERNAL_ERROR
    return ProtocolError(
        code,
        f"{error.code}: {error.shown or error.title}",
        data=error.problem(context.request_id),
        status=200,  # an answer like any other: a status of HTTP's would be about the message
        error=error,
        booked=booked,
    )


def _text_in(params: Mapping[str, Any], key: str) -> str:
    value = params.get(key)
    if not isinstance(value, str):
        raise ProtocolError(INVALID_PARAMS, f"Invalid params: {key}: expected a string")
    return value


def _scheme_of(uri: str) -> str:
    try:
        return urlsplit(uri).scheme
    except ValueError:
        return ""
