"""Tools that stream, over real sockets: pieces as they come, a client that stalls, one that leaves."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.end_to_end.hosts import HOSTS, hosted
from tests.end_to_end.support import serving, until
from tests.support import lives

pytestmark = pytest.mark.end_to_end

ACCEPT = {"accept": "text/event-stream"}
MODULE = "stream_functions"
FUNCTIONS = """\
import trio

MADE = []
ENDED = []


async def slowly(many):
    for number in range(many):
        yield number
        await trio.sleep(0.1)


async def a_lot():
    try:
        while True:
            MADE.append(1)
            yield "x" * 100_000
            await trio.lowlevel.checkpoint()
    finally:
        ENDED.append(trio.current_time())
"""
CONFIG: dict[str, Any] = {
    "services": {
        "functions": {"kind": "python", "module": MODULE, "max_reply": "900MiB"},
        "lines": {"kind": "command", "program": ["sh", "-c", "echo $$; sleep 60"]},
    },
    "tools": {
        "slowly": {
            "input": {"properties": {"many": "integer"}},
            "calls": {"a": {"service": "functions", "function": "slowly"}},
            "output": "a",
        },
        "a_lot": {
            "calls": {"a": {"service": "functions", "function": "a_lot"}},
            "output": "a",
            "deadline": "30s",
        },
        "lines": {"calls": {"a": {"service": "lines", "output": "lines"}}, "output": "a"},
    },
}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{MODULE}.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))


def functions() -> tuple[list[int], list[float]]:
    """What `a_lot` has made, and when it ended."""
    module = importlib.import_module(MODULE)
    return module.MADE, module.ENDED


async def slowly(url: str, *, http2: bool = False) -> None:
    """Five pieces a tenth of a second apart come one by one, and the connection serves on."""
    came: list[tuple[float, Any]] = []
    async with httpx.AsyncClient(trust_env=False, http1=not http2, http2=http2) as client:
        url = f"{url}/tools/slowly"
        async with client.stream("POST", url, json={"many": 5}, headers=ACCEPT) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            async for line in answer.aiter_lines():
                name, _, data = line.partition(": ")
                if name == "data":
                    came.append((trio.current_time(), json.loads(data)))
        assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        assert (await client.post(url, json={"many": 1})).json() == [0]
    *pieces, (_, last) = came
    assert [piece["value"] for _, piece in pieces] == list(range(5))
    assert last == list(range(5))
    # The first one did not wait for the last.
    assert pieces[-1][0] - pieces[0][0] > 0.2


@HOSTS
@pytest.mark.usefixtures("module")
async def test_pieces_come_as_they_are_made(host: str) -> None:
    async with hosted(host, CONFIG) as served:
        await slowly(served.url)
        assert served.app.in_flight == 0


@pytest.mark.usefixtures("module")
async def test_pieces_come_over_http2() -> None:
    config = {**CONFIG, "server": {"http2_prior_knowledge": True}}
    async with serving(config) as (_, port):
        await slowly(f"http://127.0.0.1:{port}", http2=True)


@pytest.mark.usefixtures("module")
async def test_a_client_that_stalls_holds_its_call_back_and_is_dropped() -> None:
    made, ended = functions()
    config = {**CONFIG, "server": {"send_timeout": "1s"}}
    async with serving(config) as (app, port):
        stream = await asked(port, "a_lot")
        await until(lambda: made)
        before = 0
        while before != len(made):
            before = len(made)
            await trio.sleep(0.3)
        assert before < 400  # what systems keep between the two, and no more
        await until(lambda: ended and app.in_flight == 0)
        await stream.aclose()
    assert b'outcome="client_left"' in app.metrics.render()[0]


@HOSTS
async def test_a_client_that_leaves_ends_its_program(host: str) -> None:
    config = {key: {"lines": part["lines"]} for key, part in CONFIG.items()}
    async with hosted(host, config) as served:
        app = served.app
        stream = await asked(served.port, "lines", served.prefix)
        received = b""
        with trio.fail_after(30):
            while b"event: chunk" not in received or not received.endswith(b"\n\n\r\n"):  # chunked
                received += await stream.receive_some()
        pid = int(json.loads(received.partition(b"data: ")[2].partition(b"\n")[0])["value"])
        assert lives(pid)
        left_at = trio.current_time()
        await stream.aclose()
        await until(lambda: app.in_flight == 0)
        assert trio.current_time() - left_at < 5
        await until(lambda: not lives(pid))


async def asked(port: int, tool: str, prefix: str = "") -> trio.SocketStream:
    """A connection on which a tool was called, for its events."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    head = (
        f"POST {prefix}/tools/{tool} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n"
    )
    await stream.send_all(f"{head}content-length: 0\r\n\r\n".encode())
    return stream
