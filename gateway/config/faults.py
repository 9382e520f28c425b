"""What is wrong with the text of an address, a URL, a path or a route; `None` if nothing is.

What is said of a URL never repeats a part of it: it may carry a password.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from gateway.config.text import show

__all__ = [
    "address_of",
    "fault_of_bind",
    "fault_of_path",
    "fault_of_prefix",
    "fault_of_route",
    "fault_of_url",
]

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?")
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)+")
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]{0,63})\}")
_SPACE = re.compile(r"[\x00-\x20\x7f]")
_MAX_URL = 8192
_MAX_SOCKET_PATH = 107
"""Bytes; the system has 108 for it, and one of them ends it."""


def address_of(text: str, version: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that `text` is, of IP `version` 4 or 6; `None` if it is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return address if address.version == version else None


def fault_of_bind(text: str) -> str | None:
    """What is wrong with an address to listen on."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/"):
            return "the path of a socket starts with /"
        if len(path.encode()) > _MAX_SOCKET_PATH or "\0" in path:
            return f"the path of a socket has up to {_MAX_SOCKET_PATH} bytes, none of them zero"
        return None
    if "://" in text:
        return "an address has no scheme"
    host, colon, port = text.rpartition(":")
    if not colon:
        return "a port is missing"
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        return "a port is a number up to 65535"
    return _fault_of_host(host)


def _fault_of_host(host: str) -> str | None:
    if host in {"", "*"}:
        return "0.0.0.0 is every address of this machine, and [::] with IPv6"
    if host.startswith("[") and host.endswith("]"):
        return None if address_of(host[1:-1], 6) else "there is no IPv6 address in the brackets"
    if ":" in host:
        return "an IPv6 address stands in brackets"
    if re.fullmatch(r"[0-9.]+", host):
        return None if address_of(host, 4) else "the host is no IPv4 address"
    return None if _HOST.fullmatch(host) else "the host is neither a name nor an address"


def fault_of_url(text: str, schemes: tuple[str, ...], *, query: bool) -> str | None:
    """What is wrong with a URL.

    Args:
        text: The URL.
        schemes: Which it may have.
        query: Whether it may have a query.
    """
    if len(text) > _MAX_URL:
        return f"a URL has up to {_MAX_URL} characters"
    if _SPACE.search(text) or "\\" in text:
        return "a space, a control character or a backslash stands in no URL"
    if "#" in text:
        return "a fragment is never sent"
    if not text.lower().startswith(tuple(f"{scheme}://" for scheme in schemes)):
        return f"it starts with {' or '.join(f'{scheme}://' for scheme in schemes)}"
    if "?" in text and not query:
        return "paths are appended to it, and would become a part of the query"
    return _fault_of_authority(text)


def _fault_of_authority(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return "the host is no IPv6 address in brackets"
    if not host:
        return "the host is missing"
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0 or parts.netloc.endswith(":"):
        return "a port is a number from 1 to 65535"
    fits = address_of(host, 6) if ":" in host else _HOST.fullmatch(host)
    return None if fits else "the host is neither a name nor an address, in ASCII"


def fault_of_path(text: str) -> str | None:
    """What is wrong with an absolute path of ours."""
    if not text.startswith("/"):
        return "a path starts with /"
    if "?" in text or "#" in text:
        return "a path has neither a query nor a fragment"
    if not _PATH.fullmatch(text):
        unfit = next(one for one in text if one != "/" and not _PATH.fullmatch("/" + one))
        return f"{show(unfit)} stands in no path"
    if any(segment in (".", "..") for segment in text.split("/")):
        return "a segment . or .. leads elsewhere"
    return None


def fault_of_prefix(text: str) -> str | None:
    """What is wrong with a path that all of ours below it begin with."""
    fault = fault_of_path(text)
    if fault is not None:
        return fault
    if "%" in text:
        return "clients may encode a path in several ways: name it by what needs no encoding"
    if "//" in text:
        return "a segment is empty"
    if not text.endswith("/"):
        return f"write {show(text + '/')}"
    return "all of the gateway is below it, /openapi.json too" if text == "/" else None


def fault_of_route(where: str) -> str | None:
    """What is wrong with the path of a route."""
    if not where.startswith("/"):
        return "a path starts with /"
    if "?" in where or "#" in where:
        return "a route has no query; arguments that are not in the path come by it of themselves"
    names: set[str] = set()
    segments = where[1:].split("/")
    for index, segment in enumerate(segments):
        if "{" in segment or "}" in segment:
            match = _PLACEHOLDER.fullmatch(segment)
            if match is None:
                return f"{show(segment)} is no placeholder: it is a whole segment such as {{id}}"
            if match[1] in names:
                return f"{{{match[1]}}} stands there twice"
            names.add(match[1])
        elif not segment and index < len(segments) - 1:
            return "a segment is empty"
        elif not _PATH.fullmatch("/" + segment) or segment in (".", ".."):
            return f"a path has no segment {show(segment)}"
    return None
