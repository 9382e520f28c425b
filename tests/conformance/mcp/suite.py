"""The MCP conformance suite, run against the gateway, alone and before a server of the official SDK.

`python -m tests.conformance.mcp.suite [WAY …]` prints what it finds, and what is said of what failed.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import product
from pathlib import Path
from subprocess import PIPE
from typing import Any

import attrs
import trio

from gateway import create_app
from gateway.server.worker import Addresses, serve
from tests.node import install, node

__all__ = ["RUNS", "WAYS", "Found", "fetch", "run"]

PACKAGE = "@modelcontextprotocol/conformance"
CONFIG = Path(__file__).parent / "gateway.toml"
ROOT = Path(__file__).parents[3]
BEHIND = [sys.executable, "-W", "ignore", "-m", "tests.conformance.mcp.behind"]

RUNS: Mapping[str, tuple[str, str]] = {
    "0.1.16 --suite all": ("0.1.16", "--suite=all"),
    "0.2.0-alpha.12 --requirements 2025-11-25": ("0.2.0-alpha.12", "--requirements=2025-11-25"),
    "0.2.0-alpha.12 --requirements 2026-07-28": ("0.2.0-alpha.12", "--requirements=2026-07-28"),
    "0.2.0-alpha.12 --suite all": ("0.2.0-alpha.12", "--suite=all"),
}
"""The suite's version and what is asked of it, by the name that the table has for both."""

_NAMED = re.compile(r"server-(.*)-\d{4}-\d{2}-\d{2}T.*")
_KINDS = {"SUCCESS": "passed", "FAILURE": "failed", "WARNING": "warned"}


@attrs.frozen
class Found:
    """What a scenario found.

    Args:
        checks: How many checks ended how: `passed`, `failed`, `warned`.
        said: What was said of those that did not pass.
    """

    checks: Mapping[str, int]
    said: tuple[str, ...]


def fetch(name: str) -> Path:
    """The suite that one of `RUNS` takes; it is fetched from npm the first time."""
    return install(PACKAGE, RUNS[name][0])


async def run(name: str, way: str, package: Path) -> dict[str, Found]:
    """What one of `RUNS` finds, by scenario.

    Args:
        name: The run's.
        way: One of `WAYS`.
        package: As `fetch` gives it.
    """
    _, option = RUNS[name]
    script = package / "dist" / "index.js"
    with tempfile.TemporaryDirectory() as folder:
        async with WAYS[way]() as port:
            url = f"http://localhost:{port}/mcp"
            command = [node(), script, "server", "--url", url, option, "--output-dir", folder]
            await trio.run_process(
                [str(part) for part in command],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                cwd=folder,
                env={**os.environ, "NO_COLOR": "1"},
            )
        return _read(Path(folder))


@asynccontextmanager
async def _gateway(config: Path | Mapping[str, Any] = CONFIG) -> AsyncGenerator[int]:
    """The port of a gateway."""
    app = create_app(config)
    shutdown = trio.Event()
    async with trio.open_nursery() as nursery:
        addresses: Addresses = await nursery.start(
            lambda task_status: serve(app, app.server, shutdown=shutdown, task_status=task_status)
        )
        for server in app.federated.values():
            with trio.fail_after(30):
                while not server.listed("resourceTemplates").items:
                    await trio.sleep(0.05)
        yield int(addresses.public[0].rpartition(":")[2])
        shutdown.set()


@asynccontextmanager
async def _behind() -> AsyncGenerator[int]:
    """The port of the SDK's server."""
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(
            partial(trio.run_process, [*BEHIND, "http"], stdout=PIPE, check=False, cwd=ROOT)
        )
        assert process.stdout is not None
        with trio.fail_after(30):
            port = await process.stdout.receive_some()
        yield int(port)
        process.terminate()


@asynccontextmanager
async def _before_http() -> AsyncGenerator[int]:
    async with _behind() as behind:
        url = f"http://127.0.0.1:{behind}/mcp"
        async with _before({"url": url, "allow_private": True}) as port:
            yield port


def _before_stdio() -> AbstractAsyncContextManager[int]:
    return _before({"program": [*BEHIND, "stdio"], "directory": str(ROOT)})


def _before(service: Mapping[str, Any]) -> AbstractAsyncContextManager[int]:
    """A gateway that offers nothing but what a server behind it does."""
    return _gateway(
        {
            "server": {"bind": ["127.0.0.1:0"], "drain": "1s"},
            "services": {"behind": {"kind": "mcp", **service}},
        }
    )


WAYS: Mapping[str, Callable[[], AbstractAsyncContextManager[int]]] = {
    "gateway": _gateway,
    "sdk": _behind,
    "http": _before_http,
    "stdio": _before_stdio,
}
"""What is tested: the gateway's own; the SDK's server by itself; the gateway before that."""


def _read(folder: Path) -> dict[str, Found]:
    """What the suite wrote, by scenario."""
    return {
        _NAMED.sub(r"\1", place.parent.name): _found(json.loads(place.read_text()))
        for place in sorted(folder.glob("*/checks.json"))
    }


def _found(checks: list[dict[str, Any]]) -> Found:
    counts = Counter(_KINDS[each["status"]] for each in checks if each["status"] in _KINDS)
    said = [
        f"{each['id']}: {each.get('errorMessage')}"
        for each in checks
        if each["status"] in {"FAILURE", "WARNING"}
    ]
    return Found(dict(counts), tuple(said))


async def _print(ways: Sequence[str]) -> None:
    for way, name in product(ways, RUNS):
        print(f'[{way}."{name}"]')
        for scenario, found in (await run(name, way, fetch(name))).items():
            print(scenario, dict(found.checks))
            for line in found.said:
                print("   ", line[:300])


if __name__ == "__main__":
    trio.run(_print, sys.argv[1:] or [*WAYS])
