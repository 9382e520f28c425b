"""What a client asked to be told of while its call runs: progress, log messages.

Source: MCP 2025-11-25 and 2026-07-28, Progress; Logging.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from gateway.core.mcp import INVALID_PARAMS
from gateway.core.messages import Branch, Log, Partial, Progress
from gateway.core.service import Emit, discard
from gateway.inbound.mcp import jsonrpc
from gateway.inbound.mcp.jsonrpc import ProtocolError

if TYPE_CHECKING:
    from gateway.inbound.front import Front
    from gateway.inbound.mcp.stream import EventStream

__all__ = ["level_of", "notes_of", "severity"]

_NAMES: Final = (
    *("debug", "info", "notice", "warning"),
    *("error", "critical", "alert", "emergency"),
)
_LEVELS: Final = {level: severity for severity, level in enumerate(_NAMES)}


def severity(level: Any) -> int:
    """How grave a level is, for comparing.

    Raises:
        ProtocolError: It is none.
    """
    found = _LEVELS.get(level) if isinstance(level, str) else None
    if found is None:
        raise ProtocolError(
            INVALID_PARAMS, f"Invalid params: level: expected one of {', '.join(_LEVELS)}"
        )
    return found


def level_of(least: int) -> str:
    """The level that is as grave as `severity` said."""
    return _NAMES[least]


def notes_of(
    front: Front, params: Mapping[str, Any], stream: EventStream | None, least: int | None
) -> Emit:
    """Where the partials of a call go.

    Args:
        front: Whose tool is called.
        params: The call's; a token in their `_meta` asks for progress.
        stream: Where notes are sent; `None` where none can be.
        least: How grave a log message has to be; `None` if none is wanted.

    Returns:
        `discard` where nothing is wanted: a call that nobody watches takes the shortest way.
    """
    meta = params.get("_meta")
    token = meta.get("progressToken") if isinstance(meta, dict) else None
    if not jsonrpc.is_id(token):
        token = None
    if stream is None or (token is None and least is None) or not stream.is_accepted:
        return discard
    return _Notes(front, params, stream, token, least)


class _Notes:
    """Sends partials on, as far as they are wanted.

    A plan of several calls tells of its progress by each that ended; what those tell themselves
    has no common measure, and stays with them.
    """

    __slots__ = ("_ended", "_front", "_least", "_params", "_stream", "_token")

    def __init__(
        self,
        front: Front,
        params: Mapping[str, Any],
        stream: EventStream,
        token: jsonrpc.RequestId | None,
        least: int | None,
    ) -> None:
        self._front = front
        self._params = params
        self._stream = stream
        self._token = token
        self._least = least
        self._ended = 0

    async def __call__(self, partial: Partial, /) -> None:
        """Send it on, if it is wanted."""
        match partial:
            case Progress(progress=progress, total=total, message=message):
                await self._progress(progress, total, message)
            case Branch(call=call, outcome=outcome):
                total = len(self._front.tools[self._params["name"]].plan.nodes)
                self._ended += 1
                if total > 1:
                    await self._progress(self._ended, total, f"{call}: {outcome}")
            case Log(level=level, data=data, logger=logger):
                if self._least is not None and _LEVELS.get(level, -1) >= self._least:
                    said = {"level": level, "data": data, "logger": logger}
                    await self._tell("notifications/message", said)
            case _:
                pass  # MCP has no streamed content

    async def _progress(self, progress: float, total: float | None, message: str | None) -> None:
        if self._token is not None:
            said = {"progress": progress, "total": total, "message": message}
            await self._tell("notifications/progress", {"progressToken": self._token, **said})

    async def _tell(self, method: str, params: Mapping[str, Any]) -> None:
        said = {key: value for key, value in params.items() if value is not None or key == "data"}
        await self._stream.put({"jsonrpc": "2.0", "method": method, "params": said})
