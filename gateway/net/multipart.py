"""multipart/form-data: bodies of parts.

Source: RFC 7578; the WHATWG's encoding of names, HTML section 4.10.22.8.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from gateway.core.errors import InvalidArguments, TooLarge

__all__ = ["Part", "multipart", "plain_parts"]

_UNFIT = re.compile(r"[\x00-\x1f\x7f]")
_ESCAPES = str.maketrans({"\r": "%0D", "\n": "%0A", '"': "%22"})


class Part(msgspec.Struct, frozen=True):
    """One part.

    Args:
        name: The field's name.
        content: What it holds.
        filename: The file's name; `None` if it is no file.
        content_type: Its media type; `None` says nothing, which is text.
    """

    name: str
    content: bytes
    filename: str | None = None
    content_type: str | None = None


def multipart(parts: Iterable[Part], max_bytes: float) -> tuple[str, bytes]:
    """A body of `parts`, between them a boundary that none of them can know.

    Args:
        parts: In order.
        max_bytes: The largest size of their contents; inf for none.

    Returns:
        The content type and the body.

    Raises:
        InvalidArguments: A media type would end its line, or a name is no text.
        TooLarge: They are over the bound.
    """
    boundary = secrets.token_hex(16)
    lines: list[bytes] = []
    size = 0
    for part in parts:
        size += len(part.content)
        if size > max_bytes:
            raise TooLarge(f"not called: its multipart body is over {max_bytes} bytes")
        lines += [f"--{boundary}".encode(), *_head(part), b"", part.content]
    lines += [f"--{boundary}--".encode(), b""]
    return f"multipart/form-data; boundary={boundary}", b"\r\n".join(lines)


def _head(part: Part) -> Iterator[bytes]:
    named = f'name="{part.name.translate(_ESCAPES)}"'
    if part.filename is not None:
        named += f'; filename="{part.filename.translate(_ESCAPES)}"'
    yield _encoded(f"content-disposition: form-data; {named}")
    if part.content_type is not None:
        if _UNFIT.search(part.content_type):
            raise InvalidArguments(f"not called: a control character in the type of {part.name}")
        yield _encoded(f"content-type: {part.content_type}")


def plain_parts(name: str, value: Any) -> Iterator[Part]:
    """A value as parts: null leaves it out, a list repeats it; what has parts itself is JSON."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str):
            yield Part(name, _encoded(item))
        elif isinstance(item, (Mapping, list)):
            yield Part(name, msgspec.json.encode(item), content_type="application/json")
        elif item is not None:
            yield Part(name, msgspec.json.encode(item))


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArguments(f"not called: a part is no text: {error.reason}") from error
