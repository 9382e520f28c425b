"""What clients keep for us, signed, so that it comes back as it went.

It can be read by whoever holds it: it is no place for secrets.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

__all__ = ["Signer"]

_SIGNATURE: Final = 32


class Signer:
    """Signs and checks.

    Args:
        purpose: What is signed; what was signed for something else does not pass.
        key: What nobody else knows.
    """

    __slots__ = ("_key",)

    def __init__(self, purpose: str, key: bytes) -> None:
        self._key = hmac.digest(key, purpose.encode(), hashlib.sha256)

    def signed(self, payload: bytes) -> str:
        """`payload` with its signature, in characters that fit a header and a URL."""
        return urlsafe_b64encode(self._signature(payload) + payload).rstrip(b"=").decode()

    def opened(self, text: str) -> bytes | None:
        """What was signed; `None` if this was not signed here, or for something else."""
        try:
            whole = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        except (UnicodeEncodeError, binascii.Error):
            return None
        signature, payload = whole[:_SIGNATURE], whole[_SIGNATURE:]
        # `urlsafe_b64decode` drops what is no base64: only the one text that `signed` gave passes.
        if not hmac.compare_digest(signature, self._signature(payload)):
            return None
        return payload if hmac.compare_digest(text, self.signed(payload)) else None

    def _signature(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, hashlib.sha256)
