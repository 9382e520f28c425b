"""What is simulated, and the gateway made for it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import attrs

from gateway.app import Gateway
from gateway.build import build, load_config
from gateway.config.text import did_you_mean
from gateway.plan.tool import Tool
from gateway.simulation.samples import sample_replies
from gateway.simulation.stand_in import StandIn, Watch
from gateway.simulation.weather import Weather, Wishes, forecast
from gateway.telemetry.hub import Listener, Telemetry
from gateway.telemetry.metrics import Metrics

__all__ = ["Load", "Scenario", "Stage", "set_up"]


@attrs.frozen(slots=True, kw_only=True)
class Load:
    """How many requests come.

    Args:
        rate_per_s: How often, above 0; they come independently of one another, and of the answers.
        length_s: For how many seconds they do, above 0.
        clients: How many there are: each waits for its answer before it asks again. `None`: enough.
    """

    rate_per_s: float
    length_s: float
    clients: int | None = None


@attrs.frozen(slots=True, kw_only=True)
class Scenario:
    """What is simulated. Every process makes its own gateway of it.

    Args:
        file: The configuration's path.
        tool: The tool's name.
        arguments: Its arguments.
        vary: Arguments that differ from request to request: the least and the greatest number.
        wishes: The weather.
        timeout_s: The clients' own budget, seconds; may be inf.
        seed: What all chance follows from.
    """

    file: str
    tool: str
    arguments: Mapping[str, Any]
    vary: Mapping[str, tuple[int, int]]
    wishes: Wishes
    timeout_s: float
    seed: int


@attrs.frozen(slots=True)
class Stage:
    """A gateway whose services are stand-ins.

    Args:
        app: The gateway, not open yet.
        tool: The one that is called.
        weather: What its services do.
    """

    app: Gateway
    tool: Tool
    weather: Weather


def set_up(scenario: Scenario, listener: Listener, watch: Watch) -> Stage:
    """The gateway of a scenario, as it would be served, before services that do as told.

    Args:
        scenario: What is simulated.
        listener: Hears every event.
        watch: Is told of every attempt that reaches a service.

    Raises:
        ConfigError: The file has mistakes.
        ValueError: There is no such tool, or a wish cannot be granted.
    """
    config = load_config(scenario.file)
    name = scenario.tool
    if name not in config.tools:
        known = ", ".join(config.tools) or "none"
        near = did_you_mean(name, config.tools)
        raise ValueError(f"{scenario.file}: expected a tool ({known}), got {name!r}{near}")
    tool = config.tools[name]
    calls = {call.name: call.common.service for call in tool.calls.values()}
    samples = sample_replies(tool)
    weather = forecast(scenario.wishes, name, calls, tuple(config.services), samples)
    stand_ins = {
        service: StandIn(
            service,
            {call: weather.calls[call] for call, to in calls.items() if to == service},
            random.Random(f"{scenario.seed} weather {service}"),  # noqa: S311 - no secret
            watch,
        )
        for service in config.services
    }
    telemetry = Telemetry((listener,))
    built = build(scenario.file, record=telemetry.record, services=stand_ins, seed=scenario.seed)
    return Stage(Gateway(built, telemetry, Metrics()), built.tools[name], weather)
