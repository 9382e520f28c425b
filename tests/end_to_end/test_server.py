"""The server over real sockets: in this process, and as a process of its own."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
import time
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from gateway.admin.app import Admin
from gateway.server.listeners import ListenError, open_listeners, tls_context
from gateway.server.worker import Addresses, StartError, serve
from gateway.telemetry.metrics import Metrics
from tests.end_to_end.processes import free_port
from tests.end_to_end.support import until
from tests.end_to_end.workers import hear_begun, refuses
from tests.end_to_end.workers import until as await_
from tests.server.attacks import ATTACKS
from tests.server.serving import AdminBind, App, Settings, Tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.server.attacks import Attack

pytestmark = pytest.mark.end_to_end
ROOT = Path(__file__).parents[2]


@attrs.define
class Server:
    """A worker that serves in this process."""

    app: App
    addresses: Addresses
    shutdown: trio.Event
    ended: trio.Event
    clients: list[trio.SocketStream] = attrs.field(factory=list)

    @property
    def url(self) -> str:
        return self.addresses.public[0]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def connect(self) -> trio.SocketStream:
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        self.clients.append(stream)
        return stream

    async def ask(self, path: str = "/") -> trio.SocketStream:
        stream = await self.connect()
        await stream.send_all(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        return stream


@asynccontextmanager
async def served(
    app: App | None = None, *, within_s: float = 60, **settings: Any
) -> AsyncIterator[Server]:
    server = Server(app or App(), Addresses(()), trio.Event(), trio.Event())

    async def run(task_status: trio.TaskStatus[Addresses]) -> None:
        await serve(
            server.app,
            Settings(**settings),  # type: ignore[arg-type]
            admin=lambda status: Admin(status, Metrics().render),
            shutdown=server.shutdown,
            task_status=task_status,
        )
        server.ended.set()

    with trio.fail_after(within_s):
        async with trio.open_nursery() as nursery:
            server.addresses = await nursery.start(run)
            try:
                yield server
            finally:
                for client in server.clients:
                    await trio.aclose_forcefully(client)
            nursery.cancel_scope.cancel()


async def heard(stream: trio.SocketStream) -> bytes:
    pieces = b""
    try:
        while piece := await stream.receive_some(1 << 20):
            pieces += piece
    except trio.BrokenResourceError:
        pass
    return pieces


async def test_requests_are_answered() -> None:
    async with served() as server, httpx.AsyncClient(base_url=server.url) as client:
        answer = await client.get("/")
        assert (answer.status_code, answer.text) == (200, "ok")
        assert (await client.post("/echo", content=b"x" * 500_000)).content == b"x" * 500_000


async def test_the_admin_side_answers_beside() -> None:
    async with served() as server, httpx.AsyncClient(base_url=server.addresses.admin) as client:
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.get("/health/ready")).json() == {"status": "ready"}
        assert "gateway_info" in (await client.get("/metrics")).text
        head = await client.head("/metrics")
        assert int(head.headers["content-length"]) > 1000
        assert head.content == b""


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_no_connection_touches_another(attack: Attack) -> None:
    async with served() as server, httpx.AsyncClient(base_url=server.url) as neighbour:
        assert (await neighbour.get("/")).status_code == 200
        for _ in range(3):
            await attack.on(await server.connect())
        assert (await neighbour.get("/")).status_code == 200
        async with httpx.AsyncClient(base_url=server.url) as other:
            assert (await other.get("/")).status_code == 200
        await until(lambda: server.app.under_way == 0)


async def test_a_client_that_does_not_read_is_dropped() -> None:
    async with served(send_timeout=0.3) as server:
        stream = await server.ask("/big")
        await until(lambda: server.app.asked == ["/big"])
        await until(lambda: server.app.under_way == 0)
        assert len(await heard(stream)) < 8 << 20


async def test_a_slow_head_is_dropped() -> None:
    async with served(header_timeout=0.3) as server:
        stream = await server.connect()
        began = time.monotonic()

        async def drip() -> None:
            with suppress(trio.BrokenResourceError):
                for _ in range(200):
                    await stream.send_all(b"a")
                    await trio.sleep(0.05)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            assert (await heard(stream)).startswith(b"HTTP/1.1 408 ")
            nursery.cancel_scope.cancel()
        assert 0.25 < time.monotonic() - began < 5  # it drips for longer


async def test_an_answer_that_comes_before_the_body_is_read_is_not_lost() -> None:
    async with served() as server:
        for _ in range(20):
            stream = await server.connect()
            await stream.send_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3000000\r\n\r\n")
            await stream.send_all(bytes(1_000_000))
            assert (await heard(stream)).endswith(b"ok")


async def test_connections_over_the_limit_are_closed() -> None:
    async with served(max_connections=2) as server:
        first, second = await server.ask("/hang"), await server.ask("/hang")
        await until(lambda: server.app.under_way == 2)
        assert await heard(await server.connect()) == b""
        await first.aclose()
        await second.aclose()
        await until(lambda: server.app.under_way == 0)
        await wait_all_tasks_blocked()
        async with httpx.AsyncClient(base_url=server.url) as client:
            assert (await client.get("/")).status_code == 200


async def test_a_drain_lets_requests_end_refuses_new_ones_and_says_so() -> None:
    async with served(drain=30) as server:
        idle = await server.connect()
        busy, cut = await server.ask("/pause"), await server.ask("/drained")
        await until(lambda: server.app.under_way == 2)
        async with httpx.AsyncClient(base_url=server.addresses.admin) as operator:
            began = time.monotonic()
            server.shutdown.set()
            assert await idle.receive_some() == b""
            assert (await operator.get("/health/ready")).json() == {"status": "draining"}
            assert (await operator.get("/health/live")).status_code == 200
            with pytest.raises(OSError, match="connect"):
                await server.connect()
            answer = await heard(busy)
        assert answer.endswith(b"paused")
        assert b"connection: close" in answer.lower()
        assert (await heard(cut)).endswith(b"cut short")
        await busy.aclose()
        await cut.aclose()
        await server.ended.wait()
        assert time.monotonic() - began < 15
        assert server.app.story == ["start", "drain 30", "stop"]


async def test_what_hangs_is_cut_at_the_drains_end() -> None:
    async with served(drain=0.3) as server:
        hanging, stalled = await server.ask("/hang"), await server.ask("/big")
        await until(lambda: server.app.under_way == 2)
        began = time.monotonic()
        server.shutdown.set()
        await server.ended.wait()
        assert 0.3 < time.monotonic() - began < 5
        assert server.app.under_way == 0
        assert server.app.story == ["start", "drain 0.3", "hang over", "stop"]
        await hanging.aclose()
        await stalled.aclose()


async def test_nothing_is_left_of_it() -> None:
    def sockets() -> int:
        return sum(1 for fd in Path("/proc/self/fd").iterdir() if "socket" in str(_target(fd)))

    before = sockets()
    async with served(drain=0.1) as server:
        clients = [await server.ask("/hang") for _ in range(10)]
        await until(lambda: server.app.under_way == 10)
        server.shutdown.set()
        await server.ended.wait()
    for client in clients:
        await client.aclose()
    assert sockets() == before


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:  # of the listing itself
        return ""


async def test_a_start_that_fails_serves_nothing() -> None:
    with pytest.raises(StartError, match="start-up failed: RuntimeError: no such database"):
        await serve(App("fail"), Settings(), admin=None, shutdown=trio.Event())  # type: ignore[arg-type]
    with pytest.RaisesGroup(StartError):
        async with served(App("fail")):
            raise AssertionError("it started")


async def test_until_it_has_started_it_is_not_ready_and_refuses() -> None:
    port, admin = free_port(), free_port()
    settings = Settings(bind=(f"127.0.0.1:{port}",), admin=AdminBind(f"127.0.0.1:{admin}"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(
                serve,
                App("hang"),
                settings,  # type: ignore[arg-type]
                admin=lambda status: Admin(status, Metrics().render),
                shutdown=trio.Event(),
            )
        )
        await until(lambda: not refuses(admin))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{admin}") as operator:
            assert (await operator.get("/health/ready")).json() == {"status": "starting"}
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream("127.0.0.1", port)
        nursery.cancel_scope.cancel()


# ---------------------------------------------------------------------- addresses


async def test_a_port_that_is_taken() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            ListenError, match=f"cannot listen on 127.0.0.1:{port}: address already in use"
        ):
            open_listeners(["127.0.0.1:0", f"127.0.0.1:{port}"])


async def test_names_and_addresses_and_free_ports() -> None:
    listeners = open_listeners(["127.0.0.1:0", "localhost:0"])
    try:
        assert listeners[0].address.startswith("127.0.0.1:")
        ports = {listener.address.rpartition(":")[2] for listener in listeners[1:]}
        assert len(ports) == 1
        assert "0" not in ports
    finally:
        for listener in listeners:
            listener.close()


@pytest.mark.parametrize("bind", ["nowhere", "127.0.0.1:http:80", "127.0.0.1:99999999", "\ud800:1"])
async def test_what_is_no_address(bind: str) -> None:
    with pytest.raises(ListenError, match="cannot listen on"):
        open_listeners([bind])


async def test_a_unix_socket_and_its_file(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    async with served(bind=(f"unix:{path}",), drain=0.1) as server:
        assert server.addresses.public == (f"unix:{path}",)
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            assert (await client.get("/")).text == "ok"
        server.shutdown.set()
        await server.ended.wait()
        assert not path.exists()


async def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    with closing(socket.socket(socket.AF_UNIX)) as gone:
        gone.bind(str(path))
    (listener,) = open_listeners([f"unix:{path}"])
    listener.close()
    assert not path.exists()


async def test_a_unix_socket_that_is_served_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    (listener,) = open_listeners([f"unix:{path}"])
    with pytest.raises(ListenError, match="address already in use"):
        open_listeners([f"unix:{path}"])
    assert path.exists()
    listener.close()


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(ListenError, match="is no socket"):
        open_listeners([f"unix:{path}"])
    assert path.read_text() == "mine"


async def test_a_successors_socket_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    (listener,) = open_listeners([f"unix:{path}"])
    path.unlink()
    (successor,) = open_listeners([f"unix:{path}"])
    listener.close()
    assert path.exists()
    successor.close()


# ---------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    folder = tmp_path_factory.mktemp("tls")
    made = Tls(folder / "tls.crt", folder / "tls.key")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(made.key), "-out", str(made.certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return made


@pytest.mark.parametrize(("http2", "version"), [(False, "HTTP/1.1"), (True, "HTTP/2")])
async def test_tls(tls: Tls, http2: bool, version: str) -> None:
    trust = ssl.create_default_context(cafile=str(tls.certificate))
    async with served(tls=tls) as server:
        assert server.url.startswith("https://127.0.0.1:")
        async with httpx.AsyncClient(base_url=server.url, http2=http2, verify=trust) as client:
            answer = await client.get("/")
            assert (answer.text, answer.http_version) == ("ok", version)
            big = await client.post("/echo", content=b"x" * 500_000)
            assert big.content == b"x" * 500_000


async def test_a_tls_handshake_that_does_not_come_is_dropped(tls: Tls) -> None:
    async with served(tls=tls, header_timeout=0.2) as server:
        silent, noisy = await server.connect(), await server.connect()
        await noisy.send_all(b"GET / HTTP/1.1\r\n\r\n")
        assert b"HTTP" not in await heard(noisy)
        assert await heard(silent) == b""


async def test_a_drain_over_tls(tls: Tls) -> None:
    trust = ssl.create_default_context(cafile=str(tls.certificate))
    async with served(tls=tls, drain=30) as server:
        answers: list[httpx.Response] = []

        async def ask(http2: bool) -> None:
            async with httpx.AsyncClient(base_url=server.url, http2=http2, verify=trust) as client:
                answers.append(await client.get("/drained"))

        began = time.monotonic()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, False)
            nursery.start_soon(ask, True)
            await until(lambda: server.app.under_way == 2)
            server.shutdown.set()
        await server.ended.wait()
        assert [answer.text for answer in answers] == ["cut short"] * 2
        assert time.monotonic() - began < 15


def test_a_certificate_that_is_none(tls: Tls, tmp_path: Path) -> None:
    with pytest.raises(ListenError, match=r"cannot use the certificate .*No such file"):
        tls_context(tmp_path / "none.crt", tls.key)
    with pytest.raises(ListenError, match="cannot use the certificate"):
        tls_context(tls.key, tls.key)


# ---------------------------------------------------------------------- a process


@attrs.define
class Process:
    """A process that serves."""

    process: subprocess.Popen[str]
    port: int

    def end(self, *signals: signal.Signals) -> tuple[int, list[str], str]:
        """Its exit status, its story, what it wrote to standard error."""
        *before, last = signals
        for number in before:
            self.process.send_signal(number)
            await_(lambda: refuses(self.port))
        self.process.send_signal(last)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, json.loads(out or "[]"), err


def start(how: str = "ok", **settings: Any) -> subprocess.Popen[str]:
    keys = json.dumps({"admin": "127.0.0.1:0", **settings})
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.server.serving", keys, how],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def started(**settings: Any) -> Process:
    process = start(**settings)
    assert process.stdout is not None
    public = json.loads(process.stdout.readline())[0]
    return Process(process, int(public.rpartition(":")[2]) if public.startswith("http") else 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_0(number: signal.Signals) -> None:
    process = started()
    assert httpx.get(f"http://127.0.0.1:{process.port}/").text == "ok"
    began = time.monotonic()
    status, story, err = process.end(number)
    assert (status, story, err) == (0, ["start", "drain 10", "stop"], "")
    assert time.monotonic() - began < 8


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_what_hangs_within_the_drain(number: signal.Signals) -> None:
    process = started(drain=0.5)
    with socket.create_connection(("127.0.0.1", process.port)) as client:
        client.sendall(b"GET /begun HTTP/1.1\r\nhost: x\r\n\r\n")
        hear_begun(client)
        began = time.monotonic()
        status, story, err = process.end(number)
        took = time.monotonic() - began
    assert (status, story, err) == (0, ["start", "drain 0.5", "hang over", "stop"], "")
    assert 0.5 < took < 6


def test_a_second_signal_cuts_at_once() -> None:
    process = started(drain=30)
    with socket.create_connection(("127.0.0.1", process.port)) as client:
        client.sendall(b"GET /begun HTTP/1.1\r\nhost: x\r\n\r\n")
        hear_begun(client)
        status, story, err = process.end(signal.SIGINT, signal.SIGINT)
    assert (status, err) == (128 + signal.SIGINT, "")
    assert story == ["start", "drain 30", "hang over", "stop"]


def test_a_signal_ends_a_start_that_hangs() -> None:
    process = start("hang")
    assert process.stdout is not None
    assert process.stdout.readline() == "starting\n"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out) == []


def test_a_start_that_fails_says_so_in_one_line() -> None:
    process = start("fail")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == "gateway: start-up failed: RuntimeError: no such database\n"


def test_a_port_that_is_taken_says_so_in_one_line() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        bind = f"127.0.0.1:{other.getsockname()[1]}"
        process = start(bind=[bind])
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == f"gateway: cannot listen on {bind}: address already in use\n"
    assert json.loads(out) == []


def test_an_application_that_breaks_down_ends_it_with_status_1() -> None:
    process = start("break")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "gateway: broke down: RuntimeError: lost the database\n" in err


def test_a_process_removes_its_socket_file(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    process = started(bind=[f"unix:{path}"])
    assert path.is_socket()
    assert process.end(signal.SIGTERM)[0] == 0
    assert not path.exists()
