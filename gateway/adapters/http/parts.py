"""The parts of a multipart body, from what a call says of them and the values it was filled with."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from gateway.core.errors import InvalidArguments
from gateway.net.multipart import Part, plain_parts

__all__ = ["parts_of"]

_NAMED = frozenset({"filename", "content_type"})
_CONTENTS = frozenset({"text", "base64", "json"})


def parts_of(written: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[Part]:
    """Every part.

    Args:
        written: The call's `multipart`, as the file has it: it says which parts are files. A table
            that a caller sent is none, whatever its keys, unless it is a file's own `file`.
        values: The same, its placeholders filled in.

    Raises:
        InvalidArguments: A file's content is not base64, or no text; what a client gave is no file.
    """
    for name, value in values.items():
        yield from _parts(name, written[name], value)


def _parts(name: str, written: Any, value: Any) -> Iterator[Part]:
    if isinstance(written, Mapping) and "file" in written:
        own = {key: value[key] for key in _NAMED if key in value}
        for file in _given(name, value["file"]):
            yield from _file(name, own | file)
    elif isinstance(written, Mapping):
        yield from _file(name, value)
    elif isinstance(written, list):
        for each, item in zip(written, value, strict=True):
            yield from _parts(name, each, item)
    else:
        yield from plain_parts(name, value)


def _given(name: str, value: Any) -> Iterator[dict[str, Any]]:
    """What a client gave as a file, or as several, as tables of a file's keys."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str):
            yield {"text": item}
        elif item is not None:
            told = item if isinstance(item, Mapping) else {}
            file = {key: each for key, each in told.items() if each is not None or key == "json"}
            contents = file.keys() - _NAMED
            if len(contents) != 1 or not contents <= _CONTENTS:
                raise InvalidArguments(
                    f"not called: expected the file {name} as text, or as an object with text, "
                    "base64 or json, and filename and content_type if need be"
                )
            yield file


def _file(name: str, file: Mapping[str, Any]) -> Iterator[Part]:
    """A file; none if its content is null, unless null is JSON."""
    if "json" in file:
        content, media_type = msgspec.json.encode(file["json"]), "application/json"
    elif file.get("base64") is not None:
        content, media_type = _decoded(name, file["base64"]), "application/octet-stream"
    elif file.get("text") is not None:
        content, media_type = (
            _text(name, "text", file["text"]).encode(),
            "text/plain; charset=utf-8",
        )
    else:
        return
    filename, own_type = (
        None if file.get(key) is None else _text(name, key, file[key])
        for key in ("filename", "content_type")
    )
    yield Part(name, content, filename, own_type or media_type)


def _decoded(name: str, value: Any) -> bytes:
    try:
        return base64.b64decode(_text(name, "base64", value), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArguments(f"not called: the file {name} is not base64: {error}") from error


def _text(name: str, key: str, value: Any) -> str:
    """The text of one of a file's keys; a number is one too."""
    if isinstance(value, str):
        return value
    if isinstance(value, (Mapping, list)):
        raise InvalidArguments(f"not called: {key} of the file {name} is no text")
    return msgspec.json.encode(value).decode()
