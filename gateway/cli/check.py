"""`gateway check FILE`: every mistake of a file, before anything starts."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from gateway.build import build
from gateway.config.decoded import Config
from gateway.config.text import printable
from gateway.explain.describe import describe
from gateway.explain.warnings import warnings_of
from gateway.telemetry.logs import configure

__all__ = ["add_to", "contents", "count"]


def add_to(commands: Any) -> None:
    """Add the command to `commands`, the subparsers of `argparse`."""
    parser = commands.add_parser(
        "check",
        help="report every mistake of a configuration file",
        description=(
            "Read a configuration file, plans and routes included, and report every mistake with "
            "its line. Nothing is started, no service is called. "
            "Exit status: 0 without mistakes, 2 with."
        ),
    )
    parser.add_argument("file", nargs="?", default="gateway.toml", help="default: gateway.toml")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="also refuse secrets that are written out instead of env:NAME or file:PATH",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    configure(log="console", level="error")
    built = build(options.file, record=lambda _event: None, strict=options.strict)
    services = count(len(built.config.services), "service", "services")
    print(f"{options.file}: fine: {services}, {contents(built.config, len(built.tools))}")
    for note in built.config.notes:
        print(printable(note))
    warned = sum(len(warnings_of(describe(built, tool))) for tool in built.tools.values())
    if warned:
        said = count(warned, "warning", "warnings")
        print(f"{options.file}: {said}: gateway explain {shlex.quote(options.file)}")
    return 0


def contents(config: Config, tools: int) -> str:
    """What clients find: `1 tool`, `2 tools, 1 proxy`.

    Args:
        config: The file's.
        tools: How many tools its tables make.
    """
    counts = [count(tools, "tool", "tools")]
    if config.proxies:
        counts.append(count(len(config.proxies), "proxy", "proxies"))
    return ", ".join(counts)


def count(number: int, one: str, several: str) -> str:
    """`1 tool`, `2 tools`."""
    return f"{number} {one if number == 1 else several}"
