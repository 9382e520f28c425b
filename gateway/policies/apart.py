"""Calls that are made in the app's nursery, for those who wait for them in tasks of their own."""

from __future__ import annotations

from typing import TypeAlias

import trio

from gateway.core.messages import Reply, Request
from gateway.core.service import Emit, Service

__all__ = ["Outcome", "made_apart"]

Outcome: TypeAlias = Reply | BaseException | None
"""How such a call ended: its reply, what it raised, or `None` if it was cancelled."""


async def made_apart(
    service: Service, request: Request, emit: Emit, scope: trio.CancelScope
) -> Outcome:
    """Call `service` in `scope`, and say how that ended.

    Nothing it raises may reach the app's nursery, for that would end the app: `SystemExit` neither,
    nor what compiled libraries panic with. Whoever waits for the call raises it.

    Args:
        service: Who is called.
        request: What is asked.
        emit: Takes what is emitted.
        scope: What cancels the call; not entered yet.

    Cancellation: from outside of `scope` it passes, as everywhere.
    """
    try:
        with scope:
            return await service(request, emit)
    except (trio.Cancelled, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseExceptionGroup as group:
        if group.subgroup((trio.Cancelled, KeyboardInterrupt)) is not None:
            raise
        return group
    except BaseException as error:  # noqa: BLE001 - it is raised where the call is waited for
        return error
    return None
