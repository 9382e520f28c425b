"""What a tool may give beside plain JSON: texts, images, audio, links to resources, resources.

A function of a `python` service returns one of these, or a list of them, or a `Result`:

    def chart(days: int) -> list[content.Block]:
        return [content.Text("The last days."), content.Image(png, "image/png")]

To MCP clients they are content blocks. To all others, and to a plan that looks into them, they are
plain JSON, each in the form the protocol gives its block, bytes in base64.

Source: MCP 2025-11-25 and 2026-07-28, Tools, "Tool Result"; Resources, "Annotations".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

__all__ = [
    "Annotations",
    "Audio",
    "Block",
    "Content",
    "Embedded",
    "Image",
    "Link",
    "Resource",
    "Result",
    "Text",
    "content_of",
    "plain",
]

_MediaType: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"\A[!-~]+/[!-~][ -~]*\Z")]
_Uri: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z][A-Za-z0-9+.-]*:[!-~]*\Z")]


class Annotations(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How a block is meant to be used.

    Args:
        audience: For whom it is: `"user"`, `"assistant"`, both.
        priority: From 0, which may be left out, to 1, which may not.
        last_modified: When it changed last, ISO 8601.
    """

    audience: tuple[Literal["user", "assistant"], ...] | None = None
    priority: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    last_modified: str | None = None


class Text(msgspec.Struct, frozen=True, tag_field="type", tag="text", omit_defaults=True):
    """A text.

    Args:
        text: For the model to read, or for whom `annotations` say.
        annotations: How it is meant to be used.
    """

    text: str
    annotations: Annotations | None = None


class Image(
    msgspec.Struct, frozen=True, tag_field="type", tag="image", rename="camel", omit_defaults=True
):
    """An image.

    Args:
        data: Its bytes, as a file holds them; they are sent in base64.
        mime_type: Such as `image/png`.
        annotations: How it is meant to be used.
    """

    data: bytes
    mime_type: _MediaType
    annotations: Annotations | None = None


class Audio(
    msgspec.Struct, frozen=True, tag_field="type", tag="audio", rename="camel", omit_defaults=True
):
    """A recording.

    Args:
        data: Its bytes, as a file holds them; they are sent in base64.
        mime_type: Such as `audio/wav`.
        annotations: How it is meant to be used.
    """

    data: bytes
    mime_type: _MediaType
    annotations: Annotations | None = None


class Link(
    msgspec.Struct,
    frozen=True,
    tag_field="type",
    tag="resource_link",
    rename="camel",
    omit_defaults=True,
):
    """A link to a resource, which the client may read.

    Args:
        uri: Where it is, with a scheme.
        name: What it is called.
        title: The name as people are shown it.
        description: What it is, for models.
        mime_type: What it holds, where that is known.
        size: How many bytes it has, where that is known.
        annotations: How it is meant to be used.
    """

    uri: _Uri
    name: str
    title: str | None = None
    description: str | None = None
    mime_type: _MediaType | None = None
    size: Annotated[int, msgspec.Meta(ge=0)] | None = None
    annotations: Annotations | None = None


class Resource(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a resource holds: a text or bytes.

    Args:
        uri: Where it is, with a scheme.
        text: Its text.
        blob: Its bytes, where it is no text; they are sent in base64.
        mime_type: What it holds, where that is known.

    Raises:
        ValueError: It has neither text nor bytes, or both.
    """

    uri: _Uri
    text: str | None = None
    blob: bytes | None = None
    mime_type: _MediaType | None = None

    def __post_init__(self) -> None:
        if (self.text is None) == (self.blob is None):
            raise ValueError("a resource holds either a text or a blob")


class Embedded(msgspec.Struct, frozen=True, tag_field="type", tag="resource", omit_defaults=True):
    """A resource itself.

    Args:
        resource: What it holds.
        annotations: How it is meant to be used.
    """

    resource: Resource
    annotations: Annotations | None = None


Block: TypeAlias = Text | Image | Audio | Link | Embedded
"""One piece of content."""

_BLOCKS = (Text, Image, Audio, Link, Embedded)


class Result(msgspec.Struct, frozen=True):
    """A value, and what MCP clients are shown for it.

    Args:
        structured: The value: any that has a JSON form. Plans and HTTP clients see it alone, and
            a tool's `output_schema` speaks of it.
        content: What the model is shown, beside `structured`.
    """

    structured: Any
    content: tuple[Block | str, ...] | list[Block | str]


class Content:
    """What a function gave, encoded: the `value` of a `Reply` to a request that is `opaque`.

    It is no struct, which an encoder would take for an object: `plain` says what it is as JSON.

    Args:
        blocks: Its content blocks, as JSON.
        value: What it is as plain JSON: what clients of other protocols get.
        structured: Whether `value` is more than the blocks themselves.
    """

    __slots__ = ("blocks", "structured", "value")

    def __init__(
        self, blocks: tuple[msgspec.Raw, ...], value: msgspec.Raw, *, structured: bool
    ) -> None:
        self.blocks = blocks
        self.value = value
        self.structured = structured


def plain(value: Any) -> Any:
    """The encoder's hook for `Content`: its plain JSON.

    Raises:
        TypeError: It is something else, which has no JSON form.
    """
    if isinstance(value, Content):
        return value.value
    raise TypeError(f"objects of type {type(value).__name__} have none")


def content_of(value: Any) -> Content | None:
    """What a function returned, encoded, if it is content; `None` if it is anything else.

    A list is content if it begins with a block, texts before it aside; texts in it are `Text`.

    Raises:
        TypeError, ValueError: It is content with something in it that is none, or that has no
            JSON form: a `mime_type` that is no media type, a text with lone surrogates.
    """
    if isinstance(value, Result):
        blocks = tuple(_encoded(block) for block in value.content)
        return Content(blocks, msgspec.Raw(msgspec.json.encode(value.structured)), structured=True)
    if isinstance(value, _BLOCKS):
        block = _encoded(value)
        return Content((block,), block, structured=False)
    if isinstance(value, (list, tuple)) and isinstance(_first(value), _BLOCKS):
        blocks = tuple(_encoded(part) for part in value)
        return Content(blocks, msgspec.Raw(msgspec.json.encode(blocks)), structured=False)
    return None


def _first(values: Sequence[Any]) -> Any:
    """The first that is no text; `None` if there is none."""
    return next((value for value in values if not isinstance(value, str)), None)


def _encoded(part: Any) -> msgspec.Raw:
    block = Text(part) if isinstance(part, str) else part
    if not isinstance(block, _BLOCKS):
        raise TypeError(f"a {type(part).__name__} among content blocks")
    # Structs do not check what they are made with; bytes stay bytes meanwhile.
    msgspec.convert(
        msgspec.to_builtins(block, builtin_types=(bytes,)), type(block), builtin_types=(bytes,)
    )
    return msgspec.Raw(msgspec.json.encode(block))
