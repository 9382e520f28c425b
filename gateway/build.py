"""Config → objects: the only place where names meet classes."""

from __future__ import annotations

import contextlib
import math
import random
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from gateway.adapters import ADAPTERS
from gateway.adapters.installed import Kinds
from gateway.adapters.python.judged import NamedFunctions
from gateway.config.decoded import CallConfig, Config
from gateway.config.loader import Loaded, load, load_mapping
from gateway.config.problems import Origins, Problems, with_key
from gateway.config.text import KeyPath, did_you_mean
from gateway.core.adapter import Adapter, Environment, Kind, Record
from gateway.core.background import Background
from gateway.core.federation import Federated
from gateway.core.messages import Reply, Request
from gateway.core.service import CallFacts, Emit, Policy, Refuses, Service, guard
from gateway.inbound.clashes import check_routes
from gateway.inbound.mcp.own import check_search, make_prompts, make_resources
from gateway.inbound.mcp.prompts import Prompt
from gateway.inbound.mcp.resources import Resource
from gateway.inbound.proxy import Proxied, make_proxies
from gateway.plan.compile import compile_tool, is_idempotent
from gateway.plan.functions import with_functions
from gateway.plan.passing import Passable
from gateway.plan.tool import Tool
from gateway.policies import POLICIES
from gateway.policies.timeout import Timeout

__all__ = ["Built", "Layer", "Source", "Stack", "build", "load_config"]

Source: TypeAlias = str | Path | Mapping[str, Any]
"""A `gateway.toml`'s path, or its content as a mapping."""


@attrs.frozen(slots=True)
class Layer:
    """One of the policies that a call's service has, or its own timeout.

    Args:
        key: Its key in the file.
        value: What that was decoded to, or what stands for it where nobody wrote it.
        policy: What guards the call; `None` where it is not for such a call.
        of_call: Whether it is the call's own, and not its service's.
    """

    key: str
    value: Any
    policy: Policy | None
    of_call: bool = False


@attrs.frozen(slots=True)
class Stack:
    """What stands around one call.

    Args:
        facts: What its policies know of it.
        layers: Outermost first, those too that are not for it.
    """

    facts: CallFacts
    layers: tuple[Layer, ...]


@attrs.frozen(slots=True, kw_only=True)
class Built:
    """A configuration made into objects; nothing is open yet.

    Args:
        config: What it was made from.
        tools: By name, in the file's order.
        adapters: One for each service, by name.
        proxies: By name; none to a service that something else stands in for.
        federated: The servers whose own tools are offered as they are, by service.
        prompts: By name.
        resources: In the file's order.
        background: Where policies start what belongs to several requests; to be opened.
        stack: What stands around a call of the file.
        origins: Where in the file each key stands.
    """

    config: Config
    tools: Mapping[str, Tool]
    adapters: Mapping[str, Adapter]
    proxies: Mapping[str, Proxied]
    federated: Mapping[str, Passable]
    prompts: Mapping[str, Prompt]
    resources: tuple[Resource, ...]
    background: Background
    stack: Callable[[CallConfig], Stack]
    origins: Origins


def load_config(source: Source) -> Config:
    """The configuration in `source`, checked as a whole: keys, references, plans, routes.

    Args:
        source: A path, or the file's content as a mapping.

    Raises:
        ConfigError: It has mistakes; all of them, one line each.
    """
    return build(source, record=lambda _event: None).config


def build(
    source: Source,
    *,
    record: Record,
    adapters: Mapping[str, Kind] | None = None,
    services: Mapping[str, Service] | None = None,
    strict: bool = False,
    seed: int | None = None,
) -> Built:
    """Make the objects of the configuration in `source`.

    Args:
        source: A path, or the file's content as a mapping.
        record: Where events go.
        adapters: Further kinds of services, by the name that `kind` gives; may replace ours.
        services: Services by name that stand in for the adapters of the file: fakes, simulations.
        strict: Whether a secret that is written out in the file is a mistake.
        seed: What all chance in it follows from: with the same one, the same is drawn. `None`
            draws one.

    Raises:
        ConfigError: The configuration has mistakes; all of them, one line each.
        ValueError: One of `services` stands in for none of the file's.
    """
    kinds = Kinds({**ADAPTERS, **(adapters or {})})
    codecs = {key: policy.codec for key, policy in POLICIES.items()}
    if isinstance(source, Mapping):
        loaded = load_mapping(source, kinds=kinds, policies=codecs)
    else:
        loaded = load(source, kinds=kinds, policies=codecs)
    config, problems = loaded.config or loaded.unwrap(), loaded.problems
    _check_stand_ins(services or {}, config)
    made = _Services(config, kinds, record, services or {}, problems, seed=seed)
    functions = NamedFunctions(config, problems, services or {})
    config = with_functions(config, functions.described, problems)
    functions.tell()
    tools = _tools(loaded, config, made)
    proxies = make_proxies(config, made.adapters, problems)
    federated = made.federated()
    prompts = make_prompts(config, tools, problems)
    resources = make_resources(config, tools, problems)
    check_routes(config, problems)
    check_search(config, problems, judge_pinned=not federated and not problems.touches(("tools",)))
    if strict:
        for literal in problems.literals():
            problems.add(literal.path, literal.message)
    problems.raise_if_any()
    if any(service.kind == "python" for service in config.services.values()):
        _let_import_from(config.path.parent)
    return Built(
        config=config,
        tools=tools,
        adapters=made.adapters,
        proxies=proxies,
        federated=federated,
        prompts=prompts,
        resources=resources,
        background=made.background,
        stack=made.stack,
        origins=problems.origins,
    )


def _check_stand_ins(services: Mapping[str, Service], config: Config) -> None:
    """A stand-in for nothing would let the real service be called.

    Raises:
        ValueError: One of `services` has no name of the file's.
    """
    for name in services:
        if name not in config.services:
            known = ", ".join(config.services) or "none"
            near = did_you_mean(name, config.services)
            raise ValueError(f"services: expected names of the file ({known}), got {name!r}{near}")


def _tools(loaded: Loaded, config: Config, services: _Services) -> dict[str, Tool]:
    """Every tool that can be compiled; the mistakes of the others go to `loaded.problems`."""
    problems = loaded.problems
    tools: dict[str, Tool] = {}
    for name, tool_config in config.tools.items():
        tool = compile_tool(
            tool_config,
            services,
            partial(_report, problems, ("tools", name)),
            ceiling_s=config.server.deadline,
            failed_calls=loaded.failed_calls(name),
            judge_only=("tools", name) in loaded.failed,
        )
        if tool is not None:
            tools[name] = tool
    return tools


def _report(problems: Problems, above: KeyPath, path: KeyPath, message: str) -> None:
    problems.add((*above, *path), message)


def _let_import_from(directory: Path) -> None:
    """Modules beside the file that names them are found, after everything else."""
    folder = str(directory.resolve())
    if folder not in sys.path:
        sys.path.append(folder)


class _Services:
    """The services of a configuration: their adapters and policies, as plans need them."""

    def __init__(
        self,
        config: Config,
        kinds: Mapping[str, Kind],
        record: Record,
        instead: Mapping[str, Service],
        problems: Problems,
        *,
        seed: int | None,
    ) -> None:
        self._config = config
        self._kinds = kinds
        self.background = Background()
        self.adapters: dict[str, Adapter] = {}
        self._policies: dict[str, Mapping[str, Callable[[CallFacts], Policy | None]]] = {}
        for name, service in config.services.items():
            # Beside the file that names it: an included one too.
            directory = problems.origins.find(("services", name)).directory
            environment = Environment(
                service=name,
                record=record,
                directory=directory,
                background=self.background,
                # One for each: what one service draws moves no other's.
                random=random.Random(None if seed is None else f"{seed} {name}"),  # noqa: S311 - no secret
            )
            try:
                self.adapters[name] = (
                    _StandIn(instead[name])
                    if name in instead
                    else kinds[service.kind].create(service.settings, environment)
                )
            except ValueError as error:
                problems.add(*with_key(("services", name), service.settings, str(error)))
                self.adapters[name] = _StandIn(_unmade)
            self._policies[name] = {
                key: POLICIES[key].create(value, environment)
                for key, value in _effective(service.policies).items()
            }

    def kind(self, name: str) -> Kind:
        return self._kinds[self._config.services[name].kind]

    def bind(self, call: CallConfig) -> Service:
        policies = [layer.policy for layer in self.stack(call).layers if layer.policy is not None]
        return guard(self.adapters[call.common.service].bind(call.keys), policies)

    def refusers(self, call: CallConfig) -> tuple[Refuses, ...]:
        """What would send `call` away at once, so that nothing else need be asked for it."""
        found: list[Refuses] = []
        for layer in self.stack(call).layers:
            if layer.policy is None:
                continue
            if layer.key in {"cache", "coalesce"}:
                return ()  # it may be answered without being made
            if layer.key == "retry" and "overloaded" in layer.value.on:
                return ()  # it is tried again
            refuses: Refuses | None = getattr(layer.policy, "refuses", None)
            if refuses is not None:
                found.append(refuses)
        return tuple(found)

    def commit_timeout_s(self, call: CallConfig) -> float:
        own_s = call.common.timeout or math.inf
        return own_s if own_s < math.inf else self._config.server.deadline

    def federated(self) -> dict[str, Passable]:
        """The adapters that clients' own requests go on to, the service's policies around them."""
        return {
            name: Passable(adapter, guard(_asking(adapter), self._policies_as_it_came(name)))
            for name, adapter in self.adapters.items()
            if isinstance(adapter, Federated)
        }

    def _policies_as_it_came(self, name: str) -> Iterator[Policy]:
        for layer in self._of_service(name, _AS_IT_CAME):
            if layer.policy is not None:
                yield layer.policy

    def stack(self, call: CallConfig) -> Stack:
        """What stands around one call."""
        kind = self.kind(call.common.service)
        facts = CallFacts(
            name=call.name,
            idempotent=is_idempotent(kind, call),
            read_only=kind.read_only(call.keys),
            identity=repr(call.keys),
            headers=kind.forwards(self._config.services[call.common.service].settings),
        )
        return Stack(facts, tuple(self._layers(call, facts)))

    def _layers(self, call: CallConfig, facts: CallFacts) -> Iterator[Layer]:
        # The call's timeout bounds all attempts together: outside whatever tries again.
        timeout_s = call.common.timeout or math.inf
        if timeout_s < math.inf:
            yield Layer("timeout", timeout_s, Timeout(timeout_s), of_call=True)
        yield from self._of_service(call.common.service, facts)

    def _of_service(self, name: str, facts: CallFacts) -> Iterator[Layer]:
        """The service's own policies."""
        policies = self._policies[name]
        values = _effective(self._config.services[name].policies)
        for key in _ORDER:
            if key in policies:
                yield Layer(key, values[key], policies[key](facts))


def _effective(policies: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a service that are on: `"none"` and `false` take one away."""
    there = {key: value for key, value in policies.items() if value != math.inf}
    written = {"coalesce": True, **there} if "cache" in there else there
    return {key: value for key, value in written.items() if value is not False}


_ORDER = (
    # Outermost: what it knows costs nothing else.
    "cache",
    # What is not known is asked once, however many want it.
    "coalesce",
    # Around all that guards one attempt, for it makes several.
    "retry",
    # An attempt that is slow is not one that failed: inside what tries again.
    "hedge",
    # It judges attempts, and spares the queues behind it those it refuses.
    "breaker",
    # Every attempt is traffic to the service.
    "rate",
    # A place is for who may go out: behind the rate, or those who wait for that would hold places.
    "limit",
    # It bounds one attempt, the waiting for a connection included, but none for its turn.
    "timeout",
    # In the service's place: all that guards it sees faults as it would see the service's own.
    "fault",
)
"""The policies of a service, outermost first, each position with its reason."""

_AS_IT_CAME = CallFacts(name="", idempotent=False, read_only=False)
"""What is known at load of a client's request that goes on as it came: nothing."""


def _asking(server: Federated) -> Service:
    """`server.ask` as a `Service`."""

    async def ask(request: Request, emit: Emit, /) -> Reply:
        return Reply(await server.ask(request.name, request.arguments, request.context, emit))

    return ask


async def _unmade(_request: Request, _emit: Emit, /) -> Reply:  # noqa: ASYNC124 - a `Service`
    raise AssertionError("a service that could not be made serves nothing")


@attrs.frozen(slots=True)
class _StandIn:
    """An adapter whose every call is the same given `Service`."""

    _service: Service

    def bind(self, _call: Any, /) -> Service:
        return self._service

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        yield
