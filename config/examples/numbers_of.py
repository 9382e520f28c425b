"""A function that computes for long, for python_tools.toml."""

from math import isqrt
from typing import Annotated

from msgspec import Meta


def primes(below: Annotated[int, Meta(ge=2, le=200_000_000)]) -> dict[str, int]:
    """How many primes there are below a number.

    Args:
        below: The number; a hundred million take some seconds.
    """
    sieve = bytearray([1]) * below
    sieve[:2] = bytes(min(2, below))
    for number in range(2, isqrt(below - 1) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, below, number)))
    return {"below": below, "primes": sum(sieve)}
