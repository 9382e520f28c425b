"""Who is measured: how each is started, and which libraries it stands on.

In `apps/`:

* `upstream.py`: the service behind all of them
* `constant.py`: what all of them answer with
* `gateway.toml`: us
* `fastapi_app.py`, `starlette_app.py`, `mcp_sdk.py`: the peers

To add one: a file there, a line in `SUBJECTS`, its key in the scenarios it takes part in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Template
from types import MappingProxyType

import attrs

from tests.end_to_end.processes import free_port

__all__ = ["SUBJECTS", "US", "Place", "Subject", "upstream"]

US = "gateway"
_APPS = Path(__file__).with_name("apps")


@attrs.frozen(slots=True)
class Place:
    """Where a subject is to run.

    Args:
        port: The loopback port it listens on.
        upstream: The URL of the service behind it.
        folder: Where it may write files.
    """

    port: int
    upstream: str
    folder: Path


@attrs.frozen(slots=True)
class Subject:
    """One that is measured.

    Args:
        title: What it is, for readers.
        short: What it is, for a table.
        stands_on: Its distributions, whose versions are reported.
        command: From its place to its command line.
    """

    title: str
    short: str
    stands_on: tuple[str, ...]
    command: Callable[[Place], list[str]]


def _gateway(place: Place) -> list[str]:
    text = Template((_APPS / "gateway.toml").read_text()).substitute(
        port=place.port, admin_port=free_port(), upstream=place.upstream
    )
    file = place.folder / "gateway.toml"
    file.write_text(text)
    return [sys.executable, "-m", "gateway", "serve", str(file)]


def _uvicorn(module: str) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        options = "--host 127.0.0.1 --loop uvloop --http httptools --log-level warning"
        app = [f"tests.benchmarks.apps.{module}:app", "--port", str(place.port)]
        return [sys.executable, "-m", "uvicorn", *app, *options.split(), "--no-access-log"]

    return command


def _hypercorn(place: Place) -> list[str]:
    app = "tests.benchmarks.apps.starlette_app:app"
    bind = f"127.0.0.1:{place.port}"
    return [sys.executable, "-m", "hypercorn", "-k", "trio", "--bind", bind, app]


def upstream(port: int) -> list[str]:
    """The command line of the service behind every subject."""
    return [sys.executable, "-m", "tests.benchmarks.apps.upstream", str(port)]


_UVICORN = ("uvicorn", "uvloop", "httptools", "aiohttp")

SUBJECTS: Mapping[str, Subject] = MappingProxyType(
    {
        US: Subject(
            "`gateway serve`",
            "gateway",
            ("trio", "httptools", "msgspec"),
            _gateway,
        ),
        "fastapi": Subject(
            "FastAPI under uvicorn with uvloop and httptools, calling with aiohttp",
            "FastAPI + uvicorn + aiohttp",
            ("fastapi", "pydantic", *_UVICORN),
            _uvicorn("fastapi_app"),
        ),
        "hypercorn": Subject(
            "Starlette on stock Hypercorn's Trio worker, calling with httpx",
            "Starlette + Hypercorn-Trio + httpx",
            ("starlette", "hypercorn", "trio", "httpx"),
            _hypercorn,
        ),
        "mcp-sdk": Subject(
            "a server of the official MCP SDK, stateless with JSON answers, under uvicorn with "
            "uvloop and httptools, calling with aiohttp",
            "MCP SDK + uvicorn + aiohttp",
            ("mcp", "starlette", *_UVICORN),
            _uvicorn("mcp_sdk"),
        ),
    }
)
"""Every subject, by its key."""
