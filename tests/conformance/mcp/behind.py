"""The same tools, prompts and resources, offered by a server of the official SDK: `stdio` or `http`.

It reads `gateway.toml` for what there is and calls `fixture.py` for what it does, as the gateway
does, so that what differs between the two is the gateway alone. Over HTTP the first line of standard
output is its port.
"""

from __future__ import annotations

import base64
import inspect
import json
import mimetypes
import socket
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from pydantic import TypeAdapter

from gateway.core.content import content_of
from gateway.core.peer import ASKABLE
from tests.conformance.mcp import fixture

HERE = Path(__file__).parent
OFFERED = tomllib.loads((HERE / "gateway.toml").read_text())
MODERN = "2026-07-28"
BLOCKS = TypeAdapter(list[types.ContentBlock])
QUESTIONS: TypeAdapter[Any] = TypeAdapter(types.ServerRequest)
RESULTS = {
    "elicitation/create": types.ElicitResult,
    "sampling/createMessage": types.CreateMessageResult,
    "roots/list": types.ListRootsResult,
}

Ctx = ServerRequestContext[Any, Any]
bus = InMemorySubscriptionBus()
grown: set[str] = set()
"""What there is once a change was asked for."""


class Caller:
    """The client of one request, as `gateway.core.caller.Caller` is to fixtures."""

    def __init__(self, ctx: Ctx, params: Any) -> None:
        self._ctx = ctx
        self._modern = ctx.protocol_version == MODERN
        self.answers: dict[str, Any] = json.loads(params.request_state or "{}")
        for key, answer in (params.input_responses or {}).items():
            self.answers[key] = answer.model_dump(by_alias=True, mode="json", exclude_none=True)
        self.asked: dict[str, Any] = {}
        self.scope = anyio.CancelScope()

    @property
    def capabilities(self) -> Mapping[str, Any]:
        able = self._ctx.session.client_capabilities
        return able.model_dump(by_alias=True, exclude_none=True) if able else {}

    async def progress(self, progress: float, total: float) -> None:
        await self._ctx.session.report_progress(progress, total)

    async def log(self, level: Any, data: Any) -> None:
        await self._ctx.session.send_log_message(
            level, data, related_request_id=self._ctx.request_id
        )

    async def ask(self, method: str, params: dict[str, Any], *, key: str = "asked") -> Any:
        capability = ASKABLE[method]
        if capability not in self.capabilities:
            needed = {"requiredCapabilities": {capability: {}}}
            raise MCPError(-32021, f"Missing required client capability: {capability}", needed)
        question = {"method": method, "params": params}
        if not self._modern:
            request = QUESTIONS.validate_python(question)
            result = await self._ctx.session.send_request(
                request, RESULTS[method], metadata=ServerMessageMetadata(self._ctx.request_id)
            )
            return result.model_dump(by_alias=True, mode="json", exclude_none=True)
        if key in self.answers:
            return self.answers[key]
        self.asked[key] = question
        self.scope.cancel()
        return await anyio.sleep_forever()

    def required(self) -> types.InputRequiredResult:
        return types.InputRequiredResult.model_validate(
            {"inputRequests": self.asked, "requestState": json.dumps(self.answers)}
        )


async def call(ctx: Ctx, params: Any, name: str, arguments: Mapping[str, Any]) -> Any:
    """What a fixture gives, or what its client is to be asked first."""
    function = getattr(fixture, OFFERED["tools"][name]["calls"]["it"]["function"])
    known = inspect.signature(function).parameters
    takes_all = any(each.kind is each.VAR_KEYWORD for each in known.values())
    given = {key: value for key, value in arguments.items() if takes_all or key in known}
    if "caller" not in known:
        return function(**given)
    caller = Caller(ctx, params)
    with caller.scope:
        return await function(**given, caller=caller)
    return caller.required()


def blocks_of(value: Any) -> list[types.ContentBlock]:
    content = content_of(value)
    if content is not None:
        return BLOCKS.validate_python([json.loads(bytes(block)) for block in content.blocks])
    text = value if isinstance(value, str) else json.dumps(value)
    return [types.TextContent(type="text", text=text)]


# ----------------------------------------------------------------------- tools


def schema_of(tool: Mapping[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", **tool.get("input", {})}
    short = schema.get("properties", {})
    schema["properties"] = {
        name: {"type": part} if isinstance(part, str) else part for name, part in short.items()
    }
    return schema


async def list_tools(_ctx: Ctx, _params: Any) -> types.ListToolsResult:
    tools = {
        name: (tool["description"], schema_of(tool)) for name, tool in OFFERED["tools"].items()
    }
    for name in ("test_trigger_tool_change", "test_trigger_prompt_change", *sorted(grown)):
        tools[name] = (f"Does {name}.", {"type": "object", "properties": {}})
    return types.ListToolsResult.model_validate(
        {
            "tools": [
                {"name": name, "description": said, "inputSchema": schema}
                for name, (said, schema) in tools.items()
            ]
        }
    )


async def call_tool(
    ctx: Ctx, params: types.CallToolRequestParams
) -> types.CallToolResult | types.InputRequiredResult:
    match params.name:
        case "test_trigger_tool_change":
            grown.symmetric_difference_update({"grown_tool"})
            await bus.publish(ToolsListChanged())
            await ctx.session.send_tool_list_changed()
            return types.CallToolResult(content=blocks_of("changed"))
        case "test_trigger_prompt_change":
            OFFERED["prompts"].pop("grown_prompt", None) or OFFERED["prompts"].update(
                grown_prompt={**OFFERED["prompts"]["test_simple_prompt"]}
            )
            await bus.publish(PromptsListChanged())
            await ctx.session.send_prompt_list_changed()
            return types.CallToolResult(content=blocks_of("changed"))
        case name if name not in OFFERED["tools"]:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {name}")
    try:
        value = await call(ctx, params, params.name, params.arguments or {})
    except ValueError as error:
        return types.CallToolResult(content=blocks_of(str(error)), is_error=True)
    if isinstance(value, types.InputRequiredResult):
        return value
    structured = value if isinstance(value, dict) else None
    return types.CallToolResult(content=blocks_of(value), structured_content=structured)


# ------------------------------------------------------- prompts and resources


def arguments_of(prompt: Mapping[str, Any]) -> list[str]:
    if "tool" in prompt:
        return [*OFFERED["tools"][prompt["tool"]].get("input", {}).get("properties", {})]
    text = (HERE / prompt["file"]).read_text()
    return [name for name in ("arg1", "arg2") if f"{{{name}}}" in text]


async def list_prompts(_ctx: Ctx, _params: Any) -> types.ListPromptsResult:
    prompts = [
        {
            "name": name,
            "description": prompt["description"],
            "arguments": [{"name": each, "required": True} for each in arguments_of(prompt)],
        }
        for name, prompt in OFFERED["prompts"].items()
    ]
    return types.ListPromptsResult.model_validate({"prompts": prompts})


async def get_prompt(
    ctx: Ctx, params: types.GetPromptRequestParams
) -> types.GetPromptResult | types.InputRequiredResult:
    prompt = OFFERED["prompts"].get(params.name)
    if prompt is None:
        raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")
    given = params.arguments or {}
    value: Any
    if "tool" in prompt:
        value = await call(ctx, params, prompt["tool"], given)
        if isinstance(value, types.InputRequiredResult):
            return value
    else:
        value = (HERE / prompt["file"]).read_text().rstrip("\n").format(**given)
    messages = [types.PromptMessage(role="user", content=block) for block in blocks_of(value)]
    return types.GetPromptResult(messages=messages, description=prompt["description"])


async def list_resources(_ctx: Ctx, _params: Any) -> types.ListResourcesResult:
    resources = [
        {"uri": one["uri"], "name": name, "description": one["description"]}
        for name, one in OFFERED["resources"].items()
        if "uri" in one
    ]
    return types.ListResourcesResult.model_validate({"resources": resources})


async def list_templates(_ctx: Ctx, _params: Any) -> types.ListResourceTemplatesResult:
    template = {"uriTemplate": "test://template/{id}/data", "name": "template"}
    return types.ListResourceTemplatesResult.model_validate({"resourceTemplates": [template]})


async def read_resource(
    _ctx: Ctx, params: types.ReadResourceRequestParams
) -> types.ReadResourceResult:
    uri = str(params.uri)
    for one in OFFERED["resources"].values():
        if one.get("uri") == uri:
            content = (HERE / one["file"]).read_bytes()
            mime_type = mimetypes.guess_type(one["file"])[0] or "text/plain"
            held = (
                {"text": content.decode()}
                if mime_type.startswith("text/")
                else {"blob": base64.b64encode(content).decode()}
            )
            break
    else:
        if not (uri.startswith("test://template/") and uri.endswith("/data")):
            raise MCPError(types.INVALID_PARAMS, "Resource not found", {"uri": uri})
        number = uri.removeprefix("test://template/").removesuffix("/data")
        held = {"text": json.dumps(fixture.template_data(number))}
        mime_type = "application/json"
    contents = [{"uri": uri, "mimeType": mime_type, **held}]
    return types.ReadResourceResult.model_validate({"contents": contents})


async def complete(_ctx: Ctx, _params: Any) -> types.CompleteResult:
    return types.CompleteResult(completion=types.Completion(values=[], total=0, has_more=False))


async def nothing(_ctx: Ctx, _params: Any) -> types.EmptyResult:
    return types.EmptyResult()


server: Server[Any] = Server(
    "conformance",
    version="1",
    get_tool_input_schema=lambda name: schema_of(OFFERED["tools"].get(name, {})),
    on_list_tools=list_tools,
    on_call_tool=call_tool,
    on_list_prompts=list_prompts,
    on_get_prompt=get_prompt,
    on_list_resources=list_resources,
    on_list_resource_templates=list_templates,
    on_read_resource=read_resource,
    on_subscribe_resource=nothing,
    on_unsubscribe_resource=nothing,
    on_subscriptions_listen=ListenHandler(bus),
    on_completion=complete,
    on_set_logging_level=nothing,
)
server.middleware.append(
    RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience="conformance")
)


async def over_stdio() -> None:
    async with stdio_server() as streams:
        options = server.create_initialization_options(NotificationOptions(True, True, True))
        await server.run(*streams, options)


def over_http() -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    print(sock.getsockname()[1], flush=True)
    app = server.streamable_http_app()
    uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on")).run(sockets=[sock])


if __name__ == "__main__":
    if "http" in sys.argv:
        over_http()
    else:
        anyio.run(over_stdio)
