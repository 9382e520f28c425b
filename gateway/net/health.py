"""Active checks: each replica is asked, again and again, whether it is well."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio

from gateway.config import fields
from gateway.core.errors import GatewayError
from gateway.net.messages import HttpClient, HttpRequest
from gateway.net.replicas import Replica, Replicas

__all__ = ["HealthSettings", "watch"]


@attrs.frozen(slots=True, kw_only=True)
class HealthSettings:
    """The keys of `health`."""

    path: str = fields.path(doc="What is asked for, below the service's url; any 2xx is well.")
    every: float = fields.duration(default="5s", doc="From one check's end to the next.")
    timeout: float = fields.duration(default="1s", doc="For one check.")
    unhealthy_after: int = fields.integer(
        default=3, minimum=1, doc="Failed checks in a row that put a replica out."
    )
    healthy_after: int = fields.integer(
        default=2, minimum=1, doc="Checks passed in a row that let it in again."
    )


async def watch(
    replicas: Replicas,
    settings: HealthSettings,
    client: HttpClient,
    prefix: str,
    headers: Sequence[tuple[str, str]],
) -> None:
    """Check every replica until cancelled.

    Args:
        replicas: Told what is found.
        settings: How.
        client: Sends the checks: not the one that sends calls, whose connections may all be busy.
        prefix: The path of the service's url.
        headers: Sent along.
    """

    async def attend(replica: Replica) -> None:
        request = HttpRequest("GET", replica.origin, prefix + settings.path, tuple(headers))
        in_a_row = 0
        while True:
            well = await _is_well(client, request, settings.timeout)
            in_a_row = 0 if well == replica.healthy else in_a_row + 1
            needed = settings.healthy_after if well else settings.unhealthy_after
            if in_a_row >= needed:
                in_a_row = 0
                replicas.found(replica, healthy=well)
            await trio.sleep(settings.every)

    async with trio.open_nursery() as nursery:
        for replica in replicas.all:
            nursery.start_soon(attend, replica)


async def _is_well(client: HttpClient, request: HttpRequest, timeout_s: float) -> bool:
    with trio.move_on_after(timeout_s):
        try:
            reply = await client.send(request)
        except GatewayError:
            return False
        return 200 <= reply.status < 300
    return False
