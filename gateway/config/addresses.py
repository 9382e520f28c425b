"""Codecs of what names a place: binds, URLs, paths, routes, files."""

from __future__ import annotations

import codecs
import ipaddress
import re
import stat
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote, urlsplit, urlunsplit

from gateway.config.codec import Codec, decode_each, expected, sound
from gateway.config.faults import (
    address_of,
    fault_of_bind,
    fault_of_path,
    fault_of_prefix,
    fault_of_route,
    fault_of_url,
)
from gateway.config.problems import Refused
from gateway.config.secret import is_reference, reason, resolve
from gateway.config.text import alternatives, did_you_mean, show

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config.problems import Place

__all__ = [
    "METHODS",
    "Network",
    "bind",
    "binds",
    "file",
    "is_loopback",
    "methods",
    "networks",
    "path",
    "path_template",
    "prefix",
    "route",
    "url",
]

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
"""An address is a network of one."""

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
"""Methods a tool's own route may have."""

_METHOD = re.compile(r"(?!CONNECT$|TRACE$)[A-Z][A-Z-]{0,31}")
_BIND_PATTERN = r"^(unix:/.+|\[[0-9A-Fa-f:.]+\]:[0-9]{1,5}|[A-Za-z0-9_.-]+:[0-9]{1,5})$"


_ADDRESS = re.compile(r"^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}$")


def bind() -> Codec:
    """An address to listen on: `host:port`, `[::1]:port` or `unix:/path`."""
    wanted = 'an address such as "127.0.0.1:8080", "[::1]:8080" or "unix:/run/gateway.sock"'

    def decode(value: Any, _place: Place) -> str:
        return sound(value, wanted, fault_of_bind)

    schema = {"type": "string", "pattern": _BIND_PATTERN}
    return Codec(decode=decode, wanted=wanted, schema=schema)


def address() -> Codec:
    """An address to connect to: `host:port` or `[::1]:port`."""
    wanted = 'an address such as "plc.internal:7000" or "[fd00::1]:7000"'

    def decode(value: Any, _place: Place) -> str:
        if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
            raise expected(wanted, value)
        if not 0 < int(value.rpartition(":")[2]) <= 65535:
            raise expected(wanted, value)
        return value

    return Codec(
        decode=decode, wanted=wanted, schema={"type": "string", "pattern": _ADDRESS.pattern}
    )


def encoding() -> Codec:
    """The name of a text encoding that Python has."""
    wanted = 'an encoding such as "utf-8"'

    def decode(value: Any, _place: Place) -> str:
        try:
            found = codecs.lookup(value) if isinstance(value, str) else None
        except LookupError:
            found = None
        if found is None or not getattr(found, "_is_text_encoding", True):
            raise expected(wanted, value)
        return found.name

    return Codec(decode=decode, wanted=wanted, schema={"type": "string"})


def binds() -> Codec:
    """A list of addresses to listen on, at least one → a tuple."""
    wanted = 'a list of addresses such as ["127.0.0.1:8080"]'
    item = bind()

    def decode(value: Any, place: Place) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            raise expected(wanted, value)
        return tuple(decode_each(enumerate(value), place, item.decode).values())

    schema = {"type": "array", "items": item.schema, "minItems": 1}
    return Codec(decode=decode, wanted=wanted, schema=schema)


def networks() -> Codec:
    """A list of addresses and networks → a tuple of networks."""
    wanted = 'a list of addresses or networks such as ["10.0.0.0/8", "::1"]'

    def decode_one(value: Any, _place: Place) -> Network:
        try:
            return ipaddress.ip_network(value if isinstance(value, str) else "")
        except ValueError:
            raise expected('an address or a network such as "10.0.0.0/8"', value) from None

    def decode(value: Any, place: Place) -> tuple[Network, ...]:
        if not isinstance(value, list):
            raise expected(wanted, value)
        return tuple(decode_each(enumerate(value), place, decode_one).values())

    schema = {"type": "array", "items": {"type": "string"}}
    return Codec(decode=decode, wanted=wanted, schema=schema)


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches a bind: loopback, `localhost`, or a Unix socket.

    Args:
        address: A bind as `bind` accepts it.
    """
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host.lower() == "localhost":
        return True
    parsed = address_of(host, 6) or address_of(host, 4)
    return parsed is not None and parsed.is_loopback


def url(
    *,
    schemes: tuple[str, ...] = ("http", "https"),
    reference: bool = True,
    query: bool = True,
    example: str | None = None,
) -> Codec:
    """A URL with a host and without a fragment → text.

    Args:
        schemes: Which it may have.
        reference: Whether it may say where it is instead: `env:NAME`, `file:PATH`.
        query: Whether it may have a query: where paths are appended, it may not.
        example: What messages show; by default one with the last of `schemes`.
    """
    kind = "a URL" if query else "a URL without a query,"
    wanted = f'{kind} such as "{example or schemes[-1] + "://users.internal/api"}"'

    def decode(value: Any, place: Place) -> str:
        if not isinstance(value, str):
            raise expected(wanted, value)
        if reference and is_reference(value):
            text = resolve(value, place).reveal()
            fault = fault_of_url(text, schemes, query=query)
            if fault is not None:
                # What a reference holds is never repeated: a URL may carry a password.
                raise Refused(f"expected {wanted}, got something else from {show(value)}: {fault}")
            return text
        fault = fault_of_url(value, schemes, query=query)
        if fault is not None:
            shown = re.split(r"[?#]", value, maxsplit=1)[0] if "://" in value else value
            raise Refused(f"expected {wanted}, got {show(shown)}: {fault}")
        if "@" in urlsplit(value).netloc:
            place.note_literal()
        return value

    pattern = f"^(({'|'.join(map(re.escape, schemes))})://[^\\s#]+"
    pattern += "|env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$" if reference else ")$"
    schema = {"type": "string", "pattern": pattern}
    return Codec(decode=decode, wanted=wanted, schema=schema, write=_shown_url)


def urls() -> Codec:
    """A URL where paths are appended, or a list of URLs of replicas of one API.

    One decodes to text, a list to a tuple of two or more: all of one scheme, one path and one
    user, for the same request goes to any of them; none of them twice.
    """
    one = url(query=False)
    wanted = f'{one.wanted} or a list of such, such as ["https://a.internal", "https://b.internal"]'

    def decode(value: Any, place: Place) -> str | tuple[str, ...]:
        if isinstance(value, str):
            text: str = one.decode(value, place)
            return text
        if not isinstance(value, list) or not value:
            raise expected(wanted, value)
        found = tuple(decode_each(enumerate(value), place, one.decode).values())
        if len(found) == 1:
            return str(found[0])
        _check_replicas(found, place)
        return found

    def write(value: str | tuple[str, ...]) -> str | list[str]:
        return _shown_url(value) if isinstance(value, str) else [_shown_url(each) for each in value]

    schema = {"anyOf": [one.schema, {"type": "array", "items": one.schema, "minItems": 1}]}
    return Codec(decode=decode, wanted=wanted, schema=schema, write=write)


def _check_replicas(found: tuple[str, ...], place: Place) -> None:
    """Each is another address of the same API.

    Raises:
        Refused: One is not; told at its own place.
    """
    first = urlsplit(found[0])
    seen = {_address(found[0])}
    fine = True
    for index, text in enumerate(found[1:], start=1):
        parts = urlsplit(text)
        fault = None
        if parts.scheme != first.scheme:
            fault = f"a replica's scheme is that of the first, {first.scheme}"
        elif parts.path.rstrip("/") != first.path.rstrip("/"):
            fault = f"a replica's path is that of the first, {first.path or '/'}"
        elif (parts.username, parts.password) != (first.username, first.password):
            fault = "a replica's user and password are those of the first"
        elif _address(text) in seen:
            fault = "the same address twice"
        seen.add(_address(text))
        if fault is not None:
            (place / index).problem(f"expected another replica of one API: {fault}")
            fine = False
    if not fine:
        raise Refused(None)


def _address(text: str) -> tuple[str | None, int]:
    parts = urlsplit(text)
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _shown_url(url: str) -> str:
    """Without what may be a secret: its user, its password, its query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def path() -> Codec:
    """An absolute path of ours, without query."""
    wanted = 'a path such as "/mcp"'

    def decode(value: Any, _place: Place) -> str:
        return sound(value, wanted, fault_of_path)

    return Codec(decode=decode, wanted=wanted, schema={"type": "string", "pattern": "^/[^?#\\s]*$"})


def prefix() -> Codec:
    """The path that all of ours below it begin with: `/files/`."""
    wanted = 'a path that ends with /, such as "/files/"'

    def decode(value: Any, _place: Place) -> str:
        return sound(value, wanted, fault_of_prefix)

    return Codec(
        decode=decode, wanted=wanted, schema={"type": "string", "pattern": "^/([^/?#%\\s]+/)+$"}
    )


def methods() -> Codec:
    """A list of at least one method of HTTP → a tuple."""
    wanted = 'a list of methods such as ["GET", "PUT"]'

    def decode_one(value: Any, _place: Place) -> str:
        if not isinstance(value, str) or not _METHOD.fullmatch(value):
            raise expected("a method in capitals, neither CONNECT nor TRACE", value)
        return value

    def decode(value: Any, place: Place) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            raise expected(wanted, value)
        return tuple(decode_each(enumerate(value), place, decode_one).values())

    item = {"type": "string", "pattern": "^[A-Z][A-Z-]*$"}
    schema = {"type": "array", "items": item, "minItems": 1}
    return Codec(decode=decode, wanted=wanted, schema=schema)


def _has_dots(text: str) -> bool:
    return any(segment in (".", "..") for segment in text.split("/"))


def path_template() -> Codec:
    """A path of a service, with placeholders; it stays text."""
    wanted = 'a path such as "/customers/{id}"'

    def decode(value: Any, _place: Place) -> str:
        if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
            raise expected(wanted, value)
        fixed = _without_placeholders(value)
        if "#" in fixed:
            raise Refused(f"expected {wanted}, got {show(value)}: a fragment is never sent")
        if _has_dots(unquote(fixed.partition("?")[0])):
            raise Refused(f"expected {wanted}, got {show(value)}: . and .. lead out of the url")
        return value

    return Codec(decode=decode, wanted=wanted, schema={"type": "string", "pattern": "^/"})


def _without_placeholders(text: str) -> str:
    """What of a template is the file's own: each expression, braces within it too, is one letter."""
    before, after = "", text.replace("{{", "x")
    while before != after:
        before, after = after, re.sub(r"\{[^{}]*\}", "x", after)
    return after


def route() -> Codec:
    """A method and a path whose placeholders are whole segments → `GET /customers/{id}`."""
    wanted = 'a method and a path such as "GET /customers/{id}"'

    def decode(value: Any, _place: Place) -> str:
        if not isinstance(value, str) or len(parts := value.split()) != 2:
            raise expected(wanted, value)
        method, where = parts
        if method not in METHODS:
            near = did_you_mean(method, METHODS)
            raise Refused(
                f"expected {alternatives(METHODS)} before the path, got {show(method)}{near}"
            )
        problem = fault_of_route(where)
        if problem is not None:
            raise Refused(f"expected {wanted}, got {show(value)}: {problem}")
        return f"{method} {where}"

    pattern = f"^\\s*(?:{'|'.join(METHODS)})\\s+/[^?#\\s]*\\s*$"
    return Codec(decode=decode, wanted=wanted, schema={"type": "string", "pattern": pattern})


def file(example: str = "file:tls.crt") -> Codec:
    """A file that is there → its path.

    `"file:PATH"` or the path alone, relative to the folder of the file it stands in.

    Args:
        example: What messages show.
    """
    wanted = f'a file such as "{example}"'

    def decode(value: Any, place: Place) -> Path:
        named = value.removeprefix("file:") if isinstance(value, str) else ""
        if not named or "\0" in named or named.startswith("env:"):
            raise expected(wanted, value)
        where = place.directory / named
        try:
            if stat.S_ISREG(where.stat().st_mode):
                return where
            found = "it is not a file"
        except OSError as error:
            found = reason(error)
        raise Refused(f"expected {wanted}, got {show(value)}: {found}")

    return Codec(decode=decode, wanted=wanted, schema={"type": "string", "minLength": 1})
