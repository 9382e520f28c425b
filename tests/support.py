"""What tests need of the machine they run on."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

__all__ = ["require"]


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
