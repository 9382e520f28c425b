"""What tests need of the machine they run on, and ask it."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

__all__ = ["lives", "require"]


def lives(pid: int) -> bool:
    """Whether there is such a process; one that ended counts until its parent has seen it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


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
