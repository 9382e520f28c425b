"""Functions that are whole tools, for python_tools.toml."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import Enum
from typing import Annotated

from msgspec import Meta

PRICES = {"lamp": Decimal("19.90"), "desk": Decimal("249.00")}


class Currency(Enum):
    """What a quote is in."""

    EUR = "EUR"
    CHF = "CHF"


@dataclass
class Line:
    """So many of a product."""

    product: str
    count: int = 1


@dataclass
class Quote:
    """What it would cost."""

    total: Decimal
    currency: Currency
    unknown: list[str]


async def pi(digits: Annotated[int, Meta(ge=0, le=12)] = 5) -> dict[str, str]:
    """Pi, rounded.

    Args:
        digits: How many after the point.
    """
    return {"pi": str(round(Decimal("3.14159265358979"), digits))}


def quote(lines: list[Line], currency: Currency = Currency.EUR) -> Quote:
    """What an order would cost.

    Args:
        lines: What is ordered.
        currency: What the total is in.
    """
    rate = Decimal("0.95") if currency is Currency.CHF else Decimal(1)
    total = sum((PRICES.get(line.product, Decimal(0)) * line.count for line in lines), Decimal(0))
    return Quote(
        (total * rate).quantize(Decimal("0.01"), ROUND_HALF_UP),
        currency,
        [line.product for line in lines if line.product not in PRICES],
    )
