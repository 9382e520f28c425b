"""References to other resources of a service: `link` headers, and where a reference leads.

Source: RFC 8288, section 3 and appendix B; RFC 3986, section 5.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urljoin, urlsplit

from gateway.core.errors import InvalidArguments
from gateway.net.messages import Origin
from gateway.net.request import check_target

__all__ = ["linked", "resolved"]

_UNSAFE = re.compile(r"[^!-~]")
_TARGET = re.compile(r"[\s,]*+<([^>]*)>")
_PARAMETER = re.compile(
    r'\s*+;\s*+([^\s=;,"]*+)\s*+(?:=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^\s;,"]*+)))?'
)


def linked(header: str | None, relation: str) -> str | None:
    """The target of the first link of `relation`; `None` without one.

    Links of something else than the reply itself, with an `anchor`, do not count.

    Args:
        header: All of the reply's `link` headers, joined by commas.
        relation: In lower case.
    """
    at = 0
    while link := _TARGET.match(header or "", at):
        at = link.end()
        said: dict[str, str] = {}
        while parameter := _PARAMETER.match(header or "", at):
            at = parameter.end()
            name, quoted, token = parameter.groups()
            # Of several of one name the first counts: RFC 8288, section 3.3.
            said.setdefault(name.lower(), token if quoted is None else _unquoted(quoted))
        if relation in (said.get("rel") or "").lower().split() and "anchor" not in said:
            return link[1].strip()
    return None


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def resolved(origin: Origin, target: str, reference: str) -> tuple[Origin, str]:
    """Where a reference leads.

    Args:
        origin: Who replied with it.
        target: What was asked for: a relative reference begins there.
        reference: As it came, one character for each byte.

    Raises:
        ValueError: It leads to no HTTP.
    """
    # What is not ASCII came as bytes: they are the ones that are percent-encoded.
    encoded = _UNSAFE.sub(lambda match: quote(match[0].encode("latin-1")), reference)
    url = urljoin(f"{origin}{target}", encoded)
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        check_target(target)
    except InvalidArguments as error:
        raise ValueError(error.detail) from error
    return Origin.of(url), target
