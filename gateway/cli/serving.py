"""What `gateway serve` and `gateway demo` share: a process that serves a gateway."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gateway.admin.app import Admin
from gateway.app import Gateway
from gateway.server.run import run
from gateway.server.worker import Addresses, Served
from gateway.telemetry.logs import configure

__all__ = ["serve_gateway"]


def serve_gateway(
    gateway: Gateway, served: Served, on_started: Callable[[Gateway, Addresses], None]
) -> int:
    """Serve until a signal ends it, with the log and the admin address that the file asks for.

    Args:
        gateway: Whose settings and metrics they are.
        served: What is served: the gateway, or what stands around it.
        on_started: Called with the gateway and its addresses once requests are served.

    Returns:
        The exit status, as `gateway.server.run.run` gives it.
    """
    telemetry = gateway.config.telemetry
    configure(log=telemetry.log, level=telemetry.level)
    server = gateway.server
    # The host of a Unix socket's bind is no name that anybody sends.
    hosts = (server.admin.bind.rpartition(":")[0], *server.allowed_hosts)
    return run(
        lambda: served,
        server,
        admin=partial(Admin, metrics=gateway.metrics.render, hosts=hosts),
        on_started=partial(on_started, gateway),
    )
