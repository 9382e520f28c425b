"""What a service means whose status says that something went wrong."""

from __future__ import annotations

from gateway.core.errors import BadReply, Rejected
from gateway.net.retry_after import parse_retry_after

__all__ = ["refusal"]


def refusal(service: str, status: int, said: str, retry_after: str | None) -> Rejected | BadReply:
    """The error for a status that is no success.

    Args:
        service: Its name.
        status: 300 or more.
        said: What may be shown of its body.
        retry_after: The header of this name, as it came.
    """
    detail = f"{service} answered {status}" + (f": {said}" if said else "")
    kind = Rejected if 400 <= status < 500 else BadReply
    return kind(detail, service_status=status, retry_after_s=parse_retry_after(retry_after))
