"""Mistakes: collected, each with its place, and reported all at once.

One mistake is one line: `gateway.toml:13: services.users.timeout: expected …, got …`. A decoder
that finds a value wrong raises `Refused`, and whoever holds the key says so once; what cannot be
judged because of it is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import attrs

from gateway.config.text import KeyPath, dotted, printable

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "ConfigError",
    "Location",
    "Origins",
    "Place",
    "Problem",
    "Problems",
    "Refused",
    "with_key",
]


class ConfigError(Exception):
    """The configuration has mistakes; as text, one line for each, in the order of the files.

    Args:
        problems: Every mistake, in that order.
    """

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class Refused(Exception):
    """A value is not what its key takes.

    Args:
        message: What was expected and what was found; `None` where that was told already, at a
            deeper place.
    """

    def __init__(self, message: str | None) -> None:
        super().__init__(message)
        self.message = message


@attrs.frozen(slots=True)
class Location:
    """A line of a file.

    Args:
        file: The file as the user named it.
        line: Counted from 1; `None` where a file has none to name.
        directory: The folder the file is in: what it names is looked up there.
    """

    file: str
    line: int | None
    directory: Path


@attrs.frozen(slots=True)
class Problem:
    """One mistake.

    Args:
        location: Where it is; of a missing key, where its table begins.
        path: Of which key; empty where it is the file itself.
        message: What is wrong and what would be right, on one line.
    """

    location: Location
    path: KeyPath
    message: str

    def __str__(self) -> str:
        line = "" if self.location.line is None else f":{self.location.line}"
        key = f"{dotted(self.path)}: " if self.path else ""
        return printable(f"{self.location.file}{line}: {key}{self.message}")


@attrs.define(slots=True)
class Origins:
    """Where each key stands, and what its references are looked up in.

    Args:
        root: The main file.
        environ: What `env:NAME` is looked up in.
        places: The line of each key. A key that is not there stands where its table does.
        files: Every file as shown, in the order they were read.
    """

    root: Location
    environ: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    places: dict[KeyPath, Location] = attrs.field(factory=dict, repr=False)
    files: list[str] = attrs.field(factory=list)

    def find(self, path: KeyPath) -> Location:
        """The line of `path`, or of the nearest table or array around it."""
        for end in range(len(path), 0, -1):
            location = self.places.get(path[:end])
            if location is not None:
                return location
        return self.root


def with_key(path: KeyPath, keys: Any, message: str) -> tuple[KeyPath, str]:
    """The path of the key that a message begins with, `url: expected…`, and the rest of it.

    Args:
        path: Of the table.
        keys: An instance of the attrs class whose fields its keys are.
        message: One that begins with none of them is the table's.
    """
    key, colon, rest = message.partition(": ")
    if colon and attrs.has(type(keys)) and key in attrs.fields_dict(type(keys)):
        return (*path, key), rest
    return path, message


class Problems:
    """The mistakes found so far.

    Args:
        origins: Where keys stand.
    """

    def __init__(self, origins: Origins) -> None:
        self.origins = origins
        self._found: list[Problem] = []
        self._literals: list[KeyPath] = []

    def add(self, path: KeyPath, message: str) -> None:
        """Tell a mistake at a key.

        Args:
            path: The key; it need not exist.
            message: One line: what is wrong and what would be right.
        """
        self._found.append(Problem(self.origins.find(path), path, message))

    def add_at(self, location: Location, message: str, path: KeyPath = ()) -> None:
        """Tell a mistake at a line: of a file that cannot be read, of a second definition."""
        self._found.append(Problem(location, path, message))

    def note_literal(self, path: KeyPath) -> None:
        """Note that a secret stands in the file itself; `gateway check --strict` refuses it."""
        self._literals.append(path)

    def place(self, path: KeyPath = ()) -> Place:
        """The place of the value at `path`."""
        return Place(self, path)

    def touches(self, path: KeyPath) -> bool:
        """Whether a mistake was told at `path` or anywhere below it."""
        return any(problem.path[: len(path)] == path for problem in self._found)

    def literals(self) -> Problems:
        """A collector of its own that tells of every secret written in the file."""
        problems = Problems(self.origins)
        for path in self._literals:
            problems.add(path, 'a secret in the file: write "env:NAME" or "file:PATH"')
        return problems

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Problem]:
        """Every mistake, in the order of the files and their lines."""
        order = {file: index for index, file in enumerate(self.origins.files)}
        return iter(
            sorted(
                self._found,
                key=lambda problem: (
                    order.get(problem.location.file, len(order)),
                    problem.location.line or 0,
                ),
            )
        )

    def raise_if_any(self) -> None:
        """Do nothing if there are none.

        Raises:
            ConfigError: There are some; it holds them all.
        """
        if self._found:
            raise ConfigError(tuple(self))


@attrs.frozen(slots=True)
class Place:
    """Where a value stands: `place / "key"` is a place below it.

    Args:
        problems: Where mistakes are told.
        path: The value's key.
    """

    problems: Problems = attrs.field(repr=False)
    path: KeyPath = ()

    def __truediv__(self, key: str | int) -> Place:
        return Place(self.problems, (*self.path, key))

    @property
    def directory(self) -> Path:
        """The folder of the file this stands in: what it names is looked up there."""
        return self.problems.origins.find(self.path).directory

    @property
    def environ(self) -> Mapping[str, str]:
        """What `env:NAME` is looked up in."""
        return self.problems.origins.environ

    def problem(self, message: str) -> None:
        """Tell a mistake here, and go on."""
        self.problems.add(self.path, message)

    def tell(self, refused: Refused) -> None:
        """Tell why the value here was refused, unless that was told at a deeper place."""
        if refused.message is not None:
            self.problems.add(self.path, refused.message)

    def refuse(self, message: str) -> NoReturn:
        """Tell a mistake here, and give the value up.

        Raises:
            Refused: Always, with nothing left to tell.
        """
        self.problem(message)
        raise Refused(None)

    def note_literal(self) -> None:
        """Note that the value here is a secret written in the file itself."""
        self.problems.note_literal(self.path)
