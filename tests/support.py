"""What tests need of the machine they run on."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn

import pytest
import trio

__all__ = ["require", "until"]


def require(reason: str) -> NoReturn:
    """Skip a test that the machine lacks something for.

    With `GATEWAY_REQUIRE_ALL=1` in the environment it fails instead: where everything should be
    there, nothing is to pass unseen.

    Args:
        reason: What is lacking.
    """
    if os.environ.get("GATEWAY_REQUIRE_ALL") == "1":
        pytest.fail(f"required, for GATEWAY_REQUIRE_ALL is set: {reason}", pytrace=False)
    pytest.skip(reason)


async def until(condition: Callable[[], object], *, within_s: float = 5) -> None:
    """Wait in real time for what no event tells: other threads, the system's sockets.

    Args:
        condition: What is waited for.
        within_s: Seconds after which the test fails.
    """
    with trio.fail_after(within_s):
        while not condition():
            await trio.sleep(0.001)
