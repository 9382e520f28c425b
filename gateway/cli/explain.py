"""`gateway explain FILE [TOOL]`: what a tool will do, every number of it, and what cannot work."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from gateway.build import build
from gateway.cli.check import count
from gateway.config.text import did_you_mean, show
from gateway.explain.describe import Explanation, describe
from gateway.explain.document import document_of
from gateway.explain.mermaid import graph_of
from gateway.explain.text import lines_of
from gateway.explain.warnings import warnings_of
from gateway.telemetry.logs import configure

__all__ = ["add_to"]


def add_to(commands: Any) -> None:
    """Add the command to `commands`, the subparsers of `argparse`."""
    parser = commands.add_parser(
        "explain",
        help="say what a tool will do, and what of it cannot work",
        description=(
            "Print a tool's plan, each call's policies in order with every effective value and "
            "where it came from, how long it may all take at worst, and warnings. Without TOOL: "
            "one line for each tool, and its warnings. Nothing is started, no service is called. "
            "Exit status: 0, warnings or none; 2 if the file or the tool's name is wrong."
        ),
    )
    parser.add_argument("file", help="the configuration file")
    parser.add_argument("tool", nargs="?", help="the tool's name; left out, all of them")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON, for programs")
    form.add_argument("--mermaid", action="store_true", help="the plan as a graph in Mermaid")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    configure(log="console", level="error")
    built = build(options.file, record=lambda _event: None)
    if options.tool is None:
        names = list(built.tools)
    elif options.tool in built.tools:
        names = [options.tool]
    else:
        known = ", ".join(built.tools) or "none"
        near = did_you_mean(options.tool, built.tools)
        wanted = f"expected a tool ({known}), got {show(options.tool)}{near}"
        print(f"gateway explain: {wanted}", file=sys.stderr)
        return 2
    explained = [describe(built, built.tools[name]) for name in names]
    if options.json:
        documents = [document_of(each, warnings_of(each)) for each in explained]
        whole = documents if options.tool is None else documents[0]
        print(json.dumps(whole, indent=2, ensure_ascii=False))
    elif options.mermaid:
        for each in explained:
            print("\n".join(graph_of(each)))
    elif options.tool is None:
        _overview(explained)
    else:
        print("\n".join(lines_of(explained[0], warnings_of(explained[0]))))
    return 0


def _overview(explained: list[Explanation]) -> None:
    """A line for each tool, and one for each of its warnings."""
    for each in explained:
        warned = warnings_of(each)
        said = count(len(warned), "warning", "warnings") if warned else "no warnings"
        print(f"{each.tool.name}: {count(len(each.calls), 'call', 'calls')}, {said}")
        for warning in warned:
            print(f"  {warning}")
