"""Proxies: from tables to `ProxySettings`, by the kinds of the services behind them."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

from gateway.config.codec import Codec, expected
from gateway.config.problems import Refused
from gateway.config.settings import ProxySettings
from gateway.config.tables import codecs_of, decode_keys
from gateway.config.text import did_you_mean, show
from gateway.config.values import check_name

if TYPE_CHECKING:
    from gateway.config.problems import Place

__all__ = ["decode_proxies", "http_service"]

_KIND = "http"
"""The kind of services that bytes are passed through to, and operations are called at."""


def decode_proxies(
    tables: Any,
    place: Place,
    services: Mapping[str, str | None] | None,
    sound: Container[str],
) -> dict[str, ProxySettings]:
    """Decode every proxy.

    Args:
        tables: The section `proxies`.
        place: Where it stands.
        services: The kind of every service that is written; `None` where it is none.
            `None` for the whole where no name can be judged.
        sound: The services nothing is wrong with; a proxy of another is left out.

    Returns:
        Those that nothing is wrong with, by name, in the file's order.
    """
    proxies: dict[str, ProxySettings] = {}
    if not isinstance(tables, Mapping):
        place.tell(expected("a table", tables))
        return proxies
    codecs = {**codecs_of(ProxySettings), "service": http_service(services)}
    for name, table in tables.items():
        here = place / name
        named = check_name(name, here)
        if not isinstance(table, Mapping):
            here.tell(expected("a table with path and service", table))
            continue
        decoded = decode_keys(codecs, table, here)
        if named and not decoded.failed and decoded.values["service"] in sound:
            proxies[name] = ProxySettings(**decoded.values)
    return proxies


def http_service(services: Mapping[str, str | None] | None) -> Codec:
    """The codec of `service`: judged by whether there is one of kind http, not by its letters.

    Args:
        services: As for `decode_proxies`.
    """
    wanted = f"the name of a service of kind {_KIND}"

    def decode(value: Any, _place: Place) -> str:
        if services is None:
            raise Refused(None)
        if not isinstance(value, str) or value not in services:
            raise Refused(f"expected {wanted}, got {show(value)}{did_you_mean(value, services)}")
        kind = services[value]
        if kind not in {_KIND, None}:  # of no kind at all: that was told
            raise Refused(f"expected {wanted}, got {show(value)}, of kind {kind}")
        return value

    return Codec(decode=decode, wanted=wanted)
