"""The MCP conformance suite: every scenario's checks, counted.

`mcp/expected.toml` says how many pass, and of those that do not, why. A scenario that passes more
than it says fails here too: the table is to be told.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.conformance.mcp.suite import RUNS, WAYS, fetch, run

pytestmark = pytest.mark.end_to_end

Scenarios: TypeAlias = Mapping[str, Mapping[str, Any]]

EXPECTED: Mapping[str, Mapping[str, Scenarios]] = tomllib.loads(
    (Path(__file__).parent / "mcp" / "expected.toml").read_text()
)
NOT_OFFERED = "tasks-"
"""How the names of the scenarios begin that the Tasks extension has."""


def expected(way: str, name: str) -> Scenarios:
    """What a run is to find, by scenario: what stands for the way over what stands for us."""
    of = {"gateway": "gateway", "sdk": "sdk"}.get(way, "federated")
    return {**EXPECTED["gateway"][name], **EXPECTED[of][name]}


def flawed(each: Mapping[str, Any]) -> bool:
    return bool({"failed", "warned"} & each.keys())


def test_every_run_is_in_the_table() -> None:
    assert set(EXPECTED) == {"gateway", "sdk", "federated"}
    for scenarios in EXPECTED.values():
        assert set(scenarios) == set(RUNS)
    for name, scenarios in EXPECTED["gateway"].items():
        assert sum(each.get("passed", 0) for each in scenarios.values()) > 20, name
        for scenario, each in scenarios.items():
            assert "why" in each or ("passed" in each and not flawed(each)), f"{name}: {scenario}"


@pytest.mark.parametrize("way", ["sdk", "federated"])
def test_what_differs_is_said_and_explained(way: str) -> None:
    for name, scenarios in EXPECTED[way].items():
        for scenario, each in scenarios.items():
            assert "why" in each, f"{name}: {scenario}"
            ours = EXPECTED["gateway"][name][scenario]
            assert {**each, "why": ""} != {**ours, "why": ""}, f"{name}: {scenario}"


@pytest.mark.parametrize("way", WAYS)
def test_nothing_fails_but_what_the_server_behind_fails_alone(way: str) -> None:
    for name in RUNS:
        fails = {scenario for scenario, each in expected(way, name).items() if flawed(each)}
        alone = {scenario for scenario, each in expected("sdk", name).items() if flawed(each)}
        rest = {scenario for scenario in fails if not scenario.startswith(NOT_OFFERED)}
        assert rest == set() if way == "gateway" else rest <= alone


@pytest.fixture(params=RUNS)
def fetched(request: pytest.FixtureRequest) -> tuple[str, Path]:
    return request.param, fetch(request.param)


@pytest.mark.parametrize("way", WAYS)
async def test_it_finds_what_the_table_says(fetched: tuple[str, Path], way: str) -> None:
    name, package = fetched
    found = await run(name, way, package)
    wanted = {
        scenario: {key: count for key, count in each.items() if key != "why"}
        for scenario, each in expected(way, name).items()
    }
    said = [f"{scenario}: {line}" for scenario, each in found.items() for line in each.said]
    assert {scenario: dict(each.checks) for scenario, each in found.items()} == wanted, said
