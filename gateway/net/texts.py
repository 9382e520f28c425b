"""Values as the texts that an HTTP request consists of.

Source: RFC 3986, section 3; RFC 9110, section 5.5; the URL standard's form encoding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from gateway.core.errors import InvalidArguments, InvalidRequest

__all__ = ["as_it_came", "encoded_target", "form", "header_text", "with_query"]

_UNFIT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TARGET = re.compile(r"[\w!$&'()*+,;=:@%/?.~\[\]-]*", re.ASCII)
_UNQUOTED = "!$&'()*+,;=:@%/?~[]"
"""What stands in a path and a query as it is, `%` because placeholders are encoded already."""


def form(values: Mapping[str, Any]) -> bytes:
    """A form body: null leaves a field out, a list repeats it."""
    return urlencode(tuple(_pairs(values))).encode()


def _pairs(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                yield name, _text(one)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def header_text(name: str, value: Any) -> str:
    """A header's value; one that would end the header is refused, or a caller could add more.

    What is not ASCII goes as UTF-8, one character for each byte.

    Source: RFC 9110, section 5.5.
    """
    text = _text(value).strip(" \t")
    if _UNFIT.search(text):
        raise InvalidArguments(f"not called: a control character in the header {name}")
    return text.encode().decode("latin-1")


def as_it_came(name: str, value: str) -> str:
    """A client's header's value, one character for each byte.

    Raises:
        InvalidRequest: It is no header's value: another server may let more in than ours.
    """
    text = value.strip(" \t")
    if _UNFIT.search(text) or (not text.isascii() and max(text) > "\xff"):
        raise InvalidRequest(f"a control character in the header {name}")
    return text


def with_query(path: str, query: Mapping[str, Any] | None) -> str:
    """`path`, perhaps with a query, with one more: null leaves a field out, a list repeats it."""
    encoded = urlencode(tuple(_pairs(query))) if query else ""
    if not encoded:
        return path
    return f"{path}{'&' if '?' in path else '?'}{encoded}"


def encoded_target(target: str) -> str:
    """A path and a query as a request has them: what has no place there percent-encoded.

    Raises:
        InvalidArguments: It cannot be, for it is no text.
    """
    if _TARGET.fullmatch(target):
        return target
    try:
        return quote(target, safe=_UNQUOTED)
    except UnicodeEncodeError as error:
        raise InvalidArguments(f"not called: its path is no text: {error.reason}") from error
