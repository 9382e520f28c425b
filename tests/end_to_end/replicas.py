"""One dead and one slow replica of four, over real sockets: `python -m tests.end_to_end.replicas`."""

from __future__ import annotations

import socket
from collections import Counter
from functools import partial

import attrs
import trio

from gateway.app import create_app
from gateway.core.errors import GatewayError
from gateway.core.messages import Context, Request
from gateway.telemetry.events import Event, ReplicaChanged

RATE_PER_S = 100
_REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n1"


@attrs.define
class Figures:
    """What came of it.

    Attributes:
        calls: After both were put out.
        failed: Of those.
        out_s: Seconds of traffic until both were out.
        back_s: Seconds from recovery until each had a good part of the traffic again.
    """

    calls: int = 0
    failed: int = 0
    out_s: float = 0.0
    back_s: float = 0.0

    def __str__(self) -> str:
        share = self.failed / max(1, self.calls)
        return (
            f"both out after {self.out_s:.1f} s; then {self.failed} of {self.calls} calls failed "
            f"({share:.2%}); traffic back {self.back_s:.1f} s after recovery"
        )


class _Replica:
    """A service that counts its requests, and is as slow as it is told."""

    def __init__(self, slow_s: float = 0.0) -> None:
        self.slow_s = slow_s
        self.requests = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        try:
            while await stream.receive_some(65536):
                self.requests += 1
                await trio.sleep(self.slow_s)
                await stream.send_all(_REPLY)
        except trio.BrokenResourceError:
            pass  # a call that was given up


def _bound() -> socket.socket:
    """A port of our own where nobody listens yet."""
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    return made


async def measure(measured_s: float) -> Figures:
    """Have one of four dead and one slow; then let both recover.

    Args:
        measured_s: How long calls are counted while they are ill.
    """
    figures = Figures()
    replicas = [_Replica(), _Replica(slow_s=2.0), _Replica(), _Replica()]
    sockets = [_bound() for _ in replicas]
    urls = [f"http://127.0.0.1:{bound.getsockname()[1]}" for bound in sockets]
    out: set[str] = set()

    def listen(event: Event) -> None:
        if isinstance(event, ReplicaChanged) and not event.is_in:
            out.add(event.replica)

    settings = {"kind": "http", "url": urls, "timeout": "250ms"}
    app = create_app(
        {
            "services": {"s": settings},
            "tools": {"t": {"calls": {"x": {"service": "s", "get": "/"}}}},
        },
        listeners=(listen,),
    )
    answered: Counter[bool] = Counter()

    async def call() -> None:
        try:
            await app.call(Request("t", {}, Context(request_id="r")), timeout_s=5)
            answered[True] += 1
        except GatewayError:
            answered[False] += 1

    async def traffic() -> None:
        while True:
            calls.start_soon(call)
            await trio.sleep(1 / RATE_PER_S)

    async with trio.open_nursery() as nursery, app.running(), trio.open_nursery() as calls:
        for replica, bound in list(zip(replicas, sockets, strict=True))[1:]:
            _listen(nursery, replica, bound)
        calls.start_soon(traffic)
        start = trio.current_time()
        while len(out) < 2:
            await trio.sleep(0.05)
        figures.out_s = trio.current_time() - start
        await trio.sleep(0.3)  # what was under way then has ended
        answered.clear()
        await trio.sleep(measured_s)
        figures.calls, figures.failed = answered.total(), answered[False]
        _listen(nursery, replicas[0], sockets[0])
        replicas[1].slow_s = 0.0
        figures.back_s = await _until_back(replicas)
        calls.cancel_scope.cancel()
        nursery.cancel_scope.cancel()
    return figures


def _listen(nursery: trio.Nursery, replica: _Replica, bound: socket.socket) -> None:
    bound.listen(64)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
    nursery.start_soon(partial(trio.serve_listeners, replica.serve, [listener]))


async def _until_back(replicas: list[_Replica]) -> float:
    """Seconds until each of them got an eighth of the traffic of half a second, or more."""
    start = trio.current_time()
    while trio.current_time() < start + 30:
        before = [replica.requests for replica in replicas]
        await trio.sleep(0.5)
        got = [each.requests - had for each, had in zip(replicas, before, strict=True)]
        if min(got) * 8 >= sum(got):
            break
    return trio.current_time() - start


if __name__ == "__main__":
    print(trio.run(measure, 20.0))
