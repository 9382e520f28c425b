"""Which requests two would answer: tools, proxies, what is the gateway's own."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

from gateway.config.addresses import METHODS
from gateway.config.decoded import Config
from gateway.config.problems import Problems
from gateway.inbound.routes import Routes

__all__ = ["check_routes"]


def check_routes(config: Config, problems: Problems) -> None:
    """No two may answer the same request: tools, proxies, what is the gateway's own."""
    routes: Routes[str] = Routes()
    paths = {"/openapi.json": "the gateway's own /openapi.json"}
    routes.add("GET", "/openapi.json", paths["/openapi.json"])
    for name in config.tools:
        path = f"/tools/{name}"
        paths[path] = f"tools.{name} (POST {path})"
        routes.add("POST", path, paths[path])
    own = config.mcp.path  # MCP answers there, whatever the method
    answers = [routes.add(method, own, "mcp.path") for method in METHODS]
    for other in filter(None, answers):
        message = f"expected a path of its own, got {own}, taken by {other}"
        problems.add(("mcp", "path"), message)
    paths[own] = f"mcp.path ({own})"
    for name, tool in config.tools.items():
        if tool.settings.http is None:
            continue
        method, _, path = tool.settings.http.partition(" ")
        taken = routes.add(method, path, f"tools.{name}.http")
        if taken is not None:
            message = f"expected a route of its own, got {method} {path}, taken by {taken}"
            problems.add(("tools", name, "http"), message)
        paths.setdefault(path, f"tools.{name}.http ({method} {path})")
    _check_proxies(config, paths, problems)


def _check_proxies(config: Config, paths: Mapping[str, str], problems: Problems) -> None:
    """A proxy takes nothing from others: neither what is below its path, nor a name.

    Args:
        config: The file.
        paths: What answers where, beside the proxies.
        problems: Where mistakes are told.
    """
    prefixes: dict[str, str] = {}
    for name, proxy in config.proxies.items():
        below = [who for path, who in paths.items() if unquote(path).startswith(proxy.path)]
        if proxy.path in prefixes:
            below.append(prefixes[proxy.path])
        if below:
            message = (
                f"expected a path with nothing below it, got {proxy.path}, taken by {below[0]}"
            )
            problems.add(("proxies", name, "path"), message)
        prefixes.setdefault(proxy.path, f"proxies.{name}.path")
        if name in config.tools:
            # Metrics and log lines say either's name in the same place.
            problems.add(("proxies", name), f"expected a name of its own, got that of tools.{name}")
