"""Compressed WebSocket messages, whose size is bounded before they are decompressed.

Source: RFC 7692.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason
from wsproto.handshake import server_extensions_handshake

if TYPE_CHECKING:
    from wsproto.frame_protocol import FrameDecoder, FrameProtocol

__all__ = ["BoundedDeflate", "agreed"]


class BoundedDeflate(PerMessageDeflate):
    """A permessage-deflate that decompresses no more than a message may have.

    Args:
        max_message: Bytes of a message, decompressed.
    """

    def __init__(self, max_message: int) -> None:
        super().__init__()
        self._max_message = max_message
        self._given = 0

    def accept(self, offer: str) -> bool | str | None:
        """Agree to an offer; not to one with numbers that are none."""
        try:
            return super().accept(offer)
        except ValueError:
            return None

    def frame_inbound_payload_data(
        self,
        proto: FrameDecoder | FrameProtocol,  # noqa: ARG002 - wsproto's signature
        data: bytes,
    ) -> bytes | CloseReason:
        """Decompress a piece of a message; a bomb is worth no more than a byte too many."""
        decompressor = self._decompressor
        if not self._inbound_compressed or not self._inbound_is_compressible:
            return data
        assert decompressor is not None  # noqa: S101 - made with the message's first frame
        room = self._max_message - self._given + 1
        try:
            piece: bytes = decompressor.decompress(bytes(data), room)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._given += len(piece)
        if self._given > self._max_message:
            return CloseReason.MESSAGE_TOO_BIG
        return piece

    def frame_inbound_complete(
        self, proto: FrameDecoder | FrameProtocol, fin: bool
    ) -> bytes | CloseReason | None:
        """Take note that a frame has ended, and a message with it if `fin`."""
        if fin and self._inbound_is_compressible:
            self._given = 0
        return super().frame_inbound_complete(proto, fin)


def agreed(offers: bytes, deflate: BoundedDeflate) -> bytes:
    """What to answer to the `offers` of a handshake; empty without an agreement.

    Args:
        offers: The value of `sec-websocket-extensions`.
        deflate: Set up by it.
    """
    try:
        named = [offer.strip() for offer in offers.decode("ascii").split(",")]
    except UnicodeDecodeError:
        return b""
    answer = server_extensions_handshake(named, [deflate])
    return answer or b""
