"""Files → one raw document, with the line of every key; `include`.

Files are read once each, the including one first. What one of them defines, none of the others
may define again.
"""

from __future__ import annotations

import glob
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from gateway.config.lines import Mark, Marks, TooComplex, scan
from gateway.config.problems import Location, Origins, Problems
from gateway.config.secret import reason
from gateway.config.text import KeyPath, dotted, one_line, show

__all__ = ["MAX_FILES", "MAX_FILE_BYTES", "MAX_INCLUDE_DEPTH", "read"]

MAX_FILE_BYTES = 4 * 1024 * 1024
"""Largest file."""

MAX_FILES = 1000
"""Most files of one configuration."""

MAX_INCLUDE_DEPTH = 8
"""Files that include one another."""

_TOMLLIB = re.compile(r"(.*) \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)", re.DOTALL)


def read(path: str | Path, environ: Mapping[str, str]) -> tuple[dict[str, Any] | None, Problems]:
    """Read a file and all that it includes.

    Args:
        path: As the user named it; messages repeat it.
        environ: What `env:NAME` will be looked up in.

    Returns:
        The document without its `include` keys, `None` if a file of it could not be read; and the
        collector, which knows every key's line and the mistakes found on the way.
    """
    root = Location(str(path), None, Path(path).parent)
    problems = Problems(Origins(root, environ))
    reader = _Reader(problems)
    reader.read(Path(path), str(path), ())
    return (reader.document if reader.whole else None), problems


class _Reader:
    """Reads files into one document.

    Args:
        problems: Where mistakes are told, and whose origins are filled.
    """

    def __init__(self, problems: Problems) -> None:
        self.document: dict[str, Any] = {}
        self.whole = True
        self._problems = problems
        self._origins = problems.origins
        self._how: dict[KeyPath, str] = {}
        self._seen: set[Path] = set()

    def read(self, path: Path, shown: str, chain: tuple[Path, ...]) -> None:
        """Read one file, merge it, and read what it includes.

        Args:
            path: The file.
            shown: Its name in messages.
            chain: The files that include it, the main one first.
        """
        self._origins.files.append(shown)
        self._seen.add(path.resolve())
        file = Location(shown, None, path.parent)
        parsed = self._parse(path, file)
        if parsed is None:
            self.whole = False
            return
        values, marks = parsed
        patterns = values.pop("include", [])
        _Merge(self._problems, self._how, file, marks.places).merge(self.document, values, ())
        self._include(patterns, file, marks, (*chain, path.resolve()))

    def _parse(self, path: Path, file: Location) -> tuple[dict[str, Any], Marks] | None:
        """A file's values and lines; `None` where it has none, and that is told."""
        try:
            with path.open("rb") as stream:
                data = stream.read(MAX_FILE_BYTES + 1)
        except (OSError, ValueError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error)
            self._problems.add_at(file, why)
            return None
        if len(data) > MAX_FILE_BYTES:
            self._problems.add_at(file, "larger than 4MiB")
            return None
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            byte = data[error.start]
            self._problems.add_at(_line(file, line), f"not UTF-8 text: byte 0x{byte:02x}")
            return None
        if text.startswith("\ufeff"):
            self._problems.add_at(_line(file, 1), "begins with a byte order mark: save it without")
            return None
        # As tomllib does it, so that both count the same lines.
        text = text.replace("\r\n", "\n")
        try:
            return tomllib.loads(text), scan(text)
        except TooComplex as error:
            self._problems.add_at(_line(file, error.line), error.message)
        except RecursionError:
            self._problems.add_at(file, "nested too deeply")
        except ValueError as error:
            self._problems.add_at(*_syntax_problem(str(error), text, file))
        return None

    def _include(
        self, patterns: Any, file: Location, marks: Marks, chain: tuple[Path, ...]
    ) -> None:
        key: KeyPath = ("include",)
        if not isinstance(patterns, list):
            message = 'expected a list of files such as ["services/*.toml"], got '
            self._refuse(file, marks, key, message + show(patterns))
            return
        for index, pattern in enumerate(patterns):
            here = (*key, index)
            if not isinstance(pattern, str) or not pattern or "\0" in pattern:
                message = 'expected files such as "services/*.toml", got '
                self._refuse(file, marks, here, message + show(pattern))
                continue
            # pathlib takes no absolute patterns.
            found = sorted(glob.glob(pattern, root_dir=file.directory, recursive=True))  # noqa: PTH207
            names = [name for name in found if not (file.directory / name).is_dir()]
            if not names:
                self._refuse(file, marks, here, f"{show(pattern)} matches no file")
            elif len(chain) > MAX_INCLUDE_DEPTH:
                message = f"files include one another deeper than {MAX_INCLUDE_DEPTH}"
                self._refuse(file, marks, here, message)
            elif len(self._seen) + len(names) > MAX_FILES:
                self._refuse(file, marks, here, f"more than {MAX_FILES} files")
            else:
                self._include_files(names, file, _line_of(file, marks, here), chain)

    def _include_files(
        self, names: list[str], file: Location, at: Location, chain: tuple[Path, ...]
    ) -> None:
        for name in names:
            path = file.directory / name
            if path.resolve() in chain:
                self.whole = False
                self._problems.add_at(
                    at, f"includes {show(name)}, which includes this file: a cycle"
                )
            elif path.resolve() not in self._seen:
                self.read(path, str(path), chain)

    def _refuse(self, file: Location, marks: Marks, key: KeyPath, message: str) -> None:
        # What should have been included is missing: nothing that refers to it can be judged.
        self.whole = False
        self._problems.add_at(_line_of(file, marks, key), message, key)


@attrs.frozen(slots=True)
class _Merge:
    """Merges one file into what was read before it.

    Args:
        problems: Where second definitions are told, and whose origins are filled.
        how: How each key came to be, over all files.
        file: The file.
        places: Its lines.
    """

    problems: Problems
    how: dict[KeyPath, str]
    file: Location
    places: Mapping[KeyPath, Mark]

    def merge(self, into: dict[str, Any], values: dict[str, Any], path: KeyPath) -> None:
        """Add every key of `values`, tables to tables."""
        for key, value in values.items():
            here = (*path, key)
            if key not in into:
                into[key] = value
                self._adopt(value, here)
            elif self._extends(here):
                mark = self.places[here]
                if mark.how == "header":
                    self._locate(here, mark)
                self.merge(into[key], value, here)
            else:
                first = self.problems.origins.find(here)
                line = "" if first.line is None else f":{first.line}"
                at = _line(self.file, self.places[here].line)
                self.problems.add_at(at, f"already defined at {first.file}{line}", here)

    def _extends(self, path: KeyPath) -> bool:
        """Whether a table may go on here: as in TOML, its header stands once, values not twice."""
        ways = {self.how[path], self.places[path].how}
        return "value" not in ways and ways != {"header"}

    def _adopt(self, value: Any, path: KeyPath) -> None:
        mark = self.places.get(path)
        if mark is not None:
            self._locate(path, mark)
        if isinstance(value, dict):
            for key, item in value.items():
                self._adopt(item, (*path, key))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self._adopt(item, (*path, index))

    def _locate(self, path: KeyPath, mark: Mark) -> None:
        self.how[path] = mark.how
        self.problems.origins.places[path] = _line(self.file, mark.line)


def _line(file: Location, line: int) -> Location:
    return attrs.evolve(file, line=line)


def _line_of(file: Location, marks: Marks, path: KeyPath) -> Location:
    mark = marks.places.get(path)
    return file if mark is None else _line(file, mark.line)


def _syntax_problem(error: str, text: str, file: Location) -> tuple[Location, str]:
    """Where and why a text is not TOML."""
    match = _TOMLLIB.fullmatch(error)
    if match is None:
        return file, f"not valid TOML: {one_line(error, 200)}"
    why = one_line(match[1], 200)
    if match[2] is None:
        return _line(file, text.rstrip("\n").count("\n") + 1), f"not valid TOML: {why}, at the end"
    line = int(match[2])
    if why.startswith("Cannot"):
        twice = _twice(text, line)
        if twice is not None:
            return _line(file, twice[0]), f"not valid TOML: {twice[1]}"
    return _line(file, line), f"not valid TOML: {why}, column {match[3]}"


def _twice(text: str, line: int) -> tuple[int, str] | None:
    """Which key stands twice, where tomllib only says that some does."""
    try:
        found = [duplicate for duplicate in scan(text).duplicates if duplicate.line <= line]
    except TooComplex:
        return None
    if not found:
        return None
    twice = found[0]
    return twice.line, f"{dotted(twice.path)} is already defined in line {twice.first}"
