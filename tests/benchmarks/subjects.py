"""Who is measured: how each is started, and which libraries it stands on.

In `apps/`:

* `upstream.conf`, `upstream.py`: the services behind all of them
* `constant.py`: what all of them answer with
* `gateway.toml`, `policies.toml`, `proxies.toml`: us; `server.py`: our server alone
* `federation.toml`: us before `mcp_behind.py`, an MCP server
* `fastapi_app.py`, `bare_app.py`, `starlette_app.py`: the peers; over MCP `mcp_sdk.py`,
  `mcp_lowlevel.py`, `fastmcp_app.py`, `fastmcp_proxy.py`
* `hello.py`: the application that servers are compared by
* `nginx.conf`, `haproxy.cfg`: the limit

To add one: a file there, a line in `SUBJECTS`, its key in the scenarios it takes part in.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from string import Template
from types import MappingProxyType

import attrs

from tests.benchmarks.apps.constant import USER
from tests.benchmarks.tools import program
from tests.end_to_end.processes import free_port

__all__ = [
    "FEDERATION",
    "POLICIES",
    "PROXY",
    "SERVER",
    "SUBJECTS",
    "US",
    "Place",
    "Subject",
    "Upstreams",
    "behind",
    "upstream",
    "version_of",
]

US = "gateway"
PROXY = "proxy"
POLICIES = "policies"
FEDERATION = "federation"
SERVER = "server"
_APPS = Path(__file__).with_name("apps")
_PROGRAMS = ("nginx", "haproxy")


@attrs.frozen(slots=True)
class Upstreams:
    """The services behind a subject, as host and port.

    Args:
        users: Answers with a small JSON object.
        events: Streams.
        tools: Answers `tools/call` over MCP.
    """

    users: str
    events: str
    tools: str


@attrs.frozen(slots=True)
class Place:
    """Where a subject is to run.

    Args:
        port: The loopback port it listens on.
        upstreams: The services behind it.
        folder: Where it may write files.
    """

    port: int
    upstreams: Upstreams
    folder: Path


@attrs.frozen(slots=True)
class Subject:
    """One that is measured.

    Args:
        title: What it is, for readers.
        short: What it is, for a table.
        stands_on: Its distributions and programs, whose versions are reported.
        command: From its place to its command line.
    """

    title: str
    short: str
    stands_on: tuple[str, ...]
    command: Callable[[Place], list[str]]


def version_of(name: str) -> str:
    """The version of a distribution, or of nginx or HAProxy."""
    if name not in _PROGRAMS:
        return version(name)
    told = subprocess.run([_program(name), "-v"], capture_output=True, text=True, check=True)
    found = re.search(r"\d+(\.\d+)+", told.stdout + told.stderr)
    return found[0] if found else "of some version"


def _program(name: str) -> str:
    found = program(name)
    if found is None:
        raise RuntimeError(f"{name} is not there")
    return found


def _filled(name: str, place: Place, **more: object) -> Path:
    """A file of `apps/`, filled in for this place."""
    text = (_APPS / name).read_text()
    file = place.folder / f"{place.port}-{name}"
    values = {"port": place.port, "folder": place.folder, **attrs.asdict(place.upstreams), **more}
    file.write_text(Template(text).substitute(values))
    return file


def _gateway(name: str, place: Place) -> list[str]:
    file = _filled(name, place, admin_port=free_port())
    return [sys.executable, "-m", "gateway", "serve", str(file)]


def _server(place: Place) -> list[str]:
    return [sys.executable, "-m", "tests.benchmarks.apps.server", str(place.port)]


def _nginx(name: str, place: Place, **more: object) -> list[str]:
    return [_program("nginx"), "-e", "stderr", "-c", str(_filled(name, place, **more))]


def _haproxy(place: Place) -> list[str]:
    return [_program("haproxy"), "-db", "-f", str(_filled("haproxy.cfg", place))]


def _uvicorn(module: str) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        options = (
            "--host 127.0.0.1 --loop uvloop --http httptools --log-level warning "
            "--backlog 1024 --timeout-keep-alive 300"
        )
        app = [f"tests.benchmarks.apps.{module}:app", "--port", str(place.port)]
        return [sys.executable, "-m", "uvicorn", *app, *options.split(), "--no-access-log"]

    return command


def _hypercorn(module: str) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        options = ["-k", "trio", "--bind", f"127.0.0.1:{place.port}", "--keep-alive", "300"]
        options += ["--backlog", "1024"]
        app = f"tests.benchmarks.apps.{module}:app"
        return [sys.executable, "-m", "hypercorn", *options, app]

    return command


def upstream(place: Place, *, streams: bool) -> list[str]:
    """The command line of a service behind every subject.

    Args:
        place: Where it is to run.
        streams: Whether it must stream; one that need not is nginx, and faster.
    """
    if streams:
        return [sys.executable, "-m", "tests.benchmarks.apps.upstream", str(place.port)]
    return _nginx("upstream.conf", place, body=json.dumps(USER))


def behind(place: Place) -> list[str]:
    """The command line of the MCP server behind those that federate."""
    return _uvicorn("mcp_behind")(place)


_UVICORN = ("uvicorn", "uvloop", "httptools")

SUBJECTS: Mapping[str, Subject] = MappingProxyType(
    {
        US: Subject(
            "`gateway serve`",
            "gateway",
            ("trio", "httptools", "msgspec", "jsonschema-rs", "attrs"),
            partial(_gateway, "gateway.toml"),
        ),
        PROXY: Subject(
            "`gateway serve` with `[proxies.NAME]`",
            "gateway's proxy",
            ("trio", "httptools"),
            partial(_gateway, "proxies.toml"),
        ),
        POLICIES: Subject(
            "`gateway serve` with every policy around the call",
            "gateway, all policies",
            ("trio", "httptools", "msgspec"),
            partial(_gateway, "policies.toml"),
        ),
        FEDERATION: Subject(
            "`gateway serve` before an MCP server of the official SDK",
            "gateway, federating",
            ("trio", "httptools", "msgspec"),
            partial(_gateway, "federation.toml"),
        ),
        SERVER: Subject(
            "our server alone (`gateway.server`)",
            "our server",
            ("trio", "httptools"),
            _server,
        ),
        "fastapi": Subject(
            "FastAPI under uvicorn with uvloop and httptools, calling with aiohttp",
            "FastAPI + uvicorn + aiohttp",
            ("fastapi", "pydantic", *_UVICORN, "aiohttp"),
            _uvicorn("fastapi_app"),
        ),
        "bare": Subject(
            "an ASGI application by hand under uvicorn with uvloop and httptools, calling with "
            "aiohttp",
            "bare uvicorn + aiohttp",
            (*_UVICORN, "aiohttp"),
            _uvicorn("bare_app"),
        ),
        "hypercorn": Subject(
            "Starlette on stock Hypercorn's Trio worker, calling with httpx",
            "Starlette + Hypercorn-Trio + httpx",
            ("starlette", "hypercorn", "trio", "httpx"),
            _hypercorn("starlette_app"),
        ),
        "uvicorn-hello": Subject(
            "uvicorn with uvloop and httptools", "uvicorn", _UVICORN, _uvicorn("hello")
        ),
        "hypercorn-hello": Subject(
            "stock Hypercorn's Trio worker",
            "Hypercorn-Trio",
            ("hypercorn", "trio", "h11"),
            _hypercorn("hello"),
        ),
        "mcp-sdk": Subject(
            "a server of the official MCP SDK, stateless with JSON answers, under uvicorn with "
            "uvloop and httptools, calling with aiohttp",
            "MCP SDK + uvicorn + aiohttp",
            ("mcp", "starlette", *_UVICORN, "aiohttp"),
            _uvicorn("mcp_sdk"),
        ),
        "mcp-lowlevel": Subject(
            "the official MCP SDK's low-level server, stateless with JSON answers, under uvicorn "
            "with uvloop and httptools, calling with aiohttp",
            "MCP SDK, low-level + uvicorn + aiohttp",
            ("mcp", "starlette", *_UVICORN, "aiohttp"),
            _uvicorn("mcp_lowlevel"),
        ),
        "fastmcp": Subject(
            "a server of FastMCP, stateless with JSON answers, under uvicorn with uvloop and "
            "httptools, calling with aiohttp",
            "FastMCP + uvicorn + aiohttp",
            ("fastmcp", "mcp", "starlette", *_UVICORN, "aiohttp"),
            _uvicorn("fastmcp_app"),
        ),
        "fastmcp-proxy": Subject(
            "FastMCP's proxy, stateless with JSON answers, under uvicorn with uvloop and httptools",
            "FastMCP's proxy",
            ("fastmcp", "mcp", "httpx", *_UVICORN),
            _uvicorn("fastmcp_proxy"),
        ),
        "nginx": Subject(
            "nginx, one process: the limit", "nginx", ("nginx",), partial(_nginx, "nginx.conf")
        ),
        "haproxy": Subject("HAProxy, one thread: the limit", "HAProxy", ("haproxy",), _haproxy),
    }
)
"""Every subject, by its key."""
