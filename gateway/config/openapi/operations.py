"""An OpenAPI document and its operations.

Source: OpenAPI 3.0.4 and 3.1.1, "OpenAPI Object", "Paths Object", "Security Scheme Object".
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from gateway.config.openapi.document import Library, Node, Unfit
from gateway.config.openapi.names import names_of
from gateway.config.secret import reason
from gateway.config.text import alternatives, show

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Document",
    "Operation",
    "Scheme",
    "chosen",
    "is_absolute",
    "read_document",
    "server_of",
]

_METHODS = ("get", "put", "post", "delete", "head", "patch")
_UNWRITTEN = frozenset({"options", "trace"})
_VERSION = re.compile(r"3\.([01])\.[0-9]+(?:-.*)?")
_DIALECTS = (
    "https://spec.openapis.org/oas/3.1/dialect/base",
    "https://json-schema.org/draft/2020-12/schema",
)
_VARIABLE = re.compile(r"\{([^{}]*)\}")
_ABSOLUTE = re.compile(r"https?://[A-Za-z0-9_.:\[\]-]+(?:/[^?#{}\s]*)?")


@attrs.frozen(slots=True, kw_only=True)
class Operation:
    """An operation of a document.

    Args:
        id: As the document says it; empty where it does not.
        name: Its name as a tool, without a prefix.
        method: In lower case.
        path: As the document has it.
        node: The operation.
        item: What all operations of its path share.
    """

    id: str
    name: str
    method: str
    path: str
    node: Node = attrs.field(repr=False)
    item: Node = attrs.field(repr=False)


@attrs.frozen(slots=True)
class Scheme:
    """How a document says that callers prove who they are.

    Args:
        where: Its file and JSON pointer.
        said: What belongs where, for people: `header x-api-key`.
        place: Of an API key: `header`, `query` or `cookie`; empty for anything else.
        key: Of an API key, its name there.
    """

    where: str
    said: str
    place: str = ""
    key: str = ""


@attrs.frozen(slots=True, kw_only=True)
class Document:
    """An OpenAPI document.

    Args:
        library: Its files.
        old: Whether it is OpenAPI 3.0.
        operations: All that could be a tool, in its order.
        unfit: What of its operations is none, and why.
        schemes: How callers prove who they are.
    """

    library: Library = attrs.field(repr=False)
    old: bool
    operations: Sequence[Operation] = attrs.field(repr=False)
    unfit: Sequence[Unfit]
    schemes: Sequence[Scheme]

    @property
    def title(self) -> str:
        """What it calls itself."""
        info = self.library.root.get("info")
        return "" if info is None else info.text("title")

    @property
    def server(self) -> str | None:
        """The first of its servers, variables at their defaults; `None` where it names none."""
        return server_of(self.library.root)


def read_document(path: Path) -> Document:
    """Read a document.

    Args:
        path: Its first file.

    Raises:
        Unfit: It cannot be read, or is no OpenAPI 3.0 or 3.1.
    """
    try:
        library = Library(path)
    except OSError as error:
        raise Unfit(str(path), reason(error)) from None
    old = _is_old(library.root)
    unfit: list[Unfit] = []
    found = list(_operations(library, unfit))
    names = names_of(
        [(node.text("operationId"), method, where) for where, method, node, _ in found]
    )
    operations = [
        Operation(
            id=node.text("operationId"), name=name, method=method, path=where, node=node, item=item
        )
        for (where, method, node, item), name in zip(found, names, strict=True)
    ]
    return Document(
        library=library,
        old=old,
        operations=operations,
        unfit=unfit,
        schemes=list(_schemes(library)),
    )


def chosen(
    operations: Iterable[Operation], patterns: Sequence[str]
) -> tuple[Mapping[str, bool], list[str]]:
    """The names of the operations that patterns ask for.

    Args:
        operations: All there are.
        patterns: Operation ids or names of tools; `*`, `?` and `[…]` stand for more.

    Returns:
        The names, each with whether it was asked for without `*` and the like; and the patterns
        that ask for nothing.
    """
    names: dict[str, bool] = {}
    unmatched: list[str] = []
    operations = list(operations)
    for pattern in patterns:
        fits = re.compile(fnmatch.translate(pattern)).match
        matched = [
            each
            for each in operations
            if pattern in {each.id, each.name} or fits(each.id) or fits(each.name)
        ]
        if not matched:
            unmatched.append(pattern)
        for each in matched:
            exact = pattern in {each.id, each.name}
            names[each.name] = names.get(each.name, False) or exact
    return {each.name: names[each.name] for each in operations if each.name in names}, unmatched


def server_of(node: Node) -> str | None:
    """The first of the servers that a part of a document names, variables at their defaults.

    Raises:
        Unfit: They are no servers.
    """
    servers = node.get("servers")
    first = None if servers is None else next(servers.elements(), None)
    if first is None:
        return None
    variables = first.get("variables")
    defaults = {} if variables is None else {k: v.text("default") for k, v in variables.items()}
    return _VARIABLE.sub(lambda match: defaults.get(match[1], match[0]), first.text("url"))


def is_absolute(url: str | None) -> bool:
    """Whether a server's URL says a host, so that a service can be made of it."""
    return _ABSOLUTE.fullmatch(url or "") is not None


def _is_old(root: Node) -> bool:
    """Whether a document is OpenAPI 3.0; if not, it is 3.1.

    Raises:
        Unfit: It is neither.
    """
    wanted = "an OpenAPI 3.0 or 3.1 document"
    value: Any = root.table(wanted).value
    if "swagger" in value:
        raise root.unfit(
            f"expected {wanted}, got Swagger {show(value['swagger'])}: convert it first, "
            "for example with swagger2openapi"
        )
    version = value.get("openapi")
    match = _VERSION.fullmatch(version) if isinstance(version, str) else None
    if match is None:
        got = "no version" if version is None else f"version {show(version)}"
        raise root.unfit(f'expected {wanted} with openapi = "3.1.0" or the like, got {got}')
    dialect = value.get("jsonSchemaDialect", _DIALECTS[0])
    if dialect not in _DIALECTS:
        message = f"expected {alternatives(_DIALECTS)}, got {show(dialect)}"
        raise root.unfit(f"jsonSchemaDialect: {message}")
    return match[1] == "0"


def _operations(library: Library, unfit: list[Unfit]) -> Iterator[tuple[str, str, Node, Node]]:
    """Path, method, operation and path item of every operation; what is none goes to `unfit`."""
    paths = library.root.get("paths")
    if paths is None:
        raise library.root.unfit("paths: missing; expected an object of paths")
    for where, named in paths.items():
        if where.startswith("x-"):
            continue
        try:
            item = library.resolve(named).table("a path item")
        except Unfit as error:
            unfit.append(error)
            continue
        if not where.startswith("/"):
            unfit.append(named.unfit(f"expected a path that starts with /, got {show(where)}"))
            continue
        for method in _METHODS:
            node = item.get(method)
            if node is None:
                continue
            try:
                yield where, method, library.resolve(node).table("an operation"), item
            except Unfit as error:
                unfit.append(error)
        unfit += [
            part.unfit(f"{method.upper()} is not for calls")
            for method in sorted(_UNWRITTEN)
            if (part := item.get(method)) is not None
        ]


def _schemes(library: Library) -> Iterator[Scheme]:
    components = library.root.get("components")
    schemes = None if components is None else components.get("securitySchemes")
    if schemes is None:
        return
    for named in schemes.values():
        node = library.resolve(named).table("a security scheme")
        kind, place, key = node.text("type"), node.text("in"), node.text("name")
        if kind == "apiKey":
            folded = key.lower() if place == "header" else key
            yield Scheme(named.where, f"{place} {key}", place, folded)
        elif kind == "http":
            said = f"header authorization: {node.text('scheme').capitalize()} …"
            yield Scheme(named.where, said)
        elif kind in {"oauth2", "openIdConnect"}:
            yield Scheme(named.where, "header authorization: Bearer …")
