"""`gateway demo`: what its card promises, as a process tree that ends as one."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import httpx
import pytest

from tests.end_to_end.processes import command, free_port, ready, running

pytestmark = pytest.mark.end_to_end

DEMO = Path(__file__).parents[2] / "config" / "demo.toml"


@attrs.frozen
class Running:
    """A demo on ports of its own."""

    process: subprocess.Popen[str]
    file: Path
    ports: dict[str, int]
    took_s: float

    def get(self, path: str) -> tuple[httpx.Response, float]:
        start = time.monotonic()
        answer = httpx.get(self.url("8080") + path, timeout=10, trust_env=False)
        return answer, time.monotonic() - start

    def fastest(self, path: str, within_s: float) -> tuple[httpx.Response, float]:
        """The first answer `within_s`, or the fastest of ten: the machine is shared."""
        tries = []
        for _ in range(10):
            tries.append(self.get(path))
            if tries[-1][1] < within_s:
                break
        return min(tries, key=lambda found: found[1])

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"


@contextmanager
def started(folder: Path) -> Iterator[Running]:
    """The demo, its ports replaced by free ones."""
    ports = {name: free_port() for name in ("8080", "9901", "9902", "9903")}
    text = DEMO.read_text()
    for name, port in ports.items():
        text = text.replace(f"127.0.0.1:{name}", f"127.0.0.1:{port}")
    file = folder / "demo.toml"
    file.write_text(text)
    with running(command("demo", "--file", str(file))) as process:
        took_s = ready(process, f"http://127.0.0.1:{ports['8080']}/openapi.json")
        yield Running(process, file, ports, took_s)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with started(tmp_path_factory.mktemp("demo")) as found:
        yield found


def test_it_serves_within_five_seconds(demo: Running, tmp_path: Path) -> None:
    took_s, within_s = demo.took_s, 5.0
    for _ in range(3):
        if took_s < within_s:
            break
        within_s = 5 * slowness()
        with started(tmp_path) as again:
            took_s = again.took_s
    assert took_s < within_s


def slowness() -> float:
    """How many times longer a start takes than it computes: the machine is shared."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", "import httpx, trio"], check=True)
    took_s = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return took_s / (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def test_the_aggregate_takes_the_time_of_its_slowest_call(demo: Running) -> None:
    answer, took_s = demo.fastest("/users/7/profile", 0.36)
    assert answer.status_code == 200
    body = answer.json()
    assert body["user"]["id"] == 7
    assert len(body["posts"]) == 5
    assert len(body["todos"]) == 8
    assert 0.18 <= took_s < 0.36  # users 60 ms, posts 120 ms, to-dos 180 ms: 360 in a row


def test_a_hanging_part_is_labelled_at_the_deadline(demo: Running) -> None:
    answer, took_s = demo.fastest("/users/7/overview", 1.5)
    assert answer.status_code == 200
    assert answer.headers["x-gateway-partial"] == "recommendations=deadline_exceeded"
    body = answer.json()
    assert list(body)[-1] == "_errors"
    assert [(one["call"], one["code"]) for one in body["_errors"]] == [
        ("recommendations", "deadline_exceeded")
    ]
    assert body["recommendations"] == []
    assert body["groups"]
    assert 1.0 <= took_s < 1.5  # promised: within 20 ms at low load


def test_a_hanging_part_that_is_required_is_a_504(demo: Running) -> None:
    answer, took_s = demo.fastest("/users/7/credit", 1.5)
    assert answer.status_code == 504
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["code"], problem["call"], problem["service"]) == (
        "deadline_exceeded",
        "credit",
        "hanging",
    )
    assert 1.0 <= took_s < 1.5


def test_a_dependent_call_and_a_blocking_library(demo: Running) -> None:
    post, _ = demo.get("/posts/33")
    assert post.json()["author"]
    groups, _ = demo.get("/groups/heron1")
    assert groups.json()["groups"][0]["member"] == "heron1"


def test_the_api_can_be_made_slow(demo: Running) -> None:
    api = demo.url("9902")
    assert httpx.put(f"{api}/latency", json={"posts": 3000}, trust_env=False).status_code == 200
    answer, took_s = demo.fastest("/users/7/profile", 2.8)
    assert answer.headers["x-gateway-partial"] == "posts=deadline_exceeded"
    assert answer.json()["posts"] == []
    assert took_s < 2.8
    assert httpx.put(f"{api}/latency", json={"posts": 120}, trust_env=False).status_code == 200
    assert httpx.put(f"{api}/latency", json={"posts": -1}, trust_env=False).status_code == 400


def test_metrics_tell_what_happened(demo: Running) -> None:
    metrics = httpx.get(f"{demo.url('9901')}/metrics", trust_env=False).text
    assert 'gateway_partial_answers_total{tool="user_overview"}' in metrics


def children_of(pid: int) -> list[int]:
    """The children of all its threads: whichever started one."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGKILL, -9)]
)
def test_everything_ends_as_one(number: signal.Signals, status: int, tmp_path: Path) -> None:
    with started(tmp_path) as own:
        (child,) = children_of(own.process.pid)
        os.kill(own.process.pid, number)
        assert own.process.wait(30) == status
        deadline = time.monotonic() + 30
        while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not Path(f"/proc/{child}").exists()


def test_everything_ends_with_the_services(tmp_path: Path) -> None:
    with started(tmp_path) as own:
        (child,) = children_of(own.process.pid)
        os.kill(child, signal.SIGKILL)
        assert own.process.wait(30) == 1
        assert own.process.stdout is not None
        assert "the sample services ended by themselves" in own.process.stdout.read()


def test_a_taken_port_is_said_and_nothing_is_left(demo: Running) -> None:
    with running(command("demo", "--file", str(demo.file))) as process:
        assert process.wait(60) == 1
        assert process.stdout is not None
        said = process.stdout.read()
    assert f"cannot listen on 127.0.0.1:{demo.ports['8080']}" in said


def test_the_demos_own_ports_are_those_of_its_card_and_pages() -> None:
    text = DEMO.read_text()
    assert 'bind = ["127.0.0.1:8080"]' in text
    assert 'bind = "127.0.0.1:9901"' in text
