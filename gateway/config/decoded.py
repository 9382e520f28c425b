"""A file as it was decoded: `Config` is the whole of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config.settings import (
        AccessSettings,
        CallSettings,
        McpSettings,
        PromptSettings,
        ProxySettings,
        ResourceSettings,
        ServerSettings,
        StateSettings,
        TelemetrySettings,
        ToolSettings,
    )

__all__ = ["CallConfig", "Config", "ServiceConfig", "ToolConfig"]


@attrs.frozen(slots=True, kw_only=True)
class CallConfig:
    """One call of a plan, decoded.

    Args:
        name: Its name in the plan.
        common: The keys every call has.
        keys: The keys of its service's kind: an instance of that kind's `call` class.
        has_default: Whether `default` was written.
    """

    name: str
    common: CallSettings
    keys: Any
    has_default: bool


@attrs.frozen(slots=True, kw_only=True)
class ToolConfig:
    """One tool, decoded.

    Args:
        calls: By name, in the file's order.
    """

    name: str
    settings: ToolSettings
    calls: Mapping[str, CallConfig]


@attrs.frozen(slots=True, kw_only=True)
class ServiceConfig:
    """One service, decoded, its profile merged in.

    Args:
        kind: The key of the adapter's table.
        profile: The profile it uses, where it uses one.
        settings: The keys of its kind: an instance of that kind's `settings` class.
        policies: The decoded value of each policy key that is written, by key.
    """

    name: str
    kind: str
    profile: str | None = None
    settings: Any
    policies: Mapping[str, Any]


@attrs.frozen(slots=True, kw_only=True)
class Config:
    """A whole `gateway.toml`.

    Args:
        path: The file it came from.
        explicit: Dotted paths of all keys that were written, such as `server.allowed_hosts`.
        notes: What is no mistake and worth knowing: operations that are not imported.
    """

    path: Path
    server: ServerSettings
    services: Mapping[str, ServiceConfig]
    tools: Mapping[str, ToolConfig]
    proxies: Mapping[str, ProxySettings]
    prompts: Mapping[str, PromptSettings]
    resources: Mapping[str, ResourceSettings]
    access: AccessSettings
    state: StateSettings
    telemetry: TelemetrySettings
    mcp: McpSettings
    explicit: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
