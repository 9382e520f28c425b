"""`gateway call FILE TOOL`: one tool call from the shell, and how the time went."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import math
import sys
import uuid
from collections.abc import Iterable
from typing import Any

import msgspec
import trio

from gateway.app import Gateway, create_app
from gateway.config.units import parse_duration
from gateway.core.errors import GatewayError
from gateway.core.messages import Branch, Chunk, Context, Partial, Request
from gateway.core.service import Emit, discard
from gateway.plan.tool import Tool
from gateway.telemetry.events import Event, RequestEnded
from gateway.telemetry.logs import configure

__all__ = ["add_arguments_to", "add_to", "arguments_of", "budget_of", "timeline", "tool_of"]

_BAR_WIDTH = 30


def add_to(commands: Any) -> None:
    """Add the command to `commands`, the subparsers of `argparse`."""
    parser = commands.add_parser(
        "call",
        help="call one tool and show how the time went",
        description=(
            "Call one tool. The reply goes to standard output as JSON; a timeline of its calls "
            "(start, end, outcome, budget left) goes to standard error. Exit status: 0 with an "
            "answer, partial ones too; 1 with a failure; 2 if the file or the arguments are wrong."
        ),
    )
    parser.add_argument("file", help="the configuration file")
    parser.add_argument("tool", help="the tool's name")
    add_arguments_to(parser)
    parser.add_argument(
        "--stream",
        action="store_true",
        help="print each piece of a reply on standard error as it comes, a line of JSON each",
    )
    parser.set_defaults(run=_run)


def add_arguments_to(parser: argparse.ArgumentParser) -> None:
    """Add what a call of a tool is given: `arguments_of` and `budget_of` read it."""
    parser.add_argument(
        "--arg",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an argument, read as the tool's schema says; again for a list's further items",
    )
    parser.add_argument("--json", metavar="OBJECT", help="all arguments as one JSON object")
    parser.add_argument("--timeout", metavar="DURATION", help='the budget, such as "800ms"')


def _run(options: argparse.Namespace) -> int:
    ended: list[RequestEnded] = []

    def listen(event: Event) -> None:
        if isinstance(event, RequestEnded):
            ended.append(event)

    configure(log="console", level="error")
    app = create_app(options.file, listeners=(listen,))
    try:
        tool = tool_of(app, options.tool)
        arguments = arguments_of(options, tool)
        timeout_s = budget_of(options)
    except ValueError as error:
        print(f"gateway call: {error}", file=sys.stderr)
        return 2
    try:
        emit = _printing(tool) if options.stream else discard
        status, answer = trio.run(_call, app, tool.name, arguments, emit, timeout_s)
    except ValueError as error:  # a service that cannot be opened
        print(f"gateway call: {error}", file=sys.stderr)
        return 1
    print(msgspec.json.format(answer, indent=2).decode(), flush=True)
    for event in ended:
        print("\n".join(timeline(event)), file=sys.stderr)
    return status


def _printing(tool: Tool) -> Emit:
    """Prints the pieces that clients are told: as JSON, for that is a line whatever it holds."""
    several = len(tool.plan.nodes) > 1

    async def emit(item: Partial, /) -> None:
        await trio.lowlevel.checkpoint()
        if isinstance(item, Chunk) and item.call in tool.plan.told:
            piece = item.encoded.decode()
            # Who has read enough of the pieces may want the answer still.
            with contextlib.suppress(BrokenPipeError):
                print(f"{item.call}: {piece}" if several else piece, file=sys.stderr, flush=True)

    return emit


async def _call(
    app: Gateway, name: str, arguments: dict[str, Any], emit: Emit, timeout_s: float
) -> tuple[int, bytes]:
    context = Context(request_id=uuid.uuid4().hex, protocol="cli")
    async with app.running():
        try:
            reply = await app.call(Request(name, arguments, context), emit, timeout_s=timeout_s)
        except GatewayError as error:
            return 1, msgspec.json.encode(error.problem(context.request_id))
        return 0, reply.encoded


def budget_of(options: argparse.Namespace) -> float:
    """The client's own budget, seconds; inf without one.

    Raises:
        ValueError: It is no duration.
    """
    text: str | None = options.timeout
    if text is None:
        return math.inf
    try:
        return parse_duration(text)
    except ValueError:
        raise ValueError(f'--timeout: expected a duration such as "2s", got {text!r}') from None


def tool_of(app: Gateway, name: str) -> Tool:
    """The tool of this name.

    Raises:
        ValueError: There is none.
    """
    tool = app.tools.get(name)
    if tool is None:
        near = difflib.get_close_matches(name, app.tools, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"expected a tool ({', '.join(app.tools) or 'none'}), got {name!r}{hint}")
    return tool


def arguments_of(options: argparse.Namespace, tool: Tool) -> dict[str, Any]:
    """The tool's arguments.

    Raises:
        ValueError: One is not written as it should be, or has a name the tool does not know.
    """
    texts: dict[str, list[str]] = {}
    for pair in options.arg:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--arg: expected NAME=VALUE, got {pair!r}")
        if name not in tool.arguments.names:
            names = sorted(tool.arguments.names)
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"--arg: expected an input of {tool.name} ({', '.join(names) or 'none'}), "
                f"got {name!r}{hint}"
            )
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"--arg: expected UTF-8, got {pair!r}") from None
        texts.setdefault(name, []).append(value)
    whole: Any = {}
    if options.json is not None:
        try:
            whole = msgspec.json.decode(options.json)
        except msgspec.DecodeError as error:
            raise ValueError(f"--json: expected a JSON object: {error}") from None
        if not isinstance(whole, dict):
            raise ValueError(f"--json: expected a JSON object, got {options.json!r}")
    return {**whole, **tool.arguments.coerce(texts)}


def timeline(ended: RequestEnded) -> Iterable[str]:
    """The lines that show how the time of one request went, call by call."""
    total_s = max(ended.duration_s, 1e-9)
    budget = "no budget" if ended.budget_s == math.inf else f"a budget of {_time(ended.budget_s)}"
    outcome = ended.outcome if ended.error is None else ended.error.code
    yield f"{ended.tool}: {outcome} in {_time(ended.duration_s)}, of {budget}"
    if not ended.branches:
        return
    head = ("call", "service", "start", "end", "outcome", "budget left", "")
    rows: list[tuple[str, ...]] = [head]
    rows += [_row(branch, total_s) for branch in ended.branches]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.rjust(width) if column in {2, 3, 5} else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield ("  " + "  ".join(cells)).rstrip()


def _row(branch: Branch, total_s: float) -> tuple[str, ...]:
    outcome = branch.outcome if branch.error is None else f"{branch.outcome}: {branch.error.code}"
    if branch.error is not None and branch.error.code == branch.outcome:
        outcome = branch.outcome
    started = "-" if branch.started_s is None else _time(branch.started_s)
    bar = ""
    if branch.started_s is not None:
        first = min(_BAR_WIDTH - 1, int(branch.started_s / total_s * _BAR_WIDTH))
        last = min(_BAR_WIDTH, max(first + 1, round(branch.ended_s / total_s * _BAR_WIDTH)))
        bar = " " * first + "█" * (last - first)
    return (
        branch.call,
        branch.service,
        started,
        _time(branch.ended_s),
        outcome,
        _time(branch.budget_left_s),
        bar,
    )


def _time(seconds: float) -> str:
    if seconds == math.inf:
        return "no limit"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.3f} s"
