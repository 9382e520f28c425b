"""What a client asked to be told of while its call runs: progress, pieces of replies, log messages.

Source: MCP 2025-11-25 and 2026-07-28, Progress; Logging.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gateway.core.mcp import INVALID_PARAMS
from gateway.core.messages import Branch, Chunk, Log, Partial, Progress
from gateway.core.service import Emit, discard
from gateway.inbound.mcp import jsonrpc
from gateway.inbound.mcp.call import bounded
from gateway.inbound.mcp.jsonrpc import ProtocolError
from gateway.inbound.mcp.search import CALL_TOOL
from gateway.inbound.mcp.stream import event
from gateway.net.events import Put, feeding

if TYPE_CHECKING:
    from gateway.inbound.front import Front
    from gateway.inbound.mcp.stream import EventStream
    from gateway.plan.plan import Plan

__all__ = ["level_of", "severity", "told", "wanted"]

T = TypeVar("T")

_MAX_MESSAGE: Final = 2_000
"""Characters of a piece that clients are told: the answer has all of it."""

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


async def told(
    front: Front,
    params: Mapping[str, Any],
    stream: EventStream | None,
    least: int | None,
    work: Callable[[Emit], Awaitable[T]],
) -> T:
    """Do `work`, and tell the client what it emits, as far as that is wanted.

    Args:
        front: Whose tool is called.
        params: The call's; a token in their `_meta` asks for progress.
        stream: Where notes are sent; `None` where none can be.
        least: How grave a log message has to be; `None` if none is wanted.
        work: The call. It is given `discard` where nothing is wanted: a call that nobody watches
            takes the shortest way.

    Returns:
        What `work` returned.

    Raises:
        ClientLeft: There is nobody to tell.
        Exception: What `work` raised.

    Cancellation: `work` ends.
    """
    if stream is None or not wanted(params, stream, least):
        return await work(discard)
    plan, token = _plan_of(front, params), _token_in(params)
    return await feeding(stream.events, lambda put: work(_Notes(plan, put, token, least)))


def wanted(params: Mapping[str, Any], stream: EventStream, least: int | None) -> bool:
    """Whether the client is to be told anything before the answer; arguments as for `told`."""
    return (least is not None or _token_in(params) is not None) and stream.is_accepted


def _token_in(params: Mapping[str, Any]) -> jsonrpc.RequestId | None:
    meta = params.get("_meta")
    token = meta.get("progressToken") if isinstance(meta, dict) else None
    return token if jsonrpc.is_id(token) else None


def _plan_of(front: Front, params: Mapping[str, Any]) -> Plan | None:
    """The plan of the tool that is called; `None` if it is no tool of ours."""
    name = params.get("name")
    if name == CALL_TOOL and name not in front.tools:
        arguments = params.get("arguments")
        name = arguments.get("name") if isinstance(arguments, dict) else None
    tool = front.tools.get(name) if isinstance(name, str) else None
    return None if tool is None else tool.plan


class _Notes:
    """Sends partials on, as far as they are wanted.

    Progress has to increase, whoever tells of it. So a plan of several calls tells of its progress
    by each that ended: what those tell themselves has no common measure, and stays with them. And
    once a piece of a reply went out, all that follows is counted, one by one; what has a measure of
    its own says that in words.

    Args:
        plan: The tool's; `None` of what is passed on to another server.
        put: Takes events.
        token: Of the client's that asked for progress; `None` if it did not.
        least: As `told` is given it.
    """

    __slots__ = ("_counted", "_ended", "_least", "_plan", "_progress", "_put", "_token")

    def __init__(
        self, plan: Plan | None, put: Put, token: jsonrpc.RequestId | None, least: int | None
    ) -> None:
        self._plan = plan
        self._put = put
        self._token = token
        self._least = least
        self._ended = 0
        self._progress = 0.0
        self._counted = False

    async def __call__(self, item: Partial, /) -> None:
        """Send it on, if it is wanted."""
        match item:
            case Log(level=level, data=data, logger=logger):
                if self._least is not None and _LEVELS.get(level, -1) >= self._least:
                    said = {"level": level, "data": data, "logger": logger}
                    await self._tell("notifications/message", said)
            case _ if self._token is None:
                pass
            case Chunk():
                await self._piece(item)
            case Progress(progress=progress, total=total, message=message):
                if not self._is_several:
                    await self._note(progress, total, message)
            case Branch(call=call, outcome=outcome):
                self._ended += 1
                if self._plan is not None and self._is_several:
                    total = len(self._plan.nodes)
                    await self._note(self._ended, total, f"{call}: {outcome}")

    @property
    def _is_several(self) -> bool:
        return self._plan is not None and len(self._plan.nodes) > 1

    async def _piece(self, chunk: Chunk) -> None:
        """Tell of a piece, if it is of a reply that the answer has whole."""
        if self._plan is None or chunk.call not in self._plan.told:
            return
        self._counted = True
        text = f"{chunk.call}: {chunk.text}" if self._is_several else chunk.text
        await self._note(self._progress + 1, None, bounded(text, _MAX_MESSAGE))

    async def _note(self, progress: float, total: float | None, message: str | None) -> None:
        if self._counted and total is not None:
            of_all = f"{progress:g} of {total:g}"
            message = of_all if message is None else f"{of_all}: {message}"
        if self._counted:
            progress, total = self._progress + 1, None
        self._progress = progress
        said = {"progress": progress, "total": total, "message": message}
        await self._tell("notifications/progress", {"progressToken": self._token, **said})

    async def _tell(self, method: str, params: Mapping[str, Any]) -> None:
        said = {key: value for key, value in params.items() if value is not None or key == "data"}
        await self._put(event({"jsonrpc": "2.0", "method": method, "params": said}))
