"""Times that PostgreSQL has and Python has not: infinity, years BC and beyond 9999, `24:00`.

They stay the text that they came as, where psycopg would give the whole statement up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg
    from psycopg.abc import Buffer, Loader

__all__ = ["keep_texts"]

_TYPES = ("date", "timestamp", "timestamptz", "time", "timetz", "interval")


def keep_texts(raw: psycopg.Connection[Any]) -> None:
    """Have a connection give the text of each time that it cannot give otherwise."""
    from psycopg.pq import Format  # noqa: PLC0415 - an extra

    for name in _TYPES:
        oid = raw.adapters.types[name].oid
        loader = raw.adapters.get_loader(oid, Format.TEXT)
        assert loader is not None  # noqa: S101 - psycopg has one for each of these
        raw.adapters.register_loader(oid, _or_text(loader))


def _or_text(loader: type[Loader]) -> type[Loader]:
    from psycopg import DataError, adapt  # noqa: PLC0415

    class OrText(adapt.Loader):
        """As `loader`; where that fails, the text."""

        def __init__(self, oid: int, connection: Any = None) -> None:
            super().__init__(oid, connection)
            self._inner = loader(oid, connection)

        def load(self, data: Buffer) -> Any:
            try:
                return self._inner.load(data)
            except DataError:
                return bytes(data).decode()

    return OrText
