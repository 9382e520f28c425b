"""A tool of a file → everything in it that matters to time or failure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from gateway.build import Built, Layer
from gateway.config.decoded import CallConfig
from gateway.config.tables import codec_of
from gateway.config.units import format_duration
from gateway.core.service import CallFacts
from gateway.explain.arithmetic import Window, bounds_of, windows_of
from gateway.explain.values import Origins, Value, is_table, plain
from gateway.plan.fastest import FIXED as FASTEST
from gateway.plan.plan import Node
from gateway.plan.tool import Tool
from gateway.policies import POLICIES

__all__ = ["Call", "Explanation", "Guard", "Service", "describe"]


@attrs.frozen(slots=True, kw_only=True)
class Guard:
    """One policy as it stands around a call.

    Args:
        layer: As built.
        of: `call`, `service` or `profile NAME`: whose key it is.
        origin: Where that key stands.
        values: Its keys, and the numbers that no key sets.
    """

    layer: Layer
    of: str
    origin: str
    values: tuple[Value, ...]


@attrs.frozen(slots=True, kw_only=True)
class Call:
    """One call of a plan.

    Args:
        node: As it runs.
        config: As written.
        asks: What is asked, in short.
        values: Its own keys.
        stack: The policies that hold for it, outermost first.
        idle: The policies of its service that do not hold for it.
        window: When it is under way at worst.
        budget_s: The seconds it has if it begins at once: the tool's; its own if it is committed.
        fits: How many attempts end in that, each as long as can be; the same if the calls before
            it take as long as can be.
        origin: Where it stands.
    """

    node: Node
    config: CallConfig
    asks: str
    values: tuple[Value, ...]
    stack: tuple[Guard, ...]
    idle: tuple[Guard, ...]
    window: Window
    budget_s: float
    fits: tuple[int, int]
    origin: str


@attrs.frozen(slots=True, kw_only=True)
class Service:
    """A service that a tool's calls go to.

    Args:
        name: Its name.
        kind: Its kind.
        values: The keys of its kind.
        origin: Where it stands.
        longest_s: The longest budget of any call to it, of whichever tool.
    """

    name: str
    kind: str
    longest_s: float
    values: tuple[Value, ...]
    origin: str


@attrs.frozen(slots=True, kw_only=True)
class Explanation:
    """One tool.

    Args:
        tool: As it runs.
        values: The keys of the tool, and what the server sets for it.
        calls: By name, each after those it waits for.
        services: Those called, by name, in the order of the calls.
        path: The names along the path of the plan that takes longest at worst.
        origin: Where it stands.
    """

    tool: Tool
    values: tuple[Value, ...]
    calls: Mapping[str, Call]
    services: Mapping[str, Service]
    path: tuple[str, ...]
    origin: str


def describe(built: Built, tool: Tool) -> Explanation:
    """Everything that a file says of `tool`, and what follows from it.

    Args:
        built: The file.
        tool: One of its tools.
    """
    origins = Origins(built)
    configs = built.config.tools[tool.name].calls
    stacks = {name: built.stack(config) for name, config in configs.items()}
    bounds = {name: bounds_of(stack.layers) for name, stack in stacks.items()}
    windows, path = windows_of(tool.plan, bounds, tool.deadline_s)
    calls = {}
    for node in tool.plan.ordered:
        config, stack, window = configs[node.name], stacks[node.name], windows[node.name]
        budget_s = node.commit_timeout_s or tool.deadline_s
        guards = [_guard(built, origins, tool.name, config, layer) for layer in stack.layers]
        calls[node.name] = Call(
            node=node,
            config=config,
            asks=_asks(config),
            values=tuple(_of_call(built, origins, tool.name, config, stack.facts)),
            stack=tuple(guard for guard in guards if guard.layer.policy is not None),
            idle=tuple(guard for guard in guards if guard.layer.policy is None),
            window=window,
            budget_s=budget_s,
            fits=(
                window.bounds.fitting(budget_s),
                window.bounds.fitting(budget_s - (0 if config.common.commit else window.start_s)),
            ),
            origin=origins.at("tools", tool.name, "calls", node.name),
        )
    services = dict.fromkeys(config.common.service for config in configs.values())
    return Explanation(
        tool=tool,
        values=tuple(_of_tool(built, origins, tool)),
        calls=calls,
        services={name: _service(built, origins, name) for name in services},
        path=path,
        origin=origins.at("tools", tool.name),
    )


def _of_tool(built: Built, origins: Origins, tool: Tool) -> Iterator[Value]:
    settings, path = built.config.tools[tool.name].settings, ("tools", tool.name)
    ceiling_s = built.config.server.deadline
    own = settings.deadline is not None and settings.deadline <= ceiling_s
    where = origins.of(*path, "deadline") if own else origins.of("server", "deadline")
    if not own:
        where = f"the server's, {where}"
    yield Value("deadline", format_duration(tool.deadline_s), where)
    yield Value("wait", settings.wait, origins.of(*path, "wait"))
    for key in ("idempotent", "read_only"):
        inferred = getattr(settings, key) is None
        origin = "by its calls" if inferred else origins.of(*path, key)
        yield Value(key, getattr(tool, key), origin)
    yield from (Value(key, value, "fixed") for key, value in FASTEST.items())


def _of_call(
    built: Built, origins: Origins, tool: str, config: CallConfig, facts: CallFacts
) -> Iterator[Value]:
    common, path = config.common, ("tools", tool, "calls", config.name)
    yield Value("optional", common.optional, origins.of(*path, "optional"))
    if config.has_default or common.optional or common.when is not None:
        yield Value("default", plain(common.default), origins.of(*path, "default"))
    if common.when is not None:
        yield Value("when", common.when, origins.of(*path, "when"))
    inferred = common.idempotent is None
    origin = "by its keys" if inferred else origins.of(*path, "idempotent")
    yield Value("idempotent", facts.idempotent, origin)
    yield Value("timeout", _timeout(common.timeout), origins.of(*path, "timeout"))
    if common.commit:
        yield Value("commit", True, origins.of(*path, "commit"))
        own = (common.timeout or math.inf) < math.inf
        origin = "its timeout" if own else "the server's deadline"
        limit_s = common.timeout if own and common.timeout else built.config.server.deadline
        yield Value("goes on without its client for", format_duration(limit_s), origin)


def _timeout(timeout_s: float | None) -> str:
    return format_duration(math.inf if timeout_s is None else timeout_s)


def _asks(config: CallConfig) -> str:
    """What is asked, by the first key of the call's kind that says: `get /users/{id}`."""
    for attribute in attrs.fields(type(config.keys)):
        value = getattr(config.keys, attribute.name)
        if isinstance(value, str) and codec_of(attribute).default != value:
            return f"{attribute.name} {value}"
    return ""


def _guard(built: Built, origins: Origins, tool: str, config: CallConfig, layer: Layer) -> Guard:
    path, of = _place(built, origins, tool, config, layer)
    kind = POLICIES[layer.key]
    if layer.key == "coalesce" and not origins.is_written(*path):
        origin = "with cache"
    else:
        origin = origins.of(*path)
    values = (
        tuple(origins.values(layer.value, path))
        if is_table(layer.value)
        else (Value(layer.key, plain(layer.value, kind.codec), origin),)
    )
    fixed = tuple(Value(key, value, "fixed") for key, value in kind.fixed.items())
    return Guard(layer=layer, of=of, origin=origin, values=(*values, *fixed))


def _place(
    built: Built, origins: Origins, tool: str, config: CallConfig, layer: Layer
) -> tuple[tuple[str, ...], str]:
    """Where the key of a policy stands, and whose it is."""
    if layer.of_call:
        return ("tools", tool, "calls", config.name, layer.key), "call"
    service = built.config.services[config.common.service]
    own = ("services", service.name, layer.key)
    profile = ("profiles", service.profile or "", layer.key)
    if not origins.is_written(*own) and origins.is_written(*profile):
        return profile, f"profile {service.profile}"
    return own, "service"


def _service(built: Built, origins: Origins, name: str) -> Service:
    config = built.config.services[name]
    settings: Any = config.settings
    return Service(
        name=name,
        kind=config.kind,
        longest_s=max(
            node.commit_timeout_s or tool.deadline_s
            for tool in built.tools.values()
            for node in tool.plan.nodes
            if node.service == name
        ),
        values=tuple(origins.values(settings, ("services", name))),
        origin=origins.at("services", name),
    )
