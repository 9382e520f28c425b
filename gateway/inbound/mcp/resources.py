"""Our own resources: files, and what a tool answers for a URI.

Source: MCP 2025-11-25 and 2026-07-28, Resources.
"""

from __future__ import annotations

import mimetypes
from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from gateway.inbound.mcp.listing import Entry
from gateway.inbound.mcp.uris import UriTemplate

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config.settings import ResourceSettings

__all__ = ["Resource", "content_item"]

_TYPES = mimetypes.MimeTypes()
"""Python's own table: what the machine adds would differ from one to the next."""

_SINCE = {
    ".md": "text/markdown",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".toml": "application/toml",
}
"""What older versions of Python do not have in it."""

_TEXTUAL = frozenset({"json", "xml", "yaml", "toml", "javascript", "x-sh", "sql", "x-yaml"})
_JSON = "application/json"


@attrs.frozen(slots=True)
class Resource:
    """One resource, or the resources of one template.

    Args:
        name: Its name in the file.
        settings: Its keys.
        template: What its URI is matched against.
        mime_type: Of what is read; empty where nobody knows.
    """

    name: str
    settings: ResourceSettings
    template: UriTemplate
    mime_type: str

    @classmethod
    def of(cls, name: str, settings: ResourceSettings) -> Resource:
        """The resource that these keys say."""
        mime_type = settings.mime_type
        if not mime_type and settings.tool is not None:
            mime_type = _JSON
        elif not mime_type and settings.file is not None:
            mime_type = _guessed(settings.file)
        return cls(name, settings, UriTemplate.of(settings.key), mime_type)

    @property
    def entry(self) -> Entry:
        """What the list says."""
        settings = self.settings
        key = "uri" if settings.uri_template is None else "uriTemplate"
        item = {key: settings.key, "name": self.name}
        if settings.title:
            item["title"] = settings.title
        if settings.description:
            item["description"] = settings.description
        if self.mime_type:
            item["mimeType"] = self.mime_type
        return Entry(settings.key, item)


def _guessed(path: Path) -> str:
    """The type of a file by its name; empty if nobody knows."""
    mime_type, encoding = _TYPES.guess_type(path.name)
    if encoding is not None:  # it is what is compressed that the type is of
        return "application/octet-stream"
    return _SINCE.get(path.suffix.lower()) or mime_type or ""


def content_item(uri: str, content: bytes, mime_type: str) -> Mapping[str, Any]:
    """What was read: as text where it is text, else as a blob.

    Args:
        uri: What was asked for.
        content: As it is.
        mime_type: Its type, as far as it is known.
    """
    kind, _, subtype = mime_type.partition(";")[0].partition("/")
    textual = kind in {"text", ""} or subtype.rpartition("+")[2] in _TEXTUAL
    if textual:
        try:
            return {"uri": uri, "mimeType": mime_type or "text/plain", "text": content.decode()}
        except UnicodeDecodeError:
            pass
    blob = b64encode(content).decode()
    return {"uri": uri, "mimeType": mime_type or "application/octet-stream", "blob": blob}
