"""Which revision a server speaks: asked in the newest one first, then in the others.

Source: MCP 2026-07-28, Versioning, "Backward Compatibility with Initialization-Based Versions";
MCP 2025-11-25, Lifecycle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import trio

from gateway.adapters.mcp import questions
from gateway.adapters.mcp.link import Era, Link, Refused
from gateway.adapters.mcp.requests import Requests
from gateway.core.errors import BadReply, Unreachable
from gateway.core.mcp import (
    HEADER_MISMATCH,
    LEGACY,
    MISSING_CAPABILITY,
    MODERN,
    UNSUPPORTED_VERSION,
    implementation,
)
from gateway.core.peer import JsonRpcError

__all__ = ["Agreement"]

_PROBE_S = 5.0
"""Seconds after which a server that does not answer `server/discover` is taken for a legacy one."""

_SESSION = re.compile(r"[!-~]{1,1024}")

_NO_VERDICT = frozenset({401, 403, 407, 408, 429})
"""Statuses that say nothing about the revision."""

_MODERN_ERRORS = frozenset({HEADER_MISMATCH, MISSING_CAPABILITY})
"""Codes that only a server of 2026-07-28 gives."""


class Agreement:
    """Agrees with one server.

    Args:
        link: How it is reached.
        requests: Makes what is sent.
    """

    def __init__(self, link: Link, requests: Requests) -> None:
        self._link = link
        self._requests = requests
        self._probes = True

    async def reach(self) -> Era:
        """Agree.

        Raises:
            GatewayError, Refused, JsonRpcError: It cannot be reached, or agrees on nothing.
        """
        await self._link.ready()
        probes, self._probes = self._probes, True
        era = await self._discover() if probes else None
        if era is not None:
            return era
        try:
            return await self._initialize()
        except JsonRpcError as error:
            if error.code != UNSUPPORTED_VERSION or MODERN not in _supported(error):
                raise
            refused = error
        era = await self._discover()  # it was slow to answer the probe, or was not probed
        if era is None:
            raise refused
        return era

    async def _discover(self) -> Era | None:
        """What a server of 2026-07-28 agrees to; `None` if it is a legacy one."""
        era = Era(version=MODERN, capabilities={}, life=self._link.life)
        call = self._requests.make(era, "server/discover", {})
        try:
            with trio.move_on_after(_PROBE_S):
                async with self._link.exchange(call) as exchange:
                    result = await self._requests.answer(exchange, call)
                if MODERN in _list(result.get("supportedVersions")):
                    return Era(version=MODERN, capabilities=_capabilities(result), life=era.life)
        except Refused as refused:
            if refused.status in _NO_VERDICT or not 400 <= refused.status < 500:
                raise
        except JsonRpcError as error:
            if error.code in _MODERN_ERRORS:
                raise
            if error.code == UNSUPPORTED_VERSION and _supported(error).isdisjoint(LEGACY):
                raise
        except Unreachable:
            # A program may end at what it has never heard of: the next one is asked otherwise.
            self._probes = era.life == 0
            raise
        return None

    async def _initialize(self) -> Era:
        """What a legacy server agrees to."""
        life = self._link.life
        params = {
            "protocolVersion": LEGACY[0],
            "capabilities": questions.OFFERED,
            "clientInfo": implementation(),
        }
        call = self._requests.make(None, "initialize", params)
        async with self._link.exchange(call) as exchange:
            result = await self._requests.answer(exchange, call)
            session_id = exchange.session_id
        if session_id is not None and not _SESSION.fullmatch(session_id):
            raise BadReply("its session's id is no visible ASCII, or longer than 1024 characters")
        version = result.get("protocolVersion")
        if version not in LEGACY:
            spoken = ", ".join((MODERN, *LEGACY))
            raise BadReply(f"it speaks revision {str(version)[:20]!r}, and the gateway {spoken}")
        era = Era(
            version=version,
            capabilities=_capabilities(result),
            session_id=session_id,
            life=life,
        )
        await self._link.tell("notifications/initialized", era)
        return era


def _supported(error: JsonRpcError) -> frozenset[str]:
    """The revisions that an error says are spoken."""
    return _list(error.data.get("supported")) if isinstance(error.data, dict) else frozenset()


def _list(value: Any) -> frozenset[str]:
    items = value if isinstance(value, list) else ()
    return frozenset(item for item in items if isinstance(item, str))


def _capabilities(result: Mapping[str, Any]) -> Mapping[str, Any]:
    capabilities = result.get("capabilities")
    return capabilities if isinstance(capabilities, dict) else {}
