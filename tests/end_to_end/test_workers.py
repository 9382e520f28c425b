"""Several workers as processes: killed, reloaded, ended, under load.

`python -m tests.end_to_end.test_workers kill 100` (or `end`, `reload`) does what CI does a few
times as often as is wanted, and prints what it saw.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import trio

from tests.end_to_end.workers import Clients, Seen, Server, gone, processes, supervised, until

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc"),
]
UPGRADE = (
    b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)


# ---------------------------------------------------------------------- what is promised


async def kill_workers(server: Server, times: int) -> tuple[Seen, list[float]]:
    """Kill a random worker under load, time and again: what clients saw, and how long each
    place was without a worker that answers."""
    clients = Clients(server.port)
    seen, killed, gaps = clients.seen, dict[int, float](), list[float]()
    chosen = random.Random(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clients.run)
        await trio.sleep(0.3)
        for _ in range(times):
            before = server.workers | set(seen.first)
            victim = chosen.choice(sorted(server.workers))
            killed[victim] = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            with trio.fail_after(30):
                while not (new := set(seen.first) - before):
                    await trio.sleep(0.002)
            gaps.append(seen.first[new.pop()] - killed[victim])
            await trio.sleep(chosen.uniform(0.02, 0.2))
        nursery.cancel_scope.cancel()
    for when, pid in seen.failures:
        if pid is not None:
            assert pid in killed, "a request failed on a worker that lives"
        else:
            after_s = zip(killed.values(), gaps, strict=True)
            assert any(0 <= when - kill < gap + 0.1 for kill, gap in after_s), "nobody was killed"
    assert seen.refused == 0
    return seen, gaps


async def test_a_killed_worker_fails_its_own_requests_alone_and_is_replaced(tmp_path: Path) -> None:
    with supervised(tmp_path) as server:
        seen, gaps = await kill_workers(server, 5)
        async with httpx.AsyncClient() as operator:
            metrics = (await operator.get(f"{server.admin}/metrics")).text
        assert server.end() == 0
    assert seen.answers > 100
    assert statistics.median(gaps) < 3
    assert max(gaps) < 10
    restarts = re.findall(r"gateway_worker_restarts_total{worker=\"\d\"} (\d)", metrics)
    assert sum(map(int, restarts)) == 5


def end_busy(folder: Path, drain_s: float) -> float:
    """End a server that has a client who does not read, a handler that does not end and an open
    WebSocket; the seconds it took. Nothing is left of it."""
    path = folder / "gateway.sock"
    bind = ["127.0.0.1:0", f"unix:{path}"]
    with supervised(folder, bind=bind, drain=drain_s) as server:
        workers = server.workers
        clients = [server.ask("/big"), server.begin("/begun"), server.connect()]
        clients[-1].sendall(UPGRADE)
        assert b"101" in clients[-1].recv(4096)
        assert path.is_socket()
        start = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(drain_s + 30) == 0
        took = time.monotonic() - start
        assert all(map(gone, workers))
        assert not path.exists()
        with pytest.raises(OSError, match="refused"):
            server.connect()
        for client in clients:
            client.close()
    return took


def test_an_end_takes_no_longer_than_the_drain_and_a_second(tmp_path: Path) -> None:
    for _ in range(5):
        assert 0.5 < end_busy(tmp_path, 0.5) < 0.5 + 1 + 4  # the machine may be busy


async def reload_often(server: Server, times: int) -> Seen:
    clients = Clients(server.port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clients.run)
        with trio.fail_after(30):
            while not clients.seen.texts:
                await trio.sleep(0.01)
        for number in range(times):
            await trio.to_thread.run_sync(lambda text: server.reload(text=text), f"text{number}")
            with trio.fail_after(30):
                while f"text{number}" not in clients.seen.texts:
                    await trio.sleep(0.01)
            await trio.sleep(0.3)
        nursery.cancel_scope.cancel()
    return clients.seen


async def test_a_reload_under_load_fails_nothing(tmp_path: Path) -> None:
    with supervised(tmp_path, drain=20) as server:
        old = server.workers
        seen = await reload_often(server, 3)
        assert (seen.refused, seen.failures) == (0, [])
        assert seen.texts == {"ok", "text0", "text1", "text2"}
        until(lambda: len(server.workers) == 2)
        assert not old & server.workers
        assert server.end() == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("{", "Expecting property name"),
        ('{"start": "fail"}', "the new worker did not start (status 1); its own lines say why"),
        ('{"bind": ["127.0.0.1:0", "127.0.0.1:%d"]}', "address already in use"),
        ('{"bind": ["unix:%s"], "start": "fail"}', "did not start"),
    ],
)
def test_a_reload_that_fails_changes_nothing(tmp_path: Path, change: str, said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, supervised(tmp_path) as server:
        workers, path = server.workers, tmp_path / "new.sock"
        change = change.replace("%d", str(taken.getsockname()[1])).replace("%s", str(path))
        server.file.write_text(change)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: said in server.log.read_text())
        (line,) = [one for one in server.lines() if one["event"].startswith("not reloaded")]
        assert said in line["problems"][0]
        until(lambda: server.workers == workers)
        assert not path.exists()
        assert server.answer()[0] == "ok"
        # And the next one is taken.
        server.file.write_text("{}")
        server.reload(text="new")
        until(lambda: not workers & server.workers and len(server.workers) == 2)
        assert server.end() == 0


def test_a_reload_on_trial_does_not_show(tmp_path: Path) -> None:
    with supervised(tmp_path, workers=1) as server:
        server.write(start="hang")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: len(server.workers) == 2)
        for _ in range(100):
            assert server.get(f"{server.admin}/health/ready").status_code == 200
            assert server.answer()[0] == "ok"
        # A second one takes the place of the first.
        assert server.reload(start="ok", text="new")
        until(lambda: len(server.workers) == 1)
        assert server.answer()[0] == "new"
        assert server.get(f"{server.admin}/health/ready").status_code == 200
        assert server.end() == 0


def test_a_reload_opens_what_is_new_and_closes_what_is_gone(tmp_path: Path) -> None:
    first, second = (f"unix:{tmp_path / name}" for name in ("first", "second"))
    stays = "127.0.0.1:0"
    with supervised(tmp_path, bind=[stays, first], workers=3) as server:
        before = server.public
        with socket.create_connection(("127.0.0.1", server.port)) as idle:
            after = server.reload(bind=[stays, second], workers=1)
            assert (after[0], after[1]) == (before[0], second)
            assert not (tmp_path / "first").exists()
            until(lambda: len(server.workers) == 1)
            assert idle.recv(1) == b""  # told to go: its worker is no more
        transport = httpx.HTTPTransport(uds=str(tmp_path / "second"))
        with httpx.Client(transport=transport, base_url="http://x") as client:
            assert client.get("/").status_code == 200
        server.reload(workers=3)
        until(lambda: len(server.workers) == 3)
        assert server.end() == 0
    assert not (tmp_path / "second").exists()


def test_a_worker_that_cannot_start_is_exit_status_1_and_said_once(tmp_path: Path) -> None:
    with supervised(tmp_path, start="fail", workers=3) as server:
        assert server.process.wait(60) == 1
        said = server.log.read_text()
    assert said == "gateway: start-up failed: RuntimeError: no such database\n"


def test_a_port_that_is_taken_is_exit_status_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with supervised(tmp_path, bind=[bind]) as server:
            assert server.process.wait(60) == 1
            said = server.log.read_text()
    assert said == f"gateway: cannot listen on {bind}: address already in use\n"


def test_a_signal_ends_a_start_that_hangs(tmp_path: Path) -> None:
    with supervised(tmp_path, start="hang") as server:
        # Its first line is the worker's own.
        assert server.end() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_cuts_at_once(tmp_path: Path, number: int) -> None:
    with supervised(tmp_path, drain=30) as server:
        workers = server.workers
        with server.begin("/begun"):
            assert server.end(number, number) == 128 + number
        assert all(map(gone, workers))


def test_a_worker_that_does_not_end_is_killed(tmp_path: Path) -> None:
    with supervised(tmp_path, drain=0.2) as server:
        workers = server.workers
        with server.begin("/block"):
            start = time.monotonic()
            assert server.end() == 0
            assert 1.1 < time.monotonic() - start < 1.2 + 5
        assert all(map(gone, workers))
        assert any(one["event"] == "worker does not end: killed" for one in server.lines())


def test_without_their_supervisor_workers_drain_and_end(tmp_path: Path) -> None:
    with supervised(tmp_path, drain=0.5) as server:
        workers = server.workers
        with server.begin("/begun"), server.ask("/big"):
            server.process.kill()
            server.process.wait()
            assert until(lambda: all(map(gone, workers))) < 0.5 + 1 + 5
        with pytest.raises(OSError, match="refused"):
            server.connect()


def test_a_signal_to_one_worker_drains_it_and_it_is_replaced(tmp_path: Path) -> None:
    with supervised(tmp_path) as server:
        before = server.workers
        one = min(before)
        os.kill(one, signal.SIGHUP)  # is not for workers
        os.kill(one, signal.SIGTERM)
        with suppress(ProcessLookupError):  # it may have ended by then
            os.kill(one, signal.SIGTERM)
        until(lambda: len(server.workers - before) == 1)
        until(lambda: gone(one))
        assert one not in processes(), "a zombie is left"
        assert server.workers > before - {one}
        assert server.end() == 0


@pytest.mark.parametrize("ending", [False, True])
@pytest.mark.parametrize("heeds", ["SIG_DFL", "SIG_IGN"])
def test_what_a_killed_worker_had_started_ends(tmp_path: Path, heeds: str, *, ending: bool) -> None:
    with supervised(tmp_path, workers=1) as server:
        url = f"http://127.0.0.1:{server.port}/start?{heeds}"
        started = [int(pid) for pid in server.get(url).text.split()]
        (worker,) = server.workers
        os.kill(worker, signal.SIGKILL)
        if ending:
            assert server.end() == 0
        assert until(lambda: all(pid not in processes() for pid in started)) < 2 * 2 + 5
        if not ending:
            until(lambda: server.workers)
            assert server.end() == 0
        assert any(one.get("processes") == 1 for one in server.lines())


def test_a_place_that_fails_again_and_again_is_filled_less_and_less_often(tmp_path: Path) -> None:
    with supervised(tmp_path) as server:
        for _ in range(4):
            victim = max(server.workers)
            os.kill(victim, signal.SIGKILL)
            until(lambda gone=victim: gone not in server.workers and len(server.workers) == 2)
        ended = [one for one in server.lines() if one["event"] == "worker ended"]
        assert {one["signal"] for one in ended} == {"SIGKILL"}
        assert {one["again_in_s"] for one in ended} <= {0, 0.05, 0.1, 0.2, 0.4}
        assert server.end() == 0


def test_the_supervisor_has_no_thread(tmp_path: Path) -> None:
    with supervised(tmp_path) as server:
        assert len(list(Path(f"/proc/{server.process.pid}/task").iterdir())) == 1
        assert server.end() == 0


# ---------------------------------------------------------------------- the admin address


def test_any_worker_tells_the_metrics_of_all(tmp_path: Path) -> None:
    with supervised(tmp_path, workers=3) as server:
        until(lambda: up(server) == ["1.0"] * 3)
        for accept in ("text/plain", "application/openmetrics-text; version=1.0.0"):
            page = httpx.get(f"{server.admin}/metrics", headers={"accept": accept}).text
            assert re.findall(r'process_open_fds{worker="(\d)"}', page) == ["0", "1", "2"]
            assert page.count("# TYPE process_open_fds ") == 1
            assert page.endswith("# EOF\n") == accept.startswith("application")
        assert server.end() == 0


def up(server: Server) -> list[str]:
    page = server.get(f"{server.admin}/metrics").text
    return re.findall(r'gateway_worker_up{worker="\d"} (.*)', page)


def test_a_worker_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with supervised(tmp_path, workers=2, drain=0.2) as server, server.begin("/block"):
        start = time.monotonic()
        assert sorted(up(server)) == ["0.0", "1.0"]
        assert time.monotonic() - start < 1 + 5
        assert server.get(f"{server.admin}/health/ready").status_code == 200
        assert server.end() == 0


def test_one_worker_has_the_page_of_one_process(tmp_path: Path) -> None:
    with supervised(tmp_path, workers=1) as server:
        page = server.get(f"{server.admin}/metrics").text
        assert "worker=" not in page
        assert "gateway_worker_restarts_total 0.0" in page
        assert server.end() == 0


# ---------------------------------------------------------------------- by hand


def main() -> None:
    what, times = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        if what == "end":
            took = sorted(end_busy(Path(folder), 1) for _ in range(times))
            print(f"{times} ends with a drain of 1 s: {took[0]:.3f} to {took[-1]:.3f} s")
            return
        with supervised(Path(folder), drain=2) as server:
            if what == "kill":
                seen, gaps = trio.run(kill_workers, server, times)
                gaps.sort()
                print(f"{times} kills: replaced within {gaps[len(gaps) // 2]:.3f} s", end=" ")
                print(f"(median), {gaps[-1]:.3f} s (most)")
            else:
                seen = trio.run(reload_often, server, times)
            print(f"{seen.answers} answers, {len(seen.failures)} failures, {seen.refused} refused")
            assert server.end() == 0


if __name__ == "__main__":
    main()
