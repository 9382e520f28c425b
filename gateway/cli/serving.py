"""What `gateway serve` and `gateway demo` share: a gateway as what a server serves."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial

from gateway.admin.app import Admin, Complete, Status
from gateway.app import Gateway
from gateway.server.offer import Offer, Post, Work
from gateway.server.run import run
from gateway.server.worker import Addresses, Served
from gateway.telemetry.events import WorkerStarted
from gateway.telemetry.logs import configure

__all__ = ["can_serve", "configure_log", "offer_of", "serve_here"]


def can_serve(system: object = os) -> bool:
    """Whether a gateway can be served here; if not, a line on standard error has said why.

    Args:
        system: The module `os`, as the system has it.
    """
    if hasattr(system, "fork"):
        return True
    sys.stderr.write(
        "gateway: serving needs a system that can fork, such as Linux or macOS; "
        "on Windows use its Subsystem for Linux\n"
    )
    return False


def offer_of(gateway: Gateway, on_serving: Callable[[Gateway, Addresses], None]) -> Offer:
    """The gateway as a supervisor's workers serve it, with the log that the file asks for.

    Args:
        gateway: What is served; each worker serves its own copy.
        on_serving: Called in the supervisor with the gateway and its addresses once it is served.
    """

    def work(post: Post) -> Work:
        configure_log(gateway, post.number if post.size > 1 else None)
        gateway.metrics(WorkerStarted(post.restarts))
        gateway.takes_over = post.restarts > 0
        gateway.tell_others = post.tell
        return Work(
            app=gateway,
            metrics=gateway.metrics.render,
            admin=partial(_admin, gateway),
            hear=gateway.hear,
        )

    def serving(addresses: Addresses) -> None:
        configure_log(gateway)
        on_serving(gateway, addresses)

    return Offer(
        settings=gateway.server, workers=gateway.server.workers, work=work, serving=serving
    )


def serve_here(
    gateway: Gateway, served: Served, on_started: Callable[[Gateway, Addresses], None]
) -> int:
    """Serve in this process alone until a signal ends it, with what the file asks for.

    Args:
        gateway: Whose settings and metrics they are.
        served: What is served: the gateway, or what stands around it.
        on_started: Called with the gateway and its addresses once requests are served.

    Returns:
        The exit status, as `gateway.server.run.run` gives it.
    """
    configure_log(gateway)
    return run(
        lambda: served,
        gateway.server,
        admin=lambda status: _admin(gateway, status, None),
        on_started=partial(on_started, gateway),
    )


def configure_log(gateway: Gateway, worker: int | None = None) -> None:
    """Give this process the log that the gateway's file asks for.

    Args:
        gateway: Whose file.
        worker: The number of this process, where there are several.
    """
    telemetry = gateway.config.telemetry
    configure(log=telemetry.log, level=telemetry.level, worker=worker)


def _admin(gateway: Gateway, status: Callable[[], Status], complete: Complete | None) -> Admin:
    server = gateway.server
    # The host of a Unix socket's bind is no name that anybody sends.
    hosts = (server.admin.bind.rpartition(":")[0], *server.allowed_hosts)
    return Admin(status, gateway.metrics.render, hosts=hosts, complete=complete)
