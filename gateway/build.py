"""Config → objects: the only place where names meet classes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from gateway.adapters import ADAPTERS
from gateway.config.addresses import METHODS
from gateway.config.loader import Loaded, load, load_mapping
from gateway.config.problems import Problems
from gateway.config.settings import CallConfig, Config
from gateway.config.text import KeyPath
from gateway.core.adapter import Adapter, Kind, Record
from gateway.core.service import Policy, Service, guard
from gateway.inbound.routes import Routes
from gateway.plan.compile import compile_tool
from gateway.plan.tool import Tool
from gateway.policies import POLICIES
from gateway.policies.timeout import Timeout

__all__ = ["Built", "Source", "build", "load_config"]

Source: TypeAlias = str | Path | Mapping[str, Any]
"""A `gateway.toml`'s path, or its content as a mapping."""


@attrs.frozen(slots=True, kw_only=True)
class Built:
    """A configuration made into objects; nothing is open yet.

    Args:
        config: What it was made from.
        problems: Empty; it knows every key's line and every secret written out, for `--strict`.
        tools: By name, in the file's order.
        adapters: One for each service, by name.
    """

    config: Config
    problems: Problems
    tools: Mapping[str, Tool]
    adapters: Mapping[str, Adapter]


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
) -> Built:
    """Make the objects of the configuration in `source`.

    Args:
        source: A path, or the file's content as a mapping.
        record: Where events go.
        adapters: Further kinds of services, by the name that `kind` gives; may replace ours.
        services: Services by name that stand in for the adapters of the file: fakes, simulations.

    Raises:
        ConfigError: The configuration has mistakes; all of them, one line each.
    """
    kinds = {**ADAPTERS, **(adapters or {})}
    codecs = {key: policy.codec for key, policy in POLICIES.items()}
    if isinstance(source, Mapping):
        loaded = load_mapping(source, kinds=kinds, policies=codecs)
    else:
        loaded = load(source, kinds=kinds, policies=codecs)
    config, problems = loaded.config or loaded.unwrap(), loaded.problems
    instead = services or {}
    made = {
        name: _StandIn(instead[name])
        if name in instead
        else kinds[service.kind].create(name, service.settings, record)
        for name, service in config.services.items()
    }
    tools = _tools(loaded, config, _Services(config, kinds, made))
    _check_routes(config, problems)
    problems.raise_if_any()
    if any(service.kind == "python" for service in config.services.values()):
        _let_import_from(config.path.parent)
    return Built(config=config, problems=problems, tools=tools, adapters=made)


def _tools(loaded: Loaded, config: Config, services: _Services) -> dict[str, Tool]:
    """Every tool that can be compiled; the mistakes of the others go to `loaded.problems`."""
    problems = loaded.problems
    tools: dict[str, Tool] = {}
    for name, tool_config in config.tools.items():
        if problems.touches(("tools", name, "input")):
            continue  # what reads the inputs cannot be judged
        tool = compile_tool(
            tool_config,
            services,
            partial(_report, problems, ("tools", name)),
            ceiling_s=config.server.deadline,
            failed_calls=loaded.failed_calls(name),
        )
        if tool is not None:
            tools[name] = tool
    return tools


def _report(problems: Problems, above: KeyPath, path: KeyPath, message: str) -> None:
    problems.add((*above, *path), message)


def _check_routes(config: Config, problems: Problems) -> None:
    """No two tools may answer the same request, nor a tool what is the gateway's own."""
    routes: Routes[str] = Routes()
    routes.add("GET", "/openapi.json", "the gateway's own /openapi.json")
    for name in config.tools:
        routes.add("POST", f"/tools/{name}", f"tools.{name} (POST /tools/{name})")
    own = config.mcp.path  # MCP answers there, whatever the method
    answers = [routes.add(method, own, "mcp.path") for method in METHODS]
    for other in filter(None, answers):
        message = f"expected a path of its own, got {own}, taken by {other}"
        problems.add(("mcp", "path"), message)
    for name, tool in config.tools.items():
        if tool.settings.http is None:
            continue
        method, _, path = tool.settings.http.partition(" ")
        taken = routes.add(method, path, f"tools.{name}.http")
        if taken is not None:
            message = f"expected a route of its own, got {method} {path}, taken by {taken}"
            problems.add(("tools", name, "http"), message)


def _let_import_from(directory: Path) -> None:
    """Modules beside the file that names them are found, after everything else."""
    folder = str(directory.resolve())
    if folder not in sys.path:
        sys.path.append(folder)


@attrs.frozen(slots=True)
class _Services:
    """The services of a configuration, as plans need them."""

    _config: Config
    _kinds: Mapping[str, Kind]
    _adapters: Mapping[str, Adapter]

    def kind(self, name: str) -> Kind:
        return self._kinds[self._config.services[name].kind]

    def bind(self, call: CallConfig) -> Service:
        return guard(self._adapters[call.common.service].bind(call.keys), self._policies(call))

    def commit_timeout_s(self, call: CallConfig) -> float:
        policies = self._config.services[call.common.service].policies
        timeout_s: float = (
            call.common.timeout or policies.get("timeout") or self._config.server.deadline
        )
        return timeout_s

    def _policies(self, call: CallConfig) -> Iterator[Policy]:
        """The stack around one call, outermost first, each position with its reason."""
        # The call's timeout bounds all attempts together: outside whatever tries again.
        if call.common.timeout is not None:
            yield Timeout(call.common.timeout)
        # The service's bounds one attempt: innermost, next to the adapter.
        timeout_s = self._config.services[call.common.service].policies.get("timeout")
        if timeout_s is not None:
            yield POLICIES["timeout"].create(timeout_s)


@attrs.frozen(slots=True)
class _StandIn:
    """An adapter whose every call is the same given `Service`."""

    _service: Service

    def bind(self, _call: Any, /) -> Service:
        return self._service

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        yield
