"""The user and the password that a URL may name.

Source: RFC 3986, section 3.2.1; RFC 7617.
"""

from __future__ import annotations

import base64
from urllib.parse import unquote, urlsplit

__all__ = ["basic_authorization"]


def basic_authorization(url: str) -> dict[str, str]:
    """The header for the user and the password of a URL; none if it names neither."""
    parts = urlsplit(url)
    if not parts.username and not parts.password:
        return {}
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
