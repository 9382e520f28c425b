"""A function that computes beside another tool: on the loop's threads, and in worker processes.

`python -m tests.benchmarks.computing [SECONDS]`: one gateway, over HTTP on loopback. A client asks a
cheap tool every 20 ms, alone, then while two functions compute all the time, in threads and in two
processes, in turn, three rounds. Told are the cheap tool's latencies, by when each was due, and how
late a task of the gateway's loop ran.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import attrs
import trio

from gateway import Context, Request
from tests.adapters import functions
from tests.end_to_end.support import serving

ROUNDS = 3
EVERY_S = 0.02
NAP_S = 0.005
TASK_S = 0.2

CLIENT = """
import socket, sys, time
port, seconds, every = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
link = socket.create_connection(("127.0.0.1", port))
link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
asked = b"POST /tools/cheap HTTP/1.1\\r\\nhost: localhost\\r\\ncontent-length: 0\\r\\n\\r\\n"
due = time.perf_counter()
end = due + seconds
while due < end:
    time.sleep(max(0.0, due - time.perf_counter()))
    link.sendall(asked)
    reply = link.recv(65536)
    assert reply.startswith(b"HTTP/1.1 200"), reply
    print(time.perf_counter() - due)
    due += every
"""


@attrs.frozen
class Seen:
    """What was measured, seconds."""

    latencies: list[float] = attrs.field(factory=list)
    lags: list[float] = attrs.field(factory=list)


def config() -> dict[str, Any]:
    service = {"kind": "python", "module": functions.__name__}
    computes = {"function": "compute", "arguments": {"seconds": TASK_S}}
    return {
        "telemetry": {"level": "error"},
        "services": {
            "here": service,
            "threads": {**service, "threads": 2},
            "processes": {**service, "processes": 2},
        },
        "tools": {
            "cheap": {"calls": {"r": {"service": "here", "function": "left_async"}}},
            "threads": {"calls": {"r": {"service": "threads", **computes}}},
            "processes": {"calls": {"r": {"service": "processes", **computes}}},
        },
    }


async def lag(lags: list[float]) -> None:
    while True:
        start = time.perf_counter()
        await trio.sleep(NAP_S)
        lags.append(time.perf_counter() - start - NAP_S)


async def measure(app: Any, port: int, seconds: float, tool: str | None, seen: Seen) -> None:
    """Ask the cheap tool for so long, while `tool` computes twice at once."""

    async def compute(tool: str) -> None:
        while True:
            await app.call(Request(tool, {}, Context(request_id="r")))

    async with trio.open_nursery() as nursery:
        if tool is not None:
            nursery.start_soon(compute, tool)
            nursery.start_soon(compute, tool)
        nursery.start_soon(lag, seen.lags)
        await trio.sleep(0.3)
        done = await trio.run_process(
            [sys.executable, "-c", CLIENT, str(port), str(seconds), str(EVERY_S)],
            capture_stdout=True,
        )
        seen.latencies.extend(map(float, done.stdout.split()))
        nursery.cancel_scope.cancel()


async def main(seconds: float) -> None:
    cases: dict[str, Seen] = {"alone": Seen(), "threads": Seen(), "processes": Seen()}
    async with serving(config()) as (app, port):
        for _ in range(ROUNDS):
            for name, seen in cases.items():
                await measure(app, port, seconds, None if name == "alone" else name, seen)
    print(f"{'':10} {'latency p50':>12} {'p99':>8} {'loop lag p50':>13} {'p99':>8}  (ms)")
    for name, seen in cases.items():
        figures = []
        for values in (seen.latencies, seen.lags):
            cuts = statistics.quantiles(values, n=100)
            figures += [1000 * cuts[49], 1000 * cuts[98]]
        print("{:10} {:12.2f} {:8.1f} {:13.2f} {:8.1f}".format(name, *figures))


if __name__ == "__main__":
    trio.run(main, float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
