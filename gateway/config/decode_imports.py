"""`from_openapi`: a document's operations → the tools they stand for.

Each is made into the table that `gateway import-openapi` prints, and decoded like one that was
written. What is wrong in a document is told with its file and JSON pointer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from gateway.config import unavailable
from gateway.config.decode_proxies import http_service
from gateway.config.decoded import ToolConfig
from gateway.config.openapi.document import Unfit
from gateway.config.openapi.names import MAX_NAME, fitted
from gateway.config.openapi.operations import Document, Operation, chosen, read_document
from gateway.config.openapi.replies import output_schema_of
from gateway.config.openapi.tables import table_of
from gateway.config.problems import Location, Origins, Problems
from gateway.config.settings import ImportSettings
from gateway.config.tables import codecs_of, decode_keys
from gateway.config.text import did_you_mean, dotted, one_line, show

if TYPE_CHECKING:
    from gateway.config.problems import Place

__all__ = ["MAX_TOOLS", "DecodeTool", "Imported", "Imports", "Selection", "is_import", "select"]

MAX_TOOLS = 10_000
"""Tools of one table."""

_KEY = "from_openapi"
_TOO_DEEP = "nested too deeply"

DecodeTool: TypeAlias = "Callable[[str, Any, Place], ToolConfig | None]"
"""Decodes a tool's table, named and placed; `None` where nothing of it can be judged."""


def is_import(table: Any) -> bool:
    """Whether a tool's table stands for the operations of a document."""
    return isinstance(table, Mapping) and _KEY in table


@attrs.frozen(slots=True)
class Imported:
    """An operation as a tool.

    Args:
        table: As the file would write it.
        config: As it is decoded; `None` where that was not asked for.
        where: The operation's file and JSON pointer.
    """

    table: Mapping[str, Any]
    config: ToolConfig | None
    where: str


@attrs.frozen(slots=True, kw_only=True)
class Selection:
    """What became of the operations that were asked for.

    Args:
        tools: By name, in the document's order.
        wrong: Those that are no tools though they were asked for by their own names.
        skipped: Those that are no tools and were asked for by a `*` or the like.
        unchecked: Those whose answers have a schema that no answer can be held against.
        unmatched: Patterns that no operation fits.
    """

    tools: Mapping[str, Imported]
    wrong: Sequence[Unfit]
    skipped: Sequence[Unfit]
    unchecked: Sequence[Unfit]
    unmatched: Sequence[str]


def select(
    document: Document,
    patterns: Sequence[str],
    *,
    service: str,
    prefix: str = "",
    keys: Mapping[str, Any] | None = None,
    check_replies: bool = False,
    decode: DecodeTool | None,
) -> Selection:
    """The operations of a document that patterns ask for, as tools.

    Args:
        document: Which.
        patterns: Operation ids or names of tools; `*`, `?` and `[…]` stand for more.
        service: The name of the service that is called.
        prefix: What the tools' names begin with.
        keys: Further keys of each.
        check_replies: Whether their answers are held against the document's schemas.
        decode: Decodes each; without it none is judged as a table.

    Raises:
        Unfit: They are more than `MAX_TOOLS`.
    """
    names, unmatched = chosen(document.operations, patterns)
    if len(names) > MAX_TOOLS:
        raise document.library.root.unfit(
            f"expected at most {MAX_TOOLS} operations, got {len(names)}: ask for fewer of them"
        )
    tools: dict[str, Imported] = {}
    wrong: list[Unfit] = []
    unchecked: list[Unfit] = []
    skipped = list(document.unfit) if "*" in patterns else []
    for operation in document.operations:
        if operation.name not in names:
            continue
        name = fitted(prefix, operation.name)
        try:
            table = table_of(operation, document, service) | {**(keys or {})}
            why = None
            if check_replies:
                tools[name], why = _with_output(name, table, operation, document, decode)
            else:
                tools[name] = _imported(name, table, operation, decode)
        except (Unfit, RecursionError) as error:
            (wrong if names[operation.name] else skipped).append(_of(operation, error))
            continue
        if why is not None:
            unchecked.append(_of(operation, why))
    return Selection(
        tools=tools, wrong=wrong, skipped=skipped, unchecked=unchecked, unmatched=unmatched
    )


def _with_output(
    name: str,
    table: Mapping[str, Any],
    operation: Operation,
    document: Document,
    decode: DecodeTool | None,
) -> tuple[Imported, Unfit | RecursionError | None]:
    """The tool of a table, with the schema of its answers if it has one; else perhaps why not.

    Raises:
        Unfit: As `_imported`.
    """
    why: Unfit | RecursionError | None = None
    try:
        schema = output_schema_of(operation, document)
        if schema is not None:
            whole = {**table, "output_schema": schema}
            return _imported(name, whole, operation, decode), None
    except (Unfit, RecursionError) as error:
        why = error
    return _imported(name, table, operation, decode), why


def _of(operation: Operation, error: Unfit | RecursionError) -> Unfit:
    """What is wrong with an operation, with its name."""
    unfit = error if isinstance(error, Unfit) else operation.node.unfit(_TOO_DEEP)
    shown = one_line(operation.id or operation.name, MAX_NAME)
    return Unfit(unfit.where, f"{shown}: {unfit.message}")


def _imported(
    name: str, table: Mapping[str, Any], operation: Operation, decode: DecodeTool | None
) -> Imported:
    """The tool of a table that nobody wrote: its mistakes are the document's.

    Raises:
        Unfit: It has some.
    """
    where = operation.node.where
    if decode is None:
        return Imported(table, None, where)
    problems = Problems(Origins(Location(where, None, Path())))
    config = decode(name, table, problems.place(("tools", name)))
    for problem in problems:
        raise Unfit(where, f"{dotted(problem.path[2:])}: {problem.message}")
    if config is None:
        raise AssertionError("a table that nothing is wrong with is a tool")
    return Imported(table, config, where)


class Imports:
    """Decodes the tables of tools that stand for the operations of a document.

    Args:
        services: The kind of every service that is written; `None` where it is none.
            `None` for the whole where no name can be judged.
        decode: Decodes a tool's table.
        tables: Every tool's table.

    Attributes:
        notes: The operations that are left out, and why.
    """

    def __init__(
        self,
        services: Mapping[str, str | None] | None,
        decode: DecodeTool,
        tables: Mapping[str, Any],
    ) -> None:
        self._codecs = {**codecs_of(ImportSettings), "service": http_service(services)}
        self._decode = decode
        self._written = {name for name, table in tables.items() if not is_import(table)}
        self._taken: dict[str, str] = {}
        self._documents: dict[Path, Document] = {}
        self.notes: list[str] = []

    def decode(self, table: Mapping[str, Any], place: Place) -> dict[str, ToolConfig] | None:
        """The tools that a table stands for, by name; `None` where it has a mistake.

        Args:
            table: As the file has it.
            place: Where it stands.
        """
        found = len(place.problems)
        decoded = decode_keys(self._codecs, table, place, unavailable.SECTIONS["tools"])
        if _KEY in decoded.failed or "operations" in decoded.failed:
            return None
        settings = ImportSettings(**{"service": "", **decoded.values})
        try:
            document = self._document(settings.from_openapi)
            selection = select(
                document,
                settings.operations,
                service=settings.service,
                prefix=settings.prefix,
                keys={key: table[key] for key in ("deadline",) if key in table},
                check_replies=settings.check_replies,
                decode=None if decoded.failed else self._decode,
            )
        except Unfit as unfit:
            _tell(unfit, place)
            return None
        self._judge(selection, document, settings, place)
        self.notes += _notes(selection, document)
        if len(place.problems) > found:
            return None
        for name, imported in selection.tools.items():
            place.problems.origins.places["tools", name] = Location(imported.where, None, Path())
        return {
            name: imported.config
            for name, imported in selection.tools.items()
            if imported.config is not None
        }

    def _document(self, path: Path) -> Document:
        key = path.resolve()
        if key not in self._documents:
            self._documents[key] = read_document(path)
        return self._documents[key]

    def _judge(
        self, selection: Selection, document: Document, settings: ImportSettings, place: Place
    ) -> None:
        """Tell what is wrong with what was asked for."""
        known = dict.fromkeys(name for each in document.operations for name in (each.id, each.name))
        for index, pattern in enumerate(settings.operations):
            if pattern in selection.unmatched:
                near = did_you_mean(pattern, filter(None, known))
                wanted = f"the id of an operation of {settings.from_openapi}, or a pattern of such"
                message = f"expected {wanted}, got {show(pattern)}{near}"
                (place / "operations" / index).problem(message)
        for unfit in selection.wrong:
            _tell(unfit, place)
        if not selection.tools and not selection.wrong and not selection.unmatched:
            (place / "operations").problem("expected operations that can be tools, got none")
        for name, imported in selection.tools.items():
            self._check_name(name, imported.where, place)

    def _check_name(self, name: str, where: str, place: Place) -> None:
        own = f"{where} by {dotted(place.path)}"
        other = self._taken.setdefault(name, own)
        if name in self._written:
            at = place.problems.origins.find(("tools", name))
            line = "" if at.line is None else f":{at.line}"
            other = f"tools.{name} at {at.file}{line}"
        elif other == own:
            return
        place.problem(
            f"expected names of their own, got {name}, of {where}, "
            f'which is the name of {other}: write another prefix = "…", or leave it out'
        )


def _notes(selection: Selection, document: Document) -> Iterator[str]:
    for scheme in document.schemes:
        if scheme.place == "query":
            yield f"not sent: {scheme.where}: the key {show(scheme.key)}: services send headers alone"
    for unfit in selection.skipped:
        yield f"not imported: {unfit}"
    for unfit in selection.unchecked:
        yield f"answers not checked: {unfit}"


def _tell(unfit: Unfit, place: Place) -> None:
    place.problems.add_at(Location(unfit.where, None, Path()), unfit.message)
