"""`gateway demo`: the gateway before sample services on loopback, as one process tree.

* `services.py`: the sample services' process
* `api.py`: the sample HTTP API: users, posts, to-dos
* `directory.py`: a library that blocks its thread
* `../../../config/demo.toml`: what is served (in an installed package: `demo.toml` here)
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trio

from gateway.app import Gateway, create_app
from gateway.cli.serving import can_serve, serve_here
from gateway.net.asgi import Receive, Scope, Send
from gateway.server.worker import Addresses

__all__ = ["Demo", "add_to", "demo_file"]

_START_TIMEOUT_S = 10.0
_END_TIMEOUT_S = 2.0


def add_to(commands: Any) -> None:
    """Add the command to `commands`, the subparsers of `argparse`."""
    parser = commands.add_parser(
        "demo",
        help="serve the demo: a gateway before sample services on loopback",
        description=(
            "Serve config/demo.toml before sample services on loopback, started with it and "
            "ended with it, and print what to try. Ctrl-C ends everything."
        ),
    )
    parser.add_argument(
        "--file", type=Path, help="another file with the services api, hanging and directory"
    )
    parser.set_defaults(run=_run)


def demo_file() -> Path:
    """The demo's configuration: beside this file in an installed package, else in `config/`."""
    here = Path(__file__).parent
    installed = here / "demo.toml"
    return installed if installed.exists() else here.parents[2] / "config" / "demo.toml"


def _run(options: argparse.Namespace) -> int:
    if not can_serve():
        return 1
    app = create_app(options.file or demo_file())
    return serve_here(app, Demo(app), _show_card)


class Demo:
    """The gateway together with the services it stands before.

    Args:
        gateway: The gateway of `config/demo.toml`.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @property
    def ready(self) -> bool:
        """Whether requests can be served."""
        return self._gateway.ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._gateway(scope, receive, send)

    def begin_drain(self, seconds: float) -> None:
        """Give every request at most `seconds` from now."""
        self._gateway.begin_drain(seconds)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start the sample services and open the gateway; leaving ends both.

        Raises:
            RuntimeError: The services did not start, or ended by themselves.
        """
        services = self._gateway.config.services
        binds = [urlsplit(services[name].settings.url).netloc for name in ("api", "hanging")]
        async with _sample_services(*binds), self._gateway.running():
            yield


@contextlib.asynccontextmanager
async def _sample_services(api: str, hanging: str) -> AsyncIterator[None]:
    """The sample services' process; when it ends by itself, so does what is inside."""
    command = [sys.executable, "-m", "gateway.cli.demo.services", api, hanging]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        await _await_ready(process)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, process)
            yield
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)


async def _await_ready(process: trio.Process) -> None:
    assert process.stdout is not None  # noqa: S101 - it was opened with a pipe
    said = b""
    with trio.move_on_after(_START_TIMEOUT_S):
        while not said.endswith(b"\n"):
            piece = await process.stdout.receive_some(1024)
            if not piece or len(said) > 10_000:
                break
            said += piece
    if not said.startswith(b"ready"):
        reason = said.decode(errors="replace").strip() or "they said nothing"
        raise RuntimeError(f"the sample services did not start: {reason}")


async def _watch(process: trio.Process) -> None:
    status = await process.wait()
    raise RuntimeError(f"the sample services ended by themselves, with status {status}")


async def _end(process: trio.Process) -> None:
    """End the services' input, and with it them; kill them if that takes too long."""
    if process.stdin is not None:
        await process.stdin.aclose()
    with trio.move_on_after(_END_TIMEOUT_S):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


def _show_card(app: Gateway, addresses: Addresses) -> None:
    url, admin = addresses.public[0], addresses.admin
    api = app.config.services["api"].settings.url
    print(
        f"""
  The gateway is at {url}, its sample services behind it. Ctrl-C ends everything.

  Three calls at once, in the time of the slowest (180 ms, not 360):
    curl {url}/users/7/profile

  One of its services hangs: the answer comes at the deadline (1 s), says what is missing:
    curl -i {url}/users/7/overview

  A service it cannot do without hangs: 504, problem+json:
    curl -i {url}/users/7/credit

  Your own budget goes along; wrong arguments are all listed:
    curl -i -H 'x-request-timeout-ms: 100' {url}/users/7/profile
    curl -i {url}/users/seven/profile

  The same tools over MCP:
    npx @modelcontextprotocol/inspector --cli {url}/mcp --transport http \\
      --method tools/call --tool-name user_profile --tool-arg id=7

  Make the API slow, and ask again: the late part is named.
    curl -X PUT {api}/latency -d '{{"posts": 3000}}'

  All tools: {url}/openapi.json   Health and metrics: {admin}/metrics
""",
        flush=True,
    )
