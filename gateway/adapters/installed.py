"""Kinds of services that installed packages offer: entry points of the group `gateway.adapters`.

They are looked for where a file names a kind that is nobody else's, and only that one is imported.

Source: PyPA, "Entry points specification"; docs/adr/0020.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping

from gateway.config.text import one_line, show
from gateway.core.adapter import Kind

__all__ = ["GROUP", "Kinds"]

GROUP = "gateway.adapters"
"""The group of entry points in which packages name their kinds."""

_SHOWN = 200


class Kinds(Mapping[str, Kind]):
    """Kinds of services by the value of `kind`: those known, then those of installed packages.

    Looking one up imports the package that offers it; going through their names imports nothing.

    Args:
        known: Those that need not be looked for. They come first: no package replaces one.

    Raises:
        ValueError: On looking one up: it cannot be had from the package that offers it, or several
            do; the message says why.
    """

    def __init__(self, known: Mapping[str, Kind]) -> None:
        self._known = dict(known)

    def __getitem__(self, name: str) -> Kind:
        if name not in self._known:
            self._known[name] = _load(name)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(
            dict.fromkeys((*self._known, *importlib.metadata.entry_points(group=GROUP).names))
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _load(name: str) -> Kind:
    """The kind that an installed package offers under `name`.

    Raises:
        KeyError: None does.
        ValueError: As `Kinds`.
    """
    offers = {
        entry.value: entry for entry in importlib.metadata.entry_points(group=GROUP, name=name)
    }
    if not offers:
        raise KeyError(name)
    if len(offers) > 1:
        raise ValueError(f"{show(name)} is offered by several packages: {', '.join(offers)}")
    ((value, entry),) = offers.items()
    try:
        kind = entry.load()
    except Exception as error:
        why = one_line(f"{type(error).__name__}: {error}", _SHOWN)
        raise ValueError(f"{show(name)} cannot be had from {value}: {why}") from error
    if not isinstance(kind, Kind):
        raise ValueError(f"{show(name)} cannot be had from {value}: it is no gateway.Kind")  # noqa: TRY004 - a mistake of what is installed, told as one of the file
    return kind
