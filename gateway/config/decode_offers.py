"""Prompts and resources: from tables to their settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.config.codec import expected
from gateway.config.settings import PromptSettings, ResourceSettings
from gateway.config.tables import codecs_of, decode_keys
from gateway.config.values import check_name

if TYPE_CHECKING:
    from gateway.config.problems import Place

__all__ = ["decode_prompts", "decode_resources"]

Settings = TypeVar("Settings")

_NEITHER = "expected uri, or uri_template for a tool's answers"
_NOTHING = "expected file or tool"


def decode_prompts(tables: Any, place: Place) -> dict[str, PromptSettings]:
    """Decode every prompt.

    Args:
        tables: The section `prompts`.
        place: Where it stands.

    Returns:
        Those that nothing is wrong with, by name, in the file's order; each has one of `file` and
        `tool`.
    """
    prompts: dict[str, PromptSettings] = {}
    for name, settings in _decoded(PromptSettings, "a table with file", tables, place):
        if (settings.file is None) == (settings.tool is None):
            (place / name).problem(_NOTHING if settings.file is None else f"{_NOTHING}, got both")
        else:
            prompts[name] = settings
    return prompts


def decode_resources(tables: Any, place: Place) -> dict[str, ResourceSettings]:
    """Decode every resource.

    Args:
        tables: The section `resources`.
        place: Where it stands.

    Returns:
        Those that nothing is wrong with, by name, in the file's order; each has one of `uri` and
        `uri_template`, and one of `file` and `tool`.
    """
    wanted = "a table with uri and file"
    resources: dict[str, ResourceSettings] = {}
    for name, settings in _decoded(ResourceSettings, wanted, tables, place):
        here = place / name
        if (settings.uri is None) == (settings.uri_template is None):
            here.problem(_NEITHER if settings.uri is None else f"{_NEITHER}, got both")
        elif (settings.file is None) == (settings.tool is None):
            here.problem(_NOTHING if settings.file is None else f"{_NOTHING}, got both")
        elif settings.uri_template is not None and settings.tool is None:
            (here / "file").problem("a file has one uri: only a tool answers a uri_template")
        else:
            resources[name] = settings
    return resources


def _decoded(
    cls: type[Settings], wanted: str, tables: Any, place: Place
) -> Iterator[tuple[str, Settings]]:
    if not isinstance(tables, Mapping):
        place.tell(expected("a table", tables))
        return
    codecs = codecs_of(cls)
    for name, table in tables.items():
        here = place / name
        named = check_name(name, here)
        if not isinstance(table, Mapping):
            here.tell(expected(wanted, table))
            continue
        decoded = decode_keys(codecs, table, here)
        if named and not decoded.failed:
            yield name, cls(**decoded.values)
