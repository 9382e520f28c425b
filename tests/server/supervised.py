"""A process of workers that serve an application of the tests' own, through our supervisor.

`python -m tests.server.supervised FILE`: the file is JSON of settings; `start` and `text` are the
application's, `workers` says how many. SIGHUP reads it anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import trio

from gateway.admin.app import Admin
from gateway.net.asgi import respond
from gateway.server.offer import Offer, Post, Work
from gateway.server.supervisor import supervise
from gateway.telemetry.events import WorkerStarted
from gateway.telemetry.logs import configure
from gateway.telemetry.metrics import Metrics
from tests.server.serving import AdminBind, App, Settings, say_begun

PROGRAM = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, getattr(signal, sys.argv[1]))
sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
print(subprocess.Popen(sleeper, start_new_session=True).pid, flush=True)
time.sleep(600)
"""
"""Starts another one, in a session of its own, and goes on when its standard input has ended."""


class Numbered(App):
    """Says in its answers which process gave them, and of which file."""

    def __init__(self, start: str, text: str) -> None:
        super().__init__(start)
        self.text = text
        self.started: list[trio.Process] = []

    async def http(self, scope: Any, receive: Any, send: Any) -> None:
        match scope["path"]:
            case "/":
                await respond(send, 200, [], f"{self.text} {os.getpid()}".encode())
            case "/pause":
                await trio.sleep(0.02)
                await respond(send, 200, [], f"{self.text} {os.getpid()}".encode())
            case "/start":
                program = [sys.executable, "-c", PROGRAM, scope["query_string"].decode()]
                started = await trio.lowlevel.open_process(
                    program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
                )
                self.started.append(started)  # else its pipes are closed while it writes
                assert started.stdout is not None
                other = await started.stdout.receive_some()
                await respond(send, 200, [], b"%d %d" % (started.pid, int(other)))
            case "/block":
                await say_begun(send)
                time.sleep(60)  # noqa: ASYNC251 - what must not happen
            case _:
                await super().http(scope, receive, send)


def load(path: Path) -> Offer:
    keys = json.loads(path.read_text())
    start, text = keys.pop("start", "ok"), keys.pop("text", "ok")
    workers = keys.pop("workers", 2)
    keys["bind"] = tuple(keys.get("bind", ("127.0.0.1:0",)))
    keys["admin"] = AdminBind(keys.get("admin", "127.0.0.1:0"))

    def work(post: Post) -> Work:
        configure(worker=post.number)
        metrics = Metrics()
        metrics(WorkerStarted(post.restarts))
        return Work(
            app=Numbered(start, text),
            metrics=metrics.render,
            admin=lambda status, complete: Admin(status, metrics.render, complete=complete),
        )

    def serving(addresses: Any) -> None:
        sys.stdout.write(json.dumps([*addresses.public, addresses.admin]) + "\n")
        sys.stdout.flush()

    return Offer(settings=Settings(**keys), workers=workers, work=work, serving=serving)  # type: ignore[arg-type]


def main() -> int:
    configure()
    path = Path(sys.argv[1])
    return supervise(lambda: load(path), lambda: load(path))


if __name__ == "__main__":
    sys.exit(main())
