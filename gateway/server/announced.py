"""WebSocket frames that are refused at their heads, for the size that these announce.

Source: RFC 6455, sections 5.2 and 7.4.1 (1009).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, RsvBits

if TYPE_CHECKING:
    from wsproto.frame_protocol import FrameDecoder, FrameProtocol, Opcode

__all__ = ["Announced"]


class Announced(Extension):
    """An extension that is never offered: it sees every frame's head, before any of its bytes.

    wsproto may show it a head more than once, and it counts nothing.

    Args:
        max_frame: Bytes of a frame, as it comes.
    """

    name = "announced"

    def __init__(self, max_frame: int) -> None:
        self._max_frame = max_frame

    def enabled(self) -> bool:
        """Always."""
        return True

    def offer(self) -> bool:
        """Never."""
        return False

    def frame_inbound_header(
        self,
        proto: FrameDecoder | FrameProtocol,  # noqa: ARG002 - wsproto's signature
        opcode: Opcode,  # noqa: ARG002 - likewise
        rsv: RsvBits,  # noqa: ARG002 - likewise
        payload_length: int,
    ) -> CloseReason | RsvBits:
        """Refuse a frame that is to have more bytes than a message may."""
        if payload_length > self._max_frame:
            return CloseReason.MESSAGE_TOO_BIG
        return RsvBits(False, False, False)
