"""The files people start from, before real peers: sockets, programs, a database's file, threads."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from gateway import create_app
from gateway.cli.demo.services import SampleServices
from gateway.config.settings import ServerSettings
from gateway.server.worker import serve
from gateway.testing import InMemoryClient, open_client
from tests.end_to_end.processes import ROOT, command, free_port, ready, running
from tests.end_to_end.support import until

pytestmark = pytest.mark.end_to_end


class Folder:
    """The examples, with free ports in the place of their own.

    Args:
        path: Where they are copied to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ports: dict[str, str] = {}
        for file in (ROOT / "config" / "examples").glob("*.*"):
            (path / file.name).write_text(self._localised(file.read_text()))

    def _localised(self, text: str) -> str:
        return re.sub(r"(?<=127\.0\.0\.1:)\d+", lambda match: self.port(match[0]), text)

    def port(self, written: str) -> str:
        """The port that stands for one of a file."""
        return self._ports.setdefault(written, str(free_port()))

    def __truediv__(self, name: str) -> Path:
        return self._path / name

    @contextmanager
    def started(self, script: str) -> Generator[subprocess.Popen[str]]:
        """A sample service, listening."""
        with running([sys.executable, "-W", "error", script], cwd=self._path) as process:
            assert process.stdout is not None
            assert " at " in process.stdout.readline()
            yield process

    @asynccontextmanager
    async def opened(self, name: str) -> AsyncGenerator[InMemoryClient]:
        async with open_client(create_app(self / f"{name}.toml")) as client:
            yield client


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@asynccontextmanager
async def sample_api(port: str) -> AsyncGenerator[None]:
    """What `make demo` has at 9902, here at `port`."""
    settings = ServerSettings(bind=(f"127.0.0.1:{port}",))
    samples = SampleServices(hanging_port=0)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, samples, settings, shutdown=trio.Event()))
        yield
        nursery.cancel_scope.cancel()


def missing(answer: Any) -> dict[str, str]:
    return {error["call"]: error["code"] for error in answer.json().get("_errors", [])}


async def answered(client: InMemoryClient, path: str, **absent: str) -> Any:
    """The first answer that has all but these calls, or the last of ten.

    The files' deadlines are short, and the machine is shared.
    """
    for _ in range(10):
        answer = await client.request("GET", path)
        if answer.status == 200 and missing(answer) == absent:
            break
    return answer


# ---------------------------------------------------------------- aggregation


async def test_three_apis_answer_at_once_and_what_fails_is_a_value(folder: Folder) -> None:
    async with sample_api(folder.port("9902")), folder.opened("aggregation") as client:
        answer = await answered(client, "/customers/7")
        assert answer.status == 200
        assert answer.json()["name"] == "Azure Siskin"
        assert answer.json()["open_todos"]
        assert missing(answer) == {}
        path = "/customers/7?todos_take_ms=5000"
        answer = await answered(client, path, todos="deadline_exceeded")
        assert answer.status == 200
        assert answer.json()["latest_post"]
        assert answer.json()["open_todos"] == []
        (error,) = answer.json()["_errors"]
        assert (error["call"], error["service"], error["code"]) == (
            "todos",
            "todos",
            "deadline_exceeded",
        )
        assert error["status"] == 504
        assert answer.headers["x-gateway-partial"] == "todos=deadline_exceeded"


async def test_a_refused_connection_is_a_value_too_and_a_required_call_is_the_request(
    folder: Folder,
) -> None:
    path = folder / "aggregation.toml"
    here, nobody = folder.port("9902"), str(free_port())
    whole = re.compile(rf"(\[services\.(?:posts|todos)\]\n.*\n.*){here}")
    text, count = whole.subn(rf"\g<1>{nobody}", path.read_text())
    assert count == 2
    path.write_text(text)
    async with sample_api(folder.port("9902")), folder.opened("aggregation") as client:
        answer = await client.request("GET", "/customers/7")
        assert answer.json()["name"] == "Azure Siskin"
        assert missing(answer) == {"posts": "unreachable", "todos": "unreachable"}
    async with folder.opened("aggregation") as client:  # now nobody is there at all
        answer = await client.request("GET", "/customers/7")
        assert (answer.status, answer.json()["call"]) == (502, "profile")


# ---------------------------------------------------------------- a pool, threads


async def test_who_waits_for_a_connection_waits_within_the_deadline(folder: Folder) -> None:
    await trio.run_process([sys.executable, folder / "shop_database.py"])
    async with folder.opened("database") as client:
        answer = await answered(client, "/orders/7")
        assert answer.json()["order"]["customer"] == "Jade Heron"
        assert len(answer.json()["lines"]) == 10
        # More callers than connections, each of them quick.
        answers: list[Any] = []

        async def ask(number: int) -> None:
            answers.append(await answered(client, f"/orders/{number}"))

        async with trio.open_nursery() as nursery:
            for number in range(1, 21):
                nursery.start_soon(ask, number)
        assert [answer.status for answer in answers] == [200] * 20

        for _ in range(5):  # the machine is shared
            patient = await beside_reports(client)
            if patient.status == 200:
                break
        # With more time than 100 ms it waits until the reports have had theirs.
        assert patient.status == 200
        # Both connections serve again.
        assert (await answered(client, "/orders/8")).status == 200


async def beside_reports(client: InMemoryClient) -> Any:
    """What is answered, once the reports have all connections, to who has all the time of the file."""
    async with trio.open_nursery() as nursery:
        reports: list[Any] = []

        async def report() -> None:
            reports.append(await client.request("GET", "/reports"))

        nursery.start_soon(report)
        shop: Any = client._app._built.adapters["shop"]
        await until(lambda: shop._limiter.borrowed_tokens == 2 or reports)
        hurried = {"x-request-timeout-ms": "100"}
        answer = await client.request("GET", "/orders/7", headers=hurried)
        assert answer.status == 504 or reports
        patient = await client.request("GET", "/orders/7")
    assert missing(reports[0]) == {"more": "deadline_exceeded", "fewer": "deadline_exceeded"}
    return patient


async def test_what_blocks_has_threads_of_its_own_and_a_deadline(folder: Folder) -> None:
    async with folder.opened("blocking_library") as client:
        answer = await answered(client, "/stock/lamp")
        assert answer.json()["count"] == 12
        assert missing(answer) == {}
        hurried = {"x-request-timeout-ms": "120"}
        answer = await client.request("GET", "/stock/lamp", headers=hurried)
        # 50 ms were enough for one of them; on a machine that is busy, perhaps for none.
        if answer.status == 200:
            assert missing(answer) == {"shelf": "deadline_exceeded"}
        else:
            assert answer.json()["code"] == "deadline_exceeded"


# ---------------------------------------------------------------- retry, a semaphore


async def test_a_flaky_service_is_tried_again_within_a_budget(folder: Folder) -> None:
    with folder.started("flaky.py"):
        async with folder.opened("retry") as client:
            start = trio.current_time()
            answer = await client.request("GET", "/prices/lamp")
            assert answer.json() == {"price": "19.90", "asked": 3}, answer.json()
            statuses = {(await client.request("GET", "/prices/lamp")).status for _ in range(40)}
            took_s = trio.current_time() - start
        assert statuses == {200, 502}  # most fail: it fails more than the budget mends
        asked = counted(folder.port("9921"))
        # Ten saved, a fifth of the calls, and one a second: no more, though most of them failed.
        assert 41 < asked <= 41 + 10 + 0.2 * 41 + took_s + 1


def counted(port: str) -> int:
    """How many requests the flaky service had; it tells whenever it answers."""
    with httpx.Client(trust_env=False) as client:
        for extra in range(3):
            answer = client.get(f"http://127.0.0.1:{port}/prices/lamp")
            if answer.status_code == 200:
                return int(answer.json()["asked"]) - extra - 1
    raise AssertionError("it does not answer every third time")


async def test_a_fragile_service_never_sees_more_than_two(folder: Folder) -> None:
    with folder.started("fragile.py"):
        async with folder.opened("semaphore") as client:
            answer = await client.request("POST", "/tools/six_labels", json={"text": "lamp"})
            assert answer.status == 200
            assert list(missing(answer).values()) == ["overloaded"]
            printed = [value for value in answer.json().values() if value == {"printed": "lamp"}]
            assert len(printed) == 5
            (error,) = answer.json()["_errors"]
            assert error["retry_after_s"] > 0
            # It is well: it never had three at once.
            answer = await client.request("POST", "/tools/label", json={"text": "desk"})
            assert answer.json() == {"label": {"printed": "desk"}}
        url = f"http://127.0.0.1:{folder.port('9922')}/labels"
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(post, url)
        assert (await post(url)).status_code == 500  # and without the gateway it breaks


async def post(url: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(url, json={"text": "x"})


# ---------------------------------------------------------------- a long job


async def test_a_job_goes_on_without_its_client(folder: Folder) -> None:
    async with folder.opened("background") as client:
        assert (await client.request("GET", "/reports/2026-01")).status == 502
        job = {"month": "2026-01", "seconds": 1}
        answer = await client.request("POST", "/tools/start_report", json=job)
        assert answer.status == 200
        assert missing(answer) == {"run": "deadline_exceeded"}
        assert "goes on" in answer.json()["_errors"][0]["detail"]
        left = {"month": "2026-02", "seconds": 1}
        await client.leave("POST", "/tools/start_report", json=left, after_s=0.25)
        for month in ("2026-01", "2026-02"):
            await until((folder / "reports" / f"{month}.json").exists)
            answer = await client.request("GET", f"/reports/{month}")
            assert answer.json() == {"month": month, "orders": 17}
        job = {"month": "2026-03", "seconds": 1}
        await client.request("POST", "/tools/start_report", json=job)
    # A gateway that ends waits for what it has begun, for as long as `drain` says.
    assert (folder / "reports" / "2026-03.json").exists()


def test_a_job_outlives_the_call_of_the_command(folder: Folder) -> None:
    arguments = ["start_report", "--arg", "month=2026-04", "--arg", "seconds=1"]
    done = subprocess.run(
        command("call", str(folder / "background.toml"), *arguments),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=ROOT,
    )
    assert '"call": "run"' in done.stdout
    assert (folder / "reports" / "2026-04.json").exists()


# ---------------------------------------------------------------- echoes


async def test_three_echoes_behind_one_gateway(folder: Folder) -> None:
    with folder.started("echo.py") as process:
        async with folder.opened("echo") as client:
            for tool in ("echo_tcp", "echo_http", "echo_websocket"):
                for text in ("hello", "wörld", ""):
                    answer = await client.request("POST", f"/tools/{tool}", json={"text": text})
                    assert answer.json() == text, tool
            answer = await answered(client, "/echo/hello")
            said = {"tcp": "hello", "http": "hello", "websocket": "hello"}
            assert answer.json() == said
            process.terminate()
            process.wait(30)
            answer = await client.request("GET", "/echo/hello")
            assert answer.status == 200
            calls = ("over_tcp", "over_http", "over_websocket")
            assert missing(answer) == dict.fromkeys(calls, "unreachable")


def test_a_served_example_answers_over_real_sockets(folder: Folder) -> None:
    with (
        folder.started("echo.py"),
        running(command("serve", str(folder / "echo.toml"))) as process,
    ):
        url = f"http://127.0.0.1:{folder.port('8081')}"
        ready(process, f"{url}/openapi.json")
        with httpx.Client(base_url=url, trust_env=False) as client:
            for text in ("hello", "again"):
                assert set(client.get(f"/echo/{text}").json().values()) == {text}
