"""The files of an OpenAPI document, their parts, and what the parts refer to.

References lead to parts of the same files or to files in the folder of the first one and below:
nothing is fetched, and nothing outside that folder is read.

Source: OpenAPI 3.0.4 and 3.1.1, "Reference Object"; RFC 6901 for the pointers.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import attrs
import msgspec

from gateway.config.openapi.yaml_text import NotYaml, decode_yaml
from gateway.config.secret import reason
from gateway.config.text import one_line, show

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_FILES", "MAX_PARTS", "Library", "Node", "Unfit"]

MAX_BYTES = 16 * 1024 * 1024
"""Largest document, all its files together."""

MAX_FILES = 10_000
"""Most files of a document."""

MAX_DEPTH = 100
"""Parts within one another."""

MAX_PARTS = 500_000
"""Parts looked at for one document: each use of a schema counts."""

_MAX_CHAIN = 32
_MAX_SHOWN = 300
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//")
_AT_BYTE = re.compile(r"(.*) \(byte (\d+)\)", re.DOTALL)


class Unfit(Exception):
    """A part of a document that cannot be used.

    Args:
        where: The file and the JSON pointer: `users.json#/paths/~1users/get`.
        message: What is wrong and what would be right, on one line.
    """

    def __init__(self, where: str, message: str) -> None:
        super().__init__(where, message)
        self.where = where
        self.message = message

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@attrs.frozen(slots=True)
class _File:
    """A file that was read.

    Args:
        path: Resolved.
        shown: As messages name it.
        value: What it holds.
    """

    path: Path
    shown: str
    value: Any = attrs.field(repr=False, eq=False)


@attrs.frozen(slots=True)
class Node:
    """A part of a document.

    Args:
        file: Where it stands.
        pointer: The keys that lead to it.
        value: What stands there.
    """

    file: _File
    pointer: tuple[str, ...]
    value: Any = attrs.field(repr=False, eq=False)

    @property
    def where(self) -> str:
        """The file and the JSON pointer."""
        pointer = "".join(
            "/" + token.replace("~", "~0").replace("/", "~1") for token in self.pointer
        )
        return f"{self.file.shown}#{pointer[:_MAX_SHOWN]}" if pointer else self.file.shown

    @property
    def key(self) -> tuple[Path, tuple[str, ...]]:
        """What tells it from every other part."""
        return self.file.path, self.pointer

    def unfit(self, message: str) -> Unfit:
        """That this part cannot be used, for the caller to raise."""
        return Unfit(self.where, message)

    def get(self, name: str) -> Node | None:
        """The part under `name`; `None` where there is none, or null."""
        value = self.value.get(name) if isinstance(self.value, Mapping) else None
        return None if value is None else self._part(name, value)

    def table(self, wanted: str = "an object") -> Node:
        """This part, if it is an object.

        Raises:
            Unfit: It is not.
        """
        if not isinstance(self.value, Mapping):
            raise self.unfit(f"expected {wanted}, got {show(self.value)}")
        return self

    def items(self) -> Iterator[tuple[str, Node]]:
        """The parts of an object, by name.

        Raises:
            Unfit: It is none.
        """
        for name, value in self.table().value.items():
            yield name, self._part(name, value)

    def values(self) -> Iterator[Node]:
        """The parts of an object.

        Raises:
            Unfit: It is none.
        """
        yield from dict(self.items()).values()

    def elements(self) -> Iterator[Node]:
        """The parts of a list.

        Raises:
            Unfit: It is none.
        """
        if not isinstance(self.value, list):
            raise self.unfit(f"expected a list, got {show(self.value)}")
        for index, value in enumerate(self.value):
            yield self._part(str(index), value)

    def text(self, name: str) -> str:
        """The text under `name`; empty where there is none."""
        value = self.value.get(name) if isinstance(self.value, Mapping) else None
        return value if isinstance(value, str) else ""

    def flag(self, name: str) -> bool:
        """Whether `name` is true."""
        return isinstance(self.value, Mapping) and self.value.get(name) is True

    def _part(self, name: str, value: Any) -> Node:
        if len(self.pointer) >= MAX_DEPTH:
            raise self.unfit(f"nested deeper than {MAX_DEPTH}")
        return Node(self.file, (*self.pointer, name), value)


class Library:
    """The files of one document, each read once.

    Args:
        path: The first file.
        max_bytes: Of all its files together.
        max_parts: How many parts are looked at, each as often as it is used.

    Attributes:
        root: What it holds.

    Raises:
        Unfit: It cannot be read.
    """

    def __init__(
        self, path: Path, *, max_bytes: int = MAX_BYTES, max_parts: int = MAX_PARTS
    ) -> None:
        self._max_bytes = max_bytes
        self._max_parts = max_parts
        self._folder = path.resolve().parent
        self._shown = path.parent
        self._files: dict[Path, _File] = {}
        self._bytes = 0
        self._parts = 0
        self.root = Node(self._read(path.resolve(), str(path)), (), None)
        self.root = attrs.evolve(self.root, value=self.root.file.value)

    def spend(self, node: Node, parts: int = 1) -> None:
        """Count parts that are looked at.

        Raises:
            Unfit: They are too many.
        """
        self._parts += parts
        if self._parts > self._max_parts:
            raise node.unfit(f"more than {self._max_parts} parts, references followed")

    def resolve(self, node: Node) -> Node:
        """What `node` stands for: itself, or where its `$ref` leads, and that one's.

        Raises:
            Unfit: A reference leads nowhere, in a circle, or out of the document's folder.
        """
        seen: set[Any] = set()
        at = node
        while isinstance(at.value, Mapping) and isinstance(at.value.get("$ref"), str):
            if at.key in seen or len(seen) == _MAX_CHAIN:
                raise node.unfit("expected a reference to something, got references in a circle")
            seen.add(at.key)
            at = self.follow(at)
        return at

    def follow(self, node: Node) -> Node:
        """Where the `$ref` of `node` leads.

        Raises:
            Unfit: It leads nowhere, or out of the document's folder.
        """
        self.spend(node)
        reference: str = node.value["$ref"]
        named, _, fragment = reference.partition("#")
        file = self._beside(node, reference, unquote(named)) if named else node.file
        pointer = unquote(fragment)
        if pointer and not pointer.startswith("/"):
            raise node.unfit(
                f'expected a reference such as "#/components/schemas/User", got {show(reference)}: '
                "names of anchors are not followed"
            )
        tokens = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
        value = file.value
        for token in tokens:
            value = _step(value, token)
            if value is None:
                raise node.unfit(f"expected a reference to a part, got {show(reference)}")
        if len(tokens) > MAX_DEPTH:
            raise node.unfit(f"nested deeper than {MAX_DEPTH}")
        return Node(file, tuple(tokens), value)

    def _beside(self, node: Node, reference: str, named: str) -> _File:
        """The file that a reference names."""
        wanted = "a reference within the document or to a file in its folder"
        if _SCHEME.match(named) or "\0" in named or named.startswith(("/", "\\")):
            raise node.unfit(f"expected {wanted}, got {show(reference)}: nothing is fetched")
        path = (node.file.path.parent / named).resolve()
        if not path.is_relative_to(self._folder):
            raise node.unfit(f"expected {wanted}, got {show(reference)}: it leads out of that")
        if path in self._files:
            return self._files[path]
        if len(self._files) == MAX_FILES:
            raise node.unfit(f"more than {MAX_FILES} files")
        try:
            return self._read(path, str(self._shown / path.relative_to(self._folder)))
        except OSError as error:
            message = f"expected {wanted}, got {show(reference)}: {reason(error)}"
            raise node.unfit(message) from None

    def _read(self, path: Path, shown: str) -> _File:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unfit(shown, "expected a file")
        with path.open("rb") as stream:
            data = stream.read(self._max_bytes - self._bytes + 1)
        self._bytes += len(data)
        if self._bytes > self._max_bytes:
            limit = f"{self._max_bytes // 2**20}MiB"
            raise Unfit(shown, f"larger than {limit}, all files of it together")
        file = _File(path, shown, _decoded(data, shown, path.suffix.lower()))
        self._files[path] = file
        return file


def _step(value: Any, token: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(token)
    if isinstance(value, list) and re.fullmatch("0|[1-9][0-9]{0,8}", token):
        return value[int(token)] if int(token) < len(value) else None
    return None


def _decoded(data: bytes, shown: str, suffix: str) -> Any:
    """What a file holds: YAML by its name, unless it is JSON by its looks.

    Raises:
        Unfit: It is neither.
    """
    data = data.removeprefix(b"\xef\xbb\xbf")
    if suffix not in {".yaml", ".yml"} or data.lstrip()[:1] == b"{":
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if suffix not in {".yaml", ".yml"}:
                raise Unfit(shown, f"not valid JSON: {_located(str(error), data)}") from None
        except RecursionError:
            raise Unfit(shown, "nested too deeply") from None
    try:
        return decode_yaml(data, MAX_DEPTH)
    except NotYaml as error:
        raise Unfit(shown, str(error)) from None


def _located(message: str, data: bytes) -> str:
    """A decoder's message with the line it speaks of."""
    match = _AT_BYTE.fullmatch(message)
    if match is None:
        return one_line(message, 200)
    line = data.count(b"\n", 0, int(match[2])) + 1
    return f"{one_line(match[1], 200)}, line {line}"
