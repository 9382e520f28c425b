"""What a database gives, as JSON has it.

Numbers that are exact stay exact: a decimal becomes its text. Dates and times are ISO 8601, a span
of time is its seconds, binary data is base64, and what is like none of these is its own text.
"""

from __future__ import annotations

import base64
import datetime as dt
import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from gateway.core.errors import BadReply

__all__ = ["objects"]


def objects(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, max_rows: int, max_bytes: int
) -> list[dict[str, Any]]:
    """Rows as objects.

    Args:
        columns: The names of their values.
        rows: As the database gives them, one by one: no more are taken than may be.
        max_rows: How many may be.
        max_bytes: How much their texts may amount to.

    Raises:
        BadReply: There are more, or two columns have one name.
    """
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise BadReply(f"two columns are called {twice[0]!r}: tell them apart with AS")
    found: list[dict[str, Any]] = []
    left = max_bytes
    for row in rows:
        if len(found) == max_rows:
            found.clear()  # the failure's traceback would keep them until it is collected
            raise BadReply(f"the reply is over {max_rows} rows")
        found.append({name: _plain(value) for name, value in zip(columns, row, strict=True)})
        left -= sum(map(_size, found[-1].values())) + sum(map(len, columns))
        if left < 0:
            found.clear()
            raise BadReply(f"the reply is over {max_bytes} bytes")
    return found


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(len(key) + _size(part) for key, part in value.items())
    return sum(map(_size, value)) if isinstance(value, list) else 8


def _plain(value: Any) -> Any:
    """One value in JSON's types."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(value)).decode()
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case dt.timedelta():
            return value.total_seconds()
        case Decimal() | uuid.UUID():
            return str(value)
        case Mapping():
            return {str(key): _plain(part) for key, part in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(part) for part in value]
    return str(value)
