"""Our own prompts: a file each, its `{placeholders}` the arguments.

Source: MCP 2025-11-25 and 2026-07-28, Prompts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from gateway.core.errors import Internal
from gateway.core.mcp import INVALID_PARAMS
from gateway.inbound.mcp.files import Files, content_of
from gateway.inbound.mcp.jsonrpc import ProtocolError
from gateway.inbound.mcp.listing import Entry
from gateway.plan.template import Template, compile_text

if TYPE_CHECKING:
    from gateway.config.settings import PromptSettings

__all__ = ["Prompt"]


@attrs.frozen(slots=True)
class Prompt:
    """One prompt.

    Args:
        name: What it is asked for by.
        settings: Its keys.
        arguments: The names of its placeholders as they were at load, in their order.
    """

    name: str
    settings: PromptSettings
    arguments: tuple[str, ...]

    @classmethod
    def load(cls, name: str, settings: PromptSettings) -> Prompt:
        """Read its file for the first time.

        Raises:
            ValueError: It is no template.
            OSError: It cannot be read.
        """
        text = _text_of(content_of(settings.file))
        roots = compile_text(text).roots
        return cls(name, settings, tuple(sorted(roots, key=lambda root: (text.find(root), root))))

    @property
    def entry(self) -> Entry:
        """What the list says."""
        item: dict[str, Any] = {"name": self.name}
        if self.settings.title:
            item["title"] = self.settings.title
        if self.settings.description:
            item["description"] = self.settings.description
        item["arguments"] = [{"name": name, "required": True} for name in self.arguments]
        return Entry(self.name, item)

    async def get(self, arguments: dict[str, Any], files: Files) -> dict[str, Any]:
        """The prompt, filled in: the file as it is now.

        Raises:
            ProtocolError: An argument is missing, or is no text.
            GatewayError: The file cannot be read, or is no template any more.

        Cancellation: as `Files.read`.
        """
        template = _template_of(await files.read(self.settings.file))
        for name in sorted(template.roots):
            if not isinstance(arguments.get(name), str):
                raise ProtocolError(
                    INVALID_PARAMS, f"Invalid params: arguments: {name}: expected a string"
                )
        content = {"type": "text", "text": template.render(arguments)}
        got: dict[str, Any] = {"messages": [{"role": "user", "content": content}]}
        if self.settings.description:
            got["description"] = self.settings.description
        return got


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
