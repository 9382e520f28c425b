"""The MCP conformance suite, run against the gateway of `gateway.toml` beside this file.

`python -m tests.conformance.mcp.suite` prints what it finds, and what is said of what failed.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import trio

from gateway import create_app
from gateway.server.worker import Addresses, serve
from tests.node import install, node

__all__ = ["RUNS", "Found", "fetch", "run"]

PACKAGE = "@modelcontextprotocol/conformance"
CONFIG = Path(__file__).parent / "gateway.toml"

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


async def run(name: str, package: Path) -> dict[str, Found]:
    """What one of `RUNS` finds, by scenario.

    Args:
        name: The run's.
        package: As `fetch` gives it.
    """
    _, option = RUNS[name]
    app = create_app(CONFIG)
    shutdown = trio.Event()
    with tempfile.TemporaryDirectory() as folder:
        async with trio.open_nursery() as nursery:
            addresses: Addresses = await nursery.start(
                lambda task_status: serve(
                    app, app.server, shutdown=shutdown, task_status=task_status
                )
            )
            port = addresses.public[0].rpartition(":")[2]
            script = package / "dist" / "index.js"
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
            shutdown.set()
        return _read(Path(folder))


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


async def _print() -> None:
    for name in RUNS:
        print(f'["{name}"]')
        for scenario, found in (await run(name, fetch(name))).items():
            print(scenario, dict(found.checks))
            for line in found.said:
                print("   ", line[:300])


if __name__ == "__main__":
    trio.run(_print)
