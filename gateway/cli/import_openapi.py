"""`gateway import-openapi SPEC`: the tools of an OpenAPI document, as TOML to edit."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.adapters import ADAPTERS
from gateway.cli.check import count
from gateway.cli.toml import inline, key, tables
from gateway.config.decode_imports import Selection, select
from gateway.config.decode_tools import tool_decoder
from gateway.config.openapi.document import Unfit
from gateway.config.openapi.operations import Document, is_absolute, read_document
from gateway.config.text import did_you_mean, printable, show
from gateway.config.values import NAME_PATTERN

__all__ = ["add_to"]

_UNFIT = re.compile(r"[^a-z0-9]+")


def add_to(commands: Any) -> None:
    """Add the command to `commands`, the subparsers of `argparse`."""
    parser = commands.add_parser(
        "import-openapi",
        help="print the operations of an OpenAPI document as tools",
        description=(
            "Print the operations of an OpenAPI 3.0 or 3.1 document as tools, each with one call, "
            "for a gateway.toml: what `from_openapi` stands for, to be edited. Operations that "
            "cannot be tools are named on standard error."
        ),
    )
    parser.add_argument("spec", metavar="SPEC", help="the document, JSON or YAML")
    parser.add_argument(
        "--service", metavar="NAME", help="a service you have; without it, one is printed too"
    )
    parser.add_argument(
        "--operations",
        nargs="+",
        default=["*"],
        metavar="PATTERN",
        help='which: operation ids or names of tools, such as "getUser" "list*"; all if left out',
    )
    parser.add_argument(
        "--prefix", default="", metavar="TEXT", help="what the tools' names begin with"
    )
    parser.add_argument(
        "--check-replies",
        action="store_true",
        help="print the schemas that their answers are held against",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    try:
        document = read_document(Path(options.spec))
        service = options.service or _service_name(document)
        selection = select(
            document,
            options.operations,
            service=service,
            prefix=options.prefix,
            check_replies=options.check_replies,
            decode=tool_decoder({service: "http"}, ADAPTERS),
        )
    except Unfit as unfit:
        return _refuse([str(unfit)])
    mistakes = [*_mistakes(options, document, selection), *map(str, selection.wrong)]
    if mistakes:
        return _refuse(mistakes)
    for skipped in selection.skipped:
        print(printable(f"not imported: {skipped}"), file=sys.stderr)
    for unchecked in selection.unchecked:
        print(printable(f"answers not checked: {unchecked}"), file=sys.stderr)
    print(f"# {count(len(selection.tools), 'tool', 'tools')}, by gateway import-openapi")
    if options.service is None:
        print("\n".join(_service(service, document)))
    for name, tool in selection.tools.items():
        print("\n".join(tables(("tools", name), tool.table)))
    return 0


def _mistakes(
    options: argparse.Namespace, document: Document, selection: Selection
) -> Iterator[str]:
    """What is wrong with the command line."""
    for option in ("service", "prefix"):
        written = getattr(options, option)
        if written and not re.fullmatch(NAME_PATTERN, written):
            yield f"--{option}: expected a letter, then letters, digits, _ or -, got {show(written)}"
    known = [name for each in document.operations for name in (each.id, each.name) if name]
    for pattern in selection.unmatched:
        near = did_you_mean(pattern, known)
        yield f"--operations: expected the id of an operation, or a pattern of such, got {show(pattern)}{near}"
    if not selection.tools and not selection.unmatched and not selection.wrong:
        yield f"{options.spec}: expected operations that can be tools, got none"
        yield from map(str, selection.skipped)


def _refuse(mistakes: list[str]) -> int:
    for mistake in mistakes:
        print(printable(mistake), file=sys.stderr)
    return 2


def _service_name(document: Document) -> str:
    """The document's title as a name; `api` where that leaves nothing."""
    name = _UNFIT.sub("_", document.title.lower()).strip("_")[:32].rstrip("_")
    return name if name and name[0].isalpha() else "api"


def _service(name: str, document: Document) -> Iterator[str]:
    """The table of a service where the document says it is."""
    yield ""
    yield f"[services.{name}]"
    yield 'kind = "http"'
    if is_absolute(document.server):
        yield f"url = {inline(document.server)}"
    else:
        yield "# The document does not say where the API is: write it here, or into the environment."
        yield f'url = "env:{name.upper()}_URL"'
    for scheme in {scheme.said: scheme for scheme in document.schemes}.values():
        if scheme.place == "query":
            yield printable(f"# It may want {scheme.said}, but services send headers alone.")
        else:
            yield printable(f"# It may want {scheme.said}")
            header = scheme.key if scheme.place == "header" else scheme.place or "authorization"
            yield printable(f'# headers = {{ {key(header)} = "env:{name.upper()}_TOKEN" }}')
