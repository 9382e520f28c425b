"""Our own prompts: a file each, its `{placeholders}` the arguments; or a tool, its inputs.

Source: MCP 2025-11-25 and 2026-07-28, Prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from gateway.core.content import Content
from gateway.core.errors import Internal
from gateway.core.mcp import INVALID_PARAMS
from gateway.inbound.mcp.files import Files, content_of
from gateway.inbound.mcp.jsonrpc import ProtocolError
from gateway.inbound.mcp.listing import Entry
from gateway.plan.template import Template, compile_text

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config.settings import PromptSettings
    from gateway.core.messages import Reply
    from gateway.plan.tool import Tool

__all__ = ["Prompt", "filled_in", "messages_of", "texts_in"]


@attrs.frozen(slots=True)
class Prompt:
    """One prompt.

    Args:
        name: What it is asked for by.
        settings: Its keys.
        arguments: What the list says of each argument: of a tool's inputs in their order, else of
            the placeholders as they were at load, in theirs.
    """

    name: str
    settings: PromptSettings
    arguments: tuple[Mapping[str, Any], ...]

    @classmethod
    def of_file(cls, name: str, settings: PromptSettings, path: Path) -> Prompt:
        """The prompt that a file is, which is read for the first time.

        Raises:
            ValueError: It is no template.
            OSError: It cannot be read.
        """
        text = _text_of(content_of(path))
        roots = sorted(compile_text(text).roots, key=lambda root: (text.find(root), root))
        return cls(name, settings, tuple({"name": root, "required": True} for root in roots))

    @classmethod
    def of_tool(cls, name: str, settings: PromptSettings, tool: Tool) -> Prompt:
        """The prompt that a tool's answer is."""
        properties = tool.input_schema.get("properties", {})
        return cls(name, settings, tuple(_argument(tool, *each) for each in properties.items()))

    @property
    def entry(self) -> Entry:
        """What the list says."""
        item: dict[str, Any] = {"name": self.name}
        if self.settings.title:
            item["title"] = self.settings.title
        if self.settings.description:
            item["description"] = self.settings.description
        item["arguments"] = self.arguments
        return Entry(self.name, item)

    def got(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """The result that these messages are."""
        result: dict[str, Any] = {"messages": messages}
        if self.settings.description:
            result["description"] = self.settings.description
        return result


async def filled_in(path: Path, arguments: Mapping[str, Any], files: Files) -> dict[str, Any]:
    """The message that a file is, filled in: as it is now.

    Raises:
        ProtocolError: An argument is missing, or is no text.
        GatewayError: The file cannot be read, or is no template any more.

    Cancellation: as `Files.read`.
    """
    template = _template_of(await files.read(path))
    texts = texts_in({name: arguments.get(name) for name in sorted(template.roots)})
    return _message({"type": "text", "text": template.render(texts)})


def texts_in(arguments: Mapping[str, Any]) -> dict[str, str]:
    """The arguments of a prompt, which are texts.

    Raises:
        ProtocolError: One is something else.
    """
    for name, value in arguments.items():
        if not isinstance(value, str):
            raise ProtocolError(
                INVALID_PARAMS, f"Invalid params: arguments: {name}: expected a string"
            )
    return dict(arguments)


def messages_of(reply: Reply) -> list[dict[str, Any]]:
    """What a tool answered, as messages: each block of content is one; a text is; else its JSON."""
    if isinstance(reply.value, Content):
        return [_message(block) for block in reply.value.blocks]
    encoded = reply.encoded
    text = msgspec.json.decode(encoded) if encoded.startswith(b'"') else encoded.decode()
    return [_message({"type": "text", "text": text})]


def _message(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def _argument(tool: Tool, name: str, schema: Any) -> dict[str, Any]:
    said = schema.get("description") if isinstance(schema, Mapping) else None
    described = {"description": said} if isinstance(said, str) else {}
    return {"name": name, **described, "required": name in tool.arguments.required}


def _template_of(content: bytes) -> Template:
    try:
        return compile_text(_text_of(content))
    except ValueError as error:
        raise Internal("the file of a prompt is no template any more") from error


def _text_of(content: bytes) -> str:
    """The text of a file; UTF-8, its last line break left out.

    Raises:
        ValueError: It is not UTF-8.
    """
    return content.decode("utf-8-sig").removesuffix("\n")
