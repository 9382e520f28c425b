"""`gateway serve FILE`: the gateway of a file, until SIGTERM."""

from __future__ import annotations

import argparse
import secrets
from typing import Any

from gateway.app import Gateway, create_app
from gateway.cli.check import contents
from gateway.cli.serving import can_serve, configure_log, offer_of
from gateway.server.offer import Offer
from gateway.server.worker import Addresses
from gateway.telemetry.logs import logger

__all__ = ["add_to"]


def add_to(commands: Any) -> None:
    """Add the command to `commands`, the subparsers of `argparse`."""
    parser = commands.add_parser(
        "serve",
        help="serve the gateway of a configuration file",
        description=(
            "Serve the gateway of a configuration file, by server.workers processes, until SIGTERM "
            "or SIGINT: then what is in flight gets server.drain, and a second signal cuts it. "
            "SIGHUP serves the changed file. Exit status: 0 after a "
            "graceful end, 1 if it could not start or broke down, 2 if the file is wrong."
        ),
    )
    parser.add_argument("file", nargs="?", default="gateway.toml", help="default: gateway.toml")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if not can_serve():
        return 1
    from gateway.server.supervisor import supervise  # noqa: PLC0415 - not there on Windows

    # One for all that is loaded: sessions outlast a reload.
    key = secrets.token_bytes(32)

    def load() -> Offer:
        return offer_of(create_app(options.file, key=key), _announce)

    def first() -> Offer:
        app = create_app(options.file, key=key)
        configure_log(app)
        return offer_of(app, _announce)

    return supervise(first, load)


def _announce(app: Gateway, addresses: Addresses) -> None:
    """Say where everything is on standard output; the log, on standard error, says it too."""
    if app.config.access.anonymous is None:
        logger("gateway.server").warning(
            "no [access] in the file: whoever reaches a loopback address is served"
        )
    print(
        f"gateway: {contents(app.config, len(app.tools))} at {', '.join(addresses.public)}, "
        f"MCP at {app.config.mcp.path}, health and metrics at {addresses.admin}",
        flush=True,
    )
