"""The user and the password that a URL may name, and what else of it is secret.

Source: RFC 3986, section 3.2.1; RFC 7617.
"""

from __future__ import annotations

import base64
from urllib.parse import parse_qsl, unquote, urlsplit

from gateway.config.secret import Secret

__all__ = ["basic_authorization", "secrets_of_url"]

_BASIC = "Basic "


def basic_authorization(url: str) -> dict[str, str]:
    """The header for the user and the password of a URL; none if it names neither."""
    parts = urlsplit(url)
    if not parts.username and not parts.password:
        return {}
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return {"authorization": _BASIC + base64.b64encode(pair.encode()).decode()}


def secrets_of_url(url: str) -> list[Secret]:
    """What may be secret of a URL: the password, also as it is sent, and what its query says."""
    parts = urlsplit(url)
    said = [parts.password or "", unquote(parts.password or "")]
    for sent in basic_authorization(url).values():
        said += [sent, sent.removeprefix(_BASIC)]
    said += [value for _, value in parse_qsl(parts.query)]
    return [Secret(text) for text in said if text]
