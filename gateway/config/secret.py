"""Secrets and the references they come by: `env:NAME`, `file:PATH`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.config.problems import Refused
from gateway.config.text import show

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.config.problems import Place

__all__ = [
    "REFERENCE_PATTERN",
    "Redaction",
    "Secret",
    "is_reference",
    "names_secret",
    "reason",
    "resolve",
    "reveal",
]

REFERENCE_PATTERN = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$"
"""A reference, as the JSON Schema knows it."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_MAX_FILE_BYTES = 64 * 1024
_MAX_LOOKED_AT = 65_536
"""Characters of a text that are searched for secrets."""
_LONG_WORD = 8
"""Characters from which on a word of a secret is one itself."""
_NAMES = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})
_PARTS = ("token", "secret", "key", "password")


class Secret:
    """A text that shows as `***` wherever it is printed.

    Args:
        text: What `reveal` gives back.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself: for the wire alone."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self._text == other._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))


class Redaction:
    """Shows what others say without the secrets they repeat.

    Args:
        values: Those among them that are `Secret` are hidden; of `Bearer X`, X by itself too.
    """

    __slots__ = ("_secrets",)

    def __init__(self, values: Iterable[str | Secret]) -> None:
        secrets: set[str] = set()
        for value in values:
            if isinstance(value, Secret):
                text = value.reveal()
                secrets |= {text, *(word for word in text.split() if len(word) >= _LONG_WORD)}
        # The longest first: none is hidden in part because another is a part of it.
        self._secrets = tuple(sorted(secrets - {""}, key=len, reverse=True))

    def __call__(self, text: str, at_most: int = 500) -> str:
        """What may be shown of `text`: without secrets and without white space around it.

        Args:
            text: As it came.
            at_most: Characters of it.
        """
        text = text[:_MAX_LOOKED_AT]
        for secret in self._secrets:  # before it is cut: half a secret is one too
            text = text.replace(secret, "***")
        return text.strip()[:at_most]


def reveal(value: str | Secret) -> str:
    """The text of a value that may be a secret: for the wire alone."""
    return value.reveal() if isinstance(value, Secret) else value


def names_secret(name: str) -> bool:
    """Whether what stands under a header's `name` is a secret."""
    folded = name.lower()
    return folded in _NAMES or any(part in folded for part in _PARTS)


def is_reference(text: str) -> bool:
    """Whether `text` says where its value is, instead of being it."""
    return text.startswith(("env:", "file:"))


def resolve(reference: str, place: Place) -> Secret:
    """What a reference stands for.

    Args:
        reference: `env:NAME`, or `file:PATH` relative to the folder of the file it stands in.
        place: Where it stands.

    Returns:
        The variable's value, or the file's text without one newline at its end.

    Raises:
        Refused: There is no such variable or file, it is empty, too large or not text. The message
            names the reference and never what it holds.
    """
    scheme, _, name = reference.partition(":")
    return Secret(_from_environ(name, place) if scheme == "env" else _from_file(name, place))


def _from_environ(name: str, place: Place) -> str:
    if not _VARIABLE.fullmatch(name):
        raise Refused(f'expected "env:NAME", got {show("env:" + name)}')
    text = place.environ.get(name)
    if text is None:
        raise Refused(f"environment variable {name} is not set")
    if not text:
        raise Refused(f"environment variable {name} is empty")
    return text


def _from_file(name: str, place: Place) -> str:
    if not name or "\0" in name:
        raise Refused(f'expected "file:PATH", got {show("file:" + name)}')
    path = place.directory / name
    try:
        # A device or a pipe could block, or never end.
        if path.exists() and not path.is_file():
            raise Refused(f"{show(name)} is not a file")
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Refused(f"cannot read file {show(name)}: {reason(error)}") from None
    if len(data) > _MAX_FILE_BYTES:
        raise Refused(f"file {show(name)} is larger than 64KiB")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Refused(f"file {show(name)} is not UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise Refused(f"file {show(name)} is empty")
    return text


def reason(error: OSError) -> str:
    """Why a file cannot be read, in words that name no path twice."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return (error.strerror or type(error).__name__).lower()
