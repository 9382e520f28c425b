"""Functions that are whole tools, for test_python_tools.py. What it prints is nobody's answer."""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import attrs
import msgspec

print("hello from the toolbox")


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


@dataclass
class Place:
    """Where something is."""

    city: str
    zip: str | None = None


class Order(TypedDict):
    id: int
    note: NotRequired[str]


@attrs.frozen
class Found:
    orders: list[Order]
    place: Place


def search(  # noqa: PLR0917 - as users write them
    text: str,
    size: Size = Size.SMALL,
    sort: Literal["new", "old"] = "new",
    most: Annotated[int, msgspec.Meta(ge=1, le=50, description="At most so many.")] = 10,
    where: Place | None = None,
    timeout: float | None = None,
) -> Found:
    """Find orders
    by their text.

    The second paragraph is for programmers.

    Args:
        text: What is looked for, in any
            language.
        size (Size): How large.
        most: Not this.

    Returns:
        Orders: all of them.
    """
    assert isinstance(size, Size)
    assert timeout is None or timeout > 0
    return Found([Order(id=len(text))], where or Place(sort))


def numpy_style(a: int, b: Annotated[str, "Its own words."] = "x") -> list[int]:
    """Do it as NumPy says.

    Parameters
    ----------
    a : int
        How many.
    b, c : str
        Not these.

    Returns
    -------
    d : int
        Nothing.
    """
    return [a, len(b)]


async def sphinx_style(a: int, *, flag: bool = False) -> dict[str, Any]:
    """Do it.

    :param int a: How
        many.
    :param flag: Whether.
    :returns: It.
    """
    return {"a": a, "flag": flag}


def bare(a, b=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
    return [a, b]


def open_ended(a: int, **rest: Any) -> dict[str, Any]:
    return {"a": a, **rest}


def items(n: int) -> Iterator[Order]:
    """Some orders."""
    for number in range(n):
        yield Order(id=number)


def unhintable(lock: threading.Lock) -> None: ...


def by_place(a: int, /) -> int:
    return a


def misnamed(a: Nowhere) -> None: ...  # type: ignore[name-defined] # noqa: F821


def lies() -> Order:
    """What it returns is none."""
    return {"name": "x"}  # type: ignore[return-value,typeddict-item]
