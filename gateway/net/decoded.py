"""A reply's body → the value it says it is."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from gateway.core.errors import BadReply
from gateway.net.json_text import decode_json
from gateway.net.messages import HttpReply

__all__ = ["decoded", "is_json", "no_json", "nothing"]


def decoded(reply: HttpReply) -> Any:
    """The body's value: JSON's where it says so, else text, nothing as null.

    Raises:
        BadReply: It is not what its `content-type` says.
    """
    if not reply.body:
        return None
    media_type = _media_type(reply.fields.get(b"content-type", b""))
    if not media_type or media_type.endswith(("/json", "+json")):
        try:
            return decode_json(reply.body)
        except ValueError as error:
            if media_type:
                raise no_json(error) from error
    try:
        return reply.body.decode("utf-8")
    except UnicodeDecodeError as error:
        what = media_type or "no content-type"
        raise BadReply(f"the reply ({what}) is neither JSON nor UTF-8 text") from error


def is_json(reply: HttpReply) -> bool:
    """Whether it says so, and has a body."""
    media_type = _media_type(reply.fields.get(b"content-type", b""))
    return media_type.endswith(("/json", "+json")) and bool(reply.body)


def no_json(error: ValueError) -> BadReply:
    """The failure of a reply that says it is JSON and is not."""
    return BadReply(f"the reply is not JSON: {error}")


def nothing(_reply: HttpReply) -> None:
    """What a reply without a body holds."""


@lru_cache(maxsize=256)
def _media_type(content_type: bytes) -> str:
    return content_type.partition(b";")[0].strip().lower().decode("latin-1")
