"""Scenarios for tests: a file of services and a tool, and what is asked of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.simulation.crowd import crowd
from gateway.simulation.figures import Figures
from gateway.simulation.scenario import Load, Scenario
from gateway.simulation.weather import Wishes

__all__ = ["counted", "scene"]

TOOL = """
[tools.customer]
deadline = "2s"
input.properties.id = "integer"
input.required = ["id"]
calls.profile = { service = "crm", get = "/customers/{id}" }
"""

INVOICES = 'calls.invoices = { service = "billing", get = "/of/{id}", optional = true }\n'


def scene(
    folder: Path,
    crm: str = "",
    billing: str | None = None,
    *,
    vary: dict[str, tuple[int, int]] | None = None,
    timeout_s: float = float("inf"),
    seed: int = 7,
    tool: str = TOOL,
    **wishes: tuple[str, ...],
) -> Scenario:
    """A tool with a call to `crm`, and an optional one to `billing` if keys for that are given."""
    text = f'[services.crm]\nkind = "http"\nurl = "http://crm.test"\n{crm}\n'
    if billing is not None:
        text += f'[services.billing]\nkind = "http"\nurl = "http://billing.test"\n{billing}\n'
        tool += INVOICES
    path = folder / "gateway.toml"
    path.write_text(text + tool)
    asked: Any = wishes
    return Scenario(
        file=str(path),
        tool="customer",
        arguments={"id": 1},
        vary=vary or {},
        wishes=Wishes(directory=folder, **asked),
        timeout_s=timeout_s,
        seed=seed,
    )


def counted(
    scenario: Scenario, *, per_s: float = 200, length_s: float = 20, clients: int | None = None
) -> Figures:
    """What is counted of so many requests."""
    return crowd(scenario, Load(rate_per_s=per_s, length_s=length_s, clients=clients))
