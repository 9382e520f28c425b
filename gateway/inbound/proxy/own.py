"""The proxies of the file, their services found."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from gateway.adapters.http import HttpAdapter
from gateway.config.decoded import Config
from gateway.config.problems import Problems
from gateway.config.settings import ProxySettings
from gateway.config.text import show
from gateway.core.adapter import Adapter

__all__ = ["Proxied", "make_proxies"]


@attrs.frozen(slots=True)
class Proxied:
    """A proxy as the file has it, its service found.

    Args:
        settings: Its keys.
        adapter: Its service.
        deadline_s: Seconds until an answer begins: its own, within the service's `timeout`.
    """

    settings: ProxySettings
    adapter: HttpAdapter
    deadline_s: float


def make_proxies(
    config: Config, adapters: Mapping[str, Adapter], problems: Problems
) -> dict[str, Proxied]:
    """Every proxy whose service's own bytes can be had; none to what stands in for one.

    Args:
        config: As decoded.
        adapters: By service.
        problems: Takes what keeps a service from being behind a proxy.
    """
    proxies: dict[str, Proxied] = {}
    for name, settings in config.proxies.items():
        adapter = adapters[settings.service]
        if not isinstance(adapter, HttpAdapter):
            continue
        if adapter.http2:
            problems.add(
                ("proxies", name, "service"),
                f"expected a service without http2, got {show(settings.service)}: "
                "bytes are passed through over HTTP/1.1",
            )
        if len(adapter.origins) > 1:
            problems.add(
                ("proxies", name, "service"),
                f"expected a service with one url, got {show(settings.service)}, which has replicas",
            )
        ceiling_s = config.server.deadline
        own_s = ceiling_s if settings.deadline is None else min(ceiling_s, settings.deadline)
        timeout_s = config.services[settings.service].policies.get("timeout", math.inf)
        proxies[name] = Proxied(settings, adapter, min(own_s, timeout_s))
    return proxies
