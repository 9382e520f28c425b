"""The MCP conformance suite: every scenario's checks, counted.

`mcp/expected.toml` says how many pass, and of those that do not, why. A scenario that passes more
than it says fails here too: the table is to be told.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.mcp.suite import RUNS, fetch, run

pytestmark = pytest.mark.end_to_end

EXPECTED: dict[str, Any] = tomllib.loads(
    (Path(__file__).parent / "mcp" / "expected.toml").read_text()
)


def test_every_run_is_in_the_table() -> None:
    assert set(EXPECTED) == set(RUNS)
    for name, scenarios in EXPECTED.items():
        assert sum(each.get("passed", 0) for each in scenarios.values()) > 20, name
        for scenario, each in scenarios.items():
            flawed = set(each) - {"passed", "why"} or "passed" not in each
            assert bool(flawed) == ("why" in each), f"{name}: {scenario}"


@pytest.fixture(params=RUNS)
def fetched(request: pytest.FixtureRequest) -> tuple[str, Path]:
    return request.param, fetch(request.param)


async def test_it_finds_what_the_table_says(fetched: tuple[str, Path]) -> None:
    name, package = fetched
    found = await run(name, package)
    expected = {
        scenario: {key: count for key, count in each.items() if key != "why"}
        for scenario, each in EXPECTED[name].items()
    }
    said = [f"{scenario}: {line}" for scenario, each in found.items() for line in each.said]
    assert {scenario: dict(each.checks) for scenario, each in found.items()} == expected, said
