"""What holds for each key, as the file would write it, and where that came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from gateway.build import Built
from gateway.config.codec import Codec
from gateway.config.fields import Secret
from gateway.config.tables import KEY, codec_of
from gateway.config.text import KeyPath, dotted, printable

__all__ = ["Origins", "Value", "is_table", "plain"]


@attrs.frozen(slots=True)
class Value:
    """One effective value.

    Args:
        key: Its key, dotted where it is in a table.
        value: In JSON's types, as the file would write it; secrets as `***`.
        origin: `FILE:LINE`, with the profile's name before it if one says it; or what it follows
            from: `default`, `by its verb`, `with cache`, `fixed`.
    """

    key: str
    value: Any
    origin: str


class Origins:
    """Tells where values came from.

    Args:
        built: The file.
    """

    def __init__(self, built: Built) -> None:
        self._written = built.config.explicit
        self._find = built.origins.find

    def at(self, *path: str) -> str:
        """The line of a key, or of what is around it."""
        location = self._find(path)
        return printable(
            location.file if location.line is None else f"{location.file}:{location.line}"
        )

    def is_written(self, *path: str) -> bool:
        """Whether the key stands in the file."""
        return dotted(path) in self._written

    def of(self, *path: str) -> str:
        """Where a key's value came from."""
        return self.at(*path) if self.is_written(*path) else "default"

    def values(self, settings: Any, path: KeyPath) -> Iterator[Value]:
        """Every key of a settings class.

        Args:
            settings: An instance of it.
            path: Where its table stands.
        """
        names = tuple(map(str, path))
        for attribute in attrs.fields(type(settings)):
            value = getattr(settings, attribute.name)
            if is_table(value):
                for inner in self.values(value, (*names, attribute.name)):
                    yield attrs.evolve(inner, key=f"{attribute.name}.{inner.key}")
            else:
                origin = self.of(*names, attribute.name)
                yield Value(attribute.name, plain(value, codec_of(attribute)), origin)


def is_table(value: Any) -> bool:
    """Whether `value` is a table of the file: an instance of a class whose fields are its keys."""
    return attrs.has(type(value)) and all(
        KEY in attribute.metadata for attribute in attrs.fields(type(value))
    )


def plain(value: Any, codec: Codec | None = None) -> Any:
    """`value` as the file would write it, in JSON's types, without what is secret."""
    match value:
        case None:
            return None
        case Secret():
            return "***"
        case Mapping():
            return {key: plain(item) for key, item in value.items()}
        case _ if codec is not None:
            return plain(codec.write(value))
        case list() | tuple():
            return [plain(item) for item in value]
        case bool() | int() | float() | str():
            return value
        case _:
            return str(value)
